package templates

import (
	"strings"
)

const (
	// layoutWide is the width in bytes beyond which a command whose author's
	// line breaks are lost is broken between its parts.
	layoutWide = 90
	// authoredLines is the number of lines beyond which they can't be an accident:
	// a long one is as its author wanted it.
	authoredLines = 3
	// layoutTab is how many columns a tab of indentation becomes.
	layoutTab = 4
)

// Layout returns the lines of an instruction as its author would have laid them
// out. Builders join continued lines and keep the indentation, so that a tab, or
// more than one space, stands where a line began. Where nothing tells, a long
// command is broken before && and ||, and after a semicolon.
//
// All lines but the last end in a continuation: the instruction that they make
// does the same as text. Text of several lines, such as one with a
// here-document, is left as it is.
func Layout(text string) []string {
	if strings.Contains(text, "\n") {
		return strings.Split(text, "\n")
	}
	keyword, rest, _ := strings.Cut(text, " ")
	if keyword != "RUN" || strings.HasPrefix(strings.TrimSpace(rest), "[") {
		return []string{text}
	}
	var lines []string
	authored := authorLines(rest)
	for _, l := range authored {
		indent := l.indent
		if len(lines) > 0 && indent < layoutTab {
			indent = layoutTab
		}
		parts := []string{l.text}
		if len(authored) <= authoredLines {
			parts = splitLong(l.text, indent)
		}
		for i, part := range parts {
			if i == 1 {
				indent += layoutTab
			}
			lines = append(lines, strings.Repeat(" ", indent)+part)
		}
	}
	lines[0] = keyword + " " + strings.TrimLeft(lines[0], " ")
	for i := range lines[:len(lines)-1] {
		lines[i] += ` \`
	}
	return lines
}

// authorLine is a line as it stood in a Dockerfile.
type authorLine struct {
	indent int // columns
	text   string
}

// authorLines breaks a command where its author did. White space inside quotes,
// and escaped, is the command's own.
func authorLines(command string) []authorLine {
	var lines []authorLine
	indent, start := 0, 0
	s := scanner{text: strings.TrimSpace(command)}
	for s.next() {
		if !s.outside() || !isBlank(s.char()) {
			continue
		}
		end := s.at
		for end < len(s.text) && isBlank(s.text[end]) {
			end++
		}
		run := s.text[s.at:end]
		if len(run) < 2 && run != "\t" {
			continue
		}
		line := s.text[start:s.at]
		lines = append(lines, authorLine{indent, line})
		most := max(indent, layoutTab)
		indent, start = columnsOf(strings.TrimPrefix(run, " ")), end
		// No line is deeper than a whole command before it: the author left one
		// empty between them, but for its tab.
		for endsCommand(line) && indent > most && strings.HasSuffix(run, "\t\t") {
			indent -= layoutTab
		}
		s.at = end - 1
	}
	return append(lines, authorLine{indent, s.text[start:]})
}

// endsCommand tells whether a command is complete at the end of a line, so that
// the next line begins another.
func endsCommand(line string) bool {
	return strings.HasSuffix(line, ";") || strings.HasSuffix(line, "&&") || strings.HasSuffix(line, "||")
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// columnsOf is the width of an indentation.
func columnsOf(blanks string) int {
	n := 0
	for _, c := range blanks {
		if n++; c == '\t' {
			n += layoutTab - 1
		}
	}
	return min(n, 10*layoutTab)
}

// splitLong breaks a line that is wide between the commands of a list.
func splitLong(line string, indent int) []string {
	if indent+len(line) <= layoutWide {
		return []string{line}
	}
	var parts []string
	start, outside := 0, false
	s := scanner{text: line}
	for s.next() {
		before := outside // an escaped blank is part of a word
		if outside = s.outside(); !outside || s.depth > 0 || s.at == 0 {
			continue
		}
		rest := s.text[s.at:]
		switch {
		case strings.HasPrefix(rest, "&& "), strings.HasPrefix(rest, "|| "):
			if before && s.text[s.at-1] == ' ' && s.at > start+1 {
				parts = append(parts, strings.TrimRight(s.text[start:s.at], " "))
				start = s.at
			}
		case strings.HasPrefix(rest, "; "):
			parts = append(parts, s.text[start:s.at+1])
			start = s.at + 2
		}
	}
	return append(parts, s.text[start:])
}

// scanner goes through a shell command byte by byte and knows what is quoted.
type scanner struct {
	text    string
	at      int
	begun   bool
	quote   byte // ' or " while inside
	escaped bool // a backslash precedes
	depth   int  // of parentheses and braces
}

func (s *scanner) next() bool {
	if s.begun {
		s.at++
	}
	s.begun = true
	if s.at >= len(s.text) {
		return false
	}
	if s.at > 0 {
		s.step(s.text[s.at-1])
	}
	return true
}

// step takes in the byte before the one at hand.
func (s *scanner) step(c byte) {
	switch {
	case s.escaped:
		s.escaped = false
	case c == '\\' && s.quote != '\'':
		s.escaped = true
	case s.quote != 0:
		if c == s.quote {
			s.quote = 0
		}
	case c == '\'' || c == '"':
		s.quote = c
	case c == '(' || c == '{':
		s.depth++
	case c == ')' || c == '}':
		s.depth = max(0, s.depth-1)
	}
}

func (s *scanner) char() byte { return s.text[s.at] }

// outside tells whether the byte at hand is neither quoted nor escaped.
func (s *scanner) outside() bool { return s.quote == 0 && !s.escaped }
