package history

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Which step each field of the config needs. Env is in env.go.

// author plans MAINTAINER. BuildKit takes over the base's author, the classic
// builder doesn't. So the image's is always written; that an image has none, over
// a base that has one, can't be.
func (pl *planner) author() {
	base := pl.r.Base.Author
	if pl.img.Author == "" {
		if base != "" {
			pl.r.Inexpressible = append(pl.r.Inexpressible, fmt.Sprintf("no author: BuildKit takes over the base's, %q", base))
			pl.r.Base.Author = ""
		}
		return
	}
	pl.one("MAINTAINER", Step{Args: []string{pl.img.Author}}, func(s Step) string {
		return differs(s.arg(), pl.img.Author)
	})
	if _, recorded := pl.last("MAINTAINER"); !recorded && base == pl.img.Author && len(pl.out) > 0 {
		pl.out[0].step.Why = "the classic builder doesn't take over the base's author"
	}
}

// one adds a step for a field that has one value, at its last entry.
func (pl *planner) one(name string, s Step, differs func(Step) string) {
	s.Name, s.Entry = name, -1
	at := end
	if old, ok := pl.last(name); ok {
		s.Entry, at = old.Entry, float64(old.Entry)
		s.Why = differs(old)
	} else {
		s.Why = noLine
	}
	if name == "WORKDIR" && s.Why != "" {
		at = end // the directory may be in the layer only
		if s.Entry < 0 && s.arg() == "/" {
			s.Why = "" // BuildKit adds it by itself
		}
	}
	pl.add(at, s)
}

func differs(history, config string) string {
	if history == config {
		return ""
	}
	return fmt.Sprintf("the history says %q", history)
}

func (pl *planner) scalar(name, want string, have *string) {
	switch {
	case want == *have:
	case want == "":
		pl.clear("%s %s", name, *have)
		*have = ""
	case name == "WORKDIR" && isWindows(pl.img) && !drivePath.MatchString(want):
		// What builders make of it differs between them.
		pl.refuse(Step{Name: name, Args: []string{want}}, errors.New("WORKDIR takes a Windows path with its drive only"))
	case name == "WORKDIR":
		// Builders clean the path: no other can be had.
		clean := workdir("", want, isWindows(pl.img))
		pl.one(name, Step{Args: []string{clean}}, func(Step) string {
			return differs(pl.recorded.Config.WorkingDir, clean)
		})
	default:
		pl.one(name, Step{Args: []string{want}}, func(s Step) string {
			return differs(s.arg(), want)
		})
	}
}

// sets handles EXPOSE and VOLUME: keys can be added only.
func (pl *planner) sets(name string, want, have map[string]struct{}) {
	for _, k := range sortedKeys(have) {
		if _, ok := want[k]; !ok {
			pl.clear("%s %s", name, k)
			delete(have, k)
		}
	}
	last := map[string]int{} // by key, the last entry that sets it
	place := map[string]int{}
	for _, s := range pl.steps {
		for i, a := range s.Args {
			if s.Name == name {
				last[a], place[a] = s.Entry, i
			}
		}
	}
	at := map[int][]string{}
	for _, k := range sortedKeys(want) {
		if _, ok := have[k]; ok {
			continue
		}
		entry, ok := last[k]
		if !ok {
			entry = -1
		}
		at[entry] = append(at[entry], k)
	}
	for _, entry := range slices.Sorted(maps.Keys(at)) {
		s := Step{Name: name, Entry: entry, Args: at[entry]}
		if entry < 0 {
			s.Why = noLine
			pl.add(end, s)
			continue
		}
		// The entry's own order.
		slices.SortStableFunc(s.Args, func(a, b string) int { return place[a] - place[b] })
		pl.add(float64(entry), s)
	}
}

func (pl *planner) labels() {
	have := pl.r.Base.Config.Labels
	for _, k := range sortedKeys(have) {
		if _, ok := pl.want.Labels[k]; !ok {
			pl.clear("LABEL %s", k)
			delete(have, k)
		}
	}
	type group struct {
		pairs []Pair
		why   []string
	}
	at := map[int]*group{}
	for _, k := range sortedKeys(pl.want.Labels) {
		v := pl.want.Labels[k]
		if old, ok := have[k]; ok && old == v {
			continue
		}
		entry := -1
		r, ok := pl.records[setting{"LABEL", k}]
		if ok {
			entry = pl.steps[r.last].Entry
		}
		g := at[entry]
		if g == nil {
			g = &group{}
			at[entry] = g
		}
		g.pairs = append(g.pairs, Pair{k, v})
		if ok && r.value != v {
			g.why = append(g.why, fmt.Sprintf("the history says %s=%q", k, r.value))
		}
	}
	for _, entry := range slices.Sorted(maps.Keys(at)) {
		g := at[entry]
		s := Step{Name: "LABEL", Entry: entry, Pairs: g.pairs, Why: strings.Join(g.why, "; ")}
		if entry < 0 {
			s.Why = noLine
			pl.add(end, s)
			continue
		}
		place := func(kv Pair) int { return pl.records[setting{"LABEL", kv.Key}].place }
		slices.SortStableFunc(s.Pairs, func(a, b Pair) int { return place(a) - place(b) })
		pl.add(float64(entry), s)
	}
}

