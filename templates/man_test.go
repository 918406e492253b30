package templates

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// plainText is roff as this package writes it without macros and escapes.
func plainText(roff string) string {
	var text []string
	for _, l := range strings.Split(roff, "\n") {
		if !strings.HasPrefix(l, ".") {
			text = append(text, l)
		}
	}
	return strings.NewReplacer(`\-`, "-", `\&`, "", `\fB`, "", `\fI`, "", `\fR`, "", `\e`, `\`).Replace(strings.Join(text, "\n"))
}

func TestManualHasTheOptionsOfTheHelp(t *testing.T) {
	page := plainText(Man("1.2.3"))
	options := regexp.MustCompile(`(?m)^  (?:-[a-z], |    )--[a-z-]+(?:\[=[A-Z]+\]| [A-Z]+)?`).FindAllString(Usage, -1)
	if len(options) < 20 {
		t.Fatalf("only %d options in the help", len(options))
	}
	for _, o := range options {
		if !strings.Contains(page, "\n"+strings.TrimSpace(o)+"\n") {
			t.Errorf("no entry for %s", strings.TrimSpace(o))
		}
	}
}

// Every word of the help is in the page, as often as there: it loses nothing.
func TestManualSaysAllThatTheHelpSays(t *testing.T) {
	has := map[string]int{}
	for _, w := range strings.Fields(plainText(Man("1.2.3"))) {
		has[w]++
	}
	const headings = "Usage: Examples: Environment: Exit codes: What How to make: make it: say: do instead: allow, with --dry-run (each platform by itself):"
	for _, w := range strings.Fields(Usage) {
		if has[w]--; has[w] < 0 && !slices.Contains(strings.Fields(headings), w) {
			t.Errorf("the page lacks %q", w)
		}
	}
}

func TestManualIsSoundRoff(t *testing.T) {
	page := Man("1.2.3")
	// mandoc warns of a page without a date, which ours is on purpose
	for _, line := range [][]string{{"groff", "-ww", "-z", "-man", "-Tutf8"}, {"mandoc", "-T", "lint", "-W", "error,stop"}} {
		t.Run(line[0], func(t *testing.T) {
			if _, err := exec.LookPath(line[0]); err != nil {
				if os.Getenv("DOCKER_FLATTEN_PEERS") == "required" {
					t.Fatalf("%s is not installed, and DOCKER_FLATTEN_PEERS=required", line[0])
				}
				t.Skipf("%s is not installed", line[0])
			}
			cmd := exec.Command(line[0], line[1:]...)
			cmd.Stdin = strings.NewReader(page)
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestRoffObeysNothingInText(t *testing.T) {
	for text, want := range map[string]string{".so /etc/passwd": `\&.so /etc/passwd`, "'quoted": `\&'quoted`, `a\b-c`: `a\eb\-c`} {
		if got := escaped(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
