package layer

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Comparison is what Compare finds.
type Comparison struct {
	Paths       int // of the image that was compared, its root included
	Count       int // all differences
	Differences []Difference
}

// differencesShare bounds the text of the differences that are listed: one byte
// for so many of the tars, beside freePaths. A short entry may stand for thousands
// of long paths: those of directories that no entry lists, or that are behind a
// symbolic link. Honest images stay below: an entry has 512 bytes at least.
const differencesShare = 2

// Compare holds two images against each other that have the given layers, lowest
// first, read with ReadOptions.Content. It compares what they show in a file
// system: every path, its type, mode, owner, time to the nanosecond, link
// target, device number, content, xattrs, and which paths are one file. Owner
// names and PAX records that no file system has don't count, nor does the time of
// a directory that no layer of one of them lists, since that is the time of the
// unpacking. Of images for Windows the records count that hold a file's attributes
// and access rights. Of the root directory counts what an engine makes of it.
//
// The differences are in the order of their paths. All are listed, unless their
// text is longer than any honest image's; all are counted. An image that no engine
// would unpack is a *SideError.
func Compare(ctx context.Context, want, have []*Index, windows bool) (*Comparison, error) {
	c := &comparer{windows: windows, most: freePaths}
	for i, layers := range [][]*Index{want, have} {
		s, err := shown(ctx, layers)
		if err != nil {
			return nil, &SideError{Have: i == 1, Err: err}
		}
		c.sides[i] = side{stack: s, twin: filled(len(s.places))}
		c.most += s.bytes / differencesShare
	}
	if err := c.paths(ctx); err != nil {
		return nil, err
	}
	c.links()
	slices.SortStableFunc(c.found.Differences, func(a, b Difference) int { return strings.Compare(a.Path, b.Path) })
	return &c.found, nil
}

// SideError is an error that one of two compared images has.
type SideError struct {
	Have bool // not the wanted one
	Err  error
}

func (e *SideError) Error() string { return e.Err.Error() }

func (e *SideError) Unwrap() error { return e.Err }

// shown works out what the image of some layers shows.
func shown(ctx context.Context, layers []*Index) (*stack, error) {
	// With no base a hard link to a file of a lower layer, which engines refuse,
	// is one with it.
	entries := 0
	for i, x := range layers { // one index may serve for many layers
		if entries += x.Len(); entries > maxEntries {
			return nil, &Error{Op: "compare", Layer: i, Err: fmt.Errorf("more than %d entries in an image: %w", maxEntries, ErrLimit)}
		}
	}
	s := newStack(ctx, layers, 0)
	for i, x := range layers {
		if x.digests.n != x.entries.n {
			return nil, &Error{Op: "compare", Layer: i, Err: errNotHashed}
		}
		if err := s.add("compare", i); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// filled is a list of n places that aren't known.
func filled(n int) []uint32 {
	list := make([]uint32, n)
	for i := range list {
		list[i] = nowhere
	}
	return list
}

// comparer compares two trees: 0 is the one that is wanted, 1 the one to compare.
type comparer struct {
	sides   [2]side
	windows bool
	files   []filePair
	found   Comparison
	text    int64 // about what the differences take
	most    int64
}

// side is a tree, and where the other one has its places.
type side struct {
	*stack
	twin []uint32
}

// filePair is a path that is a file, or a link and the like, on both sides.
type filePair struct {
	inode [2]uint32
	at    uint32 // in tree 0
}

func (c *comparer) note(s *stack, at uint32, what, want, have string) {
	c.found.Count++
	if c.text > c.most {
		return
	}
	d := Difference{Path: "/" + s.path(at), What: what, Want: want, Have: have}
	c.text += pathCost + int64(len(d.Path)+len(what)+len(want)+len(have))
	c.found.Differences = append(c.found.Differences, d)
}

// paths compares path by path.
func (c *comparer) paths(ctx context.Context) error {
	want, have := c.sides[0], c.sides[1]
	want.twin[0], have.twin[0] = 0, 0
	wantRoot, wantMade := want.rootFacts()
	haveRoot, haveMade := have.rootFacts()
	c.found.Paths = 1
	c.same(0, wantRoot, haveRoot, wantMade || haveMade)
	for at := uint32(1); int(at) < len(want.places); at++ {
		if at%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		// A place comes after its parent, which has been found.
		if parent := want.twin[want.places[at].parent]; parent != nowhere {
			want.twin[at] = have.in(parent, want.name(at), false)
		}
		twin := want.twin[at]
		if twin != nowhere {
			have.twin[twin] = at
		}
		w, h := want.view[at], cell{}
		if twin != nowhere {
			h = have.view[twin]
		}
		switch {
		case w.kind == cellNone:
		case h.kind == cellNone:
			c.note(want.stack, at, "missing", kindWord(want.cellFacts(w).kind), "")
		default:
			c.same(at, want.cellFacts(w), have.cellFacts(h), w.kind == cellMade || h.kind == cellMade)
			if w.kind == cellFile && h.kind == cellFile {
				c.files = append(c.files, filePair{[2]uint32{w.inode, h.inode}, at})
			}
		}
	}
	for at := uint32(1); int(at) < len(have.places); at++ {
		if at%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		h := have.view[at]
		if h.kind == cellNone {
			continue
		}
		c.found.Paths++
		if twin := have.twin[at]; twin == nowhere || want.view[twin].kind == cellNone {
			c.note(have.stack, at, "extra", "", kindWord(have.cellFacts(h).kind))
		}
	}
	return nil
}

// same compares what one path is on both sides. made says that one of them is a
// directory that no entry lists.
func (c *comparer) same(at uint32, want, have facts, made bool) {
	if made {
		want.mtime, want.nsec = have.mtime, have.nsec
	}
	sameFacts(want, have, VerifyOptions{Content: true, Unpacked: true, Windows: c.windows}, func(what, want, have string) {
		if !strings.HasPrefix(what, "xattr "+overlayPrefix[len(xattrPrefix):]) { // overlayfs keeps its own to itself
			c.note(c.sides[0].stack, at, what, want, have)
		}
	})
}

// rootFacts is what an engine makes of the root directory, and whether it does so
// without an entry.
func (s *stack) rootFacts() (f facts, made bool) {
	if s.root.id == nowhere || !s.root.applies {
		return facts{kind: typeDir, mode: 0o755}, true
	}
	return s.facts(s.root.id), false
}

// links compares which paths are one file: inodes must correspond one to one.
func (c *comparer) links() {
	s := c.sides[0].stack
	for one, words := range []struct{ want, have string }{{"with ", "without "}, {"without ", "with "}} {
		other := 1 - one
		slices.SortFunc(c.files, func(a, b filePair) int {
			return cmp3(a.inode[one], b.inode[one], a.inode[other], b.inode[other], a.at, b.at)
		})
		for i := 1; i < len(c.files); i++ {
			last, f := c.files[i-1], c.files[i]
			if f.inode[one] == last.inode[one] && f.inode[other] != last.inode[other] {
				path := "/" + s.path(last.at)
				c.note(s, f.at, "link group", words.want+path, words.have+path)
			}
		}
	}
}
