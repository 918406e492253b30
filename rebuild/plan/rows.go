package plan

import (
	"fmt"
	"slices"
	"strings"

	"docker-flatten/history"
	"docker-flatten/rebuild/layer"
	"docker-flatten/templates"
)

// filesTold is how many paths a row tells of those that came.
const filesTold = 3

// rows are the instructions whose layers are merged, in their order, and between
// them those that held there: ARG, and what of USER, WORKDIR, SHELL and ENV the
// Dockerfile doesn't say otherwise. Equal ones that follow each other are one.
func (c *Config) rows(tree *layer.Merged, replay history.Replay) []templates.Row {
	usage := tree.Usage()
	if c.Base.Layers >= len(usage) {
		return nil
	}
	w := rowWriter{config: c, before: map[int]bool{}, final: map[string]string{}, args: map[string]string{}}
	for _, s := range replay.Before {
		w.before[s.Entry] = true
	}
	for _, e := range c.config.Config.Env {
		name, value, _ := strings.Cut(e, "=")
		w.final[name] = value
	}
	above := c.instructions[c.Base.Entries:]
	last := -1 // the last that did something
	explained := map[int]bool{}
	for i, ins := range above {
		if ins.Layer >= 0 {
			explained[ins.Layer] = true
		}
		if ins.Layer >= c.Base.Layers || works(ins) {
			last = i
		}
	}
	passed := firstArgs(above)
	next := c.Base.Layers // the lowest layer without a row
	for _, ins := range above[:last+1] {
		for ; next < ins.Layer; next++ {
			if !explained[next] {
				w.layer("", next)
			}
		}
		if ins.Layer >= c.Base.Layers || works(ins) {
			for _, a := range ins.BuildArgs {
				w.arg(a)
			}
		}
		switch {
		case ins.Layer >= c.Base.Layers:
			w.layer(ins.Text, ins.Layer)
			next = max(next, ins.Layer+1)
		case works(ins):
			w.add(ins.Text)
		case ins.Name == "ARG":
			w.declared(ins.Text, passed)
		case ins.Set != nil && !w.before[ins.Entry]:
			w.metadata(*ins.Set, ins.Text)
		}
	}
	for ; next < len(usage); next++ {
		w.layer("", next)
	}
	return w.templates(tree, usage)
}

// works tells whether an instruction that made no layer did something to the
// files all the same, or may have.
func works(ins history.Instruction) bool {
	return ins.Name == "RUN" || ins.Name == "COPY" || ins.Name == "ADD"
}

// firstArgs has, by their names, the build arguments' values where they were
// used first.
func firstArgs(instructions []history.Instruction) map[string]string {
	first := map[string]string{}
	for _, ins := range instructions {
		if ins.Name == "ARG" {
			continue
		}
		for _, a := range ins.BuildArgs {
			name, value, _ := strings.Cut(a, "=")
			if _, ok := first[name]; !ok {
				first[name] = value
			}
		}
	}
	return first
}

// row is a row on its way: the layers of equal ones are together.
type row struct {
	text   string
	times  int
	layers []int
}

type rowWriter struct {
	config *Config
	before map[int]bool      // the history entries of what stands before the merged layer
	final  map[string]string // the image's variables
	args   map[string]string // the build arguments that were told
	rows   []row
}

// layer adds an instruction that made a layer; "" for one that isn't known.
func (w *rowWriter) layer(text string, layer int) {
	if n := len(w.rows); n > 0 && w.rows[n-1].text == text && len(w.rows[n-1].layers) > 0 {
		w.rows[n-1].times++
		w.rows[n-1].layers = append(w.rows[n-1].layers, layer)
		return
	}
	w.rows = append(w.rows, row{text, 1, []int{layer}})
}

// add adds an instruction that made none.
func (w *rowWriter) add(text string) {
	if n := len(w.rows); n > 0 && w.rows[n-1].text == text && len(w.rows[n-1].layers) == 0 {
		w.rows[n-1].times++
		return
	}
	w.rows = append(w.rows, row{text, 1, nil})
}

// arg adds a build argument that an instruction was run with, A=b.
func (w *rowWriter) arg(a string) {
	name, value, _ := strings.Cut(a, "=")
	if told, ok := w.args[name]; ok && told == value {
		return
	}
	w.args[name] = value
	w.add(argText(name, value))
}

// declared adds the history's own ARG line, which may declare several. What it
// leaves open is the value that was passed.
func (w *rowWriter) declared(text string, passed map[string]string) {
	words := strings.Fields(strings.TrimPrefix(text, "ARG "))
	if len(words) != 1 && strings.Contains(text, "=") {
		w.add(text) // a value has blanks, or the line several values: that can't be told
		return
	}
	for _, word := range words {
		name, value, isSet := strings.Cut(word, "=")
		if !isSet {
			value, isSet = passed[name]
		}
		switch told, ok := w.args[name]; {
		case !isSet:
			w.add("ARG " + name)
		case !ok || told != value:
			w.args[name] = value
			w.add(argText(name, value))
		}
	}
}

func argText(name, value string) string {
	env := history.Step{Name: "ENV", Pairs: []history.Pair{{Key: name, Value: value}}}
	return "ARG " + strings.TrimPrefix(env.String(), "ENV ")
}

// metadata adds what held for the instructions that follow.
func (w *rowWriter) metadata(s history.Step, text string) {
	switch s.Name {
	case "USER", "WORKDIR", "SHELL":
		w.add(text)
	case "ENV":
		s.Pairs = slices.DeleteFunc(slices.Clone(s.Pairs), func(p history.Pair) bool {
			value, ok := w.final[p.Key]
			return ok && value == p.Value
		})
		if len(s.Pairs) > 0 {
			w.add(s.String())
		}
	}
}

func (w *rowWriter) templates(tree *layer.Merged, usage []layer.Usage) []templates.Row {
	out := make([]templates.Row, len(w.rows))
	for i, r := range w.rows {
		t := templates.Row{Text: r.text, Times: r.times, Layers: len(r.layers)}
		for _, l := range r.layers {
			t.Size += usage[l].Bytes
		}
		if t.Text == "" {
			t.Text, t.Times = w.unexplained(r.layers), 1
		}
		if len(r.layers) > 0 && !strings.HasPrefix(r.text, "RUN ") && !strings.HasPrefix(r.text, "WORKDIR ") {
			contents := tree.Contents(r.layers, filesTold)
			t.Files, t.More = contents.Paths, max(0, contents.Files-len(contents.Paths))
			if len(t.Files) == 1 && t.More == 0 && strings.HasSuffix(t.Text, " "+t.Files[0]) {
				t.Files = nil // the text says so
			}
		}
		out[i] = t
	}
	return out
}

// unexplained says which layers no line of the history made.
func (w *rowWriter) unexplained(layers []int) string {
	first := layers[0] + 1
	if len(layers) == 1 {
		return fmt.Sprintf("layer %d, which the history doesn't explain", first)
	}
	return fmt.Sprintf("layers %d to %d, which the history doesn't explain", first, first+len(layers)-1)
}
