package registry

import (
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/room"
)

// Room is what it takes here to push the images: each new layer is compressed
// before it is sent.
func Room(images []image.NewImage, opt image.Options) []room.Need {
	return []room.Need{image.TempRoom(images, opt.Compression.Or(image.Gzip).Kind, opt)}
}
