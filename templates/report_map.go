package templates

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// mapDirectories is how many directories a page's map shows at most.
const mapDirectories = 240

// treemap shows what the layers hold by directory: the area of a tile is its
// bytes, and each tile is split, from above, into what is kept, overwritten and
// deleted.
type treemap struct {
	Tiles []tile
	Note  string // which directories it leaves out
}

// tile is a directory, without those below it that have tiles of their own. Its
// place is in percent of the map.
type tile struct {
	Path       string
	X, Y, W, H string
	Name, In   string // of the label's lines; "" for none
	Title      string
	Parts      []part
}

// part is a tile's share of one tone, in percent of the tile's height.
type part struct{ Tone, Y, H string }

// mapNode is a directory of the map on its way.
type mapNode struct {
	dir      Directory
	own      Directory // without the children
	children []*mapNode
}

func (d *Directory) bytes() int64 { return d.KeptBytes + d.OverwrittenBytes + d.DeletedBytes }

// The map's proportions for which its tiles are nearly squares.
const (
	mapWidth  = 1000
	mapHeight = 400
)

func mapOf(im *ImageReport) treemap {
	var m treemap
	dirs := slices.Clone(im.Directories)
	slices.SortStableFunc(dirs, func(a, b Directory) int {
		return cmp.Or(cmp.Compare(b.bytes(), a.bytes()), cmp.Compare(len(a.Path), len(b.Path)), cmp.Compare(a.Path, b.Path))
	})
	dirs = dirs[:min(len(dirs), mapDirectories)]
	if len(dirs) == 0 || dirs[0].bytes() <= 0 || strings.Trim(dirs[0].Path, "/") != "" {
		return m // without the root there is no whole to be shown
	}
	if im.AllDirs > len(dirs) {
		m.Note = fmt.Sprintf("The %d largest of %s; what lies in others counts for the directory above.", len(dirs), countOf(im.AllDirs, "directory", "directories"))
	}
	nodes := map[string]*mapNode{}
	var root *mapNode
	for _, d := range dirs { // a directory stands before those in it
		n := &mapNode{dir: d, own: d}
		at := strings.Trim(d.Path, "/")
		if nodes[at] != nil || d.bytes() <= 0 {
			continue
		}
		nodes[at] = n
		if root == nil {
			root = n
			continue
		}
		for at != "" {
			if at, _, _ = cutLast(at); nodes[at] != nil {
				break
			}
		}
		up := nodes[at]
		up.children = append(up.children, n)
		up.own.Files -= d.Files
		up.own.KeptBytes -= d.KeptBytes
		up.own.OverwrittenBytes -= d.OverwrittenBytes
		up.own.DeletedBytes -= d.DeletedBytes
	}
	m.place(root, rect{0, 0, mapWidth, mapHeight})
	return m
}

// cutLast cuts a path before its last component.
func cutLast(p string) (dir, base string, found bool) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p, false
	}
	return p[:i], p[i+1:], true
}

type rect struct{ x, y, w, h float64 }

// place lays a directory out in a rectangle: its own files, and each directory
// below it.
func (m *treemap) place(n *mapNode, r rect) {
	if len(n.children) == 0 {
		m.add(n, r)
		return
	}
	parts := slices.Clone(n.children)
	if n.own.bytes() > 0 {
		parts = append(parts, &mapNode{dir: n.own, own: n.own})
	}
	slices.SortStableFunc(parts, func(a, b *mapNode) int { return cmp.Compare(b.dir.bytes(), a.dir.bytes()) })
	weights := make([]float64, len(parts))
	for i, p := range parts {
		weights[i] = float64(p.dir.bytes())
	}
	for i, at := range squarify(weights, r) {
		m.place(parts[i], at)
	}
}

// squarify cuts a rectangle into one for each weight, largest first, in rows
// along the shorter side, such that they are as near to squares as can be
// (Bruls, Huizing, van Wijk: Squarified Treemaps, 2000).
func squarify(weights []float64, r rect) []rect {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	out := make([]rect, 0, len(weights))
	if sum <= 0 {
		return out
	}
	scale := r.w * r.h / sum
	for len(weights) > 0 {
		side := min(r.w, r.h)
		// A row takes weights as long as that makes its worst rectangle better.
		row, n := weights[0]*scale, 1
		worst := func(row, least, most float64) float64 {
			return max(side*side*most/(row*row), row*row/(side*side*least))
		}
		if side > 0 && row > 0 {
			for best := worst(row, weights[0]*scale, weights[0]*scale); n < len(weights) && weights[n] > 0; n++ {
				next := worst(row+weights[n]*scale, weights[n]*scale, weights[0]*scale)
				if next > best {
					break
				}
				best, row = next, row+weights[n]*scale
			}
		}
		depth := 0.0
		if side > 0 {
			depth = row / side
		}
		at := 0.0
		for _, w := range weights[:n] {
			long := 0.0
			if depth > 0 {
				long = w * scale / depth
			}
			if r.w >= r.h {
				out = append(out, rect{r.x, r.y + at, depth, long})
			} else {
				out = append(out, rect{r.x + at, r.y, long, depth})
			}
			at += long
		}
		if r.w >= r.h {
			r.x, r.w = r.x+depth, max(r.w-depth, 0)
		} else {
			r.y, r.h = r.y+depth, max(r.h-depth, 0)
		}
		weights = weights[n:]
	}
	return out
}

// A label needs so much of the map's width and height.
const (
	labelWidth  = 45
	labelHeight = 18
	secondLine  = 36 // the height from which a label has two lines
)

func (m *treemap) add(n *mapNode, r rect) {
	d := n.own
	if d.bytes() <= 0 || r.w <= 0 || r.h <= 0 {
		return
	}
	t := tile{Path: directory(d.Path), X: percentOf(r.x, mapWidth), Y: percentOf(r.y, mapHeight), W: percentOf(r.w, mapWidth), H: percentOf(r.h, mapHeight)}
	what := []string{t.Path, size(d.bytes()) + " in " + countOf(d.Files, "file", "files")}
	at := 0.0
	for _, p := range []tone{{"kept", d.KeptBytes}, {"overwritten", d.OverwrittenBytes}, {"deleted", d.DeletedBytes}} {
		if p.bytes <= 0 {
			continue
		}
		h := float64(p.bytes)
		t.Parts = append(t.Parts, part{p.name, percentOf(at, float64(d.bytes())), percentOf(h, float64(d.bytes()))})
		at += h
		what = append(what, size(p.bytes)+" "+p.name)
	}
	t.Title = strings.Join(what, "\n")
	if r.w >= labelWidth && r.h >= labelHeight {
		t.Name = path.Base(t.Path)
		if r.h >= secondLine {
			t.In = size(d.bytes())
			if up := path.Dir(strings.TrimSuffix(t.Path, "/")); up != "/" && up != "." {
				t.In += " in " + up
			}
		}
	}
	m.Tiles = append(m.Tiles, t)
}

func percentOf(part, whole float64) string {
	return strconv.FormatFloat(part*100/whole, 'f', 3, 64)
}

func countOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
