package layer

import (
	"cmp"
	"slices"
	"strings"
)

// Why says for what reason a layer holds a file that the image doesn't show.
type Why uint8

const (
	WhyChanged Why = iota // a layer above has another file at the path
	WhyOwner              // a layer above has the same contents at the path, with another owner
	WhyMode               // … with another mode
	WhyXattrs             // … with other extended attributes
	WhyTimes              // … with other times
	WhyAgain              // … with the same metadata as well
	WhyDeleted            // a layer above deletes it
	WhyMoved              // a layer above deletes it, and has its contents at another path
)

// Cause is waste that has one reason: files that the layers Low to High hold.
type Cause struct {
	Why    Why
	InBase bool   // the base holds it: only without the base does it go
	By     int    // the layer that made it waste; -1 for several
	Low    int    // the lowest layer that holds some of it …
	High   int    // … and the highest
	Dir    string // the directory that all of it is in; "" for the root
	Path   string // the largest of its files
	Copies bool   // all of its files are at Path
	Count         // all of its files

	largest int64 // the bytes of Path
}

// File is a regular file of a layer.
type File struct {
	Path    string
	Bytes   int64
	Kept    bool
	Deleted bool // where it isn't kept: it was deleted; otherwise overwritten
	By      int  // where it isn't kept: the layer that did it
}

// Dir is what the layers hold at and below a directory.
type Dir struct {
	Path                       string // "" for the root
	Kept, Overwritten, Deleted Count
}

// bytes is all that the directory has held.
func (d *Dir) bytes() int64 { return d.Kept.Bytes + d.Overwritten.Bytes + d.Deleted.Bytes }

// Account tells where an image's bytes are and why some of them are waste. Its
// lists are cut to the limits that Account was given, with the largest first;
// the sums beside them have all.
type Account struct {
	Causes    []Cause
	Other     Count    // the causes that Causes leaves out
	Wasted    []Waste  // of the base's layers, too
	AllWasted Count    // files
	Files     [][]File // by layer
	FileCount []int    // by layer: how many regular files it holds
	Dirs      []Dir    // parents first; a directory's sums have what is below it
	DirCount  int      // how many directories hold a file
}

// Limits are how many entries an account lists.
type Limits struct {
	Causes, Wasted, Dirs int
	Files                int // of each layer
	// Root names, for a directory, the one above it or itself whose waste is told
	// as one; "" leaves the directory by itself. nil is never.
	Root func(dir string) string
}

// maxDirs is how many directories an account tells apart while it counts; what
// lies in others counts for the nearest directory above.
const maxDirs = 1 << 17

// Account walks the indexes of all layers once more and accounts for them. It
// takes memory for directories and a few bytes for each path.
func (m *Merged) Account(limits Limits) *Account {
	c := &accountant{m: m, live: m.live(), limits: limits, byPath: map[string]uint32{}, causes: map[causeKey]*Cause{}}
	c.dirs = append(c.dirs, countedDir{})
	c.byPath[""] = 0
	c.compare()
	return c.count()
}

// accountant is an account on its way.
type accountant struct {
	m      *Merged
	live   bits
	limits Limits
	dirs   []countedDir
	byPath map[string]uint32 // in dirs
	causes map[causeKey]*Cause

	why   []Why            // by entry, where compare found more than changed
	moved map[movedTo]bool // what a layer that deletes files has anew
}

// countedDir is a directory of the tar entries' paths.
type countedDir struct {
	Dir
	parent uint32
	node   uint32 // of the tree; none where that has no such path
	gone   uint32 // the highest directory on its path that the image doesn't show, where there is one; else 0
	root   uint32 // where its waste is told
	rooted bool   // limits.Root named root
	files  bool   // some entry is in it
}

type causeKey struct {
	why    Why
	inBase bool
	by     int32
	root   uint32
}

type movedTo struct {
	hash  uint64
	size  int64
	layer int32
}

