package templates

import (
	_ "embed"
	"html/template"
	"io"
	"strings"
)

//go:embed report.svg.tmpl
var svgText string

var svgTemplate = template.Must(template.New("report.svg").Parse(svgText))

// svgHeadline is the number of columns of the headline that fit.
const svgHeadline = 110

// Measures of the SVG page, in its units.
const (
	svgWidth  = 960
	svgLeft   = 30
	svgInner  = svgWidth - 2*svgLeft
	svgBarX   = 500
	svgBarW   = 230
	svgSizeX  = 810
	svgTop    = 112 // where the first section begins
	svgStrips = 196 // height of the picture of a section
	svgRow    = 19
	svgGap    = 10 // between the rows of the merged layers and the base's
	svgLine   = 22 // height of the line of the headline
	svgCode   = 60 // columns of monospaced text that fit before the bars
)

// WriteSVG writes the report's picture as one SVG document that needs nothing
// else: each platform's layers before and after, and a row a layer with its
// instruction. It follows the reader's light or dark scheme. The only errors
// are w's.
func WriteSVG(w io.Writer, r *Report) error {
	return svgTemplate.Execute(w, drawingOf(r))
}

// drawing is a report as the SVG page shows it.
type drawing struct {
	Title, Heading    string
	Mark              string // see pageMark
	Width, Height     int
	Left, Inner       int
	BarX, BarW, SizeX int
	Sections          []svgSection
}

type svgSection struct {
	Y, RowsY              int
	Heading               string
	Headline              string // what the job saves
	BaseLayers            int
	BaseText              string
	BeforeText, AfterText string
	Picture               *picture // nil where there is nothing to flatten
	Rows                  []svgLayer
}

type svgLayer struct {
	Y        int
	Number   int
	Base     bool
	Boundary bool
	Text     string
	Tip      string
	Size     string
	Wasted   string
	Bars     []segment
}

func drawingOf(r *Report) drawing {
	d := drawing{
		Width: svgWidth, Left: svgLeft, Inner: svgInner, BarX: svgBarX, BarW: svgBarW, SizeX: svgSizeX,
		Heading: OneLine(r.Source), Mark: pageMark(r.Source),
	}
	if len(r.Tags) > 0 {
		d.Heading += " → " + OneLine(strings.Join(r.Tags, ", "))
	}
	d.Title = d.Heading
	d.Heading = cutPath(d.Heading, 78)
	y := svgTop
	for i := range r.Images {
		s := svgSectionOf(&r.Images[i])
		s.Y = y
		y += s.RowsY + len(s.Rows)*svgRow + svgGap + 44
		d.Sections = append(d.Sections, s)
	}
	d.Height = y
	return d
}

func svgSectionOf(im *ImageReport) svgSection {
	v := sectionOf(im, 0)
	s := svgSection{
		BaseLayers: v.BaseLayers, BeforeText: v.BeforeText, AfterText: v.AfterText,
		BaseText: cutText(base(im), 70), RowsY: svgStrips,
	}
	s.Heading = v.Platform
	if im.Unchanged {
		s.Heading = cutText(join(": ", s.Heading, "nothing to flatten: "+v.Unchanged), 90)
		s.RowsY = 14
	} else {
		p := draw(im, svgInner, 34, 80)
		s.Picture = &p
		if s.Headline = cutText(headline(im), svgHeadline); s.Headline != "" {
			s.RowsY += svgLine
		}
	}
	widest := int64(1)
	for _, l := range im.Layers {
		widest = max(widest, parts(l))
	}
	gap := 0
	for i, r := range v.Rows {
		if r.Boundary && i > 0 {
			gap = svgGap
		}
		row := svgLayer{
			Y: i*svgRow + gap, Number: r.Number, Base: r.Base, Boundary: r.Boundary && i > 0,
			Text: cutText(r.Instruction, svgCode), Tip: r.Tip, Size: r.Size,
		}
		if r.Wasted != "" {
			row.Wasted = "−" + r.Wasted
		}
		x := float64(svgBarX)
		for _, part := range tones(im.Layers[r.Number-1]) {
			w := float64(part.bytes) / float64(widest) * svgBarW
			row.Bars = append(row.Bars, segment{X: x, W: max(w, 0.75), Tone: part.name})
			x += w
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}
