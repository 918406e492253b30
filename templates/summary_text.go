package templates

import (
	"strings"
	"unicode"

	"github.com/docker/go-units"
	"github.com/mattn/go-runewidth"
)

// OneLine makes text from outside (a name in an image, a registry's answer) fit
// to be shown on a terminal, in one line: white space of any length becomes one
// space, and the rest is as Printable has it.
func OneLine(s string) string { return strings.Join(strings.Fields(Printable(s)), " ") }

// Printable makes text from outside fit to be shown on a terminal. It keeps
// white space. What doesn't print becomes "·": control characters, which could
// move the cursor or set a title, marks that change the writing direction, and
// broken UTF-8.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return r
		case unicode.IsPrint(r) && r != unicode.ReplacementChar:
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return '·'
	}, strings.ToValidUTF8(s, "·"))
}

// columns measures text the way terminals show it, whatever the locale says
// about characters of ambiguous width.
var columns = runewidth.Condition{StrictEmojiNeutral: true}

// cutText shortens text to width columns, with an ellipsis where something is
// missing.
func cutText(s string, width int) string {
	if width < 1 {
		return ""
	}
	return columns.Truncate(s, width, "…")
}

// cutPath shortens a path in its middle: its end tells most.
func cutPath(s string, width int) string {
	if columns.StringWidth(s) <= width || width < 12 {
		return cutText(s, width)
	}
	head := columns.Truncate(s, width/3, "")
	return head + "…" + columns.TruncateLeft(s, columns.StringWidth(s)-(width-columns.StringWidth(head)-1), "")
}

// rooted writes a path of an image as the image's user sees it: "/etc/motd".
func rooted(path string) string { return "/" + OneLine(strings.Trim(path, "/")) }

// Size writes bytes as everything that people read has them: with at most three
// figures, in the units of docker's own lists: "117MB".
func Size(n int64) string {
	text := units.HumanSizeWithPrecision(float64(n), 3)
	if strings.Contains(text, "e+") { // 999.6kB rounds to 1e+03kB, which is 1MB
		text = units.HumanSizeWithPrecision(float64(n)*1.001, 3)
	}
	return text
}

func size(n int64) string { return Size(n) }

// sizeOrNothing leaves the cell of 0 empty, so that the others catch the eye.
func sizeOrNothing(n int64) string {
	if n == 0 {
		return ""
	}
	return size(n)
}

// sgr is a parameter of the escape sequence that sets colours; "" for none.
type sgr string

const (
	bold   sgr = "1"
	dim    sgr = "2"
	yellow sgr = "33"
)

// paint puts text in a colour, where colours are wanted.
func paint(wanted bool, colour sgr, text string) string {
	if !wanted || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + string(colour) + "m" + text + "\x1b[0m"
}

// table is text in columns, the last of which gets the room that is left and
// is cut to it.
type table struct {
	right []bool // which columns are set flush right
	head  bool   // the first row is a head
	path  bool   // the last column is a path, and cut in its middle
	rows  []tableRow
	next  sgr // the next row's colour
}

type tableRow struct {
	cells  []string
	note   string // behind the last cell, and whole
	below  string // a sentence under the row
	colour sgr
}

func (t *table) row(cells ...string) {
	t.rows = append(t.rows, tableRow{cells: cells, colour: t.next})
	t.next = ""
}

// rowIn gives the row that comes next a colour.
func (t *table) rowIn(colour sgr) { t.next = colour }

// note and below add to the last row.
func (t *table) note(text string)  { t.rows[len(t.rows)-1].note = text }
func (t *table) below(text string) { t.rows[len(t.rows)-1].below = text }

// write adds the table to a summary, in the summary's width.
func (t *table) write(s *summary) {
	widths := make([]int, len(t.right))
	for _, row := range t.rows {
		for i, cell := range row.cells {
			widths[i] = max(widths[i], columns.StringWidth(cell))
		}
	}
	for k, row := range t.rows {
		var line strings.Builder
		for i, cell := range row.cells {
			if i > 0 {
				line.WriteString("  ")
			}
			last := i == len(row.cells)-1
			if last && t.path {
				cell = cutPath(cell, s.width-columns.StringWidth(line.String())-columns.StringWidth(row.note)) + row.note
			}
			fill := strings.Repeat(" ", max(widths[i]-columns.StringWidth(cell), 0))
			switch {
			case t.right[i]:
				line.WriteString(fill + cell)
			case last:
				line.WriteString(cell)
			default:
				line.WriteString(cell + fill)
			}
		}
		colour := row.colour
		if k == 0 && t.head {
			colour = dim
		}
		s.b.WriteString(paint(s.colour, colour, cutText(strings.TrimRight(line.String(), " "), s.width)) + "\n")
		if row.below != "" {
			s.wrapIn("", strings.Repeat(" ", 10), strings.TrimSpace(row.below))
		}
	}
}