// dir gives the number of a directory by its path.
func (c *accountant) dir(path string) uint32 {
	if i, ok := c.byPath[path]; ok {
		return i
	}
	above, name := splitName(path)
	parent := c.dir(above)
	if len(c.dirs) >= maxDirs || c.dirs[parent].Path != above {
		return parent
	}
	a := c.m.a
	d := countedDir{parent: parent, node: none, gone: c.dirs[parent].gone}
	d.Path = path
	if p := c.dirs[parent].node; p != none {
		d.node = a.child(p, name)
	}
	i := uint32(len(c.dirs))
	if d.gone == 0 && d.node != none && a.nodes[d.node].kind == absent {
		d.gone = i
	}
	d.root = i
	if c.limits.Root != nil {
		if root := c.limits.Root(path); root == path {
			d.rooted = true
		} else if root != "" && strings.HasPrefix(path, root+"/") {
			d.root, d.rooted = c.dir(root), true
		}
	}
	if !d.rooted && d.gone != 0 {
		d.root = d.gone
	}
	c.dirs = append(c.dirs, d)
	c.byPath[path] = i
	return i
}

// files calls f for every regular file of a layer that has contents, with the
// number of its directory.
func (c *accountant) files(l int, f func(id uint32, e *entry, dir uint32)) {
	x := c.m.a.layers[l]
	last, dir := ^uint64(0), uint32(0)
	for i := range x.entries.n {
		e := x.entries.at(i)
		if e.size <= 0 || x.attr(e).kind != typeFile {
			continue
		}
		at, rest := uvarint(x.text.from(e.text))
		if base, _ := field(rest); strings.HasPrefix(base, whiteoutPrefix) {
			continue // it deletes something, whatever it holds
		}
		if at != last {
			path, _ := field(x.text.from(at))
			last, dir = at, c.dir(path)
		}
		f(c.m.a.starts[l]+uint32(i), e, dir)
	}
}

// wasted tells whether the image shows nothing of an entry, by which layer's
// doing, and whether that deleted it.
func (c *accountant) wasted(id uint32, l int) (by int, deleted, yes bool) {
	f := c.m.fates[id]
	switch {
	case c.live.has(id):
		return 0, false, false
	case f == 0: // the layer itself has another entry for the path
		return l, false, true
	}
	return f.layer(), f.deleted(), true
}

// seenBits is the size of the set of hashes in compare.
const seenBits = 20

// movedMin is the size from which a file may be told to have moved: small files
// are too often the same by chance.
const (
	movedMin = 4096
	maxMoved = 1 << 16
)

// compare holds wasted files against those that took their place.
func (c *accountant) compare() {
	a := c.m.a
	// Most files aren't like any wasted one: a set of a few bits of their hashes
	// spares these all further looking.
	seen := make(bits, 1<<seenBits/64)
	any := false
	deletes := map[int]bool{}
	for l, x := range a.layers {
		for i := range x.entries.n {
			e := x.entries.at(i)
			if e.size <= 0 {
				continue
			}
			if by, deleted, wasted := c.wasted(a.starts[l]+uint32(i), l); wasted {
				seen.set(uint32(e.hash >> (64 - seenBits)))
				any = true
				if deleted {
					deletes[by] = true
				}
			}
		}
	}
	if !any {
		return
	}
	c.why = make([]Why, a.starts[len(a.layers)])
	c.moved = map[movedTo]bool{}
	waiting := make([]uint32, len(a.nodes)) // by path: the wasted entry, plus one, that a higher layer may repeat
	for l := range a.layers {
		c.files(l, func(id uint32, e *entry, dir uint32) {
			if !seen.has(uint32(e.hash >> (64 - seenBits))) {
				return
			}
			_, deleted, wasted := c.wasted(id, l)
			if !wasted && deletes[l] && e.size >= movedMin && len(c.moved) < maxMoved {
				c.moved[movedTo{e.hash, e.size, int32(l)}] = true
			}
			x := a.layers[l]
			d := &c.dirs[dir]
			path, base := x.split(e)
			if d.node == none || d.Path != path {
				return
			}
			node := a.child(d.node, base)
			if node == none {
				return
			}
			if before := waiting[node]; before != 0 {
				if by, deleted, _ := c.wasted(before-1, a.layerOf(before-1)); by == l && !deleted {
					c.why[before-1] = c.same(before-1, id)
				}
			}
			waiting[node] = 0
			if wasted && !deleted {
				waiting[node] = id + 1
			}
		})
	}
}

