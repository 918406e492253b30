package registry

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"docker-flatten/rebuild/image"
)

// beside is what a registry has about an image.
type beside struct{ *repository }

// Images are none: a registry isn't searched for images that nobody names.
func (b beside) Images(context.Context) []*image.Image { return nil }

// Around asks for the reference once more, since a platform may have been chosen
// of its index, and for the referrers.
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
	index, err := remote.Referrers(b.ref.Context().Digest(manifest.String()), options(ctx, b.client)...)
	if err != nil {
		return found
	}
	if listed, err := index.IndexManifest(); err == nil {
		found = append(found, listed.Manifests...)
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
