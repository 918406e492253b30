package layer

import (
	"hash/maphash"
	"math"
)

// none stands for "no node" and "no entry".
const none = math.MaxUint32

// nodeKind is what a path is after the layers applied so far.
type nodeKind uint8

const (
	absent nodeKind = iota // never was, or is gone
	directory
	other // everything that isn't a directory
)

const (
	inBase     uint16 = 1 << iota // the base shows this path …
	baseDir                       // … as a directory
	cut                           // nothing that the base has below this path shows
	pending                       // the layer being applied has a whiteout here
	implied                       // a directory that its layer made without listing it
	visited                       // scratch for one traversal
	rootForm                      // of the root: the top layer's entry has the form that engines apply
	setgid                        // of an implied directory: made in one with the setgid bit, which it inherits
	dressed                       // the base lists this directory with other metadata than engines give one that they make
	doubtful                      // engines disagree about this directory, as Doubtful says
	strange                       // the base has overlayfs show something else here …
	wasStrange                    // … before any upper layer
	overDir                       // lower layers have a directory where the topmost layer that has the path put something
)

// node is one path of the merged tree. Nodes are never freed: a path that is
// gone may still have to be deleted from the base.
type node struct {
	parent, first, next uint32
	text                uint32 // the last component, in tree.text
	entry               uint32 // the entry that made this name; for an implied directory, the one that implied it
	inode               uint32 // the entry that made the inode: differs from entry for hard links
	length              uint16
	layer               uint16 // the topmost layer that has this path
	flags               uint16
	kind                nodeKind
}

// tree holds the paths of all layers in a flat slice, found through a hash table
// keyed by parent and component.
type tree struct {
	nodes []node
	text  byteArena
	table []uint32
	seed  maphash.Seed
	effort
}

// newTree makes a tree with room for about n paths.
func newTree(n int) *tree {
	t := &tree{seed: maphash.MakeSeed()}
	size := 64
	for size*3/4 < n {
		size *= 2
	}
	t.table = make([]uint32, size)
	for i := range t.table {
		t.table[i] = none
	}
	t.nodes = append(make([]node, 0, n+16), node{parent: none, first: none, next: none, kind: directory, flags: implied, entry: none, inode: none})
	return t
}

func (t *tree) slot(parent uint32, name string) uint32 {
	h := maphash.String(t.seed, name)
	h ^= uint64(parent) * 0x9e3779b97f4a7c15
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return uint32(h>>32) & uint32(len(t.table)-1)
}

func (t *tree) component(n *node) string {
	return t.text.nameAt(n.text, n.length)
}

// child looks a component up in a directory.
func (t *tree) child(parent uint32, name string) uint32 {
	for i := t.slot(parent, name); ; i = (i + 1) & uint32(len(t.table)-1) {
		id := t.table[i]
		if id == none {
			return none
		}
		if n := &t.nodes[id]; n.parent == parent && t.component(n) == name {
			return id
		}
	}
}

// addChild is child, but makes the node if there is none.
func (t *tree) addChild(parent uint32, name string) (uint32, error) {
	if id := t.child(parent, name); id != none {
		return id, nil
	}
	text, ok := t.text.addName(name)
	if !ok || len(t.nodes) >= none-1 {
		return none, ErrLimit
	}
	id := uint32(len(t.nodes))
	t.nodes = append(t.nodes, node{
		parent: parent, first: none, next: t.nodes[parent].first,
		text: text, length: uint16(len(name)), entry: none, inode: none,
	})
	t.nodes[parent].first = id
	t.memory += pathCost + int64(len(name))
	if len(t.nodes) > len(t.table)/4*3 {
		t.rehash()
	} else {
		t.insert(id)
	}
	return id, nil
}

func (t *tree) insert(id uint32) {
	n := &t.nodes[id]
	i := t.slot(n.parent, t.component(n))
	for t.table[i] != none {
		i = (i + 1) & uint32(len(t.table)-1)
	}
	t.table[i] = id
}

func (t *tree) rehash() {
	t.table = make([]uint32, 2*len(t.table))
	for i := range t.table {
		t.table[i] = none
	}
	for id := 1; id < len(t.nodes); id++ {
		t.insert(uint32(id))
	}
}

// pathLength is the length of a node's path.
func (t *tree) pathLength(id uint32) int {
	n := -1
	for ; id != 0; id = t.nodes[id].parent {
		n += 1 + int(t.nodes[id].length)
		t.steps++
	}
	return max(n, 0)
}

// appendPath appends a node's path without a leading slash; nothing for the root.
func (t *tree) appendPath(b []byte, id uint32) []byte {
	if id == 0 {
		return b
	}
	size := -1
	for i := id; i != 0; i = t.nodes[i].parent {
		size += 1 + int(t.nodes[i].length)
	}
	start := len(b)
	b = append(b, make([]byte, size)...)
	end := start + size
	for i := id; i != 0; i = t.nodes[i].parent {
		n := &t.nodes[i]
		end -= int(n.length)
		copy(b[end:], t.component(n))
		if end > start {
			end--
			b[end] = '/'
		}
	}
	return b
}

func (t *tree) path(id uint32) string { return string(t.appendPath(nil, id)) }

// below calls f for every node under id, parents first. f says whether to go on
// below the node.
func (t *tree) below(id uint32, f func(id uint32) bool) {
	at := t.nodes[id].first
	for at != none {
		t.steps++
		if f(at) && t.nodes[at].first != none {
			at = t.nodes[at].first
			continue
		}
		for t.nodes[at].next == none {
			at = t.nodes[at].parent
			if at == id {
				return
			}
		}
		at = t.nodes[at].next
	}
}
