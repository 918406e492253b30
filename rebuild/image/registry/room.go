package registry

import (
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/room"
)

// Room is what it takes here to push the images: each new layer is compressed
// before it is sent.
func Room(images []image.NewImage, opt image.Options) []room.Need {
	var needs []room.Need
	for _, n := range images {
		needs = append(needs, n.TempRoom(opt.Compression.Or(image.Gzip).Kind, opt))
	}
	return needs
}
