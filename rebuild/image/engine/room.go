package engine

import (
	"context"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/room"
)

// Room is what it takes to store the images in the engine, as far as its file
// systems are seen from here.
func Room(ctx context.Context, images []image.NewImage, opt image.Options) ([]room.Need, error) {
	e, err := newEngine(ctx, opt)
	if err != nil {
		return nil, err
	}
	return e.room(ctx, images, opt)
}

// Room is the package's Room, of the engine that has been reached.
func (p *place) Room(ctx context.Context, images []image.NewImage) ([]room.Need, error) {
	return p.room(ctx, images, p.opt)
}

// room is Room: a graphdriver store unpacks the archive that it is sent, and then
// the layers (moby, image/tarexport load). A containerd store is sent a layer that
// is compressed first, or one as it is written.
func (e *engine) room(ctx context.Context, images []image.NewImage, opt image.Options) ([]room.Need, error) {
	if e.store == containerdStore {
		c, err := layoutCompression(ctx, images, opt)
		if err != nil || c.Kind == image.Uncompressed { // it is sent while it is written
			return nil, err
		}
		return []room.Need{image.TempRoom(images, c.Kind, opt)}, nil
	}
	var needs []room.Need
	for _, n := range images {
		if e.overlay != "" && n.Write != nil {
			needs = append(needs, room.Need{Dir: e.overlay, What: "the engine", Bytes: 2 * n.Size, Least: n.Size})
		}
	}
	return needs, nil
}
