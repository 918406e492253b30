package history

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"unicode/utf8"
)

// Replay is what turns the base's config into the image's.
type Replay struct {
	Before, After []Step // metadata before and after the ADD of the merged layer
	// Base is the base's config as the Dockerfile needs it: without what is
	// in Cleared, and with the PATH that FROM adds to a base without one.
	Base *Image
	// Cleared is what no Dockerfile can undo, and was therefore removed from
	// the base's config: `ENV FOO`, `ONBUILD RUN make`, `VOLUME /data`. If it
	// isn't empty, the Dockerfile needs Base in the place of the real base.
	Cleared []string
	// Inexpressible is what the image's config has and no Dockerfile can
	// write, each with the reason; it has to be carried over from the config
	// document itself. Before and After have none of it: each of their steps can
	// be written (Step.Dockerfile).
	Inexpressible []string
	// Disagreements has one sentence for each value in which config and
	// history differ; the config's is used.
	Disagreements []string
}

// Plan finds the metadata instructions that lead from the base's config to
// the image's. They come in the history's order, with the config's values;
// what the history lacks is added at the end. Where base.Image is nil, the
// base's config is taken from its history entries (see Base.Config).
func Plan(img *Image, ins []Instruction, base Base) (Replay, error) {
	if base.Entries < 0 || base.Entries > len(ins) {
		return Replay{}, fmt.Errorf("replay history: base has %d entries, the image %d", base.Entries, len(ins))
	}
	if base.Layers < 0 || base.Layers > len(img.RootFS.DiffIDs) {
		return Replay{}, fmt.Errorf("replay history: base has %d layers, the image %d", base.Layers, len(img.RootFS.DiffIDs))
	}
	pl := &planner{
		img: img, want: img.Config, r: Replay{Base: clone(base.Config(img, ins))},
		records: map[setting]record{}, refusedEnv: map[int]bool{},
	}
	for _, in := range ins[base.Entries:] {
		if in.Set != nil {
			pl.record(*in.Set)
		}
		pl.triggersUnrecorded = pl.triggersUnrecorded || in.Dialect == "buildkit"
	}
	if _, recorded := pl.last("ONBUILD"); recorded {
		pl.triggersUnrecorded = false
	}
	pl.recorded = apply(pl.r.Base, pl.steps)

	pl.author()
	pl.env()
	pl.labels()
	pl.sets("EXPOSE", img.Config.ExposedPorts, pl.r.Base.Config.ExposedPorts)
	pl.sets("VOLUME", img.Config.Volumes, pl.r.Base.Config.Volumes)
	pl.scalar("USER", pl.want.User, &pl.r.Base.Config.User)
	pl.scalar("WORKDIR", pl.want.WorkingDir, &pl.r.Base.Config.WorkingDir)
	pl.scalar("STOPSIGNAL", pl.want.StopSignal, &pl.r.Base.Config.StopSignal)
	pl.shell()
	pl.health()
	pl.command()
	pl.onbuild()

	steps := pl.order()
	first := firstMerged(ins, base)
	for _, s := range steps {
		if s.at < float64(first) {
			pl.r.Before = append(pl.r.Before, s.step)
		} else {
			pl.r.After = append(pl.r.After, s.step)
		}
	}
	all := append(slices.Clone(pl.r.Before), pl.r.After...)
	pl.r.Inexpressible = append(pl.r.Inexpressible, pl.rest(all)...)
	// Cleared tells what only the base sets. An image without a history has
	// nothing that could disagree.
	if len(ins) > 0 {
		recorded := apply(withPath(pl.r.Base, img), pl.steps)
		if pl.triggersUnrecorded {
			recorded.Config.OnBuild = img.Config.OnBuild
		}
		pl.r.Disagreements = disagreements(img, recorded, !recordsPath(ins, base))
	}
	if doubt := LayerDoubt(img, ins); doubt != "" {
		pl.r.Disagreements = append(pl.r.Disagreements, doubt)
	}
	return pl.r, nil
}

