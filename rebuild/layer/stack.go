package layer

import (
	"context"
	"errors"
	"hash/maphash"
	"math"
	"slices"
	"strings"
)

// stack is the Verifier's model of an engine: begin makes an empty directory for
// a layer, unpack puts the layer's entries into it one by one, as moby's Unpack
// does, and lay puts the directory over what is there already, as overlayfs
// shows it.
type stack struct {
	layers []*Index
	base   int
	starts []uint32 // number of the first entry of each layer, and one more

	places []place // every path that was ever named
	text   byteArena
	lookup []uint32 // places by the hash of parent and name; nowhere for a free slot
	seed   maphash.Seed

	view    []cell // by place: what the layers so far show
	mine    []cell // by place: the layer being unpacked
	touched []uint32
	layer   int
	root    rootCell
	again   bool // the entry just unpacked replaced one of its own layer

	effort

	acls    map[uint32]string // default ACLs of directories in mine
	xattrs  records           // that the entry just unpacked gives what it makes
	odd     []uint32          // places that the layer has overlayfs show something else at
	strange map[uint32]bool   // such places of the layers so far

	linked map[uint32]facts // what links have made of an inode, by its number
	copies map[uint32]uint32
	copied []uint32 // the base's inode of each copy; its number is copyBit plus the index
}

const (
	nowhere = math.MaxUint32
	copyBit = 1 << 31
)

// place is a path: a name in a parent.
type place struct {
	parent, child, sibling uint32
	name                   uint32
	length                 uint16
}

type cellKind uint8

const (
	cellNone     cellKind = iota
	cellDir               // inode is the entry that lists it
	cellMade              // a directory that no entry lists
	cellFile              // anything else; inode is the entry that made the inode
	cellWhiteout          // only in mine
)

type cell struct {
	inode  uint32
	kind   cellKind
	opaque bool // only in mine
	seen   bool // only in mine: in touched
	setgid bool // of a directory
}

type rootCell struct {
	id      uint32
	applies bool
}

// item is an entry as far as unpacking goes.
type item struct {
	id      uint32
	dir     string // cleaned
	base    string // "" for the root
	link    string
	mode    uint32
	kind    byte
	slash   bool
	opaque  bool
	strange bool // has an xattr of overlayfs's own that shows something else
	records records
}

func newStack(ctx context.Context, layers []*Index, base int) *stack {
	s := &stack{layers: layers, base: base, effort: newEffort(ctx, layers), starts: make([]uint32, len(layers)+1), seed: maphash.MakeSeed(), root: rootCell{id: nowhere}}
	n := 0
	for i, x := range layers {
		n += x.Len()
		s.starts[i+1] = uint32(n)
	}
	s.places = make([]place, 1, n+16)
	s.places[0] = place{parent: nowhere, child: nowhere, sibling: nowhere}
	s.view = make([]cell, 1, n+16)
	s.mine = make([]cell, 1, n+16)
	s.lookup = make([]uint32, 2*n+64)
	s.fill()
	return s
}

func (s *stack) slot(parent uint32, name string) int {
	h := maphash.String(s.seed, name) ^ uint64(parent)*0x9e3779b97f4a7c15
	return int(h % uint64(len(s.lookup)))
}

func (s *stack) grow() {
	s.lookup = make([]uint32, 2*len(s.lookup))
	s.fill()
}

// fill enters every place in the empty lookup table.
func (s *stack) fill() {
	for i := range s.lookup {
		s.lookup[i] = nowhere
	}
	for at := 1; at < len(s.places); at++ {
		slot := s.slot(s.places[at].parent, s.name(uint32(at)))
		for s.lookup[slot] != nowhere {
			slot = (slot + 1) % len(s.lookup)
		}
		s.lookup[slot] = uint32(at)
	}
}

func (s *stack) name(at uint32) string {
	p := &s.places[at]
	return s.text.nameAt(p.name, p.length)
}

func (s *stack) path(at uint32) string {
	var parts []string
	for ; at != 0; at = s.places[at].parent {
		parts = append(parts, s.name(at))
	}
	slices.Reverse(parts)
	return strings.Join(parts, "/")
}

