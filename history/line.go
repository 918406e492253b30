package history

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxLine is the longest physical line written. The parser's limit is
	// bufio.MaxScanTokenSize-1: 65,535 bytes with the newline.
	maxLine = 60_000
	// wide is the width in bytes beyond which an instruction of several words
	// goes on in indented lines.
	wide = 100
)

// arrange joins keyword and words to an instruction: on one line if that isn't
// wide, else with line continuations, each word on a line of its own or as
// many as fit. Lines that are continued are indented under the first word.
func arrange(keyword string, words []string, single bool) (string, error) {
	line := keyword + " " + strings.Join(words, " ")
	if len(line) <= wide || len(words) == 1 {
		return fold(line)
	}
	indent := strings.Repeat(" ", len(keyword)+1)
	var lines []string
	current := keyword + " " + words[0]
	for _, w := range words[1:] {
		if single || len(current)+1+len(w) > wide {
			lines = append(lines, current)
			current = indent + w
			continue
		}
		current += " " + w
	}
	lines = append(lines, current)
	for i, l := range lines {
		folded, err := fold(l)
		if err != nil {
			return "", err
		}
		lines[i] = folded
	}
	return strings.Join(lines, " \\\n"), nil
}

// fold cuts a line that is too long for the parser with line continuations at
// places that change nothing: a continued line is neither trimmed nor
// stripped of blanks, but one that begins with # or is all blank is dropped,
// and a backslash after another backslash continues nothing.
func fold(line string) (string, error) {
	if len(line) <= maxLine {
		return line, nil
	}
	var b strings.Builder
	for len(line) > maxLine {
		cut := maxLine
		for cut > 0 && !safeCut(line, cut) {
			cut--
		}
		if cut == 0 {
			return "", errors.New("has no place for a line continuation in a long value")
		}
		b.WriteString(line[:cut])
		b.WriteString("\\\n")
		line = line[cut:]
	}
	b.WriteString(line)
	return b.String(), nil
}

func safeCut(line string, at int) bool {
	if line[at-1] == '\\' || line[at] == '#' || !utf8.RuneStart(line[at]) {
		return false
	}
	r, _ := utf8.DecodeRuneInString(line[at:])
	before, _ := utf8.DecodeLastRuneInString(line[:at])
	return r != utf8.RuneError && !unicode.IsSpace(r) && !unicode.IsSpace(before)
}
