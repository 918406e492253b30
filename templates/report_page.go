package templates

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
)

//go:embed report.html.tmpl
var pageText string

// The page's texts come from untrusted images: html/template escapes them for
// the place where they stand, and page puts them through printable first.
var pageTemplate = template.Must(template.New("report.html").Parse(pageText))

// WriteHTML writes the report as one page of HTML that needs nothing else: no
// script, and no style, font or picture from elsewhere, which its content
// security policy forbids as well. It follows the reader's light or dark
// scheme, and fits a phone. The only errors are w's.
func WriteHTML(w io.Writer, r *Report) error {
	return pageTemplate.Execute(w, pageOf(r))
}

// page is a report in the words of a page.
type page struct {
	Title    string
	Mark     string // see pageMark
	Source   string
	Results  []string // the names of the new image
	ID       string
	Lead     string
	Output   string
	Sections []section
	Warnings []string
}

// section is the report on one platform's image.
type section struct {
	Anchor     string
	Platform   string
	Unchanged  string // why there is nothing to flatten
	Base       string
	BaseLayers int
	BaseWhy    string
	Merged     int // how many layers become one
	Figures    []figure
	BeforeText string // "8 layers, 214MB"
	AfterText  string
	Picture    picture
	Rows       []row // newest first
	Wasted     []waste
	Deleted    []deletion
	DeletedSum string
	MoreGone   int
	Dockerfile string
	History    []entry
	NewHistory []entry
	Notes      []note
}

// figure is a number before and after.
type figure struct{ Name, Before, After, Change string }

// row is one layer.
type row struct {
	Number      int
	Anchor      string
	Instruction string // in one line
	Full        string // as it is, when that is more than the line
	Tip         string
	Base        bool
	Boundary    bool // the base begins with this row: rows go downwards
	Size        string
	Kept        string
	Overwritten string
	Deleted     string
	Wasted      string
	Paths       int
	DiffID      string
	Dialect     string
	Bars        []bar
	Files       []waste
}

// bar is one tone of a row's bar, in percent of the widest row.
type bar struct {
	Tone    string
	Percent string
}

type waste struct {
	Size, Path, How string
	Layer, By       int
}

type deletion struct {
	Size, Path, Note string
}

type entry struct {
	Layer   string // the layer it made, counted from 1
	Text    string
	Comment string
	Base    bool
	Merged  bool // its layer became part of the merged one
	New     bool // it stands for the merged layer
}

type note struct{ Label, Text string }

// Limits of what a page lists; the JSON object has the rest.
const (
	pageDeleted   = 100
	pageRowWastes = 5
)

func pageOf(r *Report) page {
	p := page{
		Mark: pageMark(r.Source), Source: oneLine(r.Source), ID: oneLine(r.ID), Output: oneLine(r.Output),
		Warnings: printables(r.Warnings), Results: printables(r.Tags),
	}
	p.Title = p.Source + ", flattened"
	switch {
	case r.DryRun:
		p.Title = p.Source + ": plan"
		p.Lead = "A plan: nothing has been built."
	case r.Reused:
		p.Lead = "An earlier run made this image; it was found and given its names. It was " + checked(r) + "."
	case r.Builder != "":
		p.Lead = "Built by the " + oneLine(r.Builder) + " builder. It was " + checked(r) + "."
	}
	for i := range r.Images {
		p.Sections = append(p.Sections, sectionOf(&r.Images[i], i))
	}
	return p
}

func sectionOf(im *ImageReport, index int) section {
	s := section{
		Anchor:   "image-" + strconv.Itoa(index+1),
		Platform: oneLine(im.Platform), Base: oneLine(im.Base.Name),
		BaseLayers: im.Base.Layers, BaseWhy: oneLine(im.Base.Evidence),
		Merged:     len(im.Layers) - im.Base.Layers,
		Dockerfile: printable(im.Dockerfile),
		Picture:    draw(im, 1000, 44, 108),
	}
	if im.Unchanged {
		s.Unchanged = nothing(im)
	} else {
		s.Figures = figures(im)
		s.BeforeText = Count(im.Before.Layers, "layer") + ", " + size(im.Before.Bytes)
		s.AfterText = Count(im.After.Layers, "layer") + ", " + size(im.After.Bytes)
	}
	s.Rows = rows(im, s.Anchor)
	for _, x := range im.Wasted {
		s.Wasted = append(s.Wasted, wasteOf(x))
	}
	sum, paths := int64(0), 0
	for _, d := range im.Deleted {
		sum, paths = sum+d.Bytes, paths+max(d.Paths, 1)
	}
	s.DeletedSum = Count(paths, "path") + ", " + size(sum)
	for _, d := range largestDeleted(im.Deleted, pageDeleted) {
		s.Deleted = append(s.Deleted, deletionOf(d))
	}
	s.MoreGone = len(im.Deleted) - len(s.Deleted)
	s.History = entries(im.History, im, false)
	if !im.Unchanged {
		s.NewHistory = entries(im.NewHistory, im, true)
	}
	for _, d := range im.Disagreements {
		s.Notes = append(s.Notes, note{"Config and history disagree", printable(d)})
	}
	for _, c := range im.Cleared {
		s.Notes = append(s.Notes, note{"Removed from the base's config, since no Dockerfile can", printable(c)})
	}
	for _, l := range im.Losses {
		s.Notes = append(s.Notes, note{"ADD can't keep", printable(l)})
	}
	return s
}

