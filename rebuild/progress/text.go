package progress

import (
	"strings"
	"unicode"
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
