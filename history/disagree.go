package history

import (
	"fmt"
	"slices"
	"strings"
)

// disagreements says, a sentence each, where the config isn't what the
// history's instructions give over the base's config. What a builder sets by
// itself, the default PATH and BuildKit's WORKDIR / over scratch, is none.
func disagreements(img, recorded *Image) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	w, h := img.Config, recorded.Config

	var unrecorded phrases
	ordered := true
	same, inHistory, inConfig := set(h.Env), positions(h.Env), positions(w.Env)
	for _, e := range w.Env {
		if same[e] {
			continue
		}
		if i, ok := inHistory[envKey(e)]; ok {
			add("ENV %s is %q; the history says %q", envKey(e), strings.TrimPrefix(e, envKey(e)+"="), strings.TrimPrefix(h.Env[i], envKey(e)+"="))
		} else if e != "PATH="+DefaultPath {
			unrecorded.add(readable(envKey(e)))
		} else {
			ordered = false
		}
	}
	if len(unrecorded.list) > 0 {
		add("ENV %s: the history has no line for it", strings.Join(unrecorded.list, ", "))
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
	out = append(out, setDisagreements("EXPOSE", sortedKeys(w.ExposedPorts), sortedKeys(h.ExposedPorts))...)
	out = append(out, setDisagreements("VOLUME", sortedKeys(w.Volumes), sortedKeys(h.Volumes))...)
	one := func(name, want, have string) {
		switch {
		case want == have:
		case have == "":
			add("%s is %s; the history has no line for it", name, want)
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
	return out
}

func listText(l []string) string {
	if len(l) == 0 {
		return ""
	}
	return jsonList(l)
}

func labelDisagreements(want, have map[string]string) []string {
	var out []string
	for _, k := range sortedKeys(want) {
		if v, ok := have[k]; ok && v != want[k] {
			out = append(out, fmt.Sprintf("LABEL %s is %q; the history says %q", k, want[k], v))
		}
	}
	return append(out, setDisagreements("LABEL", sortedKeys(want), sortedKeys(have))...)
}

func setDisagreements(name string, want, have []string) []string {
	var out []string
	less := func(a, b []string) []string {
		var out []string
		in := set(b)
		for _, k := range a {
			if !in[k] {
				out = append(out, readable(k))
			}
		}
		return out
	}
	if l := less(want, have); len(l) > 0 {
		out = append(out, fmt.Sprintf("%s %s: the history has no line for it", name, strings.Join(l, ", ")))
	}
	if l := less(have, want); len(l) > 0 {
		out = append(out, fmt.Sprintf("%s %s: the history sets it, the config doesn't have it", name, strings.Join(l, ", ")))
	}
	return out
}
