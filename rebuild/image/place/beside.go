package place

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
	"docker-flatten/rebuild/image/oci"
)

// What lies beside an image is looked through only so far: these are more
// documents than anybody saves together for a purpose, and more bytes than any of
// them has.
const (
	mostBeside    = 1024
	largestBeside = 4 << 20
	deepestBeside = 3 // indexes in indexes
)

// saved is what lies beside an image in a docker-archive, a layout, or an archive
// of one.
type saved struct {
	read   func(name string, limit int64) ([]byte, error) // a member
	list   func(ctx context.Context) []*image.Image
	listed bool
	images []*image.Image // what list returned
}

// besideInTar is what an archive holds. Its tar stays open with the source.
func besideInTar(ix *archive.Tar, ref image.Ref) image.Beside {
	s := &saved{read: func(name string, limit int64) ([]byte, error) {
		f := ix.Find(name)
		if f == nil || f.Size() > limit {
			return nil, image.Detail(image.ErrNoImage, "no %s", name)
		}
		b := make([]byte, f.Size())
		if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
			return nil, err
		}
		return b, nil
	}}
	s.list = s.inIndex
	if ref.Transport == image.Archive {
		s.list = s.inManifestJSON
	}
	return s
}

// besideInLayout is what a layout directory holds.
func besideInLayout(ref image.Ref) image.Beside {
	s := &saved{read: func(name string, limit int64) ([]byte, error) {
		path := filepath.Join(ref.Path, filepath.FromSlash(name))
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return nil, image.Detail(image.ErrNoImage, "no %s", name) // a pipe would be waited for
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, limit+1))
		if err == nil && int64(len(b)) > limit {
			err = image.Detail(image.ErrNoImage, "%s is too large", name)
		}
		return b, err
	}}
	s.list = s.inIndex
	return s
}

func (s *saved) Images(ctx context.Context) []*image.Image {
	if !s.listed {
		s.images, s.listed = s.list(ctx), true
	}
	return s.images
}

// inManifestJSON are the images that a docker-archive lists.
func (s *saved) inManifestJSON(ctx context.Context) []*image.Image {
	raw, err := s.read("manifest.json", largestBeside)
	var list []archive.SavedImage
	if err != nil || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var images []*image.Image
	for _, m := range list[:min(len(list), mostBeside)] {
		if ctx.Err() != nil {
			return images
		}
		config, err := s.read(m.Config, largestBeside)
		if err != nil {
			continue
		}
		id := image.DigestOf(config)
		if want := archive.DigestInName(m.Config); want != "" && want != id.Hex {
			continue
		}
		if im := imageOf(config); im != nil {
			im.ID, im.Names = id.String(), image.TagNames(m.RepoTags)
			images = append(images, im)
		}
	}
	return images
}

// inIndex are the images that a layout's index.json lists, and the indexes in it.
func (s *saved) inIndex(ctx context.Context) []*image.Image {
	raw, err := s.read("index.json", largestBeside)
	if err != nil {
		return nil
	}
	var images []*image.Image
	left := mostBeside
	// What many entries list is read once: the cost is that of the bytes there are.
	seen := map[v1.Hash]bool{}
	have := map[v1.Hash]*image.Image{}
	var walk func(index []byte, names []string, depth int)
	walk = func(index []byte, names []string, depth int) {
		var listed struct{ Manifests []v1.Descriptor }
		if json.Unmarshal(index, &listed) != nil || depth == 0 {
			return
		}
		for _, d := range listed.Manifests {
			if left--; left < 0 || ctx.Err() != nil {
				return
			}
			its := names
			if depth == deepestBeside {
				its = oci.Names(d)
			}
			if seen[d.Digest] {
				if im := have[d.Digest]; im != nil {
					im.Names = slices.Concat(im.Names, its)
				}
				continue
			}
			seen[d.Digest] = true
			raw, err := s.Document(ctx, d, largestBeside)
			if err != nil {
				continue
			}
			if d.MediaType.IsIndex() {
				walk(raw, its, depth-1)
				continue
			}
			m, err := image.ParseManifest(raw, d)
			if err != nil {
				continue
			}
			config, err := s.Document(ctx, m.Config, largestBeside)
			if err != nil {
				continue
			}
			if im := imageOf(config); im != nil {
				im.ID, im.Names, im.Manifest = d.Digest.String(), its, m
				images, have[d.Digest] = append(images, im), im
			}
		}
	}
	walk(raw, nil, deepestBeside)
	return images
}

// imageOf is the image of a config document, nil if that is none.
func imageOf(config []byte) *image.Image {
	platform, diffIDs, err := image.ParseConfig(config)
	if err != nil {
		return nil
	}
	return &image.Image{Platform: platform, DiffIDs: diffIDs, Config: config}
}

func (s *saved) Around(ctx context.Context, manifest v1.Hash) []v1.Descriptor {
	raw, err := s.read("index.json", largestBeside) // engines write one beside manifest.json
	if err != nil {
		return nil
	}
	left, seen := mostBeside, map[v1.Hash]bool{}
	return around(raw, manifest, deepestBeside, func(d v1.Descriptor) ([]byte, error) {
		if seen[d.Digest] || left == 0 || ctx.Err() != nil {
			return nil, io.EOF
		}
		seen[d.Digest] = true
		left--
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
		case d.Platform == nil && d.Digest != manifest:
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