// in gives the place of a name in a directory; nowhere if there is none and it
// isn't to be made.
func (s *stack) in(parent uint32, name string, create bool) uint32 {
	if 2*len(s.places) > len(s.lookup) {
		s.grow()
	}
	slot := s.slot(parent, name)
	for ; s.lookup[slot] != nowhere; slot = (slot + 1) % len(s.lookup) {
		if at := s.lookup[slot]; s.places[at].parent == parent && s.name(at) == name {
			return at
		}
	}
	if !create {
		return nowhere
	}
	text, ok := s.text.addName(name)
	if !ok {
		return nowhere
	}
	at := uint32(len(s.places))
	s.places = append(s.places, place{
		parent: parent, child: nowhere, sibling: s.places[parent].child,
		name: text, length: uint16(len(name)),
	})
	s.places[parent].child = at
	s.lookup[slot] = at
	s.memory += pathCost + int64(len(name))
	s.view = append(s.view, cell{})
	s.mine = append(s.mine, cell{})
	return at
}

// begin starts a layer with an empty directory.
func (s *stack) begin(layer int) {
	for _, at := range s.touched {
		s.mine[at] = cell{}
	}
	s.touched, s.odd = s.touched[:0], s.odd[:0]
	clear(s.acls)
	s.layer = layer
	s.mine[0] = cell{kind: cellMade}
	s.root.applies = false
}

func (s *stack) put(at uint32, c cell) {
	if !s.mine[at].seen {
		s.touched = append(s.touched, at)
	}
	c.seen = true
	s.mine[at] = c
}

// unpack puts one entry into the layer's directory, and says where; nowhere for
// a whiteout.
func (s *stack) unpack(it item) (uint32, error) {
	s.again = false
	if it.base == "" && it.kind != typeDir {
		return nowhere, nil // moby's Unpack skips "." before it looks at the type
	}
	if it.base == "" {
		if s.root.applies {
			if !it.slash {
				return 0, nil // of no effect after one that has
			}
			s.afterListing(s.root.id, it.id)
		}
		s.root = rootCell{it.id, it.slash}
		s.xattrs = it.records
		if it.slash {
			s.create(0, &it, "")
			s.mine[0].setgid = it.mode&0o2000 != 0
		}
		return 0, nil
	}
	base := it.base
	if base == ".wh." || base == ".wh.." || base == ".wh..." {
		return nowhere, ErrWhiteout
	}
	if strings.HasPrefix(base, ".wh.") {
		it.strange = false // engines don't set the attributes of these
	}
	if it.strange && s.layer >= s.base {
		return nowhere, ErrOverlay
	}
	if base == ".wh..wh..opq" {
		return nowhere, s.opaque(it.dir)
	}
	parent, err := s.walk(it.dir, true, strings.HasPrefix(base, ".wh."))
	if err == errErased {
		return nowhere, nil
	}
	if err != nil {
		return nowhere, err
	}
	if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
		at := s.in(parent, hidden, true)
		if at == nowhere {
			return nowhere, ErrLimit
		}
		switch s.mine[at].kind {
		case cellNone:
			s.put(at, cell{kind: cellWhiteout})
		case cellDir, cellMade: // engines refuse it; it hides what lower layers have there
			s.mine[at].opaque = true
		}
		return nowhere, nil
	}
	at := s.in(parent, base, true)
	if at == nowhere {
		return nowhere, ErrLimit
	}
	if it.strange {
		s.odd = append(s.odd, at)
	}
	inode := it.id
	if it.kind == typeLink {
		inode, err = s.linkTarget(it.link)
		if err == errWhiteoutTarget {
			// The new name is one more of the whiteout's device.
			if k := s.mine[at].kind; k == cellDir || k == cellMade {
				s.clear(s.mine, at)
			}
			s.put(at, cell{kind: cellWhiteout})
			return nowhere, nil
		}
		if err != nil {
			return nowhere, err
		}
		if err := s.afterLink(inode, it.id, it.link); err != nil {
			return nowhere, err
		}
	}
	old := s.mine[at]
	s.again = old.kind == cellDir || old.kind == cellFile
	if it.kind == typeDir {
		opaque := it.opaque || (old.kind == cellDir || old.kind == cellMade) && old.opaque
		if old.kind == cellFile {
			s.clear(s.mine, at)
		}
		acl := s.acls[parent]
		if old.kind == cellDir || old.kind == cellMade {
			acl = "" // passes on only when a directory is made
		}
		if old.kind == cellDir {
			s.afterListing(old.inode, it.id)
		}
		s.create(at, &it, acl)
		s.put(at, cell{kind: cellDir, inode: it.id, opaque: opaque, setgid: it.mode&0o2000 != 0})
		return at, nil
	}
	if old.kind == cellDir || old.kind == cellMade {
		s.clear(s.mine, at)
	}
	s.put(at, cell{kind: cellFile, inode: inode})
	s.create(at, &it, s.acls[parent])
	return at, nil
}

