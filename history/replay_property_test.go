package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A random image over a random base, whose history tells most of the truth.
type randomCase struct {
	img  *Image
	base Base
}

// values that have given trouble: quotes, blanks, variables, list look-alikes.
var values = []string{"a", "", "b c", "x=y", "$HOME", `"q"`, `it's`, "tail ", " lead", "[1]", "two\nlines", "k=v w=u", `back\slash`, "ünï"}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func randomConfig(r *rand.Rand) Config {
	var c Config
	for _, k := range []string{"PATH", "A", "B", "C", "D", "LONG_NAME"} {
		if r.IntN(2) == 0 {
			c.Env = append(c.Env, k+"="+pick(r, values...))
		}
	}
	r.Shuffle(len(c.Env), func(i, j int) { c.Env[i], c.Env[j] = c.Env[j], c.Env[i] })
	for _, k := range []string{"l1", "l2", "org.example.name", "with blank"} {
		if r.IntN(2) == 0 {
			if c.Labels == nil {
				c.Labels = map[string]string{}
			}
			c.Labels[k] = pick(r, values...)
		}
	}
	set := func(keys ...string) map[string]struct{} {
		var m map[string]struct{}
		for _, k := range keys {
			if r.IntN(2) == 0 {
				if m == nil {
					m = map[string]struct{}{}
				}
				m[k] = struct{}{}
			}
		}
		return m
	}
	c.ExposedPorts = set("80/tcp", "53/udp", "8443/tcp")
	c.Volumes = set("/data", "/with blank", "rel")
	c.User = pick(r, "", "app", "1000:1000")
	c.WorkingDir = pick(r, "", "/", "/app", "/with blank")
	c.StopSignal = pick(r, "", "SIGTERM", "9")
	list := func() []string {
		return pick(r, nil, []string{}, []string{"sh"}, []string{"/bin/sh", "-c", "echo $HOME"}, []string{"a b", "", `"`}, []string{"run"})
	}
	c.Cmd, c.Entrypoint = list(), list()
	c.Shell = pick(r, nil, nil, []string{"/bin/bash", "-c"}, []string{"/bin/sh", "-ec"})
	c.Healthcheck = pick(r, nil, &Healthcheck{Test: []string{"NONE"}}, &Healthcheck{Test: []string{"CMD-SHELL", "true || false"}, Interval: time.Minute, Retries: 3},
		&Healthcheck{Test: []string{"CMD", "a b", "c"}, Timeout: time.Second, StartPeriod: 2 * time.Second, StartInterval: 3 * time.Second})
	c.OnBuild = pick(r, nil, nil, []string{"RUN make"}, []string{"COPY . /src", "RUN make", "RUN make"})
	return c
}

// lines is how the builders record the steps that give c.
func lines(r *rand.Rand, c Config) []string {
	var out []string
	for _, e := range c.Env {
		out = append(out, "ENV "+e)
	}
	for _, k := range sortedKeys(c.Labels) {
		out = append(out, "LABEL "+k+"="+c.Labels[k])
	}
	for _, k := range sortedKeys(c.ExposedPorts) {
		out = append(out, "EXPOSE map["+k+":{}]")
	}
	for _, k := range sortedKeys(c.Volumes) {
		out = append(out, "VOLUME ["+k+"]")
	}
	if c.User != "" {
		out = append(out, "USER "+c.User)
	}
	if c.WorkingDir != "" {
		out = append(out, "WORKDIR "+c.WorkingDir)
	}
	if c.StopSignal != "" {
		out = append(out, "STOPSIGNAL "+c.StopSignal)
	}
	if c.Shell != nil {
		out = append(out, fmt.Sprintf("SHELL %v", c.Shell))
	}
	if c.Entrypoint != nil {
		out = append(out, fmt.Sprintf("ENTRYPOINT %q", c.Entrypoint))
	}
	if c.Cmd != nil {
		out = append(out, fmt.Sprintf("CMD %q", c.Cmd))
	}
	if c.Healthcheck != nil {
		out = append(out, fmt.Sprintf("HEALTHCHECK %+v", *c.Healthcheck))
	}
	for _, t := range c.OnBuild {
		out = append(out, "ONBUILD "+t)
	}
	if r.IntN(3) == 0 {
		r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	}
	return slices.DeleteFunc(out, func(string) bool { return r.IntN(8) == 0 })
}

