package templates

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"docker-flatten/history"
)

// Widths of the summary. Below minWidth lines run over rather than say nothing.
const (
	minWidth  = 40
	wideWidth = 110 // from here on the waste is told apart: overwritten, deleted
	fullRows  = 40  // a summary of an image with more layers folds those that matter little
)

// Look is how text for people is laid out.
type Look struct {
	Width  int  // in columns; 0 = nothing is shortened
	Colour bool // with escape sequences for colours
}

// WritePlan writes what a dry run would do, for a reader: what it saves, where
// the base ends and why, what becomes of each layer (newest first, like docker
// history), the figures before and after and those of other bases, what is
// deleted from the base, and why bytes are wasted. No line is wider than the
// look's width, unless that is less than 40; text that comes from the image is
// made safe for a terminal. The only errors are w's.
func WritePlan(w io.Writer, r *Report, look Look) error {
	return write(w, r, look, true)
}

// WriteSummary writes what a job did: WritePlan's text without the other bases,
// and where the result is. On a terminal it folds, of images with more than 40
// layers, the runs of those that matter little; a log, the plan, the JSON object
// and the page have them all.
func WriteSummary(w io.Writer, r *Report, look Look) error {
	return write(w, r, look, false)
}

func write(w io.Writer, r *Report, look Look, plan bool) error {
	s := &summary{report: r, width: max(look.Width, minWidth), colour: look.Colour, plan: plan}
	if look.Width <= 0 {
		s.width = unlimited
	}
	for i := range r.Images {
		if i > 0 {
			s.line("")
		}
		s.image(&r.Images[i])
	}
	if plan && (r.Needs.ReadBytes > 0 || len(r.Needs.Space) > 0) {
		s.line("")
		s.wrap("", "a run "+r.Needs.String())
	}
	if !plan {
		s.result()
	}
	for _, warning := range r.Warnings {
		s.wrap("warning: ", warning)
	}
	_, err := io.WriteString(w, s.b.String())
	return err
}

// summary collects the text of a plan or summary.
type summary struct {
	report *Report
	width  int
	colour bool
	plan   bool
	b      strings.Builder
}

// unlimited is more than any line has columns.
const unlimited = math.MaxInt32

func (s *summary) line(text string) {
	s.b.WriteString(cutText(text, s.width) + "\n")
}

// A sentence longer than maxLines lines is cut: it quotes something that
// belongs on the page or in the JSON object.
const maxLines = 8

// wrap writes a sentence on as many lines as it takes, those after the first
// indented. A word that is too long for a line is broken.
func (s *summary) wrap(label, text string) { s.wrapIn("", label, text) }

// wrapIn is wrap in a colour.
func (s *summary) wrapIn(colour sgr, label, text string) {
	indent := strings.Repeat(" ", columns.StringWidth(label))
	if label == "" || strings.TrimSpace(label) != "" && len(indent) > len("warning: ") {
		indent = "  "
	}
	var line strings.Builder
	used, empty, lines := 0, true, 1 // empty: nothing but the label or indent
	add := func(text string) {
		line.WriteString(text)
		used += columns.StringWidth(text)
	}
	write := func() {
		text := strings.TrimRight(line.String(), " ")
		s.b.WriteString(paint(s.colour, colour, cutText(text, s.width)) + "\n")
		line.Reset()
		used = 0
	}
	feed := func() {
		write()
		add(indent)
		empty = true
		lines++
	}
	add(label)
	// What more lines hold isn't shown, and measuring it takes time.
	text = cutText(OneLine(text), (maxLines+2)*s.width)
	for _, word := range strings.Fields(text) {
		if lines > maxLines {
			add("…")
			break
		}
		if !empty && used+1+columns.StringWidth(word) > s.width {
			feed()
		}
		if !empty {
			add(" ")
		}
		for columns.StringWidth(word) > s.width-used {
			part := columns.Truncate(word, max(s.width-used, 2), "")
			add(part)
			word = word[len(part):]
			feed()
		}
		add(word)
		empty = false
	}
	write()
}

