package templates

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"docker-flatten/history"
)

const (
	// rowCut is the number of characters of an instruction that a row shows, and
	// rowLines that of its lines. An instruction that a person wrote is shorter.
	rowCut   = 6000
	rowLines = 300
	// filesCut is the number of columns of the line that tells a layer's files.
	filesCut = 200
	// mostRows is the number of rows that are shown.
	mostRows = 1000
	// headCut is the number of columns of a line of the head.
	headCut = 2000
	// listed is the number of paths and other items that the head lists.
	listed = 10
)

// directiveLike has texts that could be a parser directive. The first comment
// ends those for the parser; but BuildKit looks for "check=" in each comment
// that stands above an instruction.
var directiveLike = regexp.MustCompile(`^\s*[A-Za-z][A-Za-z0-9]*\s*=`)

// commentf returns a comment: one line, however the text looks. It can't end
// the comment, nor be a directive, nor steer a terminal.
func commentf(format string, a ...any) string {
	text := visible(fmt.Sprintf(format, a...))
	if directiveLike.MatchString(text) {
		text = "- " + text
	}
	return "# " + cutComment(text, headCut) + "\n"
}

// rowsComment returns the comment lines of rows. What many rows say last is
// told in sum.
func rowsComment(rows []Row) string {
	var b strings.Builder
	for i, r := range rows {
		if i == mostRows-1 && len(rows) > mostRows {
			layers, bytes := sumOf(rows[i:])
			rowLine(&b, Size(bytes), fmt.Sprintf("… %s more, which made %s", history.Count(len(rows)-i, "instruction"), history.Count(layers, "layer")))
			break
		}
		r.comment(&b)
	}
	return b.String()
}

// comment writes a row: its size, the instruction as its author would have laid
// it out, and below it the files that came.
func (r Row) comment(b *strings.Builder) {
	head := ""
	if r.Layers > 0 {
		head = Size(r.Size)
	}
	text := strings.TrimRight(strings.ReplaceAll(r.Text, "\r\n", "\n"), "\n")
	if text == "" {
		text = "(no line in the history)"
	}
	cut := cutRunes(text, rowCut)
	lines := Layout(cut)
	if len(lines) > rowLines {
		lines = append(lines[:rowLines-1:rowLines-1], fmt.Sprintf("… %s", history.Count(len(lines)-rowLines+1, "more line")))
	}
	if len(cut) < len(text) {
		lines = append(lines, fmt.Sprintf("… %d characters in all", utf8.RuneCountInString(text)))
	}
	for i, line := range lines {
		if i == 0 && r.Times > 1 {
			line = fmt.Sprintf("%d × %s", r.Times, line)
		}
		rowLine(b, head, line)
		head = ""
	}
	if len(r.Files) > 0 {
		files := strings.Join(r.Files, ", ")
		if r.More > 0 {
			files += " and " + history.Count(r.More, "more file")
		}
		rowLine(b, "", cutComment("  → "+visible(files), filesCut))
	}
}

// rowLine writes a line of a row. The bar also keeps a line of a command from
// being a directive.
func rowLine(b *strings.Builder, head, line string) {
	fmt.Fprintf(b, "# %8s | %s\n", head, visible(strings.TrimRightFunc(line, unicode.IsSpace)))
}

// sumOf counts the layers that rows made, and the bytes of their files.
func sumOf(rows []Row) (layers int, bytes int64) {
	for _, r := range rows {
		layers += r.Layers
		bytes += r.Size
	}
	return layers, bytes
}

// listComment returns the comment lines of a list under a heading: one item a
// line, the first few of many.
func listComment(heading string, items []string) string {
	var b strings.Builder
	b.WriteString(commentf("%s", heading))
	for i, item := range items {
		if i == listed-1 && len(items) > listed {
			b.WriteString(commentf("  … and %d more", len(items)-i))
			break
		}
		b.WriteString(commentf("  %s", item))
	}
	return b.String()
}

// visible replaces what doesn't print, and what no rune is, by an escape.
func visible(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString("    ")
		case r == '\r':
			b.WriteString(`\r`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += n
	}
	return b.String()
}

// cutComment shortens s to at most columns runes, the last of them an ellipsis.
func cutComment(s string, columns int) string {
	if utf8.RuneCountInString(s) <= columns {
		return s
	}
	return cutRunes(s, columns-1) + "…"
}

// cutRunes is the first n runes of s.
func cutRunes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}
