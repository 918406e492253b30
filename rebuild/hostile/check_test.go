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
	if r.peak > memory {
		t.Errorf("took %d MiB of memory, more than %d", r.peak>>20, memory>>20)
	}
	if r.code < 0 || r.code > 3 && r.code != 130 {
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

// checkForged reads a Dockerfile as BuildKit does and fails for an instruction
// that comes out of a text: the texts of the tables say RUN touch /forged.
func checkForged(t *testing.T, dockerfile string) {
	t.Helper()
	if syntax, _, _, ok := parser.DetectSyntax([]byte(dockerfile)); ok {
		t.Errorf("the Dockerfile names a frontend: %s", syntax)
	}
	parsed, err := parser.Parse(strings.NewReader(dockerfile))
	if err != nil {
		t.Errorf("the Dockerfile can't be parsed: %v", err)
		return
	}
	if parsed.EscapeToken != '\\' && strings.Contains(dockerfile, "forged") {
		t.Errorf("the Dockerfile changes the escape character to %q", parsed.EscapeToken)
	}
	for _, n := range parsed.AST.Children {
		first := strings.ToUpper(n.Value)
		forged := (first == "RUN" || first == "USER") && strings.Contains(n.Original, "forged") && !strings.Contains(n.Original, "\\n")
		if forged && first == "USER" && strings.Contains(n.Original, "RUN") {
			forged = false // the user itself is such a text
		}
		if forged || first == "FROM" && strings.Contains(n.Original, "evil") {
			t.Errorf("a forged instruction: %s", short(n.Original))
		}
		for _, h := range n.Heredocs {
			if first == "RUN" && strings.Contains(h.Content, "forged") {
				t.Errorf("a forged heredoc: %s", short(h.Content))
			}
		}
	}
}