func (s *summary) image(im *ImageReport) {
	name := OneLine(s.report.Source)
	if im.Platform != "" {
		name += " (" + OneLine(im.Platform) + ")"
	}
	if im.Unchanged {
		s.wrap("", name+": nothing to flatten: "+nothing(im)+scratchSaves(im.Savings, "; "))
		return
	}
	if text := headline(im); text != "" {
		s.wrapIn(bold, "", text)
	}
	above := len(im.Layers) - im.Base.Layers
	verb := "merged"
	if s.plan || s.report.Recovered {
		verb = "to merge"
	}
	s.wrap("", fmt.Sprintf("%s: %s above the base %s into 1", name, history.Count(above, "layer"), verb))
	s.wrap("base: ", base(im))
	s.line("")
	s.layers(im)
	s.line("")
	s.totals(im)
	if s.plan {
		s.choices(im)
	}
	s.wasted(im)
	s.deleted(im)
	if len(im.Disagreements)+len(im.Cleared)+len(im.Losses) > 0 {
		s.line("")
	}
	for _, d := range im.Disagreements {
		s.wrap("config and history disagree: ", d)
	}
	if len(im.Cleared) > 0 {
		s.wrap("removed from the base's config, since no Dockerfile can: ", strings.Join(im.Cleared, ", "))
	}
	for _, l := range im.Losses {
		s.wrap("ADD can't keep: ", l)
	}
}

// base says where the base ends and how that is known: "debian:12, 1 layer:
// local image with the same 1 layer".
func base(im *ImageReport) string {
	name := OneLine(im.Base.Name)
	if name == "" {
		name = "without a name"
	}
	if im.Base.Layers > 0 || im.Base.Name != "scratch" {
		name += ", " + history.Count(im.Base.Layers, "layer")
	}
	if im.Base.Evidence == "" {
		return name
	}
	return name + " — " + OneLine(im.Base.Evidence)
}

// nothing says why an image stays as it is: "1 layer above debian:12".
func nothing(im *ImageReport) string {
	name := OneLine(im.Base.Name)
	if name == "" {
		name = "its base"
	}
	above := max(len(im.Layers)-im.Base.Layers, 0)
	if im.Base.Layers == 0 {
		return history.Count(above, "layer") + " in all"
	}
	if above == 0 {
		return "no layer above " + name
	}
	return history.Count(above, "layer") + " above " + name
}

// totals is the table of before and after.
func (s *summary) totals(im *ImageReport) {
	b, a := im.Before, im.After
	t := table{right: []bool{false, true, true, true, true}, head: true}
	compressed := packed(b) != "" || packed(a) != ""
	row := func(name, layers, bytes, packed, paths string) {
		if compressed {
			t.row(name, layers, bytes, packed, paths)
		} else {
			t.row(name, layers, bytes, paths)
		}
	}
	row("", "LAYERS", "BYTES", "COMPRESSED", "PATHS")
	row("before", strconv.Itoa(b.Layers), size(b.Bytes), or(packed(b), "?"), strconv.Itoa(b.Paths))
	row("after", strconv.Itoa(a.Layers), size(a.Bytes), or(packed(a), "?"), strconv.Itoa(a.Paths))
	row("", percent(int64(b.Layers), int64(a.Layers)), percent(b.Bytes, a.Bytes), packedChange(b, a), percent(int64(b.Paths), int64(a.Paths)))
	t.write(s)
	if s.plan && (b.estimated() || a.estimated()) {
		s.wrapIn(dim, "", "≈ is an estimate: samples of each layer were compressed with gzip")
	}
}

// packed is the compressed size: "≈71MB" where it is an estimate, "" where it
// isn't known.
func packed(t Totals) string {
	switch {
	case t.Compressed > 0:
		return size(t.Compressed)
	case t.Estimate > 0:
		return "≈" + size(t.Estimate)
	}
	return ""
}

