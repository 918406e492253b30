package plan

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
	"docker-flatten/rebuild/layer"
)

// planOf plans an image whose base are its lowest layers.
func planOf(t *testing.T, im imagetest.Image, base int, platform v1.Platform) *Plan {
	t.Helper()
	document, tars := im.Document()
	src := &image.Image{Ref: imagetest.Ref(t, "app:1"), Config: document, Platform: platform}
	var indexes []*layer.Index
	for i, b := range tars {
		src.DiffIDs = append(src.DiffIDs, v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%064d", i)})
		x, err := layer.Read(t.Context(), bytes.NewReader(b), layer.ReadOptions{Layer: i})
		if err != nil {
			t.Fatal(err)
		}
		indexes = append(indexes, x)
	}
	want, err := ParseBase(fmt.Sprint(base))
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConfig(src, Settings{Base: want}, Evidence{})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := layer.Merge(t.Context(), indexes[:c.Base.Layers], indexes[c.Base.Layers:])
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.With(tree, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// table is the account of the merged layers in a Dockerfile.
func table(dockerfile []byte) string {
	var lines []string
	for line := range strings.Lines(string(dockerfile)) {
		if len(line) > 11 && line[11] == '|' {
			lines = append(lines, strings.TrimSpace(line[2:10])+"|"+line[12:])
		}
	}
	return strings.Join(lines, "")
}

// made is a step that made a layer of the named files, each of 10 bytes.
func made(by string, files ...string) imagetest.Step {
	s := imagetest.Step{By: by, Files: []imagetest.File{}}
	for _, f := range files {
		file := imagetest.File{Name: f, Body: "0123456789"}
		if strings.HasSuffix(f, "/") {
			file.Body = ""
		}
		s.Files = append(s.Files, file)
	}
	return s
}

// says is a step without a layer.
func says(by string) imagetest.Step { return imagetest.Step{By: by} }

func imageOf(config map[string]any, steps ...imagetest.Step) imagetest.Image {
	return imagetest.Image{Config: config, Created: time.Date(2024, 5, 13, 0, 0, 0, 0, time.UTC), Steps: steps}
}

func TestRows(t *testing.T) {
	for name, c := range map[string]struct {
		image imagetest.Image
		want  string
	}{
		"arguments once, above the first that uses them": {
			imageOf(nil,
				made("base", "etc/a"), says("ARG VERSION"), says("ARG UNUSED=1"),
				made("|1 VERSION=1.2 /bin/sh -c make", "x"), made("|1 VERSION=1.2 /bin/sh -c make install", "y"),
				made("|2 VERSION=1.2 NAME=two words /bin/sh -c make test"), made("|2 VERSION=1.3 NAME=two words /bin/sh -c make dist")),
			"| ARG VERSION=1.2\n| ARG UNUSED=1\n10B| RUN make\n10B| RUN make install\n" +
				"| ARG NAME=\"two words\"\n0B| RUN make test\n| ARG VERSION=1.3\n0B| RUN make dist\n",
		},
		"several arguments in a line": {
			imageOf(nil, made("base", "etc/a"), says("ARG OS ARCH"), made("|2 OS=linux ARCH=arm64 /bin/sh -c make")),
			"| ARG OS=linux\n| ARG ARCH=arm64\n0B| RUN make\n",
		},
		"what held in between": {
			imageOf(map[string]any{"User": "app", "WorkingDir": "/srv", "Env": []string{"KEPT=1", "LAST=2"}},
				made("base", "etc/a"), made("/bin/sh -c true"),
				says("/bin/sh -c #(nop)  USER root"), says("/bin/sh -c #(nop)  ENV KEPT=1"), says("/bin/sh -c #(nop)  ENV LAST=1"), says(`/bin/sh -c #(nop)  CMD ["x"]`),
				made("/bin/sh -c apt-get update"), says("/bin/sh -c #(nop)  USER app"), made("/bin/sh -c npm ci"),
				says("/bin/sh -c #(nop)  ENV LAST=2"), says("/bin/sh -c #(nop) WORKDIR /srv")),
			"0B| RUN true\n| USER root\n| ENV LAST=1\n0B| RUN apt-get update\n| USER app\n0B| RUN npm ci\n",
		},
		"equal rows are one": {
			imageOf(nil, made("base", "etc/a"),
				made("/bin/sh -c #(nop) COPY dir:1 in /srv", "srv/", "srv/a", "srv/b"), made("/bin/sh -c #(nop) COPY dir:1 in /srv", "srv/c"), made("/bin/sh -c #(nop) COPY dir:1 in /srv", "srv/d", "srv/e"),
				made("/bin/sh -c true"), made("/bin/sh -c #(nop) COPY dir:1 in /srv", "srv/a")),
			"50B| 3 × COPY dir:1 in /srv\n|   → /srv/a, /srv/b, /srv/c and 2 more files\n0B| RUN true\n10B| COPY dir:1 in /srv\n|   → /srv/a\n",
		},
		"no file but a directory, and a path that the text has": {
			imageOf(nil, made("base", "etc/a"), made("COPY logs /logs", "logs/"), made("COPY app /app", "app"), made("COPY app /x/", "x/app")),
			"0B| COPY logs /logs\n|   → /logs/\n10B| COPY app /app\n10B| COPY app /x/\n|   → /x/app\n",
		},
		"no history": {
			imageOf(nil, made("", "a"), made("", "b"), made("", "c"), made("", "d", "e")),
			"40B| 3 × (no record)\n|   → /b, /c, /d and 1 more file\n",
		},
		"a RUN without a layer of its own": {
			imageOf(nil, made("base", "etc/a"), says("/bin/sh -c make"), says("/bin/sh -c make"), made("/bin/sh -c make install", "x")),
			"| 2 × RUN make\n10B| RUN make install\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := planOf(t, c.image, 1, v1.Platform{OS: "linux", Architecture: "amd64"})
			if have := table(p.Dockerfile); have != c.want {
				t.Errorf("have\n%s\nwant\n%s\n%s", have, c.want, p.Dockerfile)
			}
		})
	}
}

// Where the history claims another number of layers than there are, no
// instruction has a size; the layers are there all the same.
func TestRowsOfLayersThatTheHistoryDoesNotExplain(t *testing.T) {
	im := imageOf(nil, made("base", "etc/a"), made("/bin/sh -c one", "b"), made("/bin/sh -c two", "c"))
	p := planOf(t, im, 1, v1.Platform{})
	c := *p.Config
	c.instructions = c.instructions[:1]
	d := c.dockerfile(p.Tree, c.Replay, "base")
	text, err := d.Render()
	if err != nil {
		t.Fatal(err)
	}
	if have, want := table(text), "20B| layers 2 to 3, which the history doesn't explain\n|   → /b, /c\n"; have != want {
		t.Errorf("have\n%s\nwant\n%s", have, want)
	}
}
