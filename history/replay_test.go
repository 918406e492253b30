package history

import (
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// planned is the plan of an image with the given config over a base with
// another, and with the given lines above it, as text.
func plannedText(t *testing.T, base, img *Image, above ...string) (before, after []string, r Replay) {
	t.Helper()
	for _, i := range []*Image{base, img} {
		if indexKey(i.Config.Env, "PATH") < 0 {
			i.Config.Env = append([]string{"PATH=" + DefaultPath}, i.Config.Env...)
		}
	}
	for _, l := range above {
		img.History = append(img.History, ocispec.History{CreatedBy: l, EmptyLayer: !strings.HasPrefix(l, "RUN") && !strings.HasPrefix(l, "COPY"), Comment: "buildkit.dockerfile.v0"})
		if !img.History[len(img.History)-1].EmptyLayer {
			img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, "sha256:x")
		}
	}
	r, err := Plan(img, Parse(img), Base{Image: base})
	if err != nil {
		t.Fatal(err)
	}
	if d := Diff(img, r.Result()); len(d) > 0 {
		t.Errorf("left: %q", d)
	}
	text := func(steps []Step) (out []string) {
		for _, s := range steps {
			out = append(out, s.String())
		}
		return out
	}
	return text(r.Before), text(r.After), r
}

func TestMetadataKeepsItsSideOfTheLayer(t *testing.T) {
	img := &Image{}
	img.Author = "Jo"
	img.Config.Env = []string{"A=1", "B=2"}
	before, after, _ := plannedText(t, &Image{}, img, "MAINTAINER Jo", "ENV A=1", "RUN make", "ENV B=2")
	if !slices.Equal(before, []string{"MAINTAINER Jo", "ENV A=1"}) || !slices.Equal(after, []string{"ENV B=2"}) {
		t.Errorf("%q %q", before, after)
	}
}

// A WORKDIR that made its directory is itself the first merged layer.
func TestWorkdirWithALayerFollowsTheLayer(t *testing.T) {
	img := &Image{}
	img.Config.WorkingDir = "/app"
	img.History = []ocispec.History{{CreatedBy: "WORKDIR /app", Comment: "buildkit.dockerfile.v0"}}
	img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, "sha256:w")
	before, after, _ := plannedText(t, &Image{}, img)
	if len(before) != 0 || !slices.Equal(after, []string{"WORKDIR /app"}) {
		t.Errorf("%q %q", before, after)
	}
}

func TestAVariableSetTwiceIsWrittenOnce(t *testing.T) {
	img := &Image{}
	img.Config.Env = []string{"A=3", "B=2"}
	img.Config.Labels = map[string]string{"l": "2"}
	before, after, _ := plannedText(t, &Image{}, img, "ENV A=1", "LABEL l=1", "ENV B=2", "RUN make", "ENV A=3", "LABEL l=2")
	if !slices.Equal(before, []string{"ENV A=3", "ENV B=2"}) || !slices.Equal(after, []string{"LABEL l=2"}) {
		t.Errorf("%q %q", before, after)
	}
}

func TestEntrypointComesBeforeCmd(t *testing.T) {
	img := &Image{}
	img.Config.Entrypoint, img.Config.Cmd = []string{"e"}, []string{"c"}
	_, after, _ := plannedText(t, &Image{}, img, "RUN make", `CMD ["c"]`, `ENTRYPOINT ["e"]`)
	if !slices.Equal(after, []string{`ENTRYPOINT ["e"]`, `CMD ["c"]`}) {
		t.Errorf("%q", after)
	}
}

func TestWhatTheBaseSetsIsResetWhereADockerfileCan(t *testing.T) {
	base := &Image{}
	base.Config.Cmd, base.Config.Entrypoint = []string{"c"}, []string{"e"}
	base.Config.Healthcheck = &Healthcheck{Test: []string{"CMD", "x"}}
	img := &Image{}
	img.Config.Healthcheck = &Healthcheck{Test: []string{"NONE"}}
	_, after, r := plannedText(t, base, img, "RUN make", "ENTRYPOINT []", "HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}")
	// ENTRYPOINT takes the inherited CMD with it.
	if !slices.Equal(after, []string{"ENTRYPOINT []", "HEALTHCHECK NONE"}) || len(r.Cleared) > 0 {
		t.Errorf("%q, cleared %q", after, r.Cleared)
	}
	base.Config.Entrypoint = nil
	base.Config.Healthcheck = nil
	img = &Image{}
	if _, after, _ = plannedText(t, base, img, "RUN make"); !slices.Equal(after, []string{"CMD []"}) {
		t.Errorf("%q", after)
	}
}

