package registry

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"docker-flatten/rebuild/image"
)

// beside is what a registry has about an image.
type beside struct{ *repository }

// Images are none: a registry isn't searched for images that nobody names.
func (b beside) Images(context.Context) []*image.Image { return nil }

// Around asks for the reference once more, since a platform may have been chosen
// of its index, for the referrers, and for cosign's tags.
func (b beside) Around(ctx context.Context, manifest v1.Hash) []v1.Descriptor {
	var found []v1.Descriptor
	if got, err := b.puller.Get(ctx, b.ref); err == nil && got.MediaType.IsIndex() {
		var index v1.IndexManifest
		if json.Unmarshal(got.Manifest, &index) == nil {
			for _, d := range index.Manifests {
				if image.RefersTo(d, manifest) {
					found = append(found, d)
				}
			}
		}
	}
	if index, err := remote.Referrers(b.ref.Context().Digest(manifest.String()), options(ctx, b.client)...); err == nil {
		if listed, err := index.IndexManifest(); err == nil {
			found = append(found, listed.Manifests...)
		}
	}
	return append(found, b.tagged(ctx, manifest)...)
}

// cosignTags are the ends of the tags that cosign gives to what it attaches where it
// uses no referrers, and what that is (sigstore/cosign, pkg/oci/remote/remote.go).
var cosignTags = [...]struct{ end, kind string }{
	{"sig", "cosign signature"},
	{"att", "cosign attestation"},
	{"sbom", "cosign SBOM"},
}

// tagged is what cosign has attached to a manifest by a tag made of its digest. The
// registry is only asked whether the tags are there: that counts as no pull.
func (b beside) tagged(ctx context.Context, manifest v1.Hash) []v1.Descriptor {
	var heads [len(cosignTags)]*v1.Descriptor
	var group errgroup.Group
	for i, t := range cosignTags {
		group.Go(func() error {
			// What isn't there is left out.
			heads[i], _ = b.puller.Head(ctx, b.ref.Context().Tag(manifest.Algorithm+"-"+manifest.Hex+"."+t.end))
			return nil
		})
	}
	_ = group.Wait()
	var found []v1.Descriptor
	for i, d := range heads {
		if d != nil {
			d.ArtifactType = cosignTags[i].kind
			found = append(found, *d)
		}
	}
	return found
}

func (b beside) Document(ctx context.Context, d v1.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, image.Detail(image.ErrFormat, "%s is too large: %d bytes", d.Digest, d.Size)
	}
	if d.MediaType.IsImage() || d.MediaType.IsIndex() {
		return b.repository.Document(ctx, d)
	}
	r, err := b.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, limit))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if image.DigestOf(raw) != d.Digest {
		return nil, image.Detail(image.ErrDigest, "the digest of %s doesn't match", d.Digest)
	}
	return raw, nil
}