func (pl *planner) shell() {
	have := &pl.r.Base.Config.Shell
	switch {
	case slices.Equal(pl.want.Shell, *have):
	case len(pl.want.Shell) == 0:
		pl.clear("SHELL %s", jsonList(*have))
		*have = nil
	default:
		pl.one("SHELL", Step{Args: slices.Clone(pl.want.Shell)}, func(s Step) string {
			return differs(jsonList(s.Args), jsonList(pl.want.Shell))
		})
	}
}

func (pl *planner) health() {
	have := &pl.r.Base.Config.Healthcheck
	switch {
	case equalHealth(pl.want.Healthcheck, *have):
	case emptyHealth(pl.want.Healthcheck):
		pl.clear("HEALTHCHECK %s", healthText(*have))
		*have = nil
	default:
		pl.one("HEALTHCHECK", Step{Health: cloneHealth(pl.want.Healthcheck)}, func(s Step) string {
			if equalHealth(s.Health, pl.want.Healthcheck) {
				return ""
			}
			return "the history says " + healthText(s.Health)
		})
	}
}

// shellAt is the shell in force for a step at that place.
func (pl *planner) shellAt(at float64) []string {
	for _, p := range pl.out {
		if p.step.Name == "SHELL" && p.at <= at {
			return p.step.Args
		}
	}
	if s := pl.r.Base.Config.Shell; len(s) > 0 {
		return s
	}
	return defaultShell(pl.img).args
}

// command handles ENTRYPOINT and CMD. ENTRYPOINT comes first, since it resets
// a CMD that is inherited.
func (pl *planner) command() {
	have := &pl.r.Base.Config
	entry := -math.MaxFloat64
	setEntry := !slices.Equal(pl.want.Entrypoint, have.Entrypoint)
	if setEntry {
		at := end
		s := Step{Name: "ENTRYPOINT", Entry: -1, Args: slices.Clone(pl.want.Entrypoint), Why: noLine}
		if old, ok := pl.last("ENTRYPOINT"); ok {
			s.Entry, at = old.Entry, float64(old.Entry)
			s.Why = ""
			if !slices.Equal(old.Args, s.Args) {
				s.Why = "the history says " + jsonList(old.Args)
			}
		}
		entry = at
		s.Shell = pl.shellAt(at)
		setEntry = pl.add(at, s)
	}
	// The CMD in force after ENTRYPOINT.
	inherited := have.Cmd
	if setEntry {
		inherited = nil
	}
	if slices.Equal(pl.want.Cmd, inherited) {
		return
	}
	at := end
	s := Step{Name: "CMD", Entry: -1, Args: slices.Clone(pl.want.Cmd), Why: noLine}
	if old, ok := pl.last("CMD"); ok {
		s.Entry, at = old.Entry, float64(old.Entry)
		s.Why = ""
		if !slices.Equal(old.Args, s.Args) {
			s.Why = "the history says " + jsonList(old.Args)
		}
	} else if slices.Equal(have.Cmd, pl.want.Cmd) {
		s.Why = "ENTRYPOINT resets the base's"
	}
	if at <= entry {
		at = entry + 0.5
	}
	s.Shell = pl.shellAt(at)
	pl.add(at, s)
}

// onbuild writes the config's triggers. The base's own would fire.
func (pl *planner) onbuild() {
	for _, t := range pl.r.Base.Config.OnBuild {
		pl.clear("ONBUILD %s", t)
	}
	pl.r.Base.Config.OnBuild = nil
	entries := map[string][]int{} // by trigger, those of the history that set it
	for _, s := range pl.steps {
		if s.Name == "ONBUILD" {
			entries[s.arg()] = append(entries[s.arg()], s.Entry)
		}
	}
	from := math.Inf(-1)
	for _, t := range pl.want.OnBuild {
		s := Step{Name: "ONBUILD", Entry: -1, Args: []string{t}, Why: noLine}
		if pl.triggersUnrecorded {
			s.Why = "BuildKit records no ONBUILD"
		}
		at := end
		// The first entry behind that of the trigger before.
		for len(entries[t]) > 0 && at == end {
			if e := entries[t][0]; float64(e) > from {
				s.Entry, at, s.Why = e, float64(e), ""
			}
			entries[t] = entries[t][1:]
		}
		from = at
		pl.add(at, s)
	}
}
