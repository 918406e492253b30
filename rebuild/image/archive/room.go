package archive

import (
	"context"
	"os"
	"path/filepath"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/room"
)

// Room is what it takes to write an archive with the images to path. The layers
// that are made wait among the temporary files until the archive is written.
func Room(ctx context.Context, path string, images []image.NewImage, opt image.Options) ([]room.Need, error) {
	out := &Output{standing: standing{outer: outerOf(path)}}
	special := path == "-"
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		special = true
	}
	file := room.Need{Dir: filepath.Dir(path), What: "the archive"}
	var needs []room.Need
	for _, n := range images {
		kept, err := n.KeptKind(ctx)
		if err != nil {
			return nil, err
		}
		kind := opt.Compression.Or(out.Inner(kept)).Kind
		needs = append(needs, n.TempRoom(kind, opt))
		part := n.Room(file.Dir, file.What, kind, nil)
		file.Bytes, file.Least = file.Bytes+part.Bytes, file.Least+part.Least
	}
	if out.Compressed() {
		file.Least = 0 // it may shrink to anything
	}
	if !special {
		needs = append(needs, file)
	}
	return needs, nil
}
