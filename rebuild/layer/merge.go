package layer

import (
	"context"
	"fmt"
	"slices"
)

// Merged is the result of Merge: one layer in place of several.
type Merged struct {
	a        *applier
	owner    []uint32 // for each entry of the upper layers: the path that its header or body goes out for
	copyOf   map[uint32]uint32
	copies   []uint32 // paths whose data come from the base, by the data's place
	erasures []uint32 // paths at which something of the base goes, or a directory has to be made
	fates    []fate
	was      []uint32 // for each path of the base: the entry that made its inode
	needs    []bool   // for each layer: data of it go out
	rootAt   bool     // an upper layer lists the root
	portable bool
	listed   bool // directories that no layer lists go out, too
	size     int64
	paths    int
	bytes    int64
}

// Merge puts the upper layers together to one layer, which over the base gives
// the tree that all of them give, lowest first. Without a base the result stands
// alone. The indexes are kept and must be those of all the image's layers. An
// error is of type *Error, with the layer's index in the image, or ctx's.
func Merge(ctx context.Context, base, upper []*Index) (*Merged, error) {
	layers := append(append(make([]*Index, 0, len(base)+len(upper)), base...), upper...)
	a, err := newApplier(ctx, layers, len(base))
	if err != nil {
		return nil, err
	}
	m := &Merged{a: a, fates: make([]fate, a.starts[len(layers)])}
	a.lost = func(id uint32, deleted bool) {
		n := &a.nodes[id]
		if n.flags&implied != 0 {
			return
		}
		f := fateOf(a.layer, deleted)
		m.fates[n.entry] = f
		if n.kind == other {
			m.fates[n.inode] = f
		}
	}
	for i := range layers {
		if i == a.base {
			m.boundary()
		}
		if err := a.apply(i); err != nil {
			return nil, err
		}
	}
	if len(upper) == 0 {
		m.boundary()
	}
	m.plan()
	if m.size, err = m.measure(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

func newApplier(ctx context.Context, layers []*Index, base int) (*applier, error) {
	a := &applier{layers: layers, base: base, starts: make([]uint32, len(layers)+1)}
	if len(layers) > maxLayers {
		return nil, &Error{Op: "merge", Layer: maxLayers, Err: fmt.Errorf("more than %d layers: %w", maxLayers, ErrLimit)}
	}
	total := 0
	for i, x := range layers {
		total += x.Len()
		if total > maxEntries {
			return nil, &Error{Op: "merge", Layer: i, Err: fmt.Errorf("more than %d entries in an image: %w", maxEntries, ErrLimit)}
		}
		a.starts[i+1] = uint32(total)
	}
	a.tree = newTree(total)
	a.effort = newEffort(ctx, layers)
	return a, nil
}

// boundary notes what the base shows.
func (m *Merged) boundary() {
	if m.a.base == 0 {
		return
	}
	m.was = make([]uint32, len(m.a.nodes))
	for id := range m.a.nodes {
		n := &m.a.nodes[id]
		n.flags &^= cut
		m.was[id] = n.inode
		if n.flags&strange != 0 {
			n.flags |= wasStrange
		}
		if n.kind != absent {
			n.flags |= inBase
		}
		if n.kind == directory {
			n.flags |= baseDir
		}
	}
}

// upper is true for a path that the merged layer has.
func (m *Merged) upper(n *node) bool {
	return n.kind != absent && int(n.layer) >= m.a.base
}

// whiteout is true for a path of the base that has to be deleted by itself.
func (m *Merged) whiteout(n *node) bool {
	if n.kind != absent || n.flags&inBase == 0 {
		return false
	}
	p := &m.a.nodes[n.parent]
	return p.kind == directory && p.flags&(baseDir|cut) == baseDir
}

// opaque is true for a directory that hides a directory of the base which has
// something in it.
func (m *Merged) opaque(n *node) bool {
	if n.kind != directory || n.flags&(baseDir|cut) != baseDir|cut || n.parent == none {
		return false
	}
	if m.a.nodes[n.parent].flags&cut != 0 {
		return false // the parent hides it already
	}
	if n.flags&wasStrange != 0 {
		return true // who knows what is in it
	}
	for c := n.first; c != none; c = m.a.nodes[c].next {
		if m.a.nodes[c].flags&inBase != 0 {
			return true
		}
	}
	return false
}

// differs is true for an unlisted directory that unites with one which the base
// lists with other metadata.
func (m *Merged) differs(n *node) bool {
	return n.flags&(dressed|baseDir) == dressed|baseDir
}

// plan decides which entries go out, and where.
func (m *Merged) plan() {
	a := m.a
	edge := a.starts[a.base]
	m.owner = make([]uint32, a.starts[len(a.layers)]-edge)
	for i := range m.owner {
		m.owner[i] = none
	}
	root := &a.nodes[0]
	m.rootAt = root.entry != none && root.entry >= edge && len(m.owner) > 0

	// Names that stand where their data are, and directories.
	for id := 1; id < len(a.nodes); id++ {
		n := &a.nodes[id]
		if m.upper(n) && n.flags&implied == 0 && (n.kind == directory || n.entry == n.inode) {
			m.owner[n.entry-edge] = uint32(id)
		}
	}
	// An inode that has lost its first name gets its data by the next one, at
	// the place where the data are.
	var fromBase map[uint32]uint32
	for id := 1; id < len(a.nodes); id++ {
		n := &a.nodes[id]
		if !m.upper(n) || n.kind != other || n.entry == n.inode {
			continue
		}
		if n.inode < edge {
			if fromBase == nil {
				fromBase = map[uint32]uint32{}
			}
			if first, ok := fromBase[n.inode]; !ok || a.nodes[first].entry > n.entry {
				fromBase[n.inode] = uint32(id)
			}
			continue
		}
		first := &m.owner[n.inode-edge]
		if *first == none || a.nodes[*first].entry != n.inode && a.nodes[*first].entry > n.entry {
			*first = uint32(id)
		}
	}
	m.copyOf, m.copies = fromBase, sortedValues(fromBase)
	for id := 1; id < len(a.nodes); id++ {
		n := &a.nodes[id]
		if !m.upper(n) || n.kind != other || n.entry == n.inode {
			continue
		}
		if m.primary(n) != uint32(id) {
			m.owner[n.entry-edge] = uint32(id)
		}
	}

	// A child has a higher number than its parent. So one pass from the end tells
	// every directory whether anything goes out below it.
	for i := range a.nodes {
		a.nodes[i].flags &^= visited
	}
	for id := uint32(len(a.nodes) - 1); id > 0; id-- {
		n := &a.nodes[id]
		erases := m.whiteout(n) || m.opaque(n)
		lone := m.upper(n) && n.flags&(implied|visited) == implied && !erases
		if erases && (n.kind == absent || n.flags&implied != 0) || lone {
			m.erasures = append(m.erasures, id)
		}
		if erases || m.upper(n) {
			a.nodes[n.parent].flags |= visited
		}
	}
	slices.Reverse(m.erasures)

	m.needs = make([]bool, len(a.layers))
	need := func(id uint32) {
		if l := a.layerOf(a.nodes[id].inode); !m.needs[l] {
			_, e := a.at(a.nodes[id].inode)
			m.needs[l] = e.size > 0
		}
	}
	for _, id := range m.copies {
		need(id)
	}
	for _, id := range m.owner {
		if id != none && a.nodes[id].kind == other && m.primary(&a.nodes[id]) == id {
			need(id)
		}
	}
}

// primary gives the name that carries an inode's data, for a name of the merged
// layer.
func (m *Merged) primary(n *node) uint32 {
	if edge := m.a.starts[m.a.base]; n.inode >= edge {
		return m.owner[n.inode-edge]
	}
	return m.copyOf[n.inode]
}

// Size is the exact number of bytes that Write writes.
func (m *Merged) Size() int64 { return m.size }

// Paths is the number of paths in the merged layer, whiteouts not counted.
func (m *Merged) Paths() int { return m.paths }

// Bytes is the total size of the merged layer's files.
func (m *Merged) Bytes() int64 { return m.bytes }

// Needs is true if Write reads layer i of the image.
func (m *Merged) Needs(i int) bool { return m.needs[i] }
