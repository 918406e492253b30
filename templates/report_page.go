package templates

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"

	"docker-flatten/history"
)

//go:embed report.html.tmpl
var pageText string

//go:embed report.js
var pageScript string

// The page's texts come from untrusted images: html/template escapes them for
// the place where they stand, and page puts them through printable first. The
// only script that the page's security policy lets run is the one here, by its
// hash (Content Security Policy Level 3, "Usage of hash").
var pageTemplate = template.Must(template.New("report.html").Funcs(template.FuncMap{
	"script": func() template.JS { return template.JS(pageScript) },
}).Parse(strings.Replace(pageText, "SCRIPT-HASH", scriptHash(pageScript), 1)))

func scriptHash(script string) string {
	sum := sha256.Sum256([]byte(script))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// WriteHTML writes the report as one page of HTML that needs nothing else: no
// script, style, font or picture from elsewhere, which its content security
// policy forbids as well. Its own script adds a search, sorting and a zoom; the
// page is whole without it. It follows the reader's light or dark scheme, and
// fits a phone. The only errors are w's.
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
	Merged     int           // how many layers become one
	Headline   *headlineCard // nil where there is nothing to say
	Figures    []figure
	Estimated  bool // a compressed size is an estimate
	Choices    []choice
	Map        treemap
	Causes     []cause
	CausesSum  string
	MoreCauses string
	Repeated   []repeated
	BeforeText string // "8 layers, 214MB"
	AfterText  string
	Picture    picture
	Rows       []row // newest first
	Wasted     []waste
	MoreWasted string
	Deletions  []deletions
	MoreGone   string
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
	Files       []file
	MoreFiles   string // what Files leaves out
	Bytes       int64
	WastedBytes int64
}

// headlineCard is the page's first card.
type headlineCard struct{ Goes, Of, More string }

// choice is what another base would give.
type choice struct {
	Option, Name, Bytes, Goes, Shared, Evidence string
	Layers                                      int
	Chosen                                      bool
}

// cause is waste that has one reason.
type cause struct {
	Size, Path, Note, Where, What, Remedy string
	Bytes                                 int64
	Base                                  bool
}

// repeated is a file of which several layers hold a copy for nothing.
type repeated struct {
	Size, Path, Layers string
	Bytes              int64
}

// file is a file of a layer.
type file struct{ Size, Path, Fate string }

// deletions are a list of what goes from the base, for one reason.
type deletions struct {
	Heading, Sum, More string
	Paths              []deletion
}

// bar is one tone of a row's bar, in percent of the widest row.
type bar struct {
	Tone    string
	Percent string
}

type waste struct {
	Size, Path, How string
	Layer, By       int
	Bytes           int64
	Base            bool
}

