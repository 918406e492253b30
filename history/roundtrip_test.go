package history

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-connections/nat"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// requireComesBack parses the text as a builder does and compares each value
// with the step.
func requireComesBack(t *testing.T, s Step, text string) {
	t.Helper()
	got, err := comeBack(text)
	if err != nil {
		t.Fatalf("%.200s\ncomes back as: %v", text, err)
	}
	if want := canonical(s); got != want {
		t.Fatalf("%.200s\ncomes back as %.300s\nbut set          %.300s", text, got, want)
	}
}

// canonical is a step's values in one string.
func canonical(s Step) string {
	switch s.Name {
	case "EXPOSE":
		return fmt.Sprintf("EXPOSE %q", unique(s.Args))
	case "HEALTHCHECK":
		return fmt.Sprintf("HEALTHCHECK %q", []any{s.Health.Test, int64(s.Health.Interval), int64(s.Health.Timeout), int64(s.Health.StartPeriod), int64(s.Health.StartInterval), s.Health.Retries})
	case "ENV", "LABEL":
		return fmt.Sprintf("%s %q", s.Name, s.Pairs)
	}
	return fmt.Sprintf("%s %q", s.Name, append([]string{}, s.Args...))
}

func unique(s []string) []string {
	s = slices.Clone(s)
	sort.Strings(s)
	return slices.Compact(s)
}

// comeBack parses one instruction, between others that must stay what they
// are, and expands it in an environment that has the two arguments.
func comeBack(text string) (string, error) {
	file := "FROM scratch\nUSER before\n" + text + "\nUSER after\n"
	lines := bufio.NewScanner(strings.NewReader(file))
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	parsed, err := parser.Parse(strings.NewReader(file))
	if err != nil {
		return "", err
	}
	if len(parsed.Warnings) > 0 {
		return "", fmt.Errorf("warning: %s", parsed.Warnings[0].Short)
	}
	nodes := parsed.AST.Children
	if len(nodes) != 4 || nodes[1].Original != "USER before" || nodes[3].Original != "USER after" {
		return "", fmt.Errorf("%d instructions", len(nodes))
	}
	c, err := instructions.ParseInstruction(nodes[2])
	if err != nil {
		return "", err
	}
	variables := shell.EnvsFromSlice([]string{"NL=\n", "EQ==", "A=wrong", "HOME=wrong", "x=wrong", "b=wrong"})
	lex := shell.NewLex(parsed.EscapeToken)
	expand := func(word string) (string, error) {
		v, _, err := lex.ProcessWord(word, variables)
		return v, err
	}
	if e, ok := c.(instructions.SupportsSingleWordExpansion); ok {
		if err := e.Expand(expand); err != nil {
			return "", err
		}
	}
	var s Step
	line := func(c instructions.ShellDependantCmdLine) []string {
		if c.PrependShell {
			return append([]string{"/bin/sh", "-c"}, c.CmdLine...)
		}
		return c.CmdLine
	}
	keyValues := func(kvs instructions.KeyValuePairs) (out []Pair) {
		for _, kv := range kvs {
			out = append(out, Pair{Key: kv.Key, Value: kv.Value})
		}
		return out
	}
	switch c := c.(type) {
	case *instructions.EnvCommand:
		s = Step{Name: "ENV", Pairs: keyValues(c.Env)}
	case *instructions.LabelCommand:
		s = Step{Name: "LABEL", Pairs: keyValues(c.Labels)}
	case *instructions.ExposeCommand:
		set := map[string]bool{}
		for _, w := range c.Ports {
			words, err := lex.ProcessWords(w, variables)
			if err != nil {
				return "", err
			}
			ports, _, err := nat.ParsePortSpecs(words)
			if err != nil {
				return "", err
			}
			for p := range ports {
				set[string(p)] = true
			}
		}
		s = Step{Name: "EXPOSE", Args: slices.Collect(maps.Keys(set))}
	case *instructions.VolumeCommand:
		s = one("VOLUME", c.Volumes...)
	case *instructions.UserCommand:
		s = one("USER", c.User)
	case *instructions.WorkdirCommand:
		s = one("WORKDIR", c.Path)
	case *instructions.StopSignalCommand:
		s = one("STOPSIGNAL", c.Signal)
	case *instructions.CmdCommand:
		s = one("CMD", line(c.ShellDependantCmdLine)...)
	case *instructions.EntrypointCommand:
		s = one("ENTRYPOINT", line(c.ShellDependantCmdLine)...)
	case *instructions.ShellCommand:
		s = one("SHELL", c.Shell...)
	case *instructions.HealthCheckCommand:
		s = health(*c.Health)
	case *instructions.OnbuildCommand:
		s = one("ONBUILD", c.Expression)
	case *instructions.MaintainerCommand:
		s = one("MAINTAINER", c.Maintainer)
	}
	return canonical(s), nil
}

