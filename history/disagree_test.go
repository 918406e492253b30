package history

import (
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// disagree gives the disagreements of an image with one layer, over scratch.
func disagree(t *testing.T, config Config, lines ...string) Replay {
	t.Helper()
	img := &Image{Config: config}
	img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, "sha256:x")
	img.History = []ocispec.History{{CreatedBy: "COPY a /", Comment: "buildkit.dockerfile.v0"}}
	for _, l := range lines {
		img.History = append(img.History, ocispec.History{CreatedBy: l, EmptyLayer: true, Comment: "buildkit.dockerfile.v0"})
	}
	r, err := Plan(img, Parse(img), Base{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBuildersOwnSettingsAreNoDisagreement(t *testing.T) {
	var c Config
	c.Env, c.WorkingDir = []string{"PATH=" + DefaultPath}, "/"
	r := disagree(t, c)
	if len(r.Disagreements) != 0 || len(r.After) != 1 || r.After[0].Name != "WORKDIR" || r.After[0].Why != "" {
		t.Errorf("%+v", r)
	}
	for _, dir := range []string{"/app", "/"} {
		var c Config
		c.WorkingDir = dir
		r := disagree(t, c, "WORKDIR /other")
		if len(r.After) != 1 || r.After[0].Why == "" {
			t.Errorf("WORKDIR %s: %+v", dir, r.After)
		}
	}
}

func TestDefaultPathIsNotTheHistorys(t *testing.T) {
	var own Config
	own.Env = []string{"PATH=/opt/bin"}
	if r := disagree(t, own); !slices.Equal(r.Disagreements, []string{"the history has no line for ENV PATH"}) {
		t.Errorf("%q", r.Disagreements)
	}
	if r := disagree(t, own, "ENV PATH=/bin"); !slices.Equal(r.Disagreements, []string{`ENV PATH is "/opt/bin"; the history says "/bin"`}) {
		t.Errorf("%q", r.Disagreements)
	}
}

func TestManyLabelsAreSummarised(t *testing.T) {
	var c Config
	c.Labels = map[string]string{}
	var other []string
	for _, k := range strings.Split("abcdefghij", "") {
		c.Labels["l."+k] = strings.Repeat("long ", 100)
		other = append(other, "l."+k+"=x")
	}
	if r := disagree(t, c); !slices.Equal(r.Disagreements, []string{"the history has no line for LABEL l.a, l.b, l.c, l.d and 6 more"}) {
		t.Errorf("%q", r.Disagreements)
	}
	if r := disagree(t, c, "LABEL "+strings.Join(other, " ")); !slices.Equal(r.Disagreements, []string{"LABEL l.a, l.b, l.c, l.d and 6 more have other values than the history says"}) {
		t.Errorf("%q", r.Disagreements)
	}
	c.Labels = map[string]string{"l.a": "y"}
	if r := disagree(t, c, "LABEL l.a=x"); !slices.Equal(r.Disagreements, []string{`LABEL l.a is "y"; the history says "x"`}) {
		t.Errorf("%q", r.Disagreements)
	}
}
