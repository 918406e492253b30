package image

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image/room"
)

// TempRoom is what the new layers take among the temporary files while they wait,
// compressed as kind, to be copied to their place.
func TempRoom(images []NewImage, kind string, opt Options) room.Need {
	need := room.Need{Dir: opt.TempDir, What: "temporary files"}
	for _, n := range images {
		bytes, least := n.layerRoom(kind)
		need.Bytes, need.Least = need.Bytes+bytes, need.Least+least
	}
	return need
}

// LayersRoom is what the images' layers take in dir, new ones being compressed as
// kind. Those of a base that has tells of are there already; has nil means that
// none is. Equal layers lie there once.
func LayersRoom(images []NewImage, kind, dir, what string, has func(*Layer) bool) room.Need {
	need := room.Need{Dir: dir, What: what}
	seen := map[v1.Hash]bool{}
	newLeast := int64(0)
	for _, n := range images {
		bytes, least := n.layerRoom(kind)
		need.Bytes += bytes
		newLeast = max(newLeast, least) // they may all be the same
		for i, l := range n.Base() {
			id := n.From.DiffIDs[i]
			if l == nil || seen[id] || has != nil && has(l) {
				continue
			}
			seen[id] = true
			size := l.knownSize()
			need.Bytes += size
			if l.raw != nil || l.Kind() == Gzip || l.Kind() == Zstandard || l.Kind() == Uncompressed { // else it is compressed anew
				need.Least += size
			}
		}
	}
	need.Least += newLeast
	return need
}

// bestDeflate is by how much gzip shortens at most (zlib.net/zlib_tech.html,
// "Maximum Compression Factor").
const bestDeflate = 1032

// layerRoom is what the new layer takes: about, and surely no less.
func (n NewImage) layerRoom(kind string) (bytes, least int64) {
	switch {
	case n.Write == nil:
		return 0, 0
	case kind == Uncompressed:
		return n.Size, n.Size
	case kind == Gzip:
		least = n.Size / bestDeflate
	}
	if n.Guess > 0 {
		return max(n.Guess, least), least
	}
	return n.Size, least
}

// Room is what Read takes for the layers from the keepFrom-th on, which are kept
// for a second reading, nil where it takes nothing or that isn't known before.
func (im *Image) Room(keepFrom int) []room.Need {
	if r, ok := im.reader.(interface {
		Room(im *Image, keepFrom int) []room.Need
	}); ok {
		return r.Room(im, keepFrom)
	}
	return nil
}

// Room is Image.Room.
func (s SideBySide) Room(im *Image, keepFrom int) []room.Need {
	if s.Spools == nil {
		return nil
	}
	n := room.Need{Dir: s.Spools.Dir, What: "temporary files"}
	for _, l := range im.layers[min(keepFrom, len(im.layers)):] {
		if l.file == nil {
			n.Bytes += l.desc.Size
		}
	}
	n.Least = n.Bytes
	return []room.Need{n}
}

// StoredBytes are the bytes in which the source stores the image's layers, as far
// as it is known.
func (im *Image) StoredBytes() (n int64) {
	for _, l := range im.layers {
		if l != nil {
			n += l.knownSize()
		}
	}
	return n
}
