//go:build linux

package hostile

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// longestLine is how long a line of error or hint may be. Names in it may be
// long; a list of everything may not.
const longestLine = 6000

// checkRun fails for what no run may do, whatever it is given: crash, run into
// a limit, say more than a line and a hint, send control characters to a
// terminal, or write where it has no business.
func checkRun(t *testing.T, r result, c command) {
	t.Helper()
	memory := c.memory
	if memory == 0 {
		memory = defaultMemory
	}
	if r.timedOut {
		t.Errorf("still ran after %v, with %d MiB", r.took.Round(1e8), r.peak>>20)
		return
	}
	if !c.waits && r.cpu > c.allowed() {
		t.Errorf("took %v of the processor's time, more than %v", r.cpu.Round(1e8), c.allowed())
	}
	if r.peak > memory {
		t.Errorf("took %d MiB of memory, more than %d", r.peak>>20, memory>>20)
	}
	if r.code < 0 || r.code > 3 && r.code != 130 && !(r.code == 4 && c.gated) {
		t.Errorf("exit code %d, signal %v: %s", r.code, r.signal, short(r.stderr))
	}
	if bad := unprintable(r.stderr); bad != "" {
		t.Errorf("stderr has %s: %q", bad, short(r.stderr))
	}
	if !slices.Contains(c.args, "--dry-run") || slices.Contains(c.args, "--json") {
		if bad := unprintable(r.stdout); bad != "" {
			t.Errorf("stdout has %s: %q", bad, short(r.stdout))
		}
	}
	if slices.Contains(c.args, "-q") {
		checkLines(t, r)
	}
	for _, dir := range []string{"/", os.TempDir(), filepath.Dir(os.TempDir())} {
		escaped, err := filepath.Glob(filepath.Join(dir, canary+"*"))
		if err != nil || len(escaped) > 0 {
			t.Errorf("written outside: %v %v", escaped, err)
		}
	}
}

// canary is the name of what hostile input wants to write somewhere else.
const canary = "docker-flatten-canary"

// checkLines checks what a quiet run says on stderr.
func checkLines(t *testing.T, r result) {
	t.Helper()
	if r.code == 0 {
		if r.stderr != "" {
			t.Errorf("a quiet run that succeeds says %q", short(r.stderr))
		}
		return
	}
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	if r.code == 4 { // a line for each gate and platform
		for _, l := range lines {
			if !strings.HasPrefix(l, "docker-flatten: ") || !strings.Contains(l, " for --max-") || len(l) > longestLine {
				t.Errorf("not a line about a gate: %s", short(l))
			}
		}
		return
	}
	if !strings.HasPrefix(lines[0], "docker-flatten: ") || len(lines) > 2 || len(lines) == 2 && !strings.HasPrefix(lines[1], "hint: ") {
		t.Errorf("not one line of error and at most one of hint: %s", short(r.stderr))
		return
	}
	for _, l := range lines {
		if len(l) > longestLine {
			t.Errorf("a line of %d bytes: %s", len(l), short(l))
		}
	}
}

// unprintable names the first thing in s that a terminal would act on.
func unprintable(s string) string {
	for i, r := range s {
		switch {
		case r == '\n' || r == '\t':
		case r == utf8.RuneError && s[i] >= 0x80 && s[i] < 0xa0:
			return fmt.Sprintf("the byte %#x, a C1 control to some terminals", s[i])
		case unicode.IsControl(r):
			return fmt.Sprintf("the control character %U", r)
		case r == '\u200e' || r == '\u200f' || r == '\u061c' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069':
			return fmt.Sprintf("the bidirectional control %U", r)
		}
	}
	return ""
}

func short(s string) string {
	if len(s) > 1500 {
		return s[:1000] + " … " + s[len(s)-400:]
	}
	return s
}

// checkUnchanged fails if the case's directory isn't as it was.
func checkUnchanged(t *testing.T, before, after map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if was, ok := before[name]; !ok {
			t.Errorf("left behind: %s (%s)", name, after[name])
		} else if was != after[name] {
			t.Errorf("changed: %s, %s became %s", name, was, after[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[name]; !ok {
			t.Errorf("gone: %s", name)
		}
	}
}

// forgedIn reads a Dockerfile as BuildKit does and tells of an instruction in it
// that comes out of a text: those of the tables say RUN touch /forged.
func forgedIn(dockerfile string) string {
	if syntax, _, _, ok := parser.DetectSyntax([]byte(dockerfile)); ok {
		return "a frontend: " + syntax
	}
	parsed, err := parser.Parse(strings.NewReader(dockerfile))
	if err != nil {
		return err.Error()
	}
	for _, n := range parsed.AST.Children {
		switch strings.ToUpper(n.Value) {
		case "RUN":
			if strings.Contains(n.Original, "forged") {
				return n.Original
			}
			for _, h := range n.Heredocs {
				if strings.Contains(h.Content, "forged") {
					return h.Content
				}
			}
		case "USER":
			if strings.TrimSpace(n.Original) == "USER forged" {
				return n.Original
			}
		case "FROM":
			if strings.Contains(n.Original, "evil") {
				return n.Original
			}
		}
	}
	return ""
}

// The checks themselves can fail.
func TestChecks(t *testing.T) {
	for _, s := range []string{
		"FROM scratch\nRUN touch /forged\n", "FROM scratch\nRUN <<EOF\ntouch /forged\nEOF\n", "# syntax=evil\nFROM scratch\n", "FROM evil\n", "FROM scratch\nUSER forged\n",
	} {
		if forgedIn(s) == "" {
			t.Errorf("not found in %q", s)
		}
	}
	if s := forgedIn("FROM scratch\n# RUN touch /forged\nENV A=\"RUN touch /forged\"\n"); s != "" {
		t.Errorf("found %q where there is none", s)
	}
	for _, s := range []string{"\x1b[0m", "a\x07", "\x00", "\u009b", "\x9b", "\u202e", "\r", "\x7f"} {
		if unprintable(s) == "" {
			t.Errorf("%q passes for printable", s)
		}
	}
	if s := unprintable("plain text, ünïcode – 日本\n\t\ufffd"); s != "" {
		t.Errorf("%s in plain text", s)
	}
	one, err := tree([][]entry{of("a/", "a/b=1", "c=2").entries, of(".wh.c", "a/d => a/b").entries}, 2)
	if err != nil {
		t.Fatal(err)
	}
	lines, _ := describe(one)
	if len(lines) != 3 || lines["/c"] != "" || !strings.HasSuffix(lines["/a/d"], "the same as /a/b") {
		t.Errorf("the reference shows %v", lines)
	}
}