// awkward are the pieces that random values are made of.
var awkward = []string{
	"a", "b", "Z", "0", " ", "  ", "\t", "\r", "\n", "\v", "\f", "'", `"`, `\`, `\\`, "$", "${", "}", "$x", "${A:-b}", "$$", "#", " #", "<<", "<<EOF", "-", "--", "=", "[", "]", `["a"]`,
	",", ";", "`", "é", "\u00a0", "\u0085", "\u2028", "\ufeff", "\ufffd", "😀", "\x1b[31m", "\x7f", "%", "*", "?", "{", "&&", "|", "/", ":", "RUN ", "\\\n", "# escape=`", "NL", "\u202e",
}

func randomText(r *rand.Rand, pieces int) string {
	var b strings.Builder
	for range r.Intn(pieces + 1) {
		b.WriteString(awkward[r.Intn(len(awkward))])
	}
	return b.String()
}

func randomStep(r *rand.Rand, name string) Step {
	text := func() string { return randomText(r, 8) }
	list := func() (out []string) {
		for range 1 + r.Intn(3) {
			out = append(out, text())
		}
		return out
	}
	s := Step{Name: name}
	switch name {
	case "ENV", "LABEL":
		for range 1 + r.Intn(3) {
			k := "k" + text()
			if name == "ENV" {
				k = strings.ReplaceAll(k, "=", "_")
			}
			s.Pairs = append(s.Pairs, Pair{Key: k, Value: text()})
		}
	case "EXPOSE":
		for range 1 + r.Intn(20) {
			s.Args = append(s.Args, fmt.Sprintf("%d/%s", 8000+r.Intn(30), []string{"tcp", "udp", "sctp"}[r.Intn(3)]))
		}
	case "VOLUME":
		for _, p := range list() {
			s.Args = append(s.Args, "/"+p)
		}
	case "USER":
		s.Args = []string{"u" + text()}
	case "WORKDIR":
		s.Args = []string{"/w" + strings.ReplaceAll(text(), "/", "_")}
	case "HEALTHCHECK":
		s.Health = &Healthcheck{Test: append([]string{"CMD"}, list()...), Interval: time.Duration(r.Intn(5000)) * time.Second, Retries: r.Intn(9)}
	case "CMD", "ENTRYPOINT":
		s.Args = list()
		if r.Intn(2) == 0 {
			s = inShell(name, text())
		}
	case "SHELL":
		s.Args = list()
	case "MAINTAINER":
		s.Args = []string{text()}
	case "ONBUILD":
		s.Args = []string{"RUN " + text()}
	}
	return s
}

// always are the instructions that can set any text that is UTF-8 and has no
// NUL.
var always = []string{"ENV", "LABEL", "EXPOSE", "VOLUME", "USER", "WORKDIR", "CMD", "ENTRYPOINT", "SHELL", "HEALTHCHECK"}

func TestRandomValuesComeBack(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 1000 {
		for _, name := range always {
			s := randomStep(r, name)
			text, err := s.Dockerfile()
			if err != nil {
				t.Fatalf("%+v: %v", s, err)
			}
			requireComesBack(t, s, text)
		}
		for _, name := range []string{"MAINTAINER", "ONBUILD"} {
			s := randomStep(r, name)
			if text, err := s.Dockerfile(); err == nil {
				requireComesBack(t, s, text)
			}
		}
	}
}

// FuzzDockerfile has every instruction set the same two texts: either the
// values come back, or Dockerfile refuses.
func FuzzDockerfile(f *testing.F) {
	for _, s := range awkward {
		f.Add(s, "x"+s+s)
	}
	f.Add("a=b", "\xff")
	f.Add("a\x00b", "80/tcp")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, s := range []Step{
			env(a, b), env("A", a, "B", b), label(a, b), one("EXPOSE", a), one("VOLUME", a, b), one("USER", a), one("WORKDIR", "/"+a), one("WORKDIR", a), one("STOPSIGNAL", a),
			one("CMD", a, b), inShell("CMD", a), one("ENTRYPOINT", a), inShell("ENTRYPOINT", b), one("SHELL", a, b),
			health(Healthcheck{Test: []string{"CMD", a}}), health(Healthcheck{Test: []string{"CMD-SHELL", a}}), health(Healthcheck{Test: []string{a, b}}),
			one("ONBUILD", a), one("ONBUILD", "RUN "+a), one("MAINTAINER", a),
		} {
			text, err := s.Dockerfile()
			if err != nil {
				continue
			}
			requireComesBack(t, s, text)
		}
	})
}
