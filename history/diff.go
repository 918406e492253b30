package history

import (
	"fmt"
	"slices"
)

// Diff compares what a Dockerfile can say of two images' configs: Env with
// its order, Cmd, Entrypoint, User, WorkingDir, ExposedPorts, Volumes,
// Labels, StopSignal, Healthcheck, OnBuild, Shell and the author. Empty and
// absent are the same; ArgsEscaped, platform, times and the container fields
// of old configs don't count. Each difference is one phrase; none means
// equal.
func Diff(want, got *Image) []string {
	if want == nil {
		want = &Image{}
	}
	if got == nil {
		got = &Image{}
	}
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	w, g := want.Config, got.Config
	if !slices.Equal(w.Env, g.Env) {
		out = append(out, diffEnv(w.Env, g.Env)...)
	}
	for _, l := range []struct {
		name string
		w, g []string
	}{{"CMD", w.Cmd, g.Cmd}, {"ENTRYPOINT", w.Entrypoint, g.Entrypoint}, {"SHELL", w.Shell, g.Shell}, {"ONBUILD", w.OnBuild, g.OnBuild}} {
		if !slices.Equal(l.w, l.g) {
			add("%s is %s instead of %s", l.name, jsonList(l.g), jsonList(l.w))
		}
	}
	for _, s := range []struct{ name, w, g string }{
		{"USER", w.User, g.User}, {"WORKDIR", w.WorkingDir, g.WorkingDir}, {"STOPSIGNAL", w.StopSignal, g.StopSignal}, {"author", want.Author, got.Author},
	} {
		if s.w != s.g {
			add("%s is %q instead of %q", s.name, s.g, s.w)
		}
	}
	out = append(out, diffKeys("EXPOSE", w.ExposedPorts, g.ExposedPorts)...)
	out = append(out, diffKeys("VOLUME", w.Volumes, g.Volumes)...)
	out = append(out, diffKeys("LABEL", w.Labels, g.Labels)...)
	for _, k := range sortedKeys(w.Labels) {
		if v, ok := g.Labels[k]; ok && v != w.Labels[k] {
			add("LABEL %s is %q instead of %q", k, v, w.Labels[k])
		}
	}
	if !equalHealth(w.Healthcheck, g.Healthcheck) {
		add("HEALTHCHECK is %s instead of %s", orNone(healthText(g.Healthcheck)), orNone(healthText(w.Healthcheck)))
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "unset"
	}
	return s
}

func diffKeys[V any](name string, w, g map[string]V) []string {
	var out []string
	for _, k := range sortedKeys(w) {
		if _, ok := g[k]; !ok {
			out = append(out, name+" "+k+" is missing")
		}
	}
	for _, k := range sortedKeys(g) {
		if _, ok := w[k]; !ok {
			out = append(out, name+" "+k+" is too much")
		}
	}
	return out
}

func diffEnv(w, g []string) []string {
	var out []string
	same, inW, inG := set(g), positions(w), positions(g)
	for _, e := range w {
		if same[e] {
			continue
		}
		if i, ok := inG[envKey(e)]; ok {
			out = append(out, fmt.Sprintf("ENV %q instead of %q", g[i], e))
		} else {
			out = append(out, fmt.Sprintf("ENV %q is missing", e))
		}
	}
	for _, e := range g {
		if _, ok := inW[envKey(e)]; !ok {
			out = append(out, fmt.Sprintf("ENV %q is too much", e))
		}
	}
	if len(out) == 0 {
		out = append(out, "ENV has another order")
	}
	return out
}

func equalHealth(a, b *Healthcheck) bool {
	if a == nil || b == nil {
		return emptyHealth(a) && emptyHealth(b)
	}
	return slices.Equal(a.Test, b.Test) && a.Interval == b.Interval && a.Timeout == b.Timeout &&
		a.StartPeriod == b.StartPeriod && a.StartInterval == b.StartInterval && a.Retries == b.Retries
}

// emptyHealth: a health check without any field says as much as none.
func emptyHealth(h *Healthcheck) bool {
	return h == nil || len(h.Test) == 0 && h.Interval == 0 && h.Timeout == 0 && h.StartPeriod == 0 && h.StartInterval == 0 && h.Retries == 0
}
