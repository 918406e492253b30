package history

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
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
	// document itself.
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
	pl := &planner{img: img, want: img.Config, r: Replay{Base: clone(base.Config(img, ins))}}
	for _, in := range ins[base.Entries:] {
		if in.Set != nil {
			pl.steps = append(pl.steps, *in.Set)
		}
		pl.triggersUnrecorded = pl.triggersUnrecorded || in.Dialect == "buildkit"
	}
	if _, recorded := pl.last("ONBUILD", nil); recorded {
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
	// What the base alone has too much is told by Cleared; an image without a
	// history has nothing that could disagree.
	if len(ins) > 0 {
		recorded := apply(withPath(pl.r.Base, img), pl.steps)
		if pl.triggersUnrecorded {
			recorded.Config.OnBuild = img.Config.OnBuild
		}
		pl.r.Disagreements = disagreements(img, recorded)
	}
	if doubt := LayerDoubt(img, ins); doubt != "" {
		pl.r.Disagreements = append(pl.r.Disagreements, doubt)
	}
	return pl.r, nil
}

// withPath is the base with the PATH that FROM adds to one without, if the
// image has a PATH.
func withPath(base, img *Image) *Image {
	if indexKey(base.Config.Env, "PATH") >= 0 || indexKey(img.Config.Env, "PATH") < 0 {
		return base
	}
	out := clone(base)
	out.Config.Env = append(out.Config.Env, "PATH="+DefaultPath)
	return out
}

// firstMerged is the history index of the first entry above the base that
// made a layer; with none, metadata goes after the ADD.
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
	steps    []Step // what the history sets above the base
	recorded *Image // the config that the history alone would give
	// BuildKit made entries above the base, and it records no ONBUILD.
	triggersUnrecorded bool
	r                  Replay
	out                []planned
	// What is inexpressible, besides its line in r.
	refused    []Step
	refusedEnv map[int]bool // by index in the config's Env
}

// planned is a step and its place: the history index, in between for
// corrections that must stand next to an entry, +Inf for those at the end.
type planned struct {
	at   float64
	step Step
}

var end = math.Inf(1)

const noLine = "the history has no line for it"

func (pl *planner) add(at float64, s Step) {
	if why := expressible(s); why != "" {
		pl.refuse(s, why)
		return
	}
	pl.out = append(pl.out, planned{at, s})
}

func (pl *planner) refuse(s Step, why string) {
	pl.refused = append(pl.refused, s)
	pl.r.Inexpressible = append(pl.r.Inexpressible, fmt.Sprintf("%s: %s", s, why))
}

func (pl *planner) clear(format string, args ...any) {
	pl.r.Cleared = append(pl.r.Cleared, fmt.Sprintf(format, args...))
}

// last finds the last step above the base that has the name and satisfies f.
func (pl *planner) last(name string, f func(Step) bool) (Step, bool) {
	for i := len(pl.steps) - 1; i >= 0; i-- {
		if s := pl.steps[i]; s.Name == name && (f == nil || f(s)) {
			return s, true
		}
	}
	return Step{}, false
}

// first is the counterpart of last.
func (pl *planner) first(name string, f func(Step) bool) (Step, bool) {
	for _, s := range pl.steps {
		if s.Name == name && f(s) {
			return s, true
		}
	}
	return Step{}, false
}

func hasKey(key string) func(Step) bool {
	return func(s Step) bool {
		return slices.ContainsFunc(s.Pairs, func(kv Pair) bool { return kv.Key == key })
	}
}

// order sorts the planned steps by their place, and gives CMD and ENTRYPOINT
// the shell that is in force there.
func (pl *planner) order() []planned {
	sort.SliceStable(pl.out, func(i, j int) bool {
		a, b := pl.out[i], pl.out[j]
		if a.at != b.at {
			return a.at < b.at
		}
		return rank[a.step.Name] < rank[b.step.Name]
	})
	shell := pl.r.Base.Config.Shell
	if len(shell) == 0 {
		shell = defaultShell(pl.img)
	}
	for i := range pl.out {
		switch s := &pl.out[i].step; s.Name {
		case "SHELL":
			shell = s.Args
		case "CMD", "ENTRYPOINT":
			s.Shell = slices.Clone(shell)
		}
	}
	return pl.out
}

// rank orders the corrections at the end as Dockerfiles usually are.
var rank = map[string]int{"MAINTAINER": 1, "LABEL": 2, "ENV": 3, "SHELL": 4, "EXPOSE": 5, "VOLUME": 6, "WORKDIR": 7, "USER": 8,
	"STOPSIGNAL": 9, "HEALTHCHECK": 10, "ENTRYPOINT": 11, "CMD": 12, "ONBUILD": 13}

// rest is what the steps leave different from the config, apart from what is
// known to be inexpressible.
func (pl *planner) rest(steps []Step) []string {
	got := apply(pl.r.Base, append(steps, pl.refused...))
	got.Config.ExposedPorts = maps.Clone(got.Config.ExposedPorts)
	for _, s := range pl.refused {
		for i := 0; s.Name == "EXPOSE" && i < len(s.Args); i++ {
			// apply has made a proper port of it.
			for _, port := range expandPorts(s.Args[i]) {
				if _, ok := pl.want.ExposedPorts[port]; !ok {
					delete(got.Config.ExposedPorts, port)
				}
			}
			got.Config.ExposedPorts[s.Args[i]] = struct{}{}
		}
	}
	if len(pl.refusedEnv) > 0 {
		var env []string
		for i, e := range pl.want.Env {
			if !pl.refusedEnv[i] {
				env = append(env, e)
			}
		}
		if slices.Equal(env, got.Config.Env) {
			got.Config.Env = pl.want.Env
		}
	}
	return Diff(pl.img, got)
}
