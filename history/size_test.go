package history_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/history"
	"docker-flatten/rebuild/build"
	"docker-flatten/templates"
)

// many is a list of n texts, made of their numbers.
func many(n int, format string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	return list
}

func keys(list []string) map[string]struct{} {
	m := make(map[string]struct{}, len(list))
	for _, k := range list {
		m[k] = struct{}{}
	}
	return m
}

// huge are images on which work that isn't linear in their size would take
// minutes, or all memory.
var huge = map[string]func(img *history.Image){
	"variables": func(img *history.Image) { img.Config.Env = many(20_000, "V%d=x") },
	"variables in many entries": func(img *history.Image) {
		img.Config.Env = many(20_000, "V%d=x")
		lines(img, many(20_000, "ENV V%d=x"))
	},
	"variables in reverse": func(img *history.Image) {
		img.Config.Env = many(20_000, "V%d=x")
		lines(img, reversed(many(20_000, "ENV V%d=x")))
	},
	"variables with other values": func(img *history.Image) {
		img.Config.Env = many(20_000, "V%d=x")
		lines(img, many(20_000, "ENV V%d=y"))
	},
	"variables in one entry": func(img *history.Image) {
		img.Config.Env = many(20_000, "V%d=x")
		lines(img, []string{"ENV " + strings.Join(many(20_000, "V%d=y"), " ")})
	},
	"variables without =": func(img *history.Image) { img.Config.Env = many(20_000, "V%d") },
	"one variable often":  func(img *history.Image) { img.Config.Env = []string{"A=1"}; lines(img, many(20_000, "ENV A=%d")) },
	"a long variable":     func(img *history.Image) { img.Config.Env = []string{"A=" + strings.Repeat("a $\n", 100_000)} },
	"names of the argument": func(img *history.Image) {
		img.Config.Env = append(underscores(1400), "A="+strings.Repeat("\n", 20_000))
	},
	"labels": func(img *history.Image) { img.Config.Labels = labels(many(20_000, "l%d")) },
	"labels in one entry": func(img *history.Image) {
		img.Config.Labels = labels(many(20_000, "l%d"))
		lines(img, []string{"LABEL " + strings.Join(many(20_000, "l%d=x"), " ")})
	},
	"labels in many entries": func(img *history.Image) {
		img.Config.Labels = labels(many(20_000, "l%d"))
		lines(img, many(20_000, "LABEL l%d=x"))
	},
	"labels with blanks": func(img *history.Image) {
		img.Config.Labels = labels(many(20_000, "l %d"))
		lines(img, many(20_000, "LABEL l %d=v"))
	},
	"labels of all one ending": func(img *history.Image) {
		img.Config.Labels = labels(many(20_000, "%d z"))
		lines(img, []string{"LABEL " + strings.Join(many(20_000, "%d z=v"), " ")})
	},
	"labels that can't be written": func(img *history.Image) { img.Config.Labels = labels(many(20_000, "\xff%d")) },
	"a long label": func(img *history.Image) {
		img.Config.Labels = map[string]string{strings.Repeat("k ", 100_000): strings.Repeat("v\\", 100_000)}
	},
	"ports": func(img *history.Image) {
		img.Config.ExposedPorts = keys(append(append(many(65_536, "%d/tcp"), many(65_536, "%d/udp")...), many(65_536, "%d/sctp")...))
	},
	"ports that are none": func(img *history.Image) { img.Config.ExposedPorts = keys(many(20_000, "1-65535/x%d")) },
	"ranges of ports":     func(img *history.Image) { lines(img, many(20_000, "EXPOSE 1-65535/tcp %d")) },
	"ranges in one entry": func(img *history.Image) {
		lines(img, []string{"EXPOSE " + strings.Repeat("1-65535 0-65535/udp ", 20_000)})
	},
	"volumes": func(img *history.Image) {
		img.Config.Volumes = keys(many(20_000, "/v%d"))
		lines(img, []string{fmt.Sprint("VOLUME ", many(20_000, "/v%d"))})
	},
	"volumes with blanks": func(img *history.Image) {
		img.Config.Volumes = keys(many(20_000, "/v %d"))
		lines(img, []string{fmt.Sprint("VOLUME ", many(20_000, "/v %d"))})
	},
	"a volume of many words": func(img *history.Image) {
		v := strings.Repeat("v ", 60_000) + "/"
		img.Config.Volumes = keys([]string{v})
		lines(img, []string{"VOLUME [" + v + "]"})
	},
	"a long command": func(img *history.Image) {
		img.Config.Cmd = []string{"/bin/sh", "-c", strings.Repeat("a && ", 60_000) + "b"}
	},
	"a long command of lines": func(img *history.Image) { img.Config.Cmd = []string{"/bin/sh", "-c", strings.Repeat("a\\\n", 60_000)} },
	"arguments": func(img *history.Image) {
		img.Config.Cmd = many(60_000, "%d")
		lines(img, append(many(20_000, "CMD [%d]"), fmt.Sprint("CMD ", img.Config.Cmd)))
	},
	"a shell of many words": func(img *history.Image) {
		img.Config.Shell = many(20_000, "%d")
		lines(img, append([]string{fmt.Sprint("SHELL ", img.Config.Shell)}, many(20_000, "CMD %d")...))
	},
	"commands":    func(img *history.Image) { lines(img, many(20_000, "CMD [\"%d\"]")) },
	"maintainers": func(img *history.Image) { lines(img, many(20_000, "MAINTAINER %d")) },
	"bases": func(img *history.Image) {
		lines(img, many(20_000, "ENV A=%d"))
		comments(img, "FROM example.com/base:%d")
	},
	"triggers": func(img *history.Image) {
		img.Config.OnBuild = many(20_000, "RUN %d")
		lines(img, reversed(many(20_000, "ONBUILD RUN %d")))
	},
	"the same trigger": func(img *history.Image) {
		img.Config.OnBuild = many(20_000, "RUN x")
		lines(img, many(20_000, "ONBUILD RUN x"))
	},
	"a long trigger": func(img *history.Image) { img.Config.OnBuild = []string{"RUN " + strings.Repeat("${a:-", 60_000)} },
	"braces in a trigger": func(img *history.Image) {
		img.Config.OnBuild = []string{"RUN <<" + strings.Repeat("${a:-", 60_000) + strings.Repeat("}", 60_000)}
	},
	"a trigger of triggers": func(img *history.Image) {
		img.Config.OnBuild = []string{strings.Repeat("ONBUILD\t", 60_000) + "RUN x"}
	},
	"a long health check": func(img *history.Image) {
		img.Config.Healthcheck = &history.Healthcheck{Test: []string{"CMD-SHELL", strings.Repeat("a || ", 60_000) + "b"}}
	},
	"layers": func(img *history.Image) { lines(img, many(20_000, "RUN make %d")) },
	"commands among layers": func(img *history.Image) {
		for i := range 15_000 {
			lines(img, []string{fmt.Sprintf("CMD %d", i), fmt.Sprintf("something %d", i)})
		}
		lines(img, many(15_000, "RUN make %d"))
	},
	"layers that don't fit": func(img *history.Image) {
		lines(img, many(20_000, "RUN make %d"))
		img.RootFS.DiffIDs = img.RootFS.DiffIDs[:20_000]
	},
	"unknown entries": func(img *history.Image) { lines(img, many(20_000, "something %d")) },
	"variables that grow": func(img *history.Image) {
		lines(img, append([]string{"ENV A=aaaaaaaaaaaaaaaa", "ENV B=$A"}, strings.Split(strings.Repeat("ENV A=$B$B$B\nENV B=$A$A$A\n", 1000), "\n")...))
		authors(img, "kaniko")
	},
	"arguments that grow": func(img *history.Image) {
		var l []string
		for i := range 1000 {
			l = append(l, fmt.Sprintf("ARG A%d=a$A%d$A%d", i+1, i, i))
		}
		lines(img, l)
		authors(img, "kaniko")
	},
	"variables that fit": func(img *history.Image) {
		img.Config.Env = []string{"A=" + strings.Repeat("a", 1_000_000)}
		lines(img, append(many(20_000, "ENV A=${B%d}"), many(20_000, "ENV A=${B%d},,$C")...))
		authors(img, "kaniko")
	},
	"directories in each other": func(img *history.Image) { lines(img, many(60_000, "WORKDIR d%d")) },
	"directories below a long one": func(img *history.Image) {
		img.Config.WorkingDir = strings.Repeat("/d", 200_000)
		lines(img, many(60_000, "WORKDIR d%d"))
	},
	"variables of each other": func(img *history.Image) {
		for i := range 10_000 {
			img.Config.Env = append(img.Config.Env, fmt.Sprintf("V%d=%d", i+1, i))
			lines(img, []string{fmt.Sprintf("ENV V%d=${V%d}1", i+1, i)})
		}
		authors(img, "")
	},
	"a trigger of blanks": func(img *history.Image) {
		img.Config.OnBuild = []string{"RUN x" + strings.Repeat(" ", 1_000_000) + "y"}
		lines(img, many(20_000, "ONBUILD RUN x y"))
	},
}