// same compares a file with the one that took its place.
func (c *accountant) same(before, after uint32) Why {
	bx, b := c.m.a.at(before)
	ax, e := c.m.a.at(after)
	if b.size != e.size || b.hash != e.hash {
		return WhyChanged
	}
	was, is := bx.attr(b), ax.attr(e)
	switch {
	case was.uid != is.uid || was.gid != is.gid:
		return WhyOwner
	case was.mode&0o7777 != is.mode&0o7777:
		return WhyMode
	case !bx.records(b).sameXattrs(ax.records(e)):
		return WhyXattrs
	case b.mtime != e.mtime: // a builder may cut the fraction off
		return WhyTimes
	}
	return WhyAgain
}

// count adds everything up.
func (c *accountant) count() *Account {
	a := c.m.a
	out := &Account{Files: make([][]File, len(a.layers)), FileCount: make([]int, len(a.layers))}
	wasted := largest{most: c.limits.Wasted}
	for l, x := range a.layers {
		files := largest{most: c.limits.Files}
		c.files(l, func(id uint32, e *entry, dir uint32) {
			d := &c.dirs[dir]
			d.files = true
			out.FileCount[l]++
			files.add(e.size, id)
			by, deleted, lost := c.wasted(id, l)
			switch {
			case !lost:
				d.Kept.add(e.size)
				return
			case deleted:
				d.Deleted.add(e.size)
			default:
				d.Overwritten.add(e.size)
			}
			out.AllWasted.add(e.size)
			wasted.add(e.size, id)
			c.blame(id, e, l, dir, by, deleted)
		})
		// Empty files are files, too.
		for i := range x.entries.n {
			if e := x.entries.at(i); e.size == 0 && x.attr(e).kind == typeFile {
				if _, base := x.split(e); base != "" && !strings.HasPrefix(base, whiteoutPrefix) {
					out.FileCount[l]++
				}
			}
		}
		for _, f := range files.sorted() {
			out.Files[l] = append(out.Files[l], c.file(f.id, l))
		}
	}
	for _, f := range wasted.sorted() {
		l := a.layerOf(f.id)
		w := c.file(f.id, l)
		out.Wasted = append(out.Wasted, Waste{Path: w.Path, Layer: l, Bytes: w.Bytes, By: w.By, Deleted: w.Deleted})
	}
	c.tellCauses(out)
	c.tellDirs(out)
	return out
}

func (c *accountant) file(id uint32, l int) File {
	x, e := c.m.a.at(id)
	f := File{Path: x.name(e), Bytes: e.size}
	by, deleted, lost := c.wasted(id, l)
	if f.Kept = !lost; lost {
		f.By, f.Deleted = by, deleted
	}
	return f
}

// blame adds a wasted file to its cause.
func (c *accountant) blame(id uint32, e *entry, l int, dir uint32, by int, deleted bool) {
	d := &c.dirs[dir]
	key := causeKey{inBase: l < c.m.a.base, by: int32(by), root: d.root}
	if c.why != nil {
		key.why = c.why[id]
	}
	if deleted {
		key.why = WhyDeleted
		if e.size >= movedMin && c.moved[movedTo{e.hash, e.size, int32(by)}] {
			key.why = WhyMoved
		}
	}
	switch {
	case key.why == WhyOwner || key.why == WhyMode || key.why == WhyXattrs || key.why == WhyTimes || key.why == WhyAgain:
		key.root = none // one instruction did it, wherever the files are
	case d.rooted:
	case key.why == WhyChanged:
		key.root = dir
		key.by = -1
	}
	cause := c.causes[key]
	if cause == nil {
		cause = &Cause{Why: key.why, InBase: key.inBase, By: by, Low: l, Dir: c.dirs[dir].Path}
		if key.root != none {
			cause.Dir = c.dirs[key.root].Path
		}
		c.causes[key] = cause
	}
	cause.High = l
	if cause.By != by {
		cause.By = -1
	}
	if key.root == none {
		cause.Dir = commonDir(cause.Dir, d.Path)
	}
	x := c.m.a.layers[l]
	if cause.Copies = cause.Paths == 0 || cause.Copies && x.name(e) == cause.Path; e.size > cause.largest {
		// Layers go upwards, and equal files in the order of the layer: the first
		// largest counts.
		cause.largest, cause.Path = e.size, x.name(e)
	}
	cause.add(e.size)
}

