package templates

import (
	"strings"
	"testing"
)

func TestLayoutBreaksWhereTheAuthorDid(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a short command": {"RUN apt-get update && apt-get clean", "RUN apt-get update && apt-get clean"},
		"tabs": {"RUN set -eux; \tapt-get update; \tapt-get install -y --no-install-recommends \t\tca-certificates \t\tnetbase \t; \trm -rf /var/lib/apt/lists/*",
			"RUN set -eux; \\\n    apt-get update; \\\n    apt-get install -y --no-install-recommends \\\n        ca-certificates \\\n        netbase \\\n    ; \\\n    rm -rf /var/lib/apt/lists/*"},
		"a line left empty": {"RUN set -eux; \t\tarch=x; \tcase $arch in \t\ta) \t\t\techo 1 \t\t\t;; \tesac; \t\tmake",
			"RUN set -eux; \\\n    arch=x; \\\n    case $arch in \\\n        a) \\\n            echo 1 \\\n            ;; \\\n    esac; \\\n    make"},
		"eight spaces, deeper": {"RUN a &&         b         c", "RUN a && \\\n        b \\\n        c"},
		"a long line among an author's own": {"RUN a; \tb; \tif " + strings.Repeat("c", 90) + "; then \t\td; \tfi",
			"RUN a; \\\n    b; \\\n    if " + strings.Repeat("c", 90) + "; then \\\n        d; \\\n    fi"},
		"spaces":                   {"RUN apt-get update     && apt-get install -y ruby", "RUN apt-get update \\\n    && apt-get install -y ruby"},
		"white space in quotes":    {"RUN echo 'a  b' \"c\td\" e\\  f", "RUN echo 'a  b' \"c\td\" e\\  f"},
		"nothing tells":            {"RUN " + strings.Repeat("a", 60) + " && " + strings.Repeat("b", 40) + "; c || d", "RUN " + strings.Repeat("a", 60) + " \\\n    && " + strings.Repeat("b", 40) + "; \\\n    c \\\n    || d"},
		"a list in a subshell":     {"RUN ( " + strings.Repeat("a", 60) + " && " + strings.Repeat("b", 40) + " )", "RUN ( " + strings.Repeat("a", 60) + " && " + strings.Repeat("b", 40) + " )"},
		"operators in quotes":      {"RUN echo '" + strings.Repeat("a", 60) + " && " + strings.Repeat("b", 40) + "'", "RUN echo '" + strings.Repeat("a", 60) + " && " + strings.Repeat("b", 40) + "'"},
		"the end of a case":        {"RUN case " + strings.Repeat("a", 90) + " in x) y ;; z) w ;; esac", "RUN case " + strings.Repeat("a", 90) + " in x) y ;; \\\n    z) w ;; \\\n    esac"},
		"another instruction":      {"COPY a    b /c", "COPY a    b /c"},
		"the exec form":            {`RUN ["a",  "b"]`, `RUN ["a",  "b"]`},
		"a here-document":          {"RUN <<EOF\n  a  b\nEOF", "RUN <<EOF\n  a  b\nEOF"},
		"nothing":                  {"RUN ", "RUN "},
		"an unfinished quote":      {"RUN echo 'a  b", "RUN echo 'a  b"},
		"a comment is no operator": {"RUN a #  b", "RUN a # \\\n    b"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(Layout(c.text), "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestLayoutSaysTheSame joins the lines again, as the parser does, and compares
// what a shell reads: words, with quotes as they are.
func FuzzLayoutSaysTheSame(f *testing.F) {
	for _, s := range []string{"a && b", "set -e; \ta  'b  c' \"d\te\" \\  f", "(a; b) || { c; }", strings.Repeat("x; ", 50), `a\\  b "c \" d"  e`, "\v[", strings.Repeat("x", 90) + `\ || y`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, command string) {
		if strings.ContainsAny(command, "\n\r") || strings.HasSuffix(command, `\`) {
			return // only of one line, that nothing continues
		}
		lines := Layout("RUN " + command)
		joined := ""
		for i, l := range lines {
			if i < len(lines)-1 {
				var ok bool
				if l, ok = strings.CutSuffix(l, `\`); !ok {
					t.Fatalf("line %d has no continuation: %q", i, l)
				}
			}
			joined += l
		}
		// the parser takes white space of any kind off both ends
		if got, want := shellWords(strings.TrimSpace(strings.TrimPrefix(joined, "RUN"))), shellWords(strings.TrimSpace(command)); got != want {
			t.Errorf("%q\nbecame %q", want, got)
		}
	})
}

// shellWords writes a command with its unquoted white space as single spaces.
func shellWords(s string) string {
	var b strings.Builder
	quote, escaped, blank := rune(0), false, false
	for _, r := range s {
		unquoted := quote == 0 && !escaped
		if unquoted && (r == ' ' || r == '\t') {
			blank = true
			continue
		}
		if blank {
			b.WriteByte(' ')
			blank = false
		}
		b.WriteRune(r)
		switch {
		case escaped:
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		}
	}
	return b.String()
}