// estimated tells whether packed is an estimate.
func (t Totals) estimated() bool { return t.Compressed <= 0 && t.Estimate > 0 }

// packedChange compares two compressed sizes; an estimate is compared with an
// estimate.
func packedChange(b, a Totals) string {
	before, after := b.Compressed, a.Compressed
	if before <= 0 || after <= 0 {
		before, after = b.Estimate, a.Estimate
	}
	if after <= 0 {
		return ""
	}
	return percent(before, after)
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// choices is the table of what each base would give.
func (s *summary) choices(im *ImageReport) {
	if len(im.Choices) < 2 {
		return
	}
	s.line("")
	t := table{right: []bool{false, true, true, true, false, false}, head: true}
	t.row("BASE", "LAYERS", "BYTES", "GOES", "SHARED", "")
	for _, c := range im.Choices {
		t.row(c.option(), strconv.Itoa(c.Layers), size(c.Bytes), or(sizeOrNothing(max(im.Savings.Bytes-c.Bytes, 0)), "nothing"), c.shared(), c.name())
	}
	t.write(s)
}

// option says how a choice is made.
func (c *Choice) option() string {
	if c.Chosen {
		return "this plan"
	}
	return "--base " + OneLine(c.Base)
}

func (c *Choice) shared() string {
	if c.SharedLayers == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%s in %s", size(c.SharedBytes), history.Count(c.SharedLayers, "layer"))
}

// name is the base's, where that isn't what the option says.
func (c *Choice) name() string {
	if c.SharedLayers == 0 {
		return ""
	}
	return OneLine(c.Name)
}

// percent writes a change: "−19%", "+2%", "±0%" for none and "≈0%" for one that
// rounds to none; what is left doesn't round to nothing.
func percent(before, after int64) string {
	if before <= 0 {
		return ""
	}
	change := (float64(after) - float64(before)) / float64(before) * 100
	sign := "+"
	if change < 0 {
		sign, change = "−", -change
	}
	switch {
	case change == 0:
		return "±0%"
	case change < 0.1:
		return "≈0%"
	case change > 99.5 && after > 0 && after < before:
		return "−99.9%"
	case change < 10:
		return sign + strconv.FormatFloat(change, 'f', 1, 64) + "%"
	}
	return sign + strconv.FormatFloat(change, 'f', 0, 64) + "%"
}

// result says where the new image is.
func (s *summary) result() {
	r := s.report
	if r.ID == "" && r.Context == "" {
		return
	}
	s.line("")
	if r.ID != "" {
		text := strings.Join(r.Tags, ", ")
		if out := r.Output; len(r.Tags) > 0 && strings.HasSuffix(out, r.Tags[0]) {
			text = join(", ", out, strings.Join(r.Tags[1:], ", "))
		} else {
			text = join(" in ", text, out)
		}
		how := r.Builder + " builder, " + checked(r)
		switch {
		case unchanged(r):
			how = "the same image, with its layers as they were"
		case r.Reused:
			how = "made by an earlier run, " + checked(r)
		}
		text = join(" ", text, "("+how+")")
		s.wrap("image: ", text)
	}
	if r.Context != "" {
		s.wrap("context: ", r.Context)
	}
}

// unchanged tells whether there was nothing to flatten at all.
func unchanged(r *Report) bool {
	for _, im := range r.Images {
		if !im.Unchanged {
			return false
		}
	}
	return len(r.Images) > 0
}

// checked says how the result is known to be the same as the source.
func checked(r *Report) string {
	contents := ""
	if r.Verify == "content" {
		contents = ", contents too"
	}
	switch r.Checked {
	case CheckedNow:
		return "checked against the source" + contents
	case CheckedAgain:
		return "checked again against the source" + contents
	case CheckedBefore:
		return "checked by the run that made it"
	}
	return "not checked against the source"
}

func join(sep string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, sep)
}
