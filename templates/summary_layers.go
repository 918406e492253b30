package templates

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"docker-flatten/history"
)

// layers is the table of the layers, newest first as docker history shows
// them. They are numbered from 1, the lowest, as --base counts them.
func (s *summary) layers(im *ImageReport) {
	wide := s.width >= wideWidth
	t := table{right: []bool{true, false, true, true, true, false}}
	if wide {
		t = table{right: []bool{true, false, true, true, true, true, true, false}}
		t.row("#", "BECOMES", "PATHS", "SIZE", "KEPT", "OVERWRITTEN", "DELETED", "INSTRUCTION")
	} else {
		t.row("#", "BECOMES", "SIZE", "KEPT", "WASTED", "INSTRUCTION")
	}
	for _, g := range s.groups(im) {
		number := strconv.Itoa(g.high + 1)
		if g.low != g.high {
			number = fmt.Sprintf("%d–%d", g.low+1, g.high+1)
		}
		l := g.sum
		becomes := map[string]string{"base": "kept", "merged": "merged"}[l.Fate]
		if wide {
			t.row(number, becomes, strconv.Itoa(l.Paths), size(l.Bytes), size(l.KeptBytes),
				sizeOrNothing(l.OverwrittenBytes), sizeOrNothing(l.DeletedBytes), oneLine(l.Instruction))
		} else {
			t.row(number, becomes, size(l.Bytes), size(l.KeptBytes),
				sizeOrNothing(l.OverwrittenBytes+l.DeletedBytes), oneLine(l.Instruction))
		}
	}
	t.write(&s.b, s.width)
}

// group is one row of the table: a layer, or a run of layers that matter
// little.
type group struct {
	low, high int // indexes of the layers
	sum       LayerReport
}

// groups returns the rows, newest first. In a summary of many layers a run of
// three or more with the same fate, each with less than 1 % of the image's
// bytes, becomes one row.
func (s *summary) groups(im *ImageReport) []group {
	var groups []group
	total := int64(0)
	for _, l := range im.Layers {
		total += l.Bytes
	}
	folds := !s.plan && len(im.Layers) > fullRows
	small := func(i int) bool { return im.Layers[i].Bytes*100 < total }
	for high := len(im.Layers) - 1; high >= 0; {
		low := high
		if folds && small(high) {
			for low > 0 && small(low-1) && im.Layers[low-1].Fate == im.Layers[high].Fate {
				low--
			}
			if high-low+1 < 3 {
				low = high
			}
		}
		g := group{low: low, high: high, sum: im.Layers[high]}
		if low < high {
			g.sum = LayerReport{Fate: im.Layers[high].Fate, Instruction: fmt.Sprintf("… %d small layers", high-low+1)}
			for _, l := range im.Layers[low : high+1] {
				g.sum.Paths += l.Paths
				g.sum.Bytes += l.Bytes
				g.sum.KeptBytes += l.KeptBytes
				g.sum.OverwrittenBytes += l.OverwrittenBytes
				g.sum.DeletedBytes += l.DeletedBytes
			}
		}
		groups = append(groups, g)
		high = low - 1
	}
	return groups
}

// How many paths a list names: a plan is read more closely than a summary.
const (
	planPaths    = 10
	summaryPaths = 3
)

func (s *summary) most() int {
	if s.plan {
		return planPaths
	}
	return summaryPaths
}

// deleted lists what the image no longer has of its base.
func (s *summary) deleted(im *ImageReport) {
	if len(im.Deleted) == 0 {
		return
	}
	paths, bytes := 0, int64(0)
	for _, d := range im.Deleted {
		paths += max(d.Paths, 1)
		bytes += d.Bytes
	}
	s.line("")
	s.line(fmt.Sprintf("deleted from the base: %s, %s (still in its layers)", history.Count(paths, "path"), size(bytes)))
	shown := largest(im.Deleted, s.most())
	t := table{right: []bool{true, false}}
	for _, d := range shown {
		path := rooted(d.Path)
		if d.Dir {
			path += "/"
		}
		note := ""
		if d.Dir && d.Paths > 1 {
			note = fmt.Sprintf(" (%s)", history.Count(d.Paths, "path"))
		}
		if d.Replaced {
			note += " (replaced)"
		}
		t.row("  "+size(d.Bytes), cutPath(path, s.width-12-columns.StringWidth(note))+note)
	}
	t.write(&s.b, s.width)
	if rest := len(im.Deleted) - len(shown); rest > 0 {
		s.line(fmt.Sprintf("  and %d more", rest))
	}
}

// wasted lists the files that layers hold for nothing.
func (s *summary) wasted(im *ImageReport) {
	if len(im.Wasted) == 0 {
		return
	}
	s.line("")
	s.line("wasted, the largest files:")
	t := table{right: []bool{true, false, false}}
	for _, x := range im.Wasted[:min(len(im.Wasted), s.most())] {
		how := fmt.Sprintf("layer %d, %s by %d", x.Layer+1, oneLine(x.How), x.By+1)
		t.row("  "+size(x.Bytes), how, cutPath(rooted(x.Path), s.width-14-len(how)))
	}
	t.write(&s.b, s.width)
}

// largest returns the n deletions with the most bytes, in the order they came
// in among equals.
func largest(all []DeletedPath, n int) []DeletedPath {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b DeletedPath) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return sorted[:min(n, len(sorted))]
}