func figures(im *ImageReport) []figure {
	b, a := im.Before, im.After
	f := []figure{
		{"Layers", strconv.Itoa(b.Layers), strconv.Itoa(a.Layers), percent(int64(b.Layers), int64(a.Layers))},
		{"Bytes", size(b.Bytes), size(a.Bytes), percent(b.Bytes, a.Bytes)},
	}
	if b.Compressed > 0 && a.Compressed > 0 {
		f = append(f, figure{"Compressed", size(b.Compressed), size(a.Compressed), percent(b.Compressed, a.Compressed)})
	}
	return append(f, figure{"Paths", strconv.Itoa(b.Paths), strconv.Itoa(a.Paths), percent(int64(b.Paths), int64(a.Paths))})
}

func rows(im *ImageReport, anchor string) []row {
	widest := int64(0)
	for _, l := range im.Layers {
		widest = max(widest, parts(l))
	}
	var all []row
	for i, l := range slices.Backward(im.Layers) {
		r := row{
			Number: i + 1, Anchor: fmt.Sprintf("%s-layer-%d", anchor, i+1),
			Instruction: clip300(oneLine(l.Instruction)), Tip: tip(l.Instruction),
			Base: l.Fate == "base", Boundary: i == im.Base.Layers-1,
			Size: size(l.Bytes), Kept: size(l.KeptBytes),
			Overwritten: sizeOrNothing(l.OverwrittenBytes), Deleted: sizeOrNothing(l.DeletedBytes),
			Wasted: sizeOrNothing(l.OverwrittenBytes + l.DeletedBytes),
			Paths:  l.Paths, DiffID: oneLine(l.DiffID), Dialect: oneLine(l.Dialect),
			Full: strings.TrimSpace(printable(l.Instruction)),
		}
		for _, part := range tones(l) {
			r.Bars = append(r.Bars, bar{part.name, strconv.FormatFloat(float64(part.bytes)*100/float64(widest), 'f', 3, 64)})
		}
		for _, x := range im.Wasted {
			if x.Layer == i && len(r.Files) < pageRowWastes {
				r.Files = append(r.Files, wasteOf(x))
			}
		}
		all = append(all, r)
	}
	return all
}

func clip300(s string) string {
	if r := []rune(s); len(r) > 300 {
		return string(r[:300]) + "…"
	}
	return s
}

func wasteOf(x WastedPath) waste {
	return waste{Size: size(x.Bytes), Path: rooted(x.Path), How: oneLine(x.How), Layer: x.Layer + 1, By: x.By + 1}
}

func deletionOf(d DeletedPath) deletion {
	out := deletion{Size: size(d.Bytes), Path: rooted(d.Path)}
	if d.Dir {
		out.Path += "/"
		out.Note = Count(d.Paths, "path")
	}
	if d.Replaced {
		out.Note = join(", ", out.Note, "replaced")
	}
	return out
}

// entries words a history; of the new one, the layer above the base's is the
// merged one.
func entries(lines []HistoryLine, im *ImageReport, after bool) []entry {
	var all []entry
	for _, h := range lines {
		e := entry{Text: strings.TrimSpace(printable(h.CreatedBy)), Comment: oneLine(h.Comment)}
		if h.Layer >= 0 {
			e.Layer = strconv.Itoa(h.Layer + 1)
			e.Base = h.Layer < im.Base.Layers
			e.New = after && !e.Base
			e.Merged = !after && !e.Base && !im.Unchanged
		}
		all = append(all, e)
	}
	return all
}

func printables(texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = printable(t)
	}
	return out
}