// create notes what ACLs an entry gives to what it makes in a directory with a
// default ACL. What it gives is in s.xattrs then.
func (s *stack) create(at uint32, it *item, acl string) {
	s.xattrs = it.records
	if s.layer < s.base || it.kind == typeSymlink || len(s.acls) == 0 && !it.records.hasACL() {
		return
	}
	delete(s.acls, at)
	switch {
	case it.kind == typeLink:
		s.xattrs = it.records.settled()
	case s.layer == len(s.layers):
		s.xattrs = it.records.made(acl, it.mode, it.kind == typeDir)
	default:
		was := s.facts(it.id)
		now := was
		now.records = was.records.made(acl, it.mode, it.kind == typeDir)
		s.become(it.id, was, now)
		s.xattrs = now.records
	}
	if d, ok := s.xattrs.get(defaultACL); ok && it.kind == typeDir {
		if s.acls == nil {
			s.acls = map[uint32]string{}
		}
		s.acls[at] = d
	}
}

// opaque marks the layer's directory at a path as opaque, and makes it if there is
// nothing. A mark on anything else has no effect.
func (s *stack) opaque(path string) error {
	dir, last := splitName(path)
	for links := 0; last != ""; {
		parent, err := s.walk(dir, true, true)
		if err == errErased {
			return nil
		}
		if err != nil {
			return err
		}
		at := s.in(parent, last, false)
		if at == nowhere {
			break
		}
		if s.mine[at].kind == cellWhiteout {
			return nil
		}
		if s.mine[at].kind != cellFile {
			break
		}
		f := s.facts(s.mine[at].inode)
		if f.kind != typeSymlink {
			return nil
		}
		if links++; links > maxLinks {
			return ErrLoop
		}
		target := strings.TrimRight(f.link, "/")
		if !strings.HasPrefix(f.link, "/") {
			target = s.path(parent) + "/" + target
		}
		path = target
		if dir, last = splitName(target); last == "." || last == ".." {
			break
		}
	}
	at, err := s.walk(path, true, true)
	if err == errErased {
		return nil
	}
	if err == nil {
		s.mine[at].opaque = true
	}
	return err
}

// walk goes down to a directory of the layer, through the layer's own symbolic
// links, and makes what is missing if create is set.
func (s *stack) walk(path string, create, erase bool) (uint32, error) {
	at := uint32(0)
	for links := 0; path != ""; {
		var part string
		part, path, _ = strings.Cut(path, "/")
		s.steps++
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			if at != 0 {
				at = s.places[at].parent
			}
			continue
		}
		next := s.in(at, part, create)
		if next == nowhere {
			return nowhere, ErrLink
		}
		switch c := s.mine[next]; c.kind {
		case cellFile:
			f := s.facts(c.inode)
			if f.kind != typeSymlink {
				return nowhere, ErrNotDirectory
			}
			if links++; links > maxLinks {
				return nowhere, ErrLoop
			}
			if strings.HasPrefix(f.link, "/") {
				at = 0
			}
			path = f.link + "/" + path
			continue
		case cellNone, cellWhiteout:
			if !create {
				return nowhere, ErrLink
			}
			if erase && c.kind == cellWhiteout {
				return nowhere, errErased
			}
			if s.acls[at] != "" {
				return nowhere, ErrACL
			}
			// mkdir in a setgid directory passes the bit on.
			s.put(next, cell{kind: cellMade, inode: nowhere, opaque: c.kind == cellWhiteout, setgid: s.mine[at].setgid})
		}
		at = next
	}
	return at, nil
}

// errErased is walk's answer where there is nothing more to erase: below a whiteout
// of the same layer.
var errErased = errors.New("below a whiteout")

// errWhiteoutTarget is linkTarget's answer for a whiteout of the same layer.
var errWhiteoutTarget = errors.New("the target is a whiteout")

// linkTarget gives the inode that a hard link names. It looks in this layer, then
// in the ones below, which engines refuse to do. A link to an inode of the base
// makes a copy of it.
func (s *stack) linkTarget(name string) (uint32, error) {
	dirName, base := splitName(cleanName(name))
	if parent, err := s.walk(dirName, false, false); err == nil {
		if at := s.in(parent, base, false); at != nowhere {
			switch s.mine[at].kind {
			case cellFile:
				return s.mine[at].inode, nil
			case cellWhiteout:
				return nowhere, errWhiteoutTarget
			}
		}
	}
	if s.layer == len(s.layers) {
		return nowhere, ErrLink
	}
	at := s.below(cleanName(name))
	if at == nowhere || s.view[at].kind != cellFile {
		return nowhere, ErrLink
	}
	inode := s.view[at].inode
	if s.layer < s.base || inode >= s.starts[s.base] {
		return inode, nil
	}
	if n, ok := s.copies[inode]; ok {
		return n, nil
	}
	if s.copies == nil {
		s.copies = map[uint32]uint32{}
	}
	n := copyBit + uint32(len(s.copied))
	s.copied = append(s.copied, inode)
	s.copies[inode] = n
	if f, ok := s.linked[inode]; ok {
		s.linked[n] = f
	}
	return n, nil
}