// The classic builder doesn't take over the base's author, BuildKit does.
func TestAuthorComesOutOfBothBuilders(t *testing.T) {
	base, img := &Image{}, &Image{}
	base.Author, img.Author = "Jo", "Jo"
	_, after, _ := plannedText(t, base, img, "RUN make")
	if !slices.Equal(after, []string{"MAINTAINER Jo"}) {
		t.Errorf("%q", after)
	}
	img = &Image{}
	_, after, r := plannedText(t, base, img, "RUN make")
	if len(after) != 0 || len(r.Cleared) != 0 || len(r.Inexpressible) != 1 {
		t.Errorf("%q %+v", after, r)
	}
}

func TestTriggersComeFromTheConfig(t *testing.T) {
	base := &Image{}
	base.Config.OnBuild = []string{"RUN fired"}
	img := &Image{}
	img.Config.OnBuild = []string{"COPY . /", "RUN make"}
	before, after, r := plannedText(t, base, img, "ONBUILD COPY . /", "RUN fired", "RUN x")
	if !slices.Equal(before, []string{"ONBUILD COPY . /"}) || !slices.Equal(after, []string{"ONBUILD RUN make"}) || !slices.Equal(r.Cleared, []string{"ONBUILD RUN fired"}) {
		t.Errorf("%q %q %q", before, after, r.Cleared)
	}
}

func TestCommandsKnowTheShellInForce(t *testing.T) {
	img := &Image{}
	img.Config.Shell = []string{"/bin/bash", "-c"}
	img.Config.Cmd = []string{"/bin/bash", "-c", "echo hello"}
	_, after, _ := plannedText(t, &Image{}, img, "RUN make", "SHELL [/bin/bash -c]", `CMD ["/bin/bash" "-c" "echo hello"]`)
	if !slices.Equal(after, []string{`SHELL ["/bin/bash", "-c"]`, "CMD echo hello"}) {
		t.Errorf("%q", after)
	}
}

// FROM gives a base without PATH the default one.
func TestPathComesWithFrom(t *testing.T) {
	img := &Image{}
	img.Config.Env = []string{"PATH=" + DefaultPath, "A=1"}
	r, _ := Plan(img, nil, Base{Name: "scratch"})
	if len(r.Before)+len(r.After) != 1 || len(r.Inexpressible)+len(r.Disagreements) != 0 {
		t.Errorf("%+v", r)
	}
	img.Config.Env = []string{"A=1"}
	if r, _ = Plan(img, nil, Base{Name: "scratch"}); len(r.Inexpressible) != 1 {
		t.Errorf("%+v", r)
	}
	img.OS = "windows"
	if r, _ = Plan(img, nil, Base{Name: "scratch"}); len(r.Inexpressible) != 0 {
		t.Errorf("%+v", r)
	}
}

// What no Dockerfile can have is left out by itself, and told once.
func TestWhatCantBeWrittenIsLeftOut(t *testing.T) {
	for _, c := range []struct {
		name  string
		base  []string // its CMD
		set   func(*Config)
		after []string
		want  []string
	}{
		{"variable", nil, func(c *Config) { c.Env = append(c.Env, "A=1", "B=\xff", "C=3") },
			[]string{"ENV A=1 C=3"}, []string{"ENV B=\xff: ENV takes UTF-8 only"}},
		{"labels", nil, func(c *Config) { c.Labels = map[string]string{"": "x", "a": "\x00", "b": "2"} },
			[]string{"LABEL b=2"}, []string{`LABEL ""=x: LABEL can't have an empty name`, "LABEL a=\x00: LABEL takes no NUL"}},
		{"ports", nil, func(c *Config) {
			c.ExposedPorts = map[string]struct{}{"80": {}, "81/tcp": {}, "82/x": {}, "1-3/tcp": {}}
		}, []string{"EXPOSE 81"}, []string{"EXPOSE 1-3/tcp: EXPOSE takes no such port", "EXPOSE 80: EXPOSE takes no such port", "EXPOSE 82/x: EXPOSE takes no such port"}},
		{"volumes", nil, func(c *Config) { c.Volumes = map[string]struct{}{"": {}, "/a": {}} },
			[]string{`VOLUME ["/a"]`}, []string{`VOLUME [""]: VOLUME can't be empty`}},
		{"signal", nil, func(c *Config) { c.StopSignal = "SIGNONE" }, nil, []string{"STOPSIGNAL SIGNONE: STOPSIGNAL takes known signals only"}},
		{"triggers", nil, func(c *Config) { c.OnBuild = []string{"RUN a", "ONBUILD RUN b", "RUN c"} },
			[]string{"ONBUILD RUN a", "ONBUILD RUN c"}, []string{"ONBUILD ONBUILD RUN b: ONBUILD takes no such trigger"}},
		{"entry point, which would reset CMD", []string{"base"}, func(c *Config) { c.Entrypoint = []string{"\xff"} },
			[]string{"CMD []"}, []string{"ENTRYPOINT [\"\\ufffd\"]: ENTRYPOINT takes UTF-8 only"}},
		{"command that a shell takes", nil, func(c *Config) { c.Cmd = []string{"/bin/sh", "-c", "a\xff"} }, []string{"CMD a\xff"}, nil},
		{"health check", nil, func(c *Config) { c.Healthcheck = &Healthcheck{Test: []string{"CMD", "a"}, Timeout: 1} },
			nil, []string{`HEALTHCHECK --timeout=1ns CMD ["a"]: HEALTHCHECK takes no time under 1ms`}},
		{"long value", nil, func(c *Config) { c.User = strings.Repeat("x", 500) + "\xff" },
			nil, []string{"USER " + strings.Repeat("x", 95) + "…: USER takes UTF-8 only"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, img := &Image{}, &Image{}
			base.Config.Cmd = c.base
			base.Config.Env = []string{"PATH=" + DefaultPath}
			img.Config.Env = []string{"PATH=" + DefaultPath}
			c.set(&img.Config)
			r, err := Plan(img, nil, Base{Image: base})
			if err != nil {
				t.Fatal(err)
			}
			var after []string
			for _, s := range r.After {
				after = append(after, s.String())
				if _, err := s.Dockerfile(); err != nil {
					t.Error(err)
				}
			}
			if !slices.Equal(after, c.after) || !slices.Equal(r.Inexpressible, c.want) {
				t.Errorf("%q, inexpressible %q", after, r.Inexpressible)
			}
		})
	}
}