// recordsPath tells whether the base's document or the history has a PATH, where
// a builder's default isn't all that is known.
func recordsPath(ins []Instruction, base Base) bool {
	if base.Image != nil {
		if indexKey(base.Image.Config.Env, "PATH") >= 0 {
			return true
		}
		ins = ins[base.Entries:]
	}
	return slices.ContainsFunc(ins, func(in Instruction) bool {
		return in.Set != nil && in.Set.Name == "ENV" && slices.ContainsFunc(in.Set.Pairs, func(p Pair) bool { return p.Key == "PATH" })
	})
}

// withPath is the base with the PATH that FROM adds to a base without one, if
// the image has a PATH.
func withPath(base, img *Image) *Image {
	if indexKey(base.Config.Env, "PATH") >= 0 || indexKey(img.Config.Env, "PATH") < 0 {
		return base
	}
	out := clone(base)
	out.Config.Env = append(out.Config.Env, "PATH="+DefaultPath)
	return out
}

// firstMerged is the history index of the first entry above the base that made a
// layer. If none did, all metadata goes after the ADD.
func firstMerged(ins []Instruction, base Base) int {
	for i := base.Entries; i < len(ins); i++ {
		if ins[i].Layer >= base.Layers {
			return i
		}
	}
	return base.Entries
}

type planner struct {
	img      *Image
	want     Config
	steps    []Step             // what the history sets above the base
	records  map[setting]record // the variables and labels among that
	recorded *Image             // the config that the history alone would give
	// BuildKit made entries above the base, and it records no ONBUILD.
	triggersUnrecorded bool
	r                  Replay
	out                []planned
	// What is inexpressible, besides its line in r.
	refused    []Step
	refusedEnv map[int]bool // the variables among that, by index in the config's Env
}

// setting is a variable or a label.
type setting struct{ instruction, key string }

// record is how the history sets it.
type record struct {
	first, last int    // indexes of the planner's steps
	value       string // the last value
	place       int    // its first place in the last step
}

// record notes a step of the history.
func (pl *planner) record(s Step) {
	at := len(pl.steps)
	pl.steps = append(pl.steps, s)
	for i, kv := range s.Pairs {
		k := setting{s.Name, kv.Key}
		r, ok := pl.records[k]
		if !ok {
			r.first = at
		}
		if !ok || r.last != at {
			r.last, r.place = at, i
		}
		r.value = kv.Value
		pl.records[k] = r
	}
}

// planned is a step and its place: the index of its history entry, a number
// between two of them for a correction that stands next to one, or +Inf for the
// end.
type planned struct {
	at   float64
	step Step
}

var end = math.Inf(1)

const noLine = "the history has no line for it"

// add plans a step, if a Dockerfile can have it. Of a step with several values,
// those that it can't have are left out.
func (pl *planner) add(at float64, s Step) bool {
	_, err := s.Dockerfile()
	if err == nil {
		pl.out = append(pl.out, planned{at, s})
		return true
	}
	rest, refused := s, false
	rest.Pairs, rest.Args = nil, nil
	for _, part := range s.parts() {
		if _, err := part.Dockerfile(); err != nil {
			pl.refuse(part, err)
			refused = true
			continue
		}
		rest.Pairs, rest.Args = append(rest.Pairs, part.Pairs...), append(rest.Args, part.Args...)
	}
	switch {
	case !refused:
		pl.refuse(s, err)
		return false
	case len(rest.Pairs)+len(rest.Args) == 0:
		return false
	}
	return pl.add(at, rest)
}

// parts are steps of one value each that together set what s sets; none of a
// step whose values belong together.
func (s Step) parts() []Step {
	var parts []Step
	switch s.Name {
	case "ENV", "LABEL":
		for i := range s.Pairs {
			parts = append(parts, Step{Name: s.Name, Pairs: s.Pairs[i : i+1]})
		}
	case "EXPOSE", "VOLUME":
		for i := range s.Args {
			parts = append(parts, Step{Name: s.Name, Args: s.Args[i : i+1]})
		}
	}
	return parts
}

