package layer

import "iter"

// Changes counts what the merged layer brings: paths that the base doesn't show,
// and paths that it shows and the layer has anew. What the layer deletes is for
// Deletions to tell.
func (m *Merged) Changes() (added, changed Count) {
	for id, n := range m.own() {
		var size int64
		if n.kind == other {
			_, e := m.a.at(n.inode)
			size = e.size
		}
		if m.a.nodes[id].flags&inBase != 0 {
			changed.add(size)
		} else {
			added.add(size)
		}
	}
	return added, changed
}

// Brought is something that the merged layer brings.
type Brought struct {
	Path     string // without a leading slash
	UID, GID uint32
	Dir      bool
}

// Brought lists what the merged layer brings, parents first: all but the
// directories that the base shows as directories, too.
func (m *Merged) Brought() iter.Seq[Brought] {
	return func(yield func(Brought) bool) {
		for id, n := range m.own() {
			if n.kind == directory && n.flags&baseDir != 0 {
				continue
			}
			x, e := m.a.at(n.inode)
			if n.kind == directory {
				x, e = m.a.at(n.entry)
			}
			owner := x.attr(e)
			if !yield(Brought{Path: m.a.path(id), UID: owner.uid, GID: owner.gid, Dir: n.kind == directory}) {
				return
			}
		}
	}
}

// own are the nodes that the merged layer lists because a layer of it lists
// them.
func (m *Merged) own() iter.Seq2[uint32, *node] {
	return func(yield func(uint32, *node) bool) {
		a := m.a
		for id := 1; id < len(a.nodes); id++ {
			n := &a.nodes[id]
			if n.kind == absent || n.flags&implied != 0 || n.entry < a.starts[a.base] {
				continue
			}
			if !yield(uint32(id), n) {
				return
			}
		}
	}
}
