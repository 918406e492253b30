package templates

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"docker-flatten/history"
)

// layers is the table of the layers, newest first as docker history shows
// them. They are numbered from 1, the lowest, as --base counts them.
func (s *summary) layers(im *ImageReport) {
	wide := s.width >= wideWidth
	t := table{right: []bool{true, false, true, true, true, false}, head: true}
	if wide {
		t.right = []bool{true, false, true, true, true, true, true, false}
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
		if l.Fate == "base" {
			t.rowIn(dim)
		}
		if wide {
			t.row(number, becomes, strconv.Itoa(l.Paths), size(l.Bytes), size(l.KeptBytes),
				sizeOrNothing(l.OverwrittenBytes), sizeOrNothing(l.DeletedBytes), OneLine(l.Instruction))
		} else {
			t.row(number, becomes, size(l.Bytes), size(l.KeptBytes),
				sizeOrNothing(l.OverwrittenBytes+l.DeletedBytes), OneLine(l.Instruction))
		}
	}
	t.write(s)
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
	folds := !s.plan && s.width != unlimited && len(im.Layers) > fullRows
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

// deleted lists what the image no longer has of its base, and what it has
// something else for.
func (s *summary) deleted(im *ImageReport) {
	gone, replaced := goneAndReplaced(im.Deleted)
	s.deletions("deleted from the base", gone)
	s.deletions("replaced in the base", replaced)
	if listed := deletedSum(im.Deleted); im.DeletedTotal.Count > listed.Count {
		s.line(fmt.Sprintf("deleted or replaced besides: %s, %s", history.Count(im.DeletedTotal.Count-listed.Count, "path"), size(im.DeletedTotal.Bytes-listed.Bytes)))
	}
}

// goneAndReplaced tells deletions apart: a path that has something else now is
// no path that is gone.
func goneAndReplaced(all []DeletedPath) (gone, replaced []DeletedPath) {
	for _, d := range all {
		if d.Replaced {
			replaced = append(replaced, d)
		} else {
			gone = append(gone, d)
		}
	}
	return gone, replaced
}

func deletedSum(all []DeletedPath) Sum {
	var sum Sum
	for _, d := range all {
		sum.Count += max(d.Paths, 1)
		sum.Bytes += d.Bytes
	}
	return sum
}

func (s *summary) deletions(what string, all []DeletedPath) {
	if len(all) == 0 {
		return
	}
	sum := deletedSum(all)
	s.line("")
	s.line(fmt.Sprintf("%s: %s, %s (still in its layers)", what, history.Count(sum.Count, "path"), size(sum.Bytes)))
	shown := largestDeleted(all, s.most())
	t := table{right: []bool{true, false}, path: true}
	for _, d := range shown {
		path, note := d.words()
		t.row("  "+size(d.Bytes), path)
		t.note(note)
	}
	t.write(s)
	if told := deletedSum(shown); told.Count < sum.Count {
		s.line(fmt.Sprintf("  and %s more, %s", history.Count(sum.Count-told.Count, "path"), size(sum.Bytes-told.Bytes)))
	}
}

// words are a deletion's path, and what else is to be said of it.
func (d *DeletedPath) words() (path, note string) {
	path = rooted(d.Path)
	if d.Dir {
		path = directory(d.Path)
	}
	var notes []string
	if d.Dir && d.Paths > 1 {
		notes = append(notes, history.Count(d.Paths, "path"))
	}
	switch {
	case d.How == "emptied":
		notes = append(notes, "another directory now")
	case d.How == "replaced" && d.Dir:
		notes = append(notes, "no directory any more")
	case d.How == "replaced":
		notes = append(notes, "a directory now")
	}
	if len(notes) > 0 {
		note = " (" + strings.Join(notes, ", ") + ")"
	}
	return path, note
}

// inBaseWaste is what the layers that stay hold for nothing.
func inBaseWaste(im *ImageReport) int64 {
	n := int64(0)
	for _, l := range im.Layers {
		if l.Fate == "base" {
			n += l.OverwrittenBytes + l.DeletedBytes
		}
	}
	return n
}

// wasted lists what layers hold for nothing, and why; what stays since the base
// holds it is marked.
func (s *summary) wasted(im *ImageReport) {
	if len(im.Causes) == 0 {
		return
	}
	s.line("")
	stays := ""
	switch n := inBaseWaste(im); {
	case n == 0:
	case n*100 >= im.WastedTotal.Bytes*99:
		stays = "; the base holds nearly all of it, and keeps it"
	default:
		stays = fmt.Sprintf("; the base holds %s of it, and keeps that", size(n))
	}
	s.wrap("", "wasted: "+size(im.WastedTotal.Bytes)+" in "+history.Count(im.WastedTotal.Count, "file")+stays)
	t := table{right: []bool{true, false, false}, path: true}
	shown := im.Causes[:min(len(im.Causes), s.most())]
	for i := range shown {
		c := &shown[i]
		if c.InBase {
			t.rowIn(dim)
		} else {
			t.rowIn(yellow)
		}
		path, note := c.files()
		t.row("  "+size(c.Bytes), c.where()+", "+c.what(), path)
		t.note(note)
		if c.Remedy != "" {
			t.below("          → " + OneLine(c.Remedy))
		}
	}
	t.write(s)
	rest := im.OtherCauses
	for _, c := range im.Causes[len(shown):] {
		rest.Count += c.Files
		rest.Bytes += c.Bytes
	}
	if rest.Count > 0 {
		s.line(fmt.Sprintf("  and %s more, %s", history.Count(rest.Count, "file"), size(rest.Bytes)))
	}
}

// largestDeleted returns the n deletions with the most bytes, in the order they
// came in among equals.
func largestDeleted(all []DeletedPath, n int) []DeletedPath {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b DeletedPath) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return sorted[:min(n, len(sorted))]
}
