package templates

import (
	"io"
	"strings"
	"unicode"

	"github.com/docker/go-units"
	"github.com/mattn/go-runewidth"
)

// oneLine makes text of an untrusted image fit to be shown on a terminal, in
// one line: white space of any length becomes one space, and what isn't
// printable (control characters, which could move the cursor or set a title;
// marks that change the writing direction; broken UTF-8) becomes "·".
func oneLine(s string) string {
	return strings.Join(strings.Fields(printable(s)), " ")
}

// printable keeps white space and replaces what oneLine replaces.
func printable(s string) string {
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
func rooted(path string) string { return "/" + oneLine(strings.Trim(path, "/")) }

// size writes bytes with three figures: "117MB".
func size(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }

// sizeOrNothing leaves the cell of 0 empty, so that the others catch the eye.
func sizeOrNothing(n int64) string {
	if n == 0 {
		return ""
	}
	return size(n)
}

// table is text in columns, the last of which gets the room that is left and
// is cut to it.
type table struct {
	right []bool // which columns are set flush right
	rows  [][]string
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// write prints the table in at most width columns.
func (t *table) write(w io.Writer, width int) error {
	widths := make([]int, len(t.right))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], columns.StringWidth(cell))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			switch fill := widths[i] - columns.StringWidth(cell); {
			case t.right[i]:
				line.WriteString(strings.Repeat(" ", fill) + cell)
			case i == len(row)-1: // as wide as the widest, it could be of any width
				line.WriteString(cell)
			default:
				line.WriteString(cell + strings.Repeat(" ", fill))
			}
		}
		b.WriteString(cutText(strings.TrimRight(line.String(), " "), width) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