// Builders make different things of a Windows path without a drive.
func TestWindowsPathsHaveADrive(t *testing.T) {
	for dir, want := range map[string]int{`C:\app`: 0, "/app": 1, `\app`: 1, "C:/app": 1} {
		img := &Image{}
		img.OS = "windows"
		img.Config.WorkingDir = dir
		if r, err := Plan(img, nil, Base{}); err != nil || len(r.Inexpressible) != want || len(r.After) != 1-want {
			t.Errorf("%s: %+v, %v", dir, r, err)
		}
	}
}

func TestDisagreementsAreSentences(t *testing.T) {
	img := &Image{}
	img.Config.Env = []string{"A=config", "NEW=1"}
	img.Config.User = "app"
	_, after, r := plannedText(t, &Image{}, img, "RUN make", "ENV A=history", "ENV GONE=1", "VOLUME [/gone]", "USER root")
	want := []string{
		`ENV A is "config"; the history says "history"`,
		`ENV GONE: the history sets it, the config doesn't have it`,
		`VOLUME /gone: the history sets it, the config doesn't have it`,
		`USER is app; the history says root`,
		`the history has no line for ENV NEW`,
	}
	if !slices.Equal(r.Disagreements, want) {
		t.Errorf("%q", r.Disagreements)
	}
	if !slices.Equal(after, []string{"ENV A=config", "ENV NEW=1", "USER app"}) {
		t.Errorf("%q", after)
	}
	if r.After[0].Why != `the history says A="history"` || r.After[1].Why != noLine {
		t.Errorf("%q %q", r.After[0].Why, r.After[1].Why)
	}
}

func TestPlanRefusesABaseBeyondTheImage(t *testing.T) {
	img := layered("a")
	for _, b := range []Base{{Layers: 2}, {Entries: 2}, {Layers: -1}, {Entries: -1}} {
		if _, err := Plan(img, Parse(img), b); err == nil || !strings.HasPrefix(err.Error(), "replay history: ") {
			t.Errorf("%+v: %v", b, err)
		}
	}
}

func TestDiffKnowsWhatDiffers(t *testing.T) {
	a, b := &Image{}, &Image{}
	a.Config.Env, b.Config.Env = []string{"A=1", "B=2"}, []string{"B=2", "A=1"}
	a.Config.Cmd = []string{}
	//lint:ignore SA1019 that it doesn't count is what is tested
	a.Config.ArgsEscaped = true
	a.Config.Healthcheck = &Healthcheck{}
	if d := Diff(a, b); !slices.Equal(d, []string{"ENV has another order"}) {
		t.Errorf("%q", d)
	}
	b.Config.Env = []string{"A=x", "C=3"}
	b.Config.User = "u"
	b.Config.Labels = map[string]string{"l": "v"}
	want := []string{`ENV "A=x" instead of "A=1"`, `ENV "B=2" is missing`, `ENV "C=3" is too much`, `USER is "u" instead of ""`, `LABEL l is too much`}
	if d := Diff(a, b); !slices.Equal(d, want) {
		t.Errorf("%q", d)
	}
	if d := Diff(nil, nil); len(d) > 0 {
		t.Errorf("%q", d)
	}
}
