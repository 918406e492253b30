package history

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// env plans ENV. A Dockerfile can change a variable where it stands and add
// variables at the end, nothing else: so the longest part of the config's
// list that the base has, in order, is kept; whatever else the base has goes
// from its config, and the remaining variables are added one after another,
// each where the history first sets it, as far as that gives the config's
// order.
func (pl *planner) env() {
	want, base := pl.want.Env, pl.r.Base.Config.Env
	kept := keptEnv(want, base)
	for i, e := range base {
		if !kept[i] {
			pl.clear("ENV %s", envKey(e))
		}
	}
	var env []string
	for i, e := range base {
		if kept[i] {
			env = append(env, e)
		}
	}
	env = pl.path(env)
	pl.r.Base.Config.Env = env
	keep := len(env)

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
		case indexKey(want, key) != i:
			pl.refuseEnv(i, "a second entry of the same name can't be written")
			continue
		}
		a := envStep{Pair: Pair{key, val}, entry: -1, at: end, moves: i < keep}
		find := pl.first
		if i < keep {
			find = pl.last
		}
		if s, ok := find("ENV", hasKey(key)); ok {
			a.entry, a.at = s.Entry, float64(s.Entry)
		}
		if s, ok := pl.last("ENV", hasKey(key)); !ok {
			a.why = noLine
		} else if v, _ := value(s.Pairs, key); v != val {
			a.why = fmt.Sprintf("the history says %s=%q", key, v)
		}
		adds = append(adds, a)
	}
	settle(adds)
	// Neighbours from the same entry share an ENV.
	for i := 0; i < len(adds); {
		s := Step{Name: "ENV", Entry: adds[i].entry}
		j := i
		var why []string
		for ; j < len(adds) && adds[j].at == adds[i].at && adds[j].entry == adds[i].entry; j++ {
			s.Pairs = append(s.Pairs, adds[j].Pair)
			if w := adds[j].why; w != "" && !slices.Contains(why, w) {
				why = append(why, w)
			}
		}
		s.Why = strings.Join(why, "; ")
		pl.add(adds[i].at, s)
		i = j
	}
}

// path adds the PATH that FROM gives to a base without one: builders put it
// behind the base's variables, scratch's included. Where the image's isn't
// there, the base stays without, which only a config document can.
func (pl *planner) path(base []string) []string {
	if strings.EqualFold(pl.img.OS, "windows") || indexKey(base, "PATH") >= 0 {
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

func (pl *planner) refuseEnv(i int, why string) {
	if pl.refusedEnv == nil {
		pl.refusedEnv = map[int]bool{}
	}
	pl.refusedEnv[i] = true
	pl.r.Inexpressible = append(pl.r.Inexpressible, fmt.Sprintf("ENV %q: %s", pl.want.Env[i], why))
}

type envStep struct {
	Pair
	entry int
	at    float64
	moves bool // it changes a variable in its place: any position will do
	why   string
}

// settle moves the variables whose entries would give another order: those on
// a longest rising run stay, the others follow the one before them, or come
// just before the first that stays.
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

// risingRun marks a longest run of entries in non-decreasing order.
func risingRun(adds []envStep, idx []int) map[int]bool {
	length := make([]int, len(idx))
	prev := make([]int, len(idx))
	best := -1
	for i := range idx {
		if math.IsInf(adds[idx[i]].at, 1) {
			continue
		}
		length[i], prev[i] = 1, -1
		for j := range i {
			if length[j] > 0 && adds[idx[j]].at <= adds[idx[i]].at && length[j]+1 > length[i] {
				length[i], prev[i] = length[j]+1, j
			}
		}
		if best < 0 || length[i] > length[best] {
			best = i
		}
	}
	stay := map[int]bool{}
	for i := best; i >= 0; i = prev[i] {
		stay[idx[i]] = true
	}
	return stay
}

// keptEnv finds the longest start of want that base has in the same order, by
// name; where a name occurs twice, by the whole entry. The result marks
// base's entries that are kept.
func keptEnv(want, base []string) []bool {
	kept := make([]bool, len(base))
	at := 0
	for _, w := range want {
		unique := countKey(want, envKey(w)) == 1 && countKey(base, envKey(w)) == 1 && strings.Contains(w, "=") && envKey(w) != ""
		i := at
		for i < len(base) && !(base[i] == w || unique && envKey(base[i]) == envKey(w) && strings.Contains(base[i], "=")) {
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

func countKey(env []string, key string) int {
	n := 0
	for _, e := range env {
		if envKey(e) == key {
			n++
		}
	}
	return n
}