func reversed(list []string) []string {
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

// underscores are variables whose names are the argument's, and longer.
func underscores(n int) []string {
	out := []string{"NL=", "NL_="}
	for i := range n {
		out = append(out, "NL"+strings.Repeat("_", i+2)+"=")
	}
	return out
}

func labels(names []string) map[string]string {
	m := make(map[string]string, len(names))
	for _, k := range names {
		m[k] = "v"
	}
	return m
}

// lines are entries above the one that is there, of which only RUN has a layer.
func lines(img *history.Image, list []string) {
	for _, l := range list {
		layer := strings.HasPrefix(l, "RUN ")
		img.History = append(img.History, ocispec.History{CreatedBy: "/bin/sh -c #(nop) " + l, EmptyLayer: !layer})
		if layer {
			img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, digest.FromString(l))
		}
	}
}

func comments(img *history.Image, format string) {
	for i := range img.History {
		img.History[i].Comment = fmt.Sprintf(format, i)
	}
}

// authors also gives the entries that author's notation.
func authors(img *history.Image, name string) {
	for i := range img.History {
		h := &img.History[i]
		h.Author, h.CreatedBy = name, strings.TrimPrefix(h.CreatedBy, "/bin/sh -c #(nop) ")
	}
}

// TestFindingAHugeBaseIsLinear: of an image that an engine tells no history of,
// the entries with its settings are found by its config.
func TestFindingAHugeBaseIsLinear(t *testing.T) {
	base, img := &history.Image{}, &history.Image{}
	lines(base, []string{"RUN make the root"})
	base.History = nil
	base.Config.Env, base.Config.OnBuild = many(20_000, "V%d=x"), many(20_000, "RUN %d")
	lines(img, []string{"RUN make the root"})
	lines(img, many(20_000, "ENV V%d=x"))
	lines(img, many(20_000, "ONBUILD RUN %d"))
	lines(img, []string{"ENV OWN=1", "RUN make"})
	img.Config.Env = append(many(20_000, "V%d=x"), "OWN=1")
	ins := history.Parse(img)
	for _, candidates := range [][]history.Candidate{nil, {{Name: "base:1", Kind: "local", Image: base}}} {
		want := "auto"
		if candidates == nil {
			want = "1"
		}
		got, err := history.FindBase(img, ins, want, candidates, nil)
		if err != nil || got.Layers != 1 || candidates != nil && got.Entries != 40_001 {
			t.Errorf("%d layers, %d entries, %v", got.Layers, got.Entries, err)
		}
		if n := len(got.Config(img, ins).Config.Env); candidates != nil && n != 20_000 {
			t.Errorf("%d variables", n)
		}
	}
}

