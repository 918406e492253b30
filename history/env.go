package history

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
)

// env plans ENV. A Dockerfile can change a variable where it stands and add
// variables at the end, nothing else. So the longest part of the config's list
// that the base has, in order, is kept; whatever else the base has goes from its
// config. The remaining variables are added one after another, each where the
// history first sets it, as far as that gives the config's order.
func (pl *planner) env() {
	want, base := pl.want.Env, pl.r.Base.Config.Env
	kept := keptEnv(want, base)
	var env []string
	for i, e := range base {
		if kept[i] {
			env = append(env, e)
		} else {
			pl.clear("ENV %s", envKey(e))
		}
	}
	env = pl.path(env)
	pl.r.Base.Config.Env = env
	keep := len(env)

	at := positions(want)
	var adds []envStep
	for i, e := range want {
		if i < keep && env[i] == e {
			continue
		}
		key, val, ok := strings.Cut(e, "=")
		switch {
		case !ok || key == "":
			pl.refuseEnv(i, "an entry without a name or without = can't be written")
			continue
		case at[key] != i:
			pl.refuseEnv(i, "a second entry of the same name can't be written")
			continue
		}
		a := envStep{Pair: Pair{key, val}, entry: -1, at: end, moves: i < keep, why: noLine}
		if r, ok := pl.records[setting{"ENV", key}]; ok {
			s := pl.steps[r.first]
			if i < keep {
				s = pl.steps[r.last]
			}
			a.entry, a.at, a.why = s.Entry, float64(s.Entry), ""
			if r.value != val {
				a.why = fmt.Sprintf("the history says %s=%q", key, r.value)
			}
		}
		adds = append(adds, a)
	}
	settle(adds)
	// Neighbours from the same entry share an ENV.
	for len(adds) > 0 {
		first := adds[0]
		s := Step{Name: "ENV", Entry: first.entry}
		var why phrases
		for len(adds) > 0 && adds[0].at == first.at && adds[0].entry == first.entry {
			s.Pairs = append(s.Pairs, adds[0].Pair)
			why.add(adds[0].why)
			adds = adds[1:]
		}
		s.Why = why.String()
		pl.add(first.at, s)
	}
}

// phrases are the reasons for one step, each once.
type phrases struct {
	seen map[string]bool
	list []string
}

func (p *phrases) add(s string) {
	if s == "" || p.seen[s] {
		return
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[s] = true
	p.list = append(p.list, s)
}

func (p *phrases) String() string { return strings.Join(p.list, "; ") }

// path adds the PATH that FROM gives to a base without one: builders put it
// behind the base's variables, scratch's included. If the image has its PATH
// elsewhere, or none, the base stays without: only a config document can.
func (pl *planner) path(base []string) []string {
	if isWindows(pl.img) || indexKey(base, "PATH") >= 0 {
		return base
	}
	switch i := indexKey(pl.want.Env, "PATH"); {
	case i == len(base) && strings.HasPrefix(pl.want.Env[i], "PATH="):
		return append(base, "PATH="+DefaultPath)
	case i < 0:
		pl.r.Inexpressible = append(pl.r.Inexpressible, "ENV without PATH: builders add one")
	default:
		pl.r.Inexpressible = append(pl.r.Inexpressible, "ENV with PATH behind the image's own variables: builders add it before them")
	}
	return base
}

// refuseEnv notes that the config's i-th variable can't be written.
func (pl *planner) refuseEnv(i int, why string) {
	pl.refusedEnv[i] = true
	pl.r.Inexpressible = append(pl.r.Inexpressible, fmt.Sprintf("ENV %q: %s", clip(pl.want.Env[i]), why))
}

type envStep struct {
	Pair
	entry int
	at    float64
	moves bool // it changes a variable in its place: any position will do
	why   string
}

// settle moves the variables whose entries would give another order. Those on a
// longest rising run stay. The others follow the one before them, or come just
// before the first that stays.
func settle(adds []envStep) {
	var idx []int
	for i, a := range adds {
		if !a.moves {
			idx = append(idx, i)
		}
	}
	stay := risingRun(adds, idx)
	at := math.Inf(-1)
	lead := end
	for _, i := range idx {
		if stay[i] {
			lead = adds[i].at - 0.25
			break
		}
	}
	for _, i := range idx {
		if stay[i] {
			at = adds[i].at
			continue
		}
		switch {
		case math.IsInf(at, -1):
			adds[i].at = lead
		case at == math.Trunc(at): // the place of an entry: just behind it
			adds[i].at = at + 0.25
		default:
			adds[i].at = at
		}
		if adds[i].why == "" && adds[i].entry >= 0 {
			adds[i].why = "moved to keep the config's order"
		}
		if float64(adds[i].entry) != adds[i].at {
			adds[i].entry = -1
		}
		at = adds[i].at
	}
}

// risingRun marks a longest run of entries in non-decreasing order, the first
// such run in the list.
func risingRun(adds []envStep, idx []int) map[int]bool {
	// ends[n] are the variables at which a run of n+1 can end, in order. Their
	// places fall, since one that doesn't lie before another lengthens its run.
	var ends [][]int
	prev := make(map[int]int, len(idx))
	for _, i := range idx {
		at := adds[i].at
		if math.IsInf(at, 1) {
			continue
		}
		n := sort.Search(len(ends), func(n int) bool { return adds[ends[n][len(ends[n])-1]].at > at })
		if n == len(ends) {
			ends = append(ends, nil)
		}
		ends[n] = append(ends[n], i)
		if n > 0 {
			below := ends[n-1]
			prev[i] = below[sort.Search(len(below), func(k int) bool { return adds[below[k]].at <= at })]
		}
	}
	stay := map[int]bool{}
	if len(ends) == 0 {
		return stay
	}
	for i, ok := ends[len(ends)-1][0], true; ok; i, ok = prev[i] {
		stay[i] = true
	}
	return stay
}

// keptEnv finds the longest start of want that base has in the same order, by
// name; where a name occurs twice, by the whole entry. The result marks base's
// entries that are kept.
func keptEnv(want, base []string) []bool {
	kept := make([]bool, len(base))
	inWant, inBase := countKeys(want), countKeys(base)
	at := 0
	for _, w := range want {
		key, _, ok := strings.Cut(w, "=")
		prefix := key + "="
		unique := ok && key != "" && inWant[key] == 1 && inBase[key] == 1
		i := at
		for i < len(base) && !(base[i] == w || unique && strings.HasPrefix(base[i], prefix)) {
			i++
		}
		if i == len(base) {
			break
		}
		kept[i] = true
		at = i + 1
	}
	return kept
}

func envKey(e string) string {
	k, _, _ := strings.Cut(e, "=")
	return k
}

// indexKey is where env has the variable first, -1 if it doesn't.
func indexKey(env []string, key string) int {
	return slices.IndexFunc(env, func(e string) bool { return envKey(e) == key })
}

// positions are where env has each of its variables first.
func positions(env []string) map[string]int {
	at := make(map[string]int, len(env))
	for i, e := range env {
		if _, ok := at[envKey(e)]; !ok {
			at[envKey(e)] = i
		}
	}
	return at
}

func countKeys(env []string) map[string]int {
	n := make(map[string]int, len(env))
	for _, e := range env {
		n[envKey(e)]++
	}
	return n
}

// set is a list for looking up.
func set(list []string) map[string]bool {
	m := make(map[string]bool, len(list))
	for _, s := range list {
		m[s] = true
	}
	return m
}
