package maker

import (
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/room"
)

// ContextRoom is what the order's build context takes in dir, "-" for one that
// waits among the temporary files until it goes to stdout.
func (o Order) ContextRoom(dir string) room.Need {
	if dir == "-" {
		dir = ""
	}
	n := Native(o)
	if o.Plan.Base.Name != "" {
		n.Keep = 0 // the base doesn't come along
	}
	return image.LayersRoom([]image.NewImage{n}, image.Gzip, dir, "the build context", nil)
}
