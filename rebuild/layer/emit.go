package layer

import (
	"context"
	"fmt"
)

// sink takes the merged layer's entries in their order.
type sink interface {
	header(b []byte) error
	// body is asked for a file's content, right after its header: the entry
	// that has it, in its layer.
	body(layer int, x *Index, number int, e *entry) error
}

// emitter walks the plan.
type emitter struct {
	m       *Merged
	to      sink
	f       formatter
	name    []byte
	target  []byte
	done    []uint64 // bits: directories that are out, or that needn't be
	climbed []uint32
	paths   int
	bytes   int64
}

// emit gives every entry to a sink. The order: the root, what goes from the
// base, what links to files of the base, then the upper layers' entries in their
// own order, each directory before what is in it.
func (m *Merged) emit(ctx context.Context, to sink) (*emitter, error) {
	a := m.a
	e := &emitter{m: m, to: to, done: make([]uint64, len(a.nodes)/64+1)}
	e.done[0] = 1
	if m.rootAt {
		x, en := a.at(a.nodes[0].entry)
		name := "./"
		if a.nodes[0].flags&rootForm != 0 {
			name = "/"
		}
		h := headerOf(x, en)
		a.changedTo(&h, inodeKey{entry: a.nodes[0].entry})
		h.name, h.kind = name, typeDir
		if err := e.put(&h); err != nil {
			return nil, err
		}
		e.paths++
	}
	for i, id := range m.erasures {
		if i&1023 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := e.erase(id); err != nil {
			return nil, err
		}
	}
	for i, id := range m.copies {
		if i&1023 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := e.node(id); err != nil {
			return nil, err
		}
	}
	for i, id := range m.owner {
		if i&1023 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if id == none {
			continue
		}
		if err := e.node(id); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *emitter) isDone(id uint32) bool { return e.done[id/64]&(1<<(id%64)) != 0 }
func (e *emitter) setDone(id uint32)     { e.done[id/64] |= 1 << (id % 64) }

func (e *emitter) put(h *outHeader) error { return e.to.header(e.f.format(h)) }

// parents puts out the directories above a path that aren't yet.
func (e *emitter) parents(id uint32) error {
	e.climbed = e.climbed[:0]
	for p := e.m.a.nodes[id].parent; !e.isDone(p); p = e.m.a.nodes[p].parent {
		e.climbed = append(e.climbed, p)
	}
	for i := len(e.climbed) - 1; i >= 0; i-- {
		p := e.climbed[i]
		if e.m.a.nodes[p].flags&implied != 0 {
			if err := e.implied(p); err != nil {
				return err
			}
			continue
		}
		if err := e.directory(p); err != nil {
			return err
		}
	}
	return nil
}

// directory puts out a listed directory, and that it hides the base's.
func (e *emitter) directory(id uint32) error {
	e.setDone(id)
	n := &e.m.a.nodes[id]
	x, en := e.m.a.at(n.entry)
	h := headerOf(x, en)
	e.m.a.changedTo(&h, inodeKey{entry: n.entry})
	h.records = h.records.unmade(e.m.defaultACL(n.parent), h.mode, true)
	e.name = append(e.m.a.appendPath(e.name[:0], id), '/')
	h.name = view(e.name)
	e.paths++
	if err := e.put(&h); err != nil {
		return err
	}
	if !e.m.portable && e.m.opaque(n) {
		return e.marker(id)
	}
	return nil
}

func (e *emitter) marker(id uint32) error {
	e.name = append(e.m.a.appendPath(e.name[:0], id), '/')
	e.name = append(e.name, opaqueMarker...)
	return e.put(&outHeader{name: view(e.name), kind: typeFile, mode: 0o600})
}

// erase puts out a whiteout, an opaque marker in a directory that isn't listed,
// or a directory that a layer made for a whiteout that is void.
func (e *emitter) erase(id uint32) error {
	if err := e.parents(id); err != nil {
		return err
	}
	a := e.m.a
	n := &a.nodes[id]
	if e.m.portable {
		if n.kind == absent {
			return nil
		}
		return e.implied(id)
	}
	if n.kind == absent {
		e.name = a.appendPath(e.name[:0], n.parent)
		if len(e.name) > 0 {
			e.name = append(e.name, '/')
		}
		e.name = append(e.name, whiteoutPrefix...)
		e.name = append(e.name, a.component(n)...)
		return e.put(&outHeader{name: view(e.name), kind: typeFile, mode: 0o600})
	}
	if kind, _ := whiteoutName(a.component(n)); kind != nameOrdinary {
		// A directory of such a name can't be listed. A marker makes it, too.
		if n.flags&inBase != 0 && !e.m.opaque(n) {
			return nil
		}
		return e.marker(id)
	}
	if e.m.opaque(n) {
		if err := e.implied(id); err != nil {
			return err
		}
		return e.marker(id)
	}
	return e.madeDirectory(id)
}

// implied puts out a directory that no layer lists, so that no engine has to make
// it up. Two cases are left to the engine, as they were in the original layer: where
// the base shows the directory with other metadata (engines with a graph driver
// make a new one then, and containerd copies the base's), and in a directory with
// the setgid bit (most engines leave the new one the bit that it inherits, but not
// the group; moby's next ones do it the other way round). Even these are listed if they
// would come out otherwise: for an ADD, which keeps the metadata of a directory
// that exists, and if the parent has got or lost the setgid bit since.
func (e *emitter) implied(id uint32) error {
	if e.isDone(id) {
		return nil
	}
	a := e.m.a
	n := &a.nodes[id]
	if e.m.portable || e.m.listed || !e.m.differs(n) && !a.setgid(id) || a.setgid(id) != a.setgid(n.parent) || e.m.defaultACL(n.parent) != "" {
		if kind, _ := whiteoutName(a.component(n)); kind == nameOrdinary {
			return e.madeDirectory(id)
		}
	}
	e.setDone(id)
	return nil
}

// madeDirectory puts out a directory that no layer lists, with the metadata that
// engines give it. Its time would be that of the unpacking; the time of what
// implied it is as near as a fixed one gets.
func (e *emitter) madeDirectory(id uint32) error {
	_, en := e.m.a.at(e.m.a.nodes[id].entry)
	e.name = append(e.m.a.appendPath(e.name[:0], id), '/')
	e.setDone(id)
	e.paths++
	mode := uint32(0o755)
	if e.m.a.setgid(id) {
		mode |= 0o2000
	}
	acls := records("").unmade(e.m.defaultACL(e.m.a.nodes[id].parent), mode, true)
	return e.put(&outHeader{name: view(e.name), kind: typeDir, mode: mode, mtime: en.mtime, nsec: en.nsec, records: acls})
}

// defaultACL is that of a directory of the merged layer, "" for none.
func (m *Merged) defaultACL(id uint32) string {
	n := &m.a.nodes[id]
	if !m.a.inherited || !m.upper(n) || n.flags&implied != 0 {
		return ""
	}
	x, e := m.a.at(n.entry)
	h := headerOf(x, e)
	m.a.changedTo(&h, inodeKey{entry: n.entry})
	acl, _ := h.records.get(defaultACL)
	return acl
}

// node puts out one path.
func (e *emitter) node(id uint32) error {
	if e.isDone(id) {
		return nil
	}
	if err := e.parents(id); err != nil {
		return err
	}
	n := &e.m.a.nodes[id]
	if n.kind == directory {
		return e.directory(id)
	}
	a := e.m.a
	h, x, en := a.state(n)
	e.name = a.appendPath(e.name[:0], id)
	h.name = view(e.name)
	e.paths++
	first := e.m.primary(n)
	if first == id && h.kind != typeSymlink {
		h.records = h.records.unmade(e.m.defaultACL(n.parent), h.mode, false)
	}
	if first != id {
		e.target = a.appendPath(e.target[:0], first)
		h.link, h.kind, h.size, h.major, h.minor = view(e.target), typeLink, 0, 0, 0
		return e.put(&h)
	}
	if err := e.put(&h); err != nil || h.kind != typeFile {
		return err
	}
	e.bytes += h.size
	l := a.layerOf(n.inode)
	return e.to.body(l, x, int(n.inode-a.starts[l]), en)
}

// state gives what a path is in the end, but for its name: also the entry that
// made its inode.
func (a *applier) state(n *node) (outHeader, *Index, *entry) {
	x, e := a.at(n.inode)
	h := headerOf(x, e)
	a.changedTo(&h, a.key(n.inode, n.entry))
	return h, x, e
}

// changedTo brings a header up to what has become of the inode since.
func (a *applier) changedTo(h *outHeader, key inodeKey) {
	if c, ok := a.become(key); ok {
		h.mode, h.uid, h.gid, h.mtime, h.nsec, h.records = c.mode, c.uid, c.gid, c.mtime, c.nsec, c.records
	}
}

// headerOf gives an entry's header, but for its name.
func headerOf(x *Index, e *entry) outHeader {
	at := x.attr(e)
	h := outHeader{
		kind: at.kind, mode: at.mode, uid: at.uid, gid: at.gid, major: at.major, minor: at.minor,
		size: e.size, mtime: e.mtime, nsec: e.nsec, uname: at.uname, gname: at.gname, records: x.records(e),
	}
	if at.kind == typeSymlink {
		h.link = x.link(e)
	}
	return h
}

// measure counts what Write will write.
func (m *Merged) measure(ctx context.Context) (int64, error) {
	var c counting
	e, err := m.emit(ctx, &c)
	if err != nil {
		return 0, err
	}
	m.paths, m.bytes = e.paths, e.bytes
	return int64(c) + 2*blockSize, nil
}

// counting is a sink that adds sizes up.
type counting int64

func (c *counting) header(b []byte) error { *c += counting(len(b)); return nil }

func (c *counting) body(layer int, x *Index, _ int, e *entry) error {
	if e.size > maxBody-int64(*c) {
		return &Error{Op: "merge", Layer: layer, Path: x.name(e), Err: fmt.Errorf("file of %d bytes: %w", e.size, ErrLimit)}
	}
	*c += counting(e.size + padding(e.size))
	return nil
}