// lstat is what the kernel says of a path in this layer as it stands, not cleaned:
// whether there is something, and whether that is a symbolic link.
func (s *stack) lstat(path string) (there, symlink bool) {
	at, links := uint32(0), 0
	for rest, more := path, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "/")
		s.steps++
		c := s.mine[at]
		if c.kind != cellDir && c.kind != cellMade {
			return false, false
		}
		switch part {
		case "", ".":
			continue
		case "..":
			if at != 0 {
				at = s.places[at].parent
			}
			continue
		}
		if at = s.in(at, part, false); at == nowhere || s.mine[at].kind == cellNone {
			return false, false
		}
		if s.mine[at].kind != cellFile {
			continue
		}
		f := s.facts(s.mine[at].inode)
		switch {
		case f.kind != typeSymlink:
		case !more:
			return true, true
		default:
			if links++; links > maxLinks {
				return false, false
			}
			if at = s.places[at].parent; strings.HasPrefix(f.link, "/") {
				at = 0
			}
			rest = f.link + "/" + rest
		}
	}
	return true, false
}

// below finds a path in what the lower layers show.
func (s *stack) below(path string) uint32 {
	at := uint32(0)
	for links := 0; path != ""; {
		var part string
		part, path, _ = strings.Cut(path, "/")
		s.steps++
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			if at != 0 {
				at = s.places[at].parent
			}
			continue
		}
		next := s.in(at, part, false)
		if next == nowhere || s.view[next].kind == cellNone {
			return nowhere
		}
		if s.view[next].kind == cellFile && path != "" {
			f := s.facts(s.view[next].inode)
			if links++; f.kind != typeSymlink || links > maxLinks {
				return nowhere
			}
			if strings.HasPrefix(f.link, "/") {
				at = 0
			}
			path = f.link + "/" + path
			continue
		}
		at = next
	}
	return at
}

// clear empties everything below a place.
func (s *stack) clear(cells []cell, at uint32) {
	pending := []uint32{at}
	for len(pending) > 0 {
		p := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		for c := s.places[p].child; c != nowhere; c = s.places[c].sibling {
			s.steps++
			if k := cells[c].kind; k != cellNone {
				cells[c].kind, cells[c].opaque = cellNone, false
				if k == cellDir || k == cellMade {
					pending = append(pending, c)
				}
			}
		}
	}
}

// idle gives the paths of whiteouts that hide nothing.
func (s *stack) idle() []uint32 {
	var out []uint32
	for _, at := range s.touched {
		if s.mine[at].kind == cellWhiteout && s.view[at].kind == cellNone {
			out = append(out, at)
		}
	}
	return out
}

// lay puts the layer's directory over the view. Places are touched after their
// parents. Above the base it stops at a directory over one that overlayfs shows
// something else for, and gives its place.
func (s *stack) lay() uint32 {
	for _, at := range s.touched {
		if s.strange[at] {
			switch k := s.view[at].kind; {
			case k != cellDir && k != cellMade, s.mine[at].opaque, s.mine[at].kind == cellFile, s.mine[at].kind == cellWhiteout:
				delete(s.strange, at)
			case s.layer >= s.base && s.mine[at].kind != cellNone:
				return at
			}
		}
		switch c := s.mine[at]; c.kind {
		case cellWhiteout:
			s.clear(s.view, at)
			s.view[at] = cell{}
		case cellFile:
			s.clear(s.view, at)
			s.view[at] = cell{kind: cellFile, inode: c.inode}
		case cellDir, cellMade:
			if k := s.view[at].kind; c.opaque || k != cellDir && k != cellMade {
				s.clear(s.view, at)
			}
			s.view[at] = cell{kind: c.kind, inode: c.inode, setgid: c.setgid}
		}
	}
	for _, at := range s.odd {
		if s.strange == nil {
			s.strange = map[uint32]bool{}
		}
		s.strange[at] = true
	}
	return nowhere
}
