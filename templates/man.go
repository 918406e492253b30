package templates

import (
	"fmt"
	"regexp"
	"strings"
)

// Man returns the manual page docker-flatten(1) of a version, as roff with the
// man macros. All of its text is Usage's: only the form is another.
func Man(version string) string {
	m := &manual{}
	m.macro(".TH DOCKER\\-FLATTEN 1 \"\" %q \"User Commands\"", "docker-flatten "+version)
	m.macro(".nh") // names of options and files stay whole
	m.macro(".SH NAME")
	m.text("docker-flatten - flatten an image to its base plus one layer")
	blocks := strings.Split(strings.TrimSpace(Usage), "\n\n")
	for _, order := range []func(string) bool{isSynopsis, isDescription, isOther, isExamples} {
		for _, b := range blocks {
			if order(b) {
				m.block(b)
			}
		}
	}
	m.macro(".SH SEE ALSO")
	m.text("docker(1), crane(1), skopeo(1), umoci(1)")
	return m.out.String()
}

// The blocks of Usage, in the order of a manual.
func isSynopsis(b string) bool    { return strings.HasPrefix(b, "Usage:") }
func isExamples(b string) bool    { return strings.HasPrefix(b, "Examples:") }
func isDescription(b string) bool { return b == strings.Split(Usage, "\n\n")[0] }
func isOther(b string) bool       { return !isSynopsis(b) && !isExamples(b) && !isDescription(b) }

// A heading is what sections of Usage are called in manuals (man-pages(7)).
var heading = map[string]string{"Usage": "SYNOPSIS", "Exit codes": "EXIT STATUS"}

// manual is a page being written.
type manual struct {
	out     strings.Builder
	options bool // whether the section OPTIONS has begun
}

// item begins an entry of a list: an option, or what is indented by two spaces.
// Its description stands behind two spaces or more, or on the lines that follow.
var item = regexp.MustCompile(`^(?:  |      -)[^ ]`)

// block writes one paragraph of Usage: prose, or a heading with a list.
func (m *manual) block(b string) {
	lines := strings.Split(b, "\n")
	title, isList := strings.CutSuffix(lines[0], ":")
	switch {
	case isSynopsis(b):
		m.macro(".SH SYNOPSIS")
		m.macro(".nf")
		for _, l := range strings.Split(strings.TrimPrefix(b, "Usage:"), "\n") {
			m.text(strings.TrimSpace(l))
		}
		m.macro(".fi")
		return
	case strings.HasPrefix(b, " "): // more of the list before it
		m.list(lines)
		return
	case !isList:
		m.macro(".SH DESCRIPTION")
		m.text(b)
		return
	case len(lines) > 1 && strings.HasPrefix(strings.TrimSpace(lines[1]), "-"):
		if !m.options {
			m.macro(".SH OPTIONS")
			m.options = true
		}
		m.macro(".SS %s", escaped(title))
	case strings.Contains(title, ","): // a sentence
		name, _, _ := strings.Cut(title, ",")
		m.macro(".SH %s", escaped(name))
		m.text(title + ":")
	default:
		name := heading[title]
		if name == "" {
			name = strings.ToUpper(title)
		}
		m.macro(".SH %s", escaped(name))
	}
	m.list(lines[1:])
}

// gap separates an entry's term from its description.
var gap = regexp.MustCompile(` {2,}`)

// list writes entries and their descriptions.
func (m *manual) list(lines []string) {
	for _, l := range lines {
		if !item.MatchString(l) {
			m.text(strings.TrimSpace(l))
			continue
		}
		parts := gap.Split(strings.TrimSpace(l), 2)
		m.macro(".TP")
		m.macro("%s", term(parts[0]))
		if len(parts) > 1 {
			m.text(parts[1])
		}
	}
}

// term is an entry's term: bold, with the words in italics that stand for others.
func term(s string) string {
	words := strings.Split(s, " ")
	for i, w := range words {
		if i > 0 && strings.HasPrefix(words[i-1], "-") && !strings.HasPrefix(w, "-") && strings.ToUpper(w) == w {
			words[i] = `\fI` + escaped(w) + `\fR`
		} else {
			words[i] = `\fB` + escaped(w) + `\fR`
		}
	}
	return strings.Join(words, " ")
}

func (m *manual) macro(format string, args ...any) { fmt.Fprintf(&m.out, format+"\n", args...) }

// text writes lines of text.
func (m *manual) text(s string) {
	for l := range strings.Lines(s) {
		m.macro("%s", escaped(strings.TrimSuffix(l, "\n")))
	}
}

// escaped is text in which roff finds nothing to obey. A hyphen that is typed is
// a minus sign to roff.
func escaped(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