func newRandomCase(r *rand.Rand) randomCase {
	baseImg, img := &Image{}, &Image{}
	add := func(to *Image, line string, layer bool) {
		h := ocispec.History{CreatedBy: line, EmptyLayer: !layer, Comment: pick(r, "", "buildkit.dockerfile.v0")}
		if h.Comment == "" {
			h.CreatedBy = "/bin/sh -c #(nop)  " + line
			if s, ok := strings.CutPrefix(line, "RUN "); ok {
				h.CreatedBy = s
			}
		}
		to.History = append(to.History, h)
		if layer {
			to.RootFS.DiffIDs = append(to.RootFS.DiffIDs, digest.FromString(fmt.Sprint("layer", len(to.RootFS.DiffIDs))))
		}
	}
	baseImg.Config = randomConfig(r)
	add(baseImg, "ADD file:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef in / ", true)
	for _, l := range lines(r, baseImg.Config) {
		add(baseImg, l, false)
	}
	img.Config = randomConfig(r)
	img.Author = pick(r, "", "", "Some One <one@example.org>")
	baseImg.Author = pick(r, "", "", "Other", "Some One <one@example.org>")
	img.History = slices.Clone(baseImg.History)
	img.RootFS.DiffIDs = slices.Clone(baseImg.RootFS.DiffIDs)
	above := lines(r, randomConfig(r)) // an overwritten state first
	if img.Author != "" && r.IntN(2) == 0 {
		above = append(above, "MAINTAINER "+img.Author)
	}
	above = append(above, lines(r, img.Config)...)
	for _, l := range above {
		if r.IntN(4) == 0 {
			add(img, "RUN /bin/sh -c make", true)
		}
		add(img, l, false)
	}
	add(img, "RUN /bin/sh -c true", true)
	base := Base{Name: "example", Layers: 1, Entries: len(baseImg.History), Image: baseImg}
	switch r.IntN(4) {
	case 0:
		base = Base{Name: "scratch"}
	case 1:
		base.Image = nil
	}
	return randomCase{img, base}
}

// Whatever the base, the history and the config, the planned steps lead from
// the one config to the other.
func TestPlanLeadsFromBaseToImage(t *testing.T) {
	for seed := range uint64(2000) {
		c := newRandomCase(rand.New(rand.NewPCG(seed, 1)))
		ins := Parse(c.img)
		r, err := Plan(c.img, ins, c.base)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got := r.Result()
		if d := Diff(c.img, got); len(d) > 0 {
			t.Fatalf("seed %d, base %s (%v): %q\nbefore %v\nafter %v\ncleared %q\ninexpressible %q", seed, c.base.Name, c.base.Image != nil, d, r.Before, r.After, r.Cleared, r.Inexpressible)
		}
		r.Inexpressible = slices.DeleteFunc(r.Inexpressible, func(s string) bool { return strings.Contains(s, "PATH") || strings.HasPrefix(s, "no author") })
		if len(r.Inexpressible) > 0 {
			t.Fatalf("seed %d: inexpressible %q", seed, r.Inexpressible)
		}
		checkShort(t, seed, c, r)
	}
}

// No step may be left out: the list is as short as it can be.
func checkShort(t *testing.T, seed uint64, c randomCase, r Replay) {
	all := append(slices.Clone(r.Before), r.After...)
	for i := range all {
		if all[i].Name == "MAINTAINER" {
			continue // for the builder that doesn't take over the base's author
		}
		fewer := slices.Delete(slices.Clone(all), i, i+1)
		if len(Diff(c.img, apply(r.Base, fewer))) == 0 {
			t.Fatalf("seed %d: %s is needless in %v", seed, all[i], all)
		}
	}
}
