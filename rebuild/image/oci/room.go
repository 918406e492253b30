package oci

import (
	"context"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
	"docker-flatten/rebuild/image/room"
)

// Room is what it takes to store the images in a layout, or in an archive of one.
func Room(ctx context.Context, ref image.Ref, images []image.NewImage, opt image.Options) ([]room.Need, error) {
	if ref.Transport != image.Layout {
		return archive.Room(ctx, ref.Path, images, true, opt)
	}
	kind := opt.Compression.Or(image.Gzip).Kind
	has := func(l *image.Layer) bool {
		if l.Digest() == (v1.Hash{}) {
			return false
		}
		_, err := os.Stat(filepath.Join(ref.Path, filepath.FromSlash(image.BlobPath(l.Digest()))))
		return err == nil
	}
	return []room.Need{image.TempRoom(images, kind, opt), image.LayersRoom(images, kind, ref.Path, "the layout", has)}, nil
}
