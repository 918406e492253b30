// Package templates writes the texts that docker-flatten produces: the
// Dockerfile, the summary, the report.
package templates

import (
	"bytes"
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	"docker-flatten/history"
)

// Dockerfile is what the generated Dockerfile says. Every text in it may come
// from an image that isn't trusted.
type Dockerfile struct {
	Image         string         // the flattened image as the user named it
	Platform      string         // os/arch[/variant]; ""
	ID            string         // its ID or digest; "" when it has none
	Stage         string         // the stage's name, in a Dockerfile of several; ""
	Build         bool           // the head says how to build
	Base          Base           // what is kept below the merged layer
	Notes         []string       // further sentences for the head
	Losses        []string       // what ADD can't keep of the merged layer, one line each
	Disagreements []string       // values in which the config differs from the history, one line each
	From          string         // what FROM names: a reference, an ID or "scratch"
	BaseEnv       []string       // names of variables that the base sets, which no ARG may take
	Before        []history.Step // metadata before the merged layer
	Merged        []Row          // what the layers that Add holds are made of, lowest first
	Removals      []string       // absolute paths to delete from the base before ADD; nil when Add has whiteouts or nothing is deleted
	Deleted       []string       // paths of the base that the merged layers delete, for the head
	Replaced      []string       // those at which there is something else instead
	Add           string         // the layer's file name in the context, "layer.tar.gz"; "" when no layer is left to add
	After         []history.Step // metadata after the merged layer
}

// Base describes the base for the head of the Dockerfile.
type Base struct {
	Name     string // "" when it has none
	Layers   int
	Evidence string // one phrase
	Archive  string // the file beside the Dockerfile that carries a base without a name, "base.tar"; ""

	// What a base without a name is; without a base, what the image is.
	System string   // "Debian 12 (bookworm), 97 packages, 74.8MB, built 2024-05-13"; ""
	Env    []string // its variables, as A=b
	Like   string   // the public image that it most likely is, "debian:12"; ""
}

// Row is an instruction among those whose layers were merged.
type Row struct {
	Text   string   // the instruction, as the history has it
	Times  int      // so many equal ones follow each other; 0 is one
	Layers int      // how many layers it made; without one its size isn't shown
	Size   int64    // bytes of their files
	Files  []string // the first of the paths that came; nil where the text tells enough
	More   int      // how many further files came
}

//go:embed Dockerfile.tmpl
var dockerfileText string

var dockerfileTemplate = template.Must(template.New("Dockerfile").Funcs(template.FuncMap{
	"comment": commentf,
	"rows":    rowsComment,
	"count":   history.Count,
	"bracket": bracket,
	"list":    listComment,
	"lowest": func(layers int) string {
		if layers == 1 {
			return "the lowest layer"
		}
		return fmt.Sprintf("the lowest %d layers", layers)
	},
	"env": func(variables []string) []string {
		out := make([]string, len(variables))
		for i, v := range variables {
			out[i] = "ENV " + v
		}
		return out
	},
	"sum": func(rows []Row) string {
		layers, bytes := sumOf(rows)
		return history.Count(layers, "layer") + ", " + Size(bytes)
	},
}).Parse(dockerfileText))

// step is an instruction with the comment above it.
type step struct {
	Why, Text string
}

// Render returns the Dockerfile's text. The error says which name, step or path
// can't be written; the steps of a history.Replay all can.
func (d Dockerfile) Render() ([]byte, error) {
	text, _, err := d.render()
	return text, err
}

// render also returns the command that builds it.
func (d Dockerfile) render() (text []byte, command string, err error) {
	if !fromName.MatchString(d.From) {
		return nil, "", fmt.Errorf("write FROM instruction: %q is no image name", d.From)
	}
	if d.Stage != "" && !stageName.MatchString(d.Stage) {
		return nil, "", fmt.Errorf("write FROM instruction: %q is no name for a stage", d.Stage)
	}
	if d.Add != "" && !addName.MatchString(d.Add) {
		return nil, "", fmt.Errorf("write ADD instruction: %q is no plain file name", d.Add)
	}
	args := d.arguments()
	data := struct {
		Dockerfile
		Newline, Equals string
		Command         string
		Before, After   []step
		Removals        []string
	}{Dockerfile: d}
	if data.Before, err = writeSteps(d.Before, args); err != nil {
		return nil, "", err
	}
	if data.After, err = writeSteps(d.After, args); err != nil {
		return nil, "", err
	}
	if data.Removals, err = removals(d.Removals); err != nil {
		return nil, "", err
	}
	for _, s := range append(data.Before, data.After...) {
		if strings.Contains(s.Text, "${"+args.Newline+"}") {
			data.Newline = args.Newline
		}
		if strings.Contains(s.Text, "${"+args.Equals+"}") {
			data.Equals = args.Equals
		}
	}
	data.Command = "docker build" + option("--target", d.Stage) + option("--platform", forShell(d.Platform)) + option("--build-arg", newline(data.Newline)) + " ."
	var b bytes.Buffer
	if err := dockerfileTemplate.Execute(&b, data); err != nil {
		return nil, "", fmt.Errorf("write dockerfile: %w", err)
	}
	return b.Bytes(), data.Command, nil
}

var (
	// fromName has references, IDs and digests, and nothing that FROM expands.
	fromName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:@+-]*$`)
	// stageName has what the builders take for a stage (BuildKit
	// frontend/dockerfile/instructions, validStageName).
	stageName = regexp.MustCompile(`^[a-z][a-z0-9._-]*$`)
	// plainWord has what a shell takes as one word.
	plainWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)
	addName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
)

// writeSteps returns the steps' texts. Why several that follow each other are
// there is said once, if it is the same.
func writeSteps(steps []history.Step, a history.Arguments) ([]step, error) {
	var out []step
	for i, s := range steps {
		text, err := a.Dockerfile(s)
		if err != nil {
			return nil, fmt.Errorf("write instruction: %w", err)
		}
		why := s.Why
		if i > 0 && why == steps[i-1].Why {
			why = ""
		}
		if why != "" {
			same := 1
			for i+same < len(steps) && steps[i+same].Why == why {
				same++
			}
			if same > 1 {
				why = fmt.Sprintf("the next %d: %s", same, why)
			}
		}
		out = append(out, step{why, text})
	}
	return out, nil
}

// arguments chooses names that no variable has: a variable of the same name
// would win over the argument.
func (d Dockerfile) arguments() history.Arguments {
	taken := map[string]bool{}
	for _, name := range d.BaseEnv {
		taken[name] = true
	}
	for _, steps := range [][]history.Step{d.Before, d.After} {
		for _, s := range steps {
			if s.Name == "ENV" {
				for _, p := range s.Pairs {
					taken[p.Key] = true
				}
			}
		}
	}
	free := func(name string) string {
		if !taken[name] {
			return name
		}
		name += "_"
		free := name
		for n := 2; taken[free]; n++ {
			free = name + strconv.Itoa(n)
		}
		return free
	}
	return history.Arguments{Newline: free(history.DefaultArguments.Newline), Equals: free(history.DefaultArguments.Equals)}
}

func bracket(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// option is a flag of a command line, if it has a value.
func option(name, value string) string {
	if value == "" {
		return ""
	}
	return " " + name + " " + value
}

// forShell is a word that can stand in a command as it is; "" for any other.
func forShell(word string) string {
	if !plainWord.MatchString(word) {
		return ""
	}
	return word
}

// newline sets an argument to a newline, as bash and zsh write it.
func newline(argument string) string {
	if argument == "" {
		return ""
	}
	return argument + `=$'\n'`
}
