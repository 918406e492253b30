package history

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quoting for github.com/moby/buildkit/frontend/dockerfile/shell, which the
// classic builder uses as well. Single quotes keep everything but a single quote.
// In double quotes a backslash escapes ", $ and itself. The parser splits words
// by the same rules.

// seam is the number of bytes of a quoted value after which quotes are closed
// and opened again, which gives line continuations a place.
const seam = 16 << 10

// bare tells whether the value needs no quotes at all.
func bare(v string) bool {
	if v == "" {
		return false
	}
	for _, r := range v {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_./:@%+,=~-", r) {
			return false
		}
	}
	return utf8.ValidString(v)
}

// key quotes the name of a pair.
func (a Arguments) key(k string) (string, error) {
	if bare(k) && !strings.Contains(k, "=") && !strings.HasPrefix(k, "-") {
		return k, nil
	}
	return a.quote(k, true)
}

// value quotes the value of a pair.
func (a Arguments) value(v string) (string, error) {
	if bare(v) {
		return v, nil
	}
	return a.quote(v, false)
}

// argument quotes a word that may come first after the keyword, where one that
// begins with a dash would be taken for a flag.
func (a Arguments) argument(v string) (string, error) {
	if bare(v) && !strings.HasPrefix(v, "-") {
		return v, nil
	}
	return a.quote(v, false)
}

// Word quotes a value as ARG and COPY take it. The error, one phrase, says why
// it can't be written.
func Word(v string) (string, error) {
	if strings.ContainsAny(v, "\n\r\x00") {
		return "", errors.New("a line can't hold it")
	}
	return Arguments{}.value(v)
}

// quote puts a value in the quotes that need the fewest escapes. A newline is
// kept as it is when a.Newline is empty.
func (a Arguments) quote(v string, key bool) (string, error) {
	if !utf8.ValidString(v) {
		return "", errUTF8
	}
	if strings.Contains(v, "\x00") {
		return "", errNUL
	}
	newline := a.Newline != "" && strings.Contains(v, "\n")
	equals := key && strings.Contains(v, "=")
	if equals && a.Equals == "" {
		return "", errors.New("can't have = in a name")
	}
	special := strings.ContainsAny(v, `"$\`)
	if special && !newline && !equals && !strings.Contains(v, "'") {
		return quoteSingle(v), nil
	}
	var b strings.Builder
	b.WriteByte('"')
	start := 0
	for _, r := range v {
		if b.Len()-start > seam {
			b.WriteString(`""`)
			start = b.Len()
		}
		switch {
		case r == '\n' && newline:
			b.WriteString("${" + a.Newline + "}")
		case r == '=' && equals:
			b.WriteString("${" + a.Equals + "}")
		case r == '"' || r == '$' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String(), nil
}

func quoteSingle(v string) string {
	var b strings.Builder
	b.WriteByte('\'')
	start := 0
	for _, r := range v {
		if b.Len()-start > seam {
			b.WriteString("''")
			start = b.Len()
		}
		b.WriteRune(r)
	}
	b.WriteByte('\'')
	return b.String()
}

// plain tells whether a text can stand on a line as it is, for the parser and
// for a reader: it has no control character but tabs, and nothing invisible. A
// byte that isn't UTF-8 passes, since nothing else than plain text can have it.
func plain(s string) bool {
	for _, r := range s {
		if r != '\t' && !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// jsonArray returns the words of a JSON array of strings: the first begins
// with [, the last ends with ], and all but the last end with a comma.
func jsonArray(args []string) ([]string, error) {
	if len(args) == 0 {
		return []string{"[]"}, nil
	}
	words := make([]string, len(args))
	for i, a := range args {
		if !utf8.ValidString(a) {
			return nil, errUTF8
		}
		words[i] = jsonString(a) + ","
	}
	words[0] = "[" + words[0]
	last := len(words) - 1
	words[last] = strings.TrimSuffix(words[last], ",") + "]"
	return words, nil
}

// jsonString writes a JSON string that a reader and a terminal can bear: what
// doesn't print is escaped. After every seam bytes there is a place where a
// line can be continued.
func jsonString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	start := 0
	runes := []rune(s)
	for i, r := range runes {
		atSeam := b.Len()-start > seam
		if atSeam {
			start = b.Len()
		}
		// A continuation can't follow a backslash, nor precede a blank or #.
		beforeSeam := i+1 < len(runes) && b.Len()+2-start > seam
		switch {
		case r == '"':
			b.WriteString(`\"`)
		case r == '\\' && !beforeSeam:
			b.WriteString(`\\`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\\', atSeam && (r == ' ' || r == '#'), !unicode.IsPrint(r):
			writeUnicodeEscape(&b, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func writeUnicodeEscape(b *strings.Builder, r rune) {
	if r > 0xffff {
		r -= 0x10000
		fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		return
	}
	fmt.Fprintf(b, `\u%04x`, r)
}