// TestWorkIsLinear plans and proves huge images. What isn't linear in their
// size shows in the time or the memory that this test takes.
func TestWorkIsLinear(t *testing.T) {
	if testing.Short() {
		t.Skip("megabytes of configs take a minute")
	}
	for name, fill := range huge {
		t.Run(name, func(t *testing.T) {
			img := &history.Image{}
			img.OS = "linux"
			lines(img, []string{"RUN make the root"})
			fill(img)
			lines(img, []string{"RUN make the end"})
			img.Config.Env = append([]string{"PATH=" + history.DefaultPath}, img.Config.Env...)

			ins := history.Parse(img)
			base, err := history.FindBase(img, ins, "auto", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			replay, err := history.Plan(img, ins, base)
			if err != nil {
				t.Fatal(err)
			}
			text, err := templates.Dockerfile{From: "base", Before: replay.Before, After: replay.After, Disagreements: replay.Disagreements, Add: "layer.tar.gz"}.Render()
			if err != nil {
				t.Fatal(err)
			}
			made, err := build.Interpret(text, replay.Base)
			if err != nil {
				t.Fatalf("%v\n%.1000s", err, text)
			}
			if diff := history.Diff(replay.Result(), made); len(diff) > 0 {
				t.Errorf("%.1000q", diff)
			}
			if diff := history.Diff(img, made); len(diff) > 0 && len(replay.Inexpressible) == 0 {
				t.Errorf("left: %.1000q", diff)
			}
		})
	}
}
