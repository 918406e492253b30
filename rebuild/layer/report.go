package layer

// Count is a number of paths and the bytes of the files among them.
type Count struct {
	Paths int
	Bytes int64
}

func (c *Count) add(bytes int64) {
	c.Paths++
	c.Bytes += bytes
}

// Usage says what became of one layer of the image. A file's bytes are counted
// where its data stand, whichever of its hard links is left.
type Usage struct {
	Entries     int // in the tar, whiteouts included
	Bytes       int64
	Kept        Count // what the image shows of the layer
	Overwritten Count // by layers above
	Deleted     Count // by layers above
}

// Usage gives an account of every layer of the image, the base's first.
func (m *Merged) Usage() []Usage {
	a := m.a
	live := m.live()
	out := make([]Usage, len(a.layers))
	for l, x := range a.layers {
		u := &out[l]
		u.Entries, u.Bytes = x.Len(), x.bytes
		for i := range x.entries.n {
			e := x.entries.at(i)
			id := a.starts[l] + uint32(i)
			_, base := x.split(e)
			if kind, _ := whiteoutName(base); kind != nameOrdinary {
				continue
			}
			switch f := m.fates[id]; {
			case live.has(id) || base == "":
				u.Kept.add(e.size)
			case f == 0, !f.deleted():
				u.Overwritten.add(e.size)
			default:
				u.Deleted.add(e.size)
			}
		}
	}
	return out
}

// bits is a set of entries.
type bits []uint64

func (b bits) has(i uint32) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bits) set(i uint32)      { b[i/64] |= 1 << (i % 64) }

// live is the set of entries whose path or data the image shows.
func (m *Merged) live() bits {
	a := m.a
	live := make(bits, len(m.fates)/64+1)
	for id := 1; id < len(a.nodes); id++ {
		n := &a.nodes[id]
		if n.kind == absent || n.flags&implied != 0 {
			continue
		}
		live.set(n.entry)
		if n.kind == other {
			live.set(n.inode)
		}
	}
	return live
}

// Waste is a file whose bytes a layer carries and the image doesn't show.
type Waste struct {
	Path    string
	Layer   int // that has it
	Bytes   int64
	By      int  // the layer that took it away
	Deleted bool // it was deleted; otherwise overwritten
}

// Deletion is something of the base that the merged layer takes away.
type Deletion struct {
	Path  string
	Dir   bool        // it is a directory in the base
	How   DeletionHow // by what
	Count             // what the base has there: for a directory, all below it, and itself if it goes
}

// DeletionHow tells the ways apart in which something of the base goes.
type DeletionHow string

const (
	Deleted  DeletionHow = "deleted"  // the path is gone
	Emptied  DeletionHow = "emptied"  // the directory is another one: nothing in it is the base's
	Replaced DeletionHow = "replaced" // a directory by something else, or something else by a directory
)

// Deletions gives what the merged layer takes away from the base, in the order
// of the base. A file that another file replaces isn't among it.
func (m *Merged) Deletions() []Deletion {
	a := m.a
	var out []Deletion
	for id := 1; id < len(m.was); id++ {
		n := &a.nodes[id]
		if n.flags&inBase == 0 {
			continue
		}
		d := Deletion{Dir: n.flags&baseDir != 0}
		switch {
		case m.whiteout(n):
			d.How = Deleted
		case m.opaque(n):
			d.How = Emptied
		case n.kind != absent && d.Dir != (n.kind == directory) && a.nodes[n.parent].flags&cut == 0:
			d.How = Replaced
		default:
			continue
		}
		d.Path = a.path(uint32(id))
		d.Count = m.hidden(uint32(id), d.How != Emptied)
		out = append(out, d)
	}
	return out
}

// hidden counts what the base has at and below a path.
func (m *Merged) hidden(id uint32, self bool) Count {
	a := m.a
	var c Count
	count := func(id uint32) bool {
		n := &a.nodes[id]
		if n.flags&inBase == 0 {
			return false
		}
		var size int64
		if n.flags&baseDir == 0 {
			_, e := a.at(m.was[id])
			size = e.size
		}
		c.add(size)
		return n.flags&baseDir != 0
	}
	if self {
		count(id)
	}
	if a.nodes[id].flags&baseDir != 0 {
		a.below(id, count)
	}
	return c
}
