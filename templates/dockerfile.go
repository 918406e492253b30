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
	Platform      string         // os/arch[/variant], for the head, which says how to build for it; ""
	ID            string         // its ID or digest; "" when it has none
	Base          Base           // what is kept below the merged layer
	Notes         []string       // further sentences for the head
	Losses        []string       // what ADD can't keep of the merged layer, one line each
	Disagreements []string       // values in which the config differs from the history, one line each
	From          string         // what FROM names: a reference, an ID or "scratch"
	BaseEnv       []string       // names of variables that the base sets, which no ARG may take
	Before        []history.Step // metadata before the merged layer
	Merged        []Layer        // the layers that Add holds, lowest first
	Removals      []string       // absolute paths to delete from the base before ADD; nil when Add has whiteouts or nothing is deleted
	Deleted       []string       // paths of the base that the merged layers delete, for the head
	Add           string         // the layer's file name in the context, "layer.tar.gz"; "" when no layer is left to add
	After         []history.Step // metadata after the merged layer
}

// Base describes the base for the head of the Dockerfile.
type Base struct {
	Name     string // "" when it has none
	Layers   int
	Evidence string // one phrase
	Archive  string // the file beside the Dockerfile that carries a base without a name, "base.tar"; ""
}

// Layer is one merged layer.
type Layer struct {
	Instruction string // what made it, as the history has it
	Size        int64  // bytes of its files
}

//go:embed Dockerfile.tmpl
var dockerfileText string

var dockerfileTemplate = template.Must(template.New("Dockerfile").Funcs(template.FuncMap{
	"comment": commentf,
	"layer":   layerComment,
	"count":   history.Count,
	"bracket": bracket,
	"option":  option,
	"newline": newline,
	"list":    listComment,
	"size": func(layers []Layer) string {
		var n int64
		for _, l := range layers {
			n += l.Size
		}
		return size(n)
	},
}).Parse(dockerfileText))

// step is an instruction with the comment above it.
type step struct {
	Why, Text string
}

// Render returns the Dockerfile's text. The error says which name, step or path
// can't be written; the steps of a history.Replay all can.
func (d Dockerfile) Render() ([]byte, error) {
	if !fromName.MatchString(d.From) {
		return nil, fmt.Errorf("write FROM instruction: %q is no image name", d.From)
	}
	if d.Add != "" && !addName.MatchString(d.Add) {
		return nil, fmt.Errorf("write ADD instruction: %q is no plain file name", d.Add)
	}
	args := d.arguments()
	data := struct {
		Dockerfile
		Newline, Equals string
		Before, After   []step
		Removals        []string
	}{Dockerfile: d}
	var err error
	if data.Before, err = writeSteps(d.Before, args); err != nil {
		return nil, err
	}
	if data.After, err = writeSteps(d.After, args); err != nil {
		return nil, err
	}
	if data.Removals, err = removals(d.Removals); err != nil {
		return nil, err
	}
	for _, s := range append(data.Before, data.After...) {
		if strings.Contains(s.Text, "${"+args.Newline+"}") {
			data.Newline = args.Newline
		}
		if strings.Contains(s.Text, "${"+args.Equals+"}") {
			data.Equals = args.Equals
		}
	}
	var b bytes.Buffer
	if err := dockerfileTemplate.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("write dockerfile: %w", err)
	}
	return b.Bytes(), nil
}

var (
	// fromName has references, IDs and digests, and nothing that FROM expands.
	fromName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:@+-]*$`)
	addName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
)

func writeSteps(steps []history.Step, a history.Arguments) ([]step, error) {
	var out []step
	for _, s := range steps {
		text, err := a.Dockerfile(s)
		if err != nil {
			return nil, fmt.Errorf("write instruction: %w", err)
		}
		out = append(out, step{s.Why, text})
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

// newline sets an argument to a newline, as bash and zsh write it.
func newline(argument string) string {
	if argument == "" {
		return ""
	}
	return argument + `=$'\n'`
}
