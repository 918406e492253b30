package image

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image/room"
)

// TempRoom is what the new layer takes among the temporary files while it waits,
// compressed as kind, to be copied to its place.
func (n NewImage) TempRoom(kind string, opt Options) room.Need {
	bytes, least := n.layerRoom(kind)
	return room.Need{Dir: opt.TempDir, What: "temporary files", Bytes: bytes, Least: least}
}

// Room is what the image's layers take in dir, a new one being compressed as
// kind. Those of the base that has tells of are there already; has nil means that
// none is.
func (n NewImage) Room(dir, what, kind string, has func(*Layer) bool) room.Need {
	bytes, least := n.layerRoom(kind)
	for _, l := range n.Base() {
		if l == nil || has != nil && has(l) {
			continue
		}
		size := l.knownSize()
		bytes, least = bytes+size, least+size
	}
	return room.Need{Dir: dir, What: what, Bytes: bytes, Least: least}
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

// knownSize is the number of bytes that the source stores the layer in, 0 where
// only reading the layer would tell.
func (l *Layer) knownSize() int64 {
	l.learnt.mu.Lock()
	defer l.learnt.mu.Unlock()
	switch {
	case l.learnt.known:
		return l.learnt.size
	case l.desc.Size > 0:
		return l.desc.Size
	case l.file != nil:
		return l.file.Size()
	}
	return 0
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

// Digest is that of the layer's stored bytes, zero where it isn't known.
func (l *Layer) Digest() v1.Hash { return l.desc.Digest }