// refuse notes that a step can't be written.
func (pl *planner) refuse(s Step, why error) {
	pl.refused = append(pl.refused, s)
	pl.r.Inexpressible = append(pl.r.Inexpressible, fmt.Sprintf("%s: %s", clip(s.String()), why))
}

// clip cuts s for a message.
func clip(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

func (pl *planner) clear(format string, args ...any) {
	pl.r.Cleared = append(pl.r.Cleared, fmt.Sprintf(format, args...))
}

// last finds the last step of that name above the base.
func (pl *planner) last(name string) (Step, bool) {
	for _, s := range slices.Backward(pl.steps) {
		if s.Name == name {
			return s, true
		}
	}
	return Step{}, false
}

// order sorts the planned steps by their place.
func (pl *planner) order() []planned {
	sort.SliceStable(pl.out, func(i, j int) bool {
		a, b := pl.out[i], pl.out[j]
		if a.at != b.at {
			return a.at < b.at
		}
		return rank[a.step.Name] < rank[b.step.Name]
	})
	return pl.out
}

// rank orders the corrections at the end as Dockerfiles usually are.
var rank = map[string]int{"MAINTAINER": 1, "LABEL": 2, "ENV": 3, "SHELL": 4, "EXPOSE": 5, "VOLUME": 6, "WORKDIR": 7, "USER": 8,
	"STOPSIGNAL": 9, "HEALTHCHECK": 10, "ENTRYPOINT": 11, "CMD": 12, "ONBUILD": 13}

// rest is what the steps leave different from the config, apart from what is
// known to be inexpressible.
func (pl *planner) rest(steps []Step) []string {
	got := apply(pl.r.Base, steps)
	c, w := &got.Config, pl.want
	variables := positions(w.Env)
	triggers := map[string]int{}
	for _, s := range pl.refused {
		switch s.Name {
		case "ENV":
			for _, kv := range s.Pairs {
				pl.refusedEnv[variables[kv.Key]] = true
			}
		case "LABEL":
			for _, kv := range s.Pairs {
				c.Labels = put(c.Labels, kv.Key, kv.Value)
			}
		case "EXPOSE":
			for _, a := range s.Args {
				c.ExposedPorts = put(c.ExposedPorts, a, struct{}{})
			}
		case "VOLUME":
			for _, a := range s.Args {
				c.Volumes = put(c.Volumes, a, struct{}{})
			}
		case "ONBUILD":
			triggers[s.arg()]++
		case "USER":
			c.User = w.User
		case "WORKDIR":
			c.WorkingDir = w.WorkingDir
		case "STOPSIGNAL":
			c.StopSignal = w.StopSignal
		case "MAINTAINER":
			got.Author = pl.img.Author
		case "CMD":
			c.Cmd = w.Cmd
		case "ENTRYPOINT":
			c.Entrypoint = w.Entrypoint
		case "SHELL":
			c.Shell = w.Shell
		case "HEALTHCHECK":
			c.Healthcheck = w.Healthcheck
		}
	}
	var env, onbuild []string
	for i, e := range w.Env {
		if !pl.refusedEnv[i] {
			env = append(env, e)
		}
	}
	if slices.Equal(env, c.Env) {
		c.Env = w.Env
	}
	for _, t := range w.OnBuild {
		if triggers[t]--; triggers[t] < 0 {
			onbuild = append(onbuild, t)
		}
	}
	if slices.Equal(onbuild, c.OnBuild) {
		c.OnBuild = w.OnBuild
	}
	return Diff(pl.img, got)
}

func put[V any](m map[string]V, key string, value V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[key] = value
	return m
}

// Result is the config that a builder makes of Base with Before and After: the
// image's own, but for what is Inexpressible.
func (r Replay) Result() *Image {
	return apply(r.Base, slices.Concat(r.Before, r.After))
}
