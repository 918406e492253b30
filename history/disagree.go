package history

import (
	"fmt"
	"slices"
	"strings"
)

// disagreements says, a sentence each, where the config isn't what the
// history's instructions give over the base's config. All that the history has
// no line for is one sentence. What a builder sets by itself, the default PATH
// and BuildKit's WORKDIR / over scratch, is none. defaultPath tells that the PATH
// in recorded is a builder's: the history says nothing of it.
func disagreements(img, recorded *Image, defaultPath bool) []string {
	var out, unrecorded []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	w, h := img.Config, recorded.Config

	var variables phrases
	ordered := true
	same, inHistory, inConfig := set(h.Env), positions(h.Env), positions(w.Env)
	for _, e := range w.Env {
		if same[e] {
			continue
		}
		key := envKey(e)
		i, recorded := inHistory[key]
		switch {
		case recorded && !(key == "PATH" && defaultPath):
			add("ENV %s is %q; the history says %q", key, strings.TrimPrefix(e, key+"="), strings.TrimPrefix(h.Env[i], key+"="))
		case e != "PATH="+DefaultPath:
			variables.add(readable(key))
		default:
			ordered = false
		}
	}
	if len(variables.list) > 0 {
		unrecorded = append(unrecorded, "ENV "+few(variables.list))
		ordered = false
	}
	for _, e := range h.Env {
		if _, ok := inConfig[envKey(e)]; !ok {
			add("ENV %s: the history sets it, the config doesn't have it", envKey(e))
			ordered = false
		}
	}
	if ordered && len(out) == 0 && !slices.Equal(w.Env, h.Env) {
		add("ENV has another order than the history gives")
	}

	out = append(out, labelDisagreements(w.Labels, h.Labels)...)
	keys := func(name string, want, have []string) {
		if l := missing(want, have); len(l) > 0 {
			unrecorded = append(unrecorded, name+" "+few(l))
		}
		if l := missing(have, want); len(l) > 0 {
			add("%s %s: the history sets it, the config doesn't have it", name, few(l))
		}
	}
	keys("LABEL", sortedKeys(w.Labels), sortedKeys(h.Labels))
	keys("EXPOSE", sortedKeys(w.ExposedPorts), sortedKeys(h.ExposedPorts))
	keys("VOLUME", sortedKeys(w.Volumes), sortedKeys(h.Volumes))
	one := func(name, want, have string) {
		switch {
		case want == have:
		case have == "":
			unrecorded = append(unrecorded, name+" "+want)
		case want == "":
			add("%s: the history says %s, the config has none", name, have)
		default:
			add("%s is %s; the history says %s", name, want, have)
		}
	}
	one("author", img.Author, recorded.Author)
	one("USER", w.User, h.User)
	if dir := workdir("", w.WorkingDir, isWindows(img)); dir != h.WorkingDir && (h.WorkingDir != "" || dir != "/") {
		one("WORKDIR", w.WorkingDir, h.WorkingDir)
	}
	one("STOPSIGNAL", w.StopSignal, h.StopSignal)
	one("SHELL", listText(w.Shell), listText(h.Shell))
	if !equalHealth(w.Healthcheck, h.Healthcheck) {
		one("HEALTHCHECK", healthText(w.Healthcheck), healthText(h.Healthcheck))
	}
	one("ENTRYPOINT", listText(w.Entrypoint), listText(h.Entrypoint))
	one("CMD", listText(w.Cmd), listText(h.Cmd))
	one("ONBUILD", strings.Join(w.OnBuild, "; "), strings.Join(h.OnBuild, "; "))
	if len(unrecorded) > 0 {
		add("the history has no line for %s", strings.Join(unrecorded, "; "))
	}
	return out
}

// fewNames is how many names of a list are told one by one.
const fewNames = 5

// few is a list of names, the first ones of many.
func few(names []string) string {
	if len(names) <= fewNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:fewNames-1], ", "), len(names)-fewNames+1)
}

func listText(l []string) string {
	if len(l) == 0 {
		return ""
	}
	return jsonList(l)
}

// labelDisagreements compares the values of the labels that both have.
func labelDisagreements(want, have map[string]string) []string {
	var out, names []string
	for _, k := range sortedKeys(want) {
		if v, ok := have[k]; ok && v != want[k] {
			names = append(names, readable(k))
			out = append(out, fmt.Sprintf("LABEL %s is %q; the history says %q", k, want[k], v))
		}
	}
	if len(out) > fewNames {
		return []string{fmt.Sprintf("LABEL %s have other values than the history says", few(names))}
	}
	return out
}

// missing are the names of a that b doesn't have.
func missing(a, b []string) []string {
	var out []string
	in := set(b)
	for _, k := range a {
		if !in[k] {
			out = append(out, readable(k))
		}
	}
	return out
}
