package templates

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A picture shows an image's bytes as two strips of one scale, before above
// after, the lowest layer left. In the upper strip each layer is split into
// what the result keeps, what a layer above overwrites and what one deletes;
// ribbons lead what is kept of the merged layers into the one new layer of the
// lower strip. The base is the same in both, waste and all.
type picture struct {
	Width    float64 // of the drawing's coordinates; both strips fit in
	Before   []segment
	After    []segment
	Ribbons  []ribbon
	Boundary float64 // where the base ends; 0 when there is none
	Waste    string  // what doesn't come along, for a reader: "55MB"; "" for nothing
}

// segment is the part of a layer that has one tone.
type segment struct {
	X, W  float64
	Tone  string // kept, overwritten or deleted
	Layer int    // counted from 1; 0 for the merged layer
	First bool   // it begins a layer that is wide enough to be told from the one before
	Title string
}

// ribbon leads from a stretch of the upper strip to one of the lower.
type ribbon struct {
	Layer              int
	X0, X1, Y0, Y1     float64 // the stretch above, and the stretch below
	Title              string
	Before, After, Mid float64 // the heights that it runs between
}

// Path is the ribbon's outline as SVG path data.
func (r ribbon) Path() string {
	return fmt.Sprintf("M%.2f %.1fC%.2f %.1f %.2f %.1f %.2f %.1fH%.2fC%.2f %.1f %.2f %.1f %.2f %.1fZ",
		r.X0, r.Before, r.X0, r.Mid, r.Y0, r.Mid, r.Y0, r.After,
		r.Y1, r.Y1, r.Mid, r.X1, r.Mid, r.X1, r.Before)
}

// separable is the width from which a layer gets a line at its left: lines
// between slimmer ones would be all that is seen.
const separable = 4

// draw lays the picture out over width units; ribbons run from the height
// before to the height after.
func draw(im *ImageReport, width, before, after float64) picture {
	p := picture{Width: width}
	total, waste := int64(0), int64(0)
	for _, l := range im.Layers {
		total += parts(l)
		if l.Fate != "base" {
			waste += l.OverwrittenBytes + l.DeletedBytes
		}
	}
	p.Waste = sizeOrNothing(waste)
	if total == 0 {
		return p // nothing has a width
	}
	scale := width / float64(total)
	x := 0.0
	for i, l := range im.Layers {
		start := x
		for _, part := range tones(l) {
			w := float64(part.bytes) * scale
			p.Before = append(p.Before, segment{
				X: x, W: w, Tone: part.name, Layer: i + 1,
				First: x == start && i > 0 && float64(parts(l))*scale >= separable,
				Title: fmt.Sprintf("Layer %d: %s of %s %s\n%s", i+1, size(part.bytes), size(parts(l)), part.name, tip(l.Instruction)),
			})
			x += w
		}
		if l.Fate == "base" {
			p.Boundary = x
		}
	}
	for _, s := range p.Before {
		if im.Unchanged || im.Layers[s.Layer-1].Fate == "base" {
			p.After = append(p.After, s)
		}
	}
	if im.Unchanged {
		return p
	}
	merged := segment{X: p.Boundary, Tone: "kept", First: p.Boundary > 0, Title: "The one layer above the base: "}
	y, kept := p.Boundary, int64(0)
	for _, s := range p.Before {
		if im.Layers[s.Layer-1].Fate == "base" || s.Tone != "kept" {
			continue
		}
		kept += im.Layers[s.Layer-1].KeptBytes
		p.Ribbons = append(p.Ribbons, ribbon{
			Layer: s.Layer, X0: s.X, X1: s.X + s.W, Y0: y, Y1: y + s.W, Title: s.Title,
			Before: before, After: after, Mid: (before + after) / 2,
		})
		y += s.W
	}
	merged.W = y - p.Boundary
	merged.Title += size(kept)
	if merged.W > 0 {
		p.After = append(p.After, merged)
	}
	return p
}

// parts is a layer's bytes as the sum of the three tones, so that a picture
// adds up whatever the report says.
func parts(l LayerReport) int64 {
	return max(l.KeptBytes, 0) + max(l.OverwrittenBytes, 0) + max(l.DeletedBytes, 0)
}

// tone is a part of a layer's bytes that has the same fate.
type tone struct {
	name  string
	bytes int64
}

// tones returns the parts of a layer that aren't empty.
func tones(l LayerReport) []tone {
	all := []tone{{"kept", l.KeptBytes}, {"overwritten", l.OverwrittenBytes}, {"deleted", l.DeletedBytes}}
	return slices.DeleteFunc(all, func(t tone) bool { return t.bytes <= 0 })
}

// tip shortens an instruction to what a tooltip can show.
func tip(instruction string) string {
	const most = 300
	s := strings.TrimSpace(Printable(instruction))
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// BoundaryPercent is where the base ends, for a style.
func (p picture) BoundaryPercent() string {
	return strconv.FormatFloat(p.Boundary*100/p.Width, 'f', 3, 64)
}