type deletion struct {
	Size, Path, Note string
	Bytes            int64
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

// Limits of what a page lists; it says what it leaves out.
const (
	pageDeleted  = 100
	pageWasted   = 50
	pageCauses   = 25
	pageRepeated = 20
)

func pageOf(r *Report) page {
	p := page{
		Mark: pageMark(r.Source), Source: OneLine(r.Source), ID: OneLine(r.ID), Output: OneLine(r.Output),
		Warnings: printables(r.Warnings), Results: printables(r.Tags),
	}
	p.Title = p.Source + ", flattened"
	switch {
	case unchanged(r) && !r.DryRun:
		p.Lead = "The result is the same image, with its layers as they were."
	case r.DryRun:
		p.Title = p.Source + ": plan"
		p.Lead = "A plan: nothing is made yet."
	case r.Reused:
		p.Lead = "An earlier run made this image; it was found and given its names. It was " + checked(r) + "."
	case r.Builder != "":
		p.Lead = "Built by the " + OneLine(r.Builder) + " builder. It was " + checked(r) + "."
	}
	for i := range r.Images {
		p.Sections = append(p.Sections, sectionOf(&r.Images[i], i))
	}
	return p
}

func sectionOf(im *ImageReport, index int) section {
	s := section{
		Anchor:   "image-" + strconv.Itoa(index+1),
		Platform: OneLine(im.Platform), Base: OneLine(im.Base.Name),
		BaseLayers: im.Base.Layers, BaseWhy: OneLine(im.Base.Evidence),
		Merged:   len(im.Layers) - im.Base.Layers,
		Picture:  draw(im, 1000, 44, 108),
		Headline: headlineOf(im),
		Map:      mapOf(im),
	}
	if im.Unchanged {
		s.Unchanged = nothing(im)
	} else {
		s.Dockerfile = Printable(im.Dockerfile)
		s.Figures = figures(im)
		s.BeforeText = history.Count(im.Before.Layers, "layer") + ", " + size(im.Before.Bytes)
		s.AfterText = history.Count(im.After.Layers, "layer") + ", " + size(im.After.Bytes)
	}
	s.Rows = rows(im, s.Anchor)
	s.Estimated = !im.Unchanged && (im.Before.estimated() || im.After.estimated())
	s.Choices = choices(im)
	s.causes(im)
	s.Repeated = repeats(im)
	s.wasted(im)
	s.deletions(im)
	s.History = entries(im.History, im, false)
	if !im.Unchanged {
		s.NewHistory = entries(im.NewHistory, im, true)
	}
	for _, d := range im.Disagreements {
		s.Notes = append(s.Notes, note{"Config and history disagree", Printable(d)})
	}
	for _, c := range im.Cleared {
		s.Notes = append(s.Notes, note{"Removed from the base's config, since no Dockerfile can", Printable(c)})
	}
	for _, l := range im.Losses {
		s.Notes = append(s.Notes, note{"ADD can't keep", Printable(l)})
	}
	return s
}

func figures(im *ImageReport) []figure {
	b, a := im.Before, im.After
	f := []figure{
		{"Layers", strconv.Itoa(b.Layers), strconv.Itoa(a.Layers), percent(int64(b.Layers), int64(a.Layers))},
		{"Bytes", size(b.Bytes), size(a.Bytes), percent(b.Bytes, a.Bytes)},
	}
	if packed(b) != "" && packed(a) != "" {
		f = append(f, figure{"Compressed", packed(b), packed(a), packedChange(b, a)})
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
			Instruction: clip300(OneLine(l.Instruction)), Tip: tip(l.Instruction),
			Base: l.Fate == "base", Boundary: i == im.Base.Layers-1,
			Size: size(l.Bytes), Kept: size(l.KeptBytes),
			Overwritten: sizeOrNothing(l.OverwrittenBytes), Deleted: sizeOrNothing(l.DeletedBytes),
			Wasted: sizeOrNothing(l.OverwrittenBytes + l.DeletedBytes),
			Paths:  l.Paths, DiffID: OneLine(l.DiffID), Dialect: OneLine(l.Dialect),
			Full: strings.TrimSpace(Printable(l.Instruction)),
		}
		for _, part := range tones(l) {
			r.Bars = append(r.Bars, bar{part.name, strconv.FormatFloat(float64(part.bytes)*100/float64(widest), 'f', 3, 64)})
		}
		r.Bytes, r.WastedBytes = l.Bytes, l.OverwrittenBytes+l.DeletedBytes
		rest := Sum{Count: l.FileCount, Bytes: l.Bytes}
		for _, x := range l.Files {
			fate := OneLine(x.Fate)
			if x.Fate != "kept" {
				fate += fmt.Sprintf(" by %d", x.By+1)
			}
			r.Files = append(r.Files, file{size(x.Bytes), rooted(x.Path), fate})
			rest.Count--
			rest.Bytes -= x.Bytes
		}
		r.MoreFiles = more(rest, "file")
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

// more says what a list leaves out: "… and 1203 files more, 34MB."
func more(rest Sum, noun string) string {
	if rest.Count <= 0 {
		return ""
	}
	return fmt.Sprintf("… and %s more, %s.", history.Count(rest.Count, noun), size(max(rest.Bytes, 0)))
}

func headlineOf(im *ImageReport) *headlineCard {
	s := im.Savings
	if s.Bytes <= 0 {
		return nil
	}
	c := &headlineCard{Goes: "Nothing", Of: "of " + size(s.Bytes) + " goes"}
	if s.Goes > 0 {
		c.Goes, c.Of = size(s.Goes), fmt.Sprintf("of %s (%s) go", size(s.Bytes), share(s.Goes, s.Bytes))
	}
	c.More = scratchSaves(s, "")
	return c
}

func choices(im *ImageReport) []choice {
	if len(im.Choices) < 2 {
		return nil
	}
	var out []choice
	for _, c := range im.Choices {
		out = append(out, choice{
			Option: c.option(), Name: c.name(), Layers: c.Layers, Bytes: size(c.Bytes), Chosen: c.Chosen,
			Goes: or(sizeOrNothing(max(im.Savings.Bytes-c.Bytes, 0)), "nothing"), Shared: c.shared(), Evidence: OneLine(c.Evidence),
		})
	}
	return out
}

func (s *section) causes(im *ImageReport) {
	if len(im.Causes) == 0 {
		return
	}
	s.CausesSum = fmt.Sprintf("%s in %s", size(im.WastedTotal.Bytes), history.Count(im.WastedTotal.Count, "file"))
	rest := im.OtherCauses
	for i := range im.Causes {
		c := &im.Causes[i]
		if i >= pageCauses {
			rest.Count += c.Files
			rest.Bytes += c.Bytes
			continue
		}
		path, note := c.files()
		s.Causes = append(s.Causes, cause{
			Size: size(c.Bytes), Bytes: c.Bytes, Path: path, Note: note, Where: c.where(), What: c.what(), Remedy: OneLine(c.Remedy), Base: c.InBase,
		})
	}
	s.MoreCauses = more(rest, "file")
}

// repeats are the files of which several layers hold a copy for nothing, as far
// as these are among the largest wasted ones.
func repeats(im *ImageReport) []repeated {
	type copies struct {
		path   string
		layers []string
		bytes  int64
	}
	byPath := map[string]*copies{}
	var all []*copies
	for _, w := range im.Wasted {
		c := byPath[w.Path]
		if c == nil {
			c = &copies{path: w.Path}
			byPath[w.Path] = c
			all = append(all, c)
		}
		c.layers = append(c.layers, strconv.Itoa(w.Layer+1))
		c.bytes += w.Bytes
	}
	all = slices.DeleteFunc(all, func(c *copies) bool { return len(c.layers) < 2 })
	slices.SortStableFunc(all, func(a, b *copies) int { return cmp.Compare(b.bytes, a.bytes) })
	var out []repeated
	for _, c := range all[:min(len(all), pageRepeated)] {
		layers := strings.Join(c.layers[:min(len(c.layers), 12)], ", ")
		if n := len(c.layers) - 12; n > 0 {
			layers += fmt.Sprintf(" and %d more", n)
		}
		out = append(out, repeated{Size: size(c.bytes), Bytes: c.bytes, Path: rooted(c.path), Layers: layers})
	}
	return out
}

func (s *section) wasted(im *ImageReport) {
	rest := im.WastedTotal
	for _, x := range im.Wasted[:min(len(im.Wasted), pageWasted)] {
		s.Wasted = append(s.Wasted, waste{Size: size(x.Bytes), Bytes: x.Bytes, Path: rooted(x.Path), How: OneLine(x.How), Layer: x.Layer + 1, By: x.By + 1, Base: x.InBase})
		rest.Count--
		rest.Bytes -= x.Bytes
	}
	s.MoreWasted = more(rest, "file")
}

func (s *section) deletions(im *ImageReport) {
	add := func(heading string, all []DeletedPath) {
		if len(all) == 0 {
			return
		}
		sum := deletedSum(all)
		d := deletions{Heading: heading, Sum: history.Count(sum.Count, "path") + ", " + size(sum.Bytes)}
		for _, x := range largestDeleted(all, pageDeleted) {
			path, note := x.words()
			d.Paths = append(d.Paths, deletion{Size: size(x.Bytes), Bytes: x.Bytes, Path: path, Note: strings.Trim(note, " ()")})
			sum.Count -= max(x.Paths, 1)
			sum.Bytes -= x.Bytes
		}
		d.More = more(sum, "path")
		s.Deletions = append(s.Deletions, d)
	}
	gone, replaced := goneAndReplaced(im.Deleted)
	add("Deleted from the base", gone)
	add("Replaced in the base", replaced)
	listed := deletedSum(im.Deleted)
	if rest := (Sum{im.DeletedTotal.Count - listed.Count, im.DeletedTotal.Bytes - listed.Bytes}); rest.Count > 0 {
		s.MoreGone = fmt.Sprintf("Deleted or replaced besides: %s, %s.", history.Count(rest.Count, "path"), size(rest.Bytes))
	}
}

// entries words a history; of the new one, the layer above the base's is the
// merged one.
func entries(lines []HistoryLine, im *ImageReport, after bool) []entry {
	var all []entry
	for _, h := range lines {
		e := entry{Text: strings.TrimSpace(Printable(h.CreatedBy)), Comment: OneLine(h.Comment)}
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
		out[i] = Printable(t)
	}
	return out
}
