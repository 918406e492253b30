package image

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Beside is what lies around a source's images in the place where they are. What
// isn't there, or can't be read, is left out of the answers: it is evidence, and
// never what a job depends on.
type Beside interface {
	// Images are all images of a layout or archive, for every platform, in its
	// order, the source's included; none in a registry. Their layers aren't to be
	// read.
	Images(ctx context.Context) []*Image
	// Around is what says something of the image that has the manifest: entries of
	// its index, or of its layout, that refer to it, and a registry's referrers.
	Around(ctx context.Context, manifest v1.Hash) []v1.Descriptor
	// Document returns a manifest, an index or a blob of at most limit bytes, with
	// its digest checked.
	Document(ctx context.Context, d v1.Descriptor, limit int64) ([]byte, error)
}

// RefersTo tells whether an index's entry is what BuildKit attests of the image
// that has the manifest (BuildKit, docs/attestations/attestation-storage.md).
func RefersTo(d v1.Descriptor, manifest v1.Hash) bool {
	return d.Annotations["vnd.docker.reference.digest"] == manifest.String()
}
