package examples

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	lexer "github.com/moby/buildkit/frontend/dockerfile/shell"
)

// recoveredInstruction is one instruction of a Dockerfile, for comparing.
type recoveredInstruction struct {
	kind    string
	text    string            // with single blanks, in one line
	meaning string            // what it does, whatever its form; "" = unknown
	files   map[string]string // what COPY and ADD bring; nil = nothing comes with it
}

func (in recoveredInstruction) bringsFiles() bool { return in.kind == "COPY" || in.kind == "ADD" }

func (in recoveredInstruction) sameKind(other recoveredInstruction) bool {
	return in.kind == other.kind || in.bringsFiles() && other.bringsFiles()
}

// against says what has become of an instruction: right, the same text;
// equivalent, another text that does the same; wrong, another. Of COPY and ADD
// the files count, each with its mode, owner and content: without them it is
// lost.
func (in recoveredInstruction) against(other recoveredInstruction) string {
	switch {
	case in.bringsFiles() && other.files == nil:
		return "lost"
	case in.bringsFiles() && !maps.Equal(in.files, other.files):
		return "wrong"
	case in.text == other.text:
		return "right"
	case in.bringsFiles(), in.meaning != "" && in.meaning == other.meaning:
		return "equivalent"
	}
	return "wrong"
}

// readDockerfile reads the instructions that lead to the last stage, from its
// FROM on; triggers run first.
func readDockerfile(text string, triggers []string) ([]recoveredInstruction, error) {
	parsed, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	stages, arguments, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return nil, err
	}
	m := meaning{env: map[string]string{}, shell: []string{"/bin/sh", "-c"}, dir: "/"}
	for _, a := range arguments {
		m.argument(a.Args)
	}
	// The stages on the way to the last, lowest first.
	chain := []instructions.Stage{stages[len(stages)-1]}
	for again := true; again; {
		again = false
		for _, s := range stages {
			if s.Name != "" && s.Name == chain[0].BaseName {
				chain, again = append([]instructions.Stage{s}, chain...), true
				break
			}
		}
	}
	from, err := m.expand(chain[0].BaseName)
	if err != nil {
		return nil, err
	}
	m.env = map[string]string{}
	out := []recoveredInstruction{{kind: "FROM", text: "FROM " + chain[0].BaseName, meaning: from}}
	if len(triggers) > 0 {
		more, err := readDockerfile("FROM scratch\n"+strings.Join(triggers, "\n")+"\n", nil)
		if err != nil {
			return nil, err
		}
		out = append(out, more[1:]...)
	}
	for _, s := range chain {
		for _, c := range s.Commands {
			in := recoveredInstruction{kind: strings.ToUpper(c.Name()), text: strings.Join(strings.Fields(fmt.Sprint(c)), " ")}
			if in.meaning, err = m.of(c); err != nil {
				return nil, fmt.Errorf("%s: %w", in.text, err)
			}
			out = append(out, in)
		}
	}
	return out, nil
}

// meaning is what a stage has set so far.
type meaning struct {
	env   map[string]string
	shell []string
	dir   string
}

func (m *meaning) expand(word string) (string, error) {
	var env []string
	for k, v := range m.env {
		env = append(env, k+"="+v)
	}
	out, _, err := lexer.NewLex('\\').ProcessWord(word, lexer.EnvsFromSlice(env))
	return out, err
}

func (m *meaning) argument(args []instructions.KeyValuePairOptional) {
	for _, a := range args {
		if _, set := m.env[a.Key]; a.Value != nil && !set {
			m.env[a.Key] = *a.Value
		}
	}
}

// of says what a command does, in a form that is the same for all ways of
// writing it.
func (m *meaning) of(c instructions.Command) (string, error) {
	if e, ok := c.(instructions.SupportsSingleWordExpansion); ok {
		if err := e.Expand(m.expand); err != nil {
			return "", err
		}
	}
	var what any
	switch c := c.(type) {
	case *instructions.EnvCommand:
		for _, p := range c.Env {
			m.env[p.Key] = p.Value
		}
		what = pairs(c.Env)
	case *instructions.LabelCommand:
		what = pairs(c.Labels)
	case *instructions.ArgCommand:
		m.argument(c.Args)
		what = c.Args
	case *instructions.ShellCommand:
		m.shell = c.Shell
		what = c.Shell
	case *instructions.WorkdirCommand:
		if !path.IsAbs(c.Path) {
			c.Path = path.Join(m.dir, c.Path)
		}
		m.dir = path.Clean(c.Path)
		what = m.dir
	case *instructions.ExposeCommand:
		var ports []string
		for _, p := range c.Ports {
			if !strings.Contains(p, "/") {
				p += "/tcp"
			}
			ports = append(ports, p)
		}
		slices.Sort(ports)
		what = ports
	case *instructions.RunCommand:
		what = []any{m.line(c.ShellDependantCmdLine), c.FlagsUsed, c.Files}
	case *instructions.CmdCommand:
		what = m.line(c.ShellDependantCmdLine)
	case *instructions.EntrypointCommand:
		what = m.line(c.ShellDependantCmdLine)
	case *instructions.HealthCheckCommand:
		what = c.Health
	case *instructions.VolumeCommand:
		what = c.Volumes
	case *instructions.UserCommand:
		what = c.User
	case *instructions.StopSignalCommand:
		what = c.Signal
	case *instructions.MaintainerCommand:
		what = c.Maintainer
	case *instructions.OnbuildCommand:
		what = c.Expression
	default:
		return "", nil // COPY and ADD: their files count
	}
	b, err := json.Marshal(what)
	return string(b), err
}

// line is the command line that runs.
func (m *meaning) line(l instructions.ShellDependantCmdLine) []string {
	if !l.PrependShell {
		return l.CmdLine
	}
	text := strings.Join(strings.Fields(strings.ReplaceAll(strings.Join(l.CmdLine, " "), "\\\n", " ")), " ")
	return append(slices.Clone(m.shell), text)
}

func pairs(list instructions.KeyValuePairs) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.Key+"="+p.Value)
	}
	return out
}