// commonDir is the lowest directory that both are in.
func commonDir(a, b string) string {
	for a != b && a != "" {
		if strings.HasPrefix(b, a+"/") {
			return a
		}
		a, _ = splitName(a)
	}
	return a
}

func (c *accountant) tellCauses(out *Account) {
	for _, cause := range c.causes {
		out.Causes = append(out.Causes, *cause)
	}
	slices.SortFunc(out.Causes, func(p, q Cause) int {
		return cmp.Or(cmp.Compare(q.Bytes, p.Bytes), cmp.Compare(p.Low, q.Low), cmp.Compare(p.Path, q.Path), cmp.Compare(p.By, q.By), cmp.Compare(p.Why, q.Why))
	})
	if most := c.limits.Causes; len(out.Causes) > most {
		for _, cause := range out.Causes[most:] {
			out.Other.Paths += cause.Paths
			out.Other.Bytes += cause.Bytes
		}
		out.Causes = slices.Clone(out.Causes[:most])
	}
}

func (c *accountant) tellDirs(out *Account) {
	for i := len(c.dirs) - 1; i > 0; i-- {
		d := &c.dirs[i]
		if d.files {
			out.DirCount++
		}
		up := &c.dirs[d.parent]
		up.Kept.plus(d.Kept)
		up.Overwritten.plus(d.Overwritten)
		up.Deleted.plus(d.Deleted)
	}
	if c.dirs[0].files {
		out.DirCount++
	}
	for i := range c.dirs {
		out.Dirs = append(out.Dirs, c.dirs[i].Dir)
	}
	// A directory has at least what one below it has, so the largest have their
	// parents among them.
	slices.SortFunc(out.Dirs, func(p, q Dir) int {
		return cmp.Or(cmp.Compare(q.bytes(), p.bytes()), cmp.Compare(len(p.Path), len(q.Path)), cmp.Compare(p.Path, q.Path))
	})
	out.Dirs = slices.Clone(out.Dirs[:min(len(out.Dirs), c.limits.Dirs)])
	slices.SortFunc(out.Dirs, func(p, q Dir) int { return cmp.Compare(p.Path, q.Path) })
}

func (c *Count) plus(o Count) {
	c.Paths += o.Paths
	c.Bytes += o.Bytes
}

// largest keeps the entries with the most bytes, the first of equal ones.
type largest struct {
	most  int
	found []sized
	least int64 // below this nothing gets in any more
}

type sized struct {
	bytes int64
	id    uint32
}

func (l *largest) add(bytes int64, id uint32) {
	if bytes <= l.least {
		return
	}
	l.found = append(l.found, sized{bytes, id})
	if len(l.found) >= 2*l.most+64 {
		l.found = l.sorted()
		if l.most > 0 {
			l.least = l.found[l.most-1].bytes
		}
	}
}

func (l *largest) sorted() []sized {
	slices.SortFunc(l.found, func(p, q sized) int {
		return cmp.Or(cmp.Compare(q.bytes, p.bytes), cmp.Compare(p.id, q.id))
	})
	return l.found[:min(l.most, len(l.found))]
}

// BytesAbove gives the bytes of the image's files if its lowest base layers
// were kept as they are and those above merged. usage is what Usage returns.
func (m *Merged) BytesAbove(base int, usage []Usage) int64 {
	a := m.a
	total := int64(0)
	for l, u := range usage {
		if l < base {
			total += u.Bytes
		} else {
			total += u.Kept.Bytes
		}
	}
	// A layer above that links to a file of the base holds a copy of it.
	copied := map[uint32]bool{}
	for id := 1; id < len(a.nodes); id++ {
		n := &a.nodes[id]
		if n.kind == other && n.entry != n.inode && n.inode < a.starts[base] && n.entry >= a.starts[base] && !copied[n.inode] {
			copied[n.inode] = true
			_, e := a.at(n.inode)
			total += e.size
		}
	}
	return total
}

// Length is the length in bytes of the tar stream of one of the image's layers.
func (m *Merged) Length(layer int) int64 { return m.a.layers[layer].length }
