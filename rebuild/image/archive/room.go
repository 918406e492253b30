package archive

import (
	"context"
	"os"
	"path/filepath"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/room"
)

// Room is what it takes to write an archive with the images to path, a docker-archive
// or one of a layout.
func Room(ctx context.Context, path string, images []image.NewImage, layout bool, opt image.Options) ([]room.Need, error) {
	kept, err := images[0].KeptKind(ctx)
	if err != nil {
		return nil, err
	}
	outer := outerOf(path)
	kind := inner(outer, kept)
	if layout && outer == image.Uncompressed {
		kind = image.Gzip // a layout's layers may differ in kind
	}
	kind = opt.Compression.Or(kind).Kind
	needs := []room.Need{image.TempRoom(images, kind, opt)}
	if info, err := os.Stat(path); path == "-" || err == nil && !info.Mode().IsRegular() {
		return needs, nil
	}
	file := image.LayersRoom(images, kind, filepath.Dir(path), "the archive", nil)
	if outer != image.Uncompressed {
		file.Least = 0 // it may shrink to anything
	}
	return append(needs, file), nil
}
