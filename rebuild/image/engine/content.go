package engine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/system"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/oci"
)

// contentStores are the directories in which containerd may keep its blobs, for
// an engine with containerd's image store on this machine: below the engine's own
// directory if the engine runs containerd, else where containerd has its root
// unless it is told otherwise. Which one it is shows when an image is looked for.
func contentStores(host string, info system.Info) []string {
	if !strings.HasPrefix(host, "unix://") {
		return nil
	}
	var dirs []string
	for _, root := range []string{filepath.Join(info.DockerRootDir, "containerd/daemon"), "/var/lib/containerd"} {
		dirs = append(dirs, filepath.Join(root, "io.containerd.content.v1.content"))
	}
	return dirs
}

// storedImage is an image whose blobs lie in containerd's content store. Closing
// it closes them.
type storedImage struct {
	io.Closer
	manifest *image.Manifest
	config   []byte
	blobs    []image.File // of the layers, lowest first
}

// findStored finds an image's manifest, config document and layers in containerd's
// content store, nil where that can't be read, as root alone may, or lacks a part.
// root is the digest by which the engine knows the image, an index's or a
// manifest's; of an index the image that has the layers is meant, and, unless
// platform is nil, is for that one. Documents are believed for their digests, and so
// will the layers be.
func (e *engine) findStored(ctx context.Context, root string, platform *v1.Platform, diffIDs []v1.Hash) *storedImage {
	digest, err := v1.NewHash(root)
	if err != nil {
		return nil
	}
	for _, dir := range e.content {
		store := oci.Blobs(dir)
		document := func(d v1.Hash) ([]byte, bool, error) {
			doc, err := store.Document(ctx, v1.Descriptor{Digest: d})
			if errors.Is(err, fs.ErrNotExist) {
				return nil, false, nil // an index may list what nobody pulled
			}
			return doc, err == nil, err
		}
		found := &storedImage{Closer: store}
		found.manifest, err = image.SearchManifest(digest, func(m *image.Manifest) bool {
			config, ok, err := document(m.Config.Digest)
			if !ok || err != nil || image.DigestOf(config) != m.Config.Digest {
				return false
			}
			of, listed, err := image.ParseConfig(config)
			of.Features, of.OSFeatures = nil, nil // an engine doesn't tell them
			found.config = config
			return err == nil && slices.Equal(listed, diffIDs) && len(m.Layers) == len(listed) && (platform == nil || of.Equals(*platform))
		}, document)
		if err != nil || found.manifest == nil {
			continue
		}
		for _, l := range found.manifest.Layers {
			f, fileErr := store.File(l)
			err = errors.Join(err, fileErr)
			found.blobs = append(found.blobs, f)
		}
		if err == nil {
			return found
		}
	}
	return nil
}

// image is im with what the store has of it. The manifest is left out where docker
// save's would be, so that the result is the same either way.
func (s *storedImage) image(ctx context.Context, im image.Image, r image.Reader) (*image.Image, error) {
	layers := make([]*image.Layer, len(s.blobs))
	for i, f := range s.blobs {
		layers[i] = image.NewLayer(image.LayerName(i, len(s.blobs), im.DiffIDs[i]), im.DiffIDs[i], nil).InFile(f).At(s.manifest.Layers[i].Digest.String())
	}
	im.Config = s.config
	if !s.manifest.Restates(im.DiffIDs) {
		im.Manifest = s.manifest
		if err := im.Manifest.Describe(layers); err != nil {
			return nil, err
		}
	}
	return image.Make(ctx, im, layers, r), nil
}

// storesBase tells whether an image of the engine has the lowest keep layers of im
// as blobs that are the same to the byte.
func (p *place) storesBase(ctx context.Context, im *image.Image, keep int) (bool, error) {
	if im.Manifest == nil || len(p.content) == 0 {
		return false, nil
	}
	has := false
	err := p.eachImage(ctx, anyImage, func(id string, have []v1.Hash) (bool, error) {
		if len(have) < keep || !slices.Equal(have[:keep], im.DiffIDs[:keep]) {
			return false, nil
		}
		stored := p.findStored(ctx, id, nil, have)
		if stored == nil {
			return false, nil
		}
		has = slices.EqualFunc(stored.manifest.Layers[:keep], im.Manifest.Layers[:keep], func(a, b v1.Descriptor) bool { return a.Digest == b.Digest })
		return has, stored.Close()
	})
	return has, err
}
