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
	// commentCut is the number of columns of a layer's instruction that are
	// shown of one of its lines; commentLines the number of its lines.
	commentCut   = 200
	commentLines = 20
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
	return "# " + cutComment(text, 10*commentCut) + "\n"
}

// layerComment returns the comment lines of a merged layer: its size, and the
// instruction that made it, each of its lines cut at commentCut columns.
func layerComment(l Layer) string {
	var b strings.Builder
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(l.Instruction, "\r\n", "\n"), "\n"), "\n")
	if l.Instruction == "" {
		lines = []string{"(no line in the history)"}
	}
	more := 0
	if len(lines) > commentLines {
		more = len(lines) - commentLines + 1
		lines = lines[:commentLines-1]
	}
	for i, line := range lines {
		head := ""
		if i == 0 {
			head = size(l.Size)
		}
		// The bar also keeps a line of a command from being a directive.
		fmt.Fprintf(&b, "# %8s | %s\n", head, cutComment(visible(strings.TrimRightFunc(line, unicode.IsSpace)), commentCut))
	}
	if more > 0 {
		fmt.Fprintf(&b, "# %8s | … %s\n", "", history.Count(more, "more line"))
	}
	return b.String()
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
	n := 0
	for i := range s {
		if n++; n == columns {
			return s[:i] + "…"
		}
	}
	return s
}
