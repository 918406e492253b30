package place

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
	"docker-flatten/rebuild/image/oci"
)

// What lies beside an image is looked through only so far: these are more images
// and documents than anybody saves together for a purpose, and a larger document
// than any index is.
const (
	mostBeside    = 256
	largestBeside = 4 << 20
	deepestAround = 3
)

// saved is what lies beside an image in a docker-archive, a layout, or an archive
// of one.
type saved struct {
	list string // the member that lists images, manifest.json or index.json
	read func(name string, limit int64) ([]byte, error)
	open func(ctx context.Context, name string) ([]*image.Image, error)
}

// besideInTar is what an archive holds. Its tar stays open with the source.
func besideInTar(ix *archive.Tar, ref image.Ref) image.Beside {
	open, list := archive.OpenIn, "manifest.json"
	if ref.Transport == image.LayoutArchive {
		open, list = oci.OpenIn, "index.json"
	}
	return &saved{
		list: list,
		read: func(name string, limit int64) ([]byte, error) {
			f := ix.Find(name)
			if f == nil || f.Size() > limit {
				return nil, image.Detail(image.ErrNoImage, "no %s", name)
			}
			b := make([]byte, f.Size())
			if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
				return nil, err
			}
			return b, nil
		},
		open: func(ctx context.Context, name string) ([]*image.Image, error) {
			ref.Name = name
			src, err := open(ctx, ix, ref, image.Options{}) // not closed: that would close the tar
			if err != nil {
				return nil, err
			}
			return src.Images, nil
		},
	}
}

// besideInLayout is what a layout directory holds.
func besideInLayout(ref image.Ref) image.Beside {
	return &saved{
		list: "index.json",
		read: func(name string, limit int64) ([]byte, error) {
			f, err := os.Open(filepath.Join(ref.Path, filepath.FromSlash(name)))
			if err != nil {
				return nil, err
			}
			defer f.Close()
			b, err := io.ReadAll(io.LimitReader(f, limit+1))
			if err == nil && int64(len(b)) > limit {
				err = image.Detail(image.ErrNoImage, "%s is too large", name)
			}
			return b, err
		},
		open: func(ctx context.Context, name string) ([]*image.Image, error) {
			ref.Name = name
			src, err := oci.Open(ctx, ref, image.Options{})
			if err != nil {
				return nil, err
			}
			return src.Images, src.Close()
		},
	}
}

func (s *saved) Images(ctx context.Context) []*image.Image {
	var images []*image.Image
	for i := range min(s.count(), mostBeside) {
		if found, err := s.open(ctx, fmt.Sprintf("@%d", i)); err == nil {
			images = append(images, found...)
		}
	}
	return images
}

// count is how many images are listed.
func (s *saved) count() int {
	raw, err := s.read(s.list, largestBeside)
	if err != nil {
		return 0
	}
	var index struct{ Manifests []json.RawMessage }
	if json.Unmarshal(raw, &index) == nil {
		return len(index.Manifests)
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return 0
	}
	return len(list)
}

func (s *saved) Around(ctx context.Context, manifest v1.Hash) []v1.Descriptor {
	raw, err := s.read("index.json", largestBeside) // engines write one beside manifest.json
	if err != nil {
		return nil
	}
	left := mostBeside
	return around(raw, manifest, deepestAround, func(d v1.Descriptor) ([]byte, error) {
		if left--; left < 0 {
			return nil, io.EOF
		}
		return s.Document(ctx, d, largestBeside)
	})
}

// around are the entries of an index, and of the indexes in it, that refer to
// the image with the manifest: BuildKit's by an annotation, OCI artefacts by
// their subject.
func around(index []byte, manifest v1.Hash, depth int, get func(v1.Descriptor) ([]byte, error)) []v1.Descriptor {
	var listed struct{ Manifests []v1.Descriptor }
	if json.Unmarshal(index, &listed) != nil || depth == 0 {
		return nil
	}
	var found []v1.Descriptor
	for _, d := range listed.Manifests {
		switch {
		case image.RefersTo(d, manifest):
			found = append(found, d)
		case d.MediaType.IsIndex():
			if raw, err := get(d); err == nil {
				found = append(found, around(raw, manifest, depth-1, get)...)
			}
		case d.ArtifactType != "" && d.Digest != manifest:
			var artefact struct{ Subject *v1.Descriptor }
			if raw, err := get(d); err == nil && json.Unmarshal(raw, &artefact) == nil && artefact.Subject != nil && artefact.Subject.Digest == manifest {
				found = append(found, d)
			}
		}
	}
	return found
}

func (s *saved) Document(_ context.Context, d v1.Descriptor, limit int64) ([]byte, error) {
	b, err := s.read(image.BlobPath(d.Digest), limit)
	if err != nil {
		return nil, err
	}
	if image.DigestOf(b) != d.Digest {
		return nil, image.Detail(image.ErrDigest, "the digest of %s doesn't match", d.Digest)
	}
	return b, nil
}
