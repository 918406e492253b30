package examples

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A README's fenced blocks say in their info string what they are:
//
//	```console          commands and what they print, run by TestReadmes
//	```console engine   the same, with a Docker Engine
//	```sh               commands that need more than a test has: only parsed
//
// In a console block a line that starts with "$ " is a command, which goes on
// over lines that end in a backslash, and the lines up to the next command are
// what it prints on stdout and stderr. Two things stand for what differs from
// run to run: a line "..." for any number of lines, and "sha256:..." for any
// digest.
const (
	anyLines  = "..."
	anyDigest = "sha256:..."
)

// block is one fenced block.
type block struct {
	info string
	line int // of its first line inside the fence, from 0
	text []string
}

// command is one command of a console block.
type command struct {
	line     int // of its "$ " in the README, from 0
	from, to int // lines of what it prints
	text     string
	want     []string
}

// blocks returns the fenced blocks of a Markdown text. An unclosed one is an
// error.
func blocks(text string) ([]block, error) {
	var found []block
	var open *block
	for i, line := range strings.Split(text, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{info: info, line: i + 1}
		case fence:
			found = append(found, *open)
			open = nil
		case open != nil:
			open.text = append(open.text, line)
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block isn't closed", open.line)
	}
	return found, nil
}

// commands splits a console block. Output that nothing printed, and output
// that any run would match, are errors.
func (b block) commands() ([]command, error) {
	var found []command
	for i := 0; i < len(b.text); i++ {
		line := b.text[i]
		text, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case isCommand:
			c := command{line: b.line + i, text: text}
			for strings.HasSuffix(c.text, `\`) && i+1 < len(b.text) {
				i++
				c.text += "\n" + b.text[i]
			}
			c.from, c.to = b.line+i+1, b.line+i+1
			found = append(found, c)
		case len(found) == 0:
			return nil, fmt.Errorf("line %d: output before the first command", b.line+i+1)
		default:
			c := &found[len(found)-1]
			c.want = append(c.want, line)
			c.to = b.line + i + 1
		}
	}
	for _, c := range found {
		if len(c.want) > 0 && !slices.ContainsFunc(c.want, func(s string) bool { return s != anyLines }) {
			return nil, fmt.Errorf("line %d: %s matches whatever is printed", c.from+1, anyLines)
		}
	}
	return found, nil
}

var digest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// matches tells whether got is what want describes.
func matches(want, got []string) bool {
	switch {
	case len(want) == 0:
		return len(got) == 0
	case want[0] == anyLines:
		return matches(want[1:], got) || len(got) > 0 && matches(want, got[1:])
	case len(got) == 0:
		return false
	}
	w, g := want[0], got[0]
	if strings.Contains(w, anyDigest) {
		parts := strings.Split(w, anyDigest)
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		if !regexp.MustCompile("^" + strings.Join(parts, digest.String()) + "$").MatchString(g) {
			return false
		}
	} else if w != g {
		return false
	}
	return matches(want[1:], got[1:])
}

// noise is what the tool and docker say of the machine and not of the job: the
// progress lines that stand in for the display of a terminal, which leaves
// nothing behind, and the notice of a docker command without buildx.
var noise = regexp.MustCompile(`(?m)^((reading|merging|writing|storing|pushing|loading|verifying) \S+(: .*)?|DEPRECATED: The legacy builder.*\n +Install the buildx.*\n +https://.*\n)\n`)

// lines splits what a command printed, without the noise.
func lines(output string) []string {
	output = noise.ReplaceAllString(output, "")
	if output == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(output, "\n"), "\n")
}

func TestMatches(t *testing.T) {
	hex := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct {
		name, want, got string
		match           bool
	}{
		{"the same", "a\nb", "a\nb", true},
		{"another line", "a\nb", "a\nc", false},
		{"a line missing", "a\nb", "a", false},
		{"a line too many", "a", "a\nb", false},
		{"spaces count", "a  b", "a b", false},
		{"elided lines", "a\n...\nd", "a\nb\nc\nd", true},
		{"no line elided", "a\n...\nd", "a\nd", true},
		{"the line after elided ones", "a\n...\nd", "a\nb\nc", false},
		{"dots in a line are dots", "a ...", "a b", false},
		{"a digest", "x@sha256:... y", "x@sha256:" + hex + " y", true},
		{"half a digest", "x@sha256:...", "x@sha256:" + hex[:32], false},
		{"no digest", "x@sha256:...", "x@sha256:latest", false},
		{"text around a digest", "x@sha256:...", "z@sha256:" + hex, false},
	} {
		if got := matches(strings.Split(c.want, "\n"), strings.Split(c.got, "\n")); got != c.match {
			t.Errorf("%s: matches = %v", c.name, got)
		}
	}
}

func TestBlocksAndCommands(t *testing.T) {
	const text = "A README\n\n```console engine\n$ one \\\n    two\nout\n\nmore\n$ three\n```\nend\n```sh\nfour\n```\n"
	found, err := blocks(text)
	if err != nil || len(found) != 2 || found[0].info != "console engine" || found[1].info != "sh" {
		t.Fatalf("blocks = %+v, %v", found, err)
	}
	cs, err := found[0].commands()
	if err != nil || len(cs) != 2 {
		t.Fatalf("commands = %+v, %v", cs, err)
	}
	if c := cs[0]; c.text != "one \\\n    two" || !slices.Equal(c.want, []string{"out", "", "more"}) || c.from != 5 || c.to != 8 {
		t.Errorf("first command = %+v", c)
	}
	if c := cs[1]; c.text != "three" || len(c.want) != 0 {
		t.Errorf("second command = %+v", c)
	}
	if _, err := blocks("```sh\n"); err == nil {
		t.Error("an open block passes")
	}
	for _, bad := range []string{"output\n$ a", "$ a\n..."} {
		if _, err := (block{text: strings.Split(bad, "\n")}).commands(); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

// rewrite puts what the commands printed in place of what the README says,
// where that says it in full.
func rewrite(name string, text string, printed map[int][]string, cs []command) error {
	old := strings.Split(text, "\n")
	var b []string
	at := 0
	for _, c := range cs {
		got, ran := printed[c.line]
		if !ran || matches(c.want, got) || slices.ContainsFunc(c.want, func(s string) bool { return s == anyLines || strings.Contains(s, anyDigest) }) {
			continue
		}
		b = append(append(b, old[at:c.from]...), got...)
		at = c.to
	}
	return os.WriteFile(name, []byte(strings.Join(append(b, old[at:]...), "\n")), 0o644)
}
