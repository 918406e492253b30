package rebuild

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
)

// What is listed of referrers, which a registry may have made up.
const (
	mostReferrers = 4
	longestKind   = 80 // bytes of a media type
)

// tellReferrers warns of what refers to the source: signatures, SBOMs and the
// like name its digest, and so aren't carried over. What BuildKit attests in an
// index is told of where the index is read.
func (o *Options) tellReferrers(ctx context.Context, src *image.Source, opt image.Options) {
	if src.Beside == nil || o.Offline {
		return
	}
	var root v1.Hash
	switch {
	case src.Index != nil:
		root = src.Index.Descriptor.Digest
	case src.Images[0].Manifest != nil:
		root = src.Images[0].Manifest.Descriptor.Digest
	}
	if root == (v1.Hash{}) {
		return
	}
	var list []string
	for _, d := range src.Beside.Around(ctx, root) {
		if !image.RefersTo(d, root) {
			kind, hex := cmp.Or(d.ArtifactType, string(d.MediaType)), d.Digest.Hex
			list = append(list, fmt.Sprintf("%s %s", kind[:min(longestKind, len(kind))], hex[:min(12, len(hex))]))
		}
	}
	if len(list) == 0 {
		return
	}
	more := ""
	if n := len(list) - mostReferrers; n > 0 {
		list, more = list[:mostReferrers], fmt.Sprintf(" and %d more", n)
	}
	opt.Warnf("not carried over: what refers to the image before flattening (%s%s)", strings.Join(list, ", "), more)
}
