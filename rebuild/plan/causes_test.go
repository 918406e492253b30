package plan

import (
	"archive/tar"
	"bytes"
	"fmt"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/layer"
	"docker-flatten/templates"
)

func TestCachesAreToldAsOne(t *testing.T) {
	for dir, want := range map[string]string{
		"var/lib/apt/lists":               "var/lib/apt/lists",
		"var/lib/apt/lists/partial":       "var/lib/apt/lists",
		"srv/var/lib/apt/lists":           "",
		"app/node_modules/a/node_modules": "app/node_modules",
		"root/.cache/pip/http/a":          "root/.cache/pip",
		"home/me/.cache/other":            "home/me/.cache",
		"tmp/build":                       "tmp",
		"app/tmp":                         "",
		"tmpfiles":                        "",
		"":                                "",
	} {
		if got := cacheRoot(dir); got != want {
			t.Errorf("%q: %q, want %q", dir, got, want)
		}
	}
}

func TestRemedies(t *testing.T) {
	for _, c := range []struct {
		why, dir, holds, by string
		inBase              bool
		want                string
	}{
		{"owner", "/app", "COPY . /app", "RUN chown -R app:app /app", false, "COPY --chown=app:app"},
		{"owner", "/app", "ADD x.tar /app", "RUN useradd u && chown -vR --from=0 1000 /app", false, "ADD --chown=1000"},
		{"owner", "/app", "COPY . /app", "RUN ./fix", false, "COPY --chown=OWNER"},
		{"owner", "/app", "RUN make", "RUN chown -R app /app", false, "set the owner in the RUN that makes the files"},
		{"mode", "/app", "COPY . /app", "RUN chmod -R 0755 /app", false, "COPY --chmod=0755"},
		{"mode", "/app", "COPY . /app", "RUN chmod -R g+w /app", false, "COPY --chmod=MODE"},
		{"times", "/app", "COPY . /app", "COPY . /app", false, "copy once"},
		{"again", "/app", "COPY . /app", "COPY . /app", false, "bring the files once"},
		{"deleted", "/var/cache/apk", "RUN apk add x", "RUN rm -rf /var/cache/apk", false, "apk add --no-cache"},
		{"deleted", "/src", "COPY . /src", "RUN rm -r /src", false, "name it in .dockerignore, or RUN --mount=type=bind what only the build needs"},
		{"changed", "/etc", "RUN a", "RUN b", false, ""},
		{"deleted", "/var/cache/apk", "RUN a", "RUN b", true, ""},
	} {
		if got := remedy(templates.Cause{Why: c.why, Dir: c.dir, InBase: c.inBase}, c.holds, c.by); got != c.want {
			t.Errorf("%s of %q by %q: %q, want %q", c.why, c.holds, c.by, got, c.want)
		}
	}
}

// planned plans an image whose layers each have one file of as many bytes as
// named, and whose history has an entry each.
func planned(t *testing.T, settings Settings, evidence Evidence, shares []float64, entries []ocispec.History, files ...map[string]int) *Plan {
	t.Helper()
	config := &history.Image{}
	config.OS, config.Architecture, config.RootFS.Type = "linux", "amd64", "layers"
	config.History = entries
	im := &image.Image{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}}
	var indexes []*layer.Index
	for i, content := range files {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for name, n := range content {
			if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(n)}); err != nil {
				t.Fatal(err)
			}
			w.Write(bytes.Repeat([]byte{byte(97 + i)}, n)) // Close would tell
		}
		w.Close()
		x, err := layer.Read(t.Context(), &b, layer.ReadOptions{Layer: i})
		if err != nil {
			t.Fatal(err)
		}
		indexes = append(indexes, x)
		id := digest.FromString(fmt.Sprint("layer", i))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, id)
		im.DiffIDs = append(im.DiffIDs, v1.Hash{Algorithm: "sha256", Hex: id.Encoded()})
	}
	var err error
	if im.Config, err = encode(config); err != nil {
		t.Fatal(err)
	}
	c, err := NewConfig(im, settings, evidence)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := layer.Merge(t.Context(), indexes[:c.Base.Layers], indexes[c.Base.Layers:])
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.With(tree, shares)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var lines = []ocispec.History{
	{CreatedBy: "/bin/sh -c #(nop) ADD file:abc in / "}, {CreatedBy: "/bin/sh -c #(nop)  CMD [\"bash\"]", EmptyLayer: true},
	{CreatedBy: "/bin/sh -c apt-get update"}, {CreatedBy: "/bin/sh -c make"}, {CreatedBy: "/bin/sh -c rm cache"},
}

var stack = []map[string]int{{"etc/os": 1000, "cache": 300}, {"cache": 50, "lib": 200}, {"bin": 70, "lib": 100}, {".wh.cache": 0}}

func TestPlanTellsWhatOtherBasesGive(t *testing.T) {
	// All 1720 bytes: base of one layer keeps 1300, and shows bin and lib above.
	scratch := templates.Choice{Base: "scratch", Name: "scratch", Layers: 1, Bytes: 1170}
	one := templates.Choice{Base: "1", Layers: 2, Bytes: 1470, SharedLayers: 1, SharedBytes: 1300}
	two := templates.Choice{Base: "2", Layers: 3, Bytes: 1720, SharedLayers: 2, SharedBytes: 1550}
	for base, want := range map[string][]templates.Choice{"auto": {one, scratch}, "scratch": {scratch, one}, "2": {two, one, scratch}} {
		b, err := ParseBase(base)
		if err != nil {
			t.Fatal(err)
		}
		p := planned(t, Settings{Base: b}, Evidence{}, nil, lines, stack...)
		got := slices.Clone(p.Report.Choices)
		for i := range got {
			if got[i].Chosen != (i == 0) {
				t.Errorf("%s: choice %d is chosen: %v", base, i, got[i].Chosen)
			}
			got[i].Chosen, got[i].Evidence = false, ""
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%+v\nwant\n%+v", base, got, want)
		}
		if s := p.Report.Savings; s.Bytes != 1720 || s.Wasted != 550 || s.Goes != 1720-want[0].Bytes || s.Scratch != 550 || s.More != s.Scratch-s.Goes {
			t.Errorf("%s: %+v", base, s)
		}
		if p.Report.After.Bytes != want[0].Bytes {
			t.Errorf("%s: %d bytes after, the choice says %d", base, p.Report.After.Bytes, want[0].Bytes)
		}
	}
}

func TestCompressedSizesAreEstimatedFromSamples(t *testing.T) {
	p := planned(t, Settings{}, Evidence{}, []float64{0.5, 0.25, 0.25, 0.25}, lines, stack...)
	lengths := int64(0)
	for i := range 4 {
		lengths += p.Tree.Length(i)
	}
	before := (lengths-p.Tree.Length(0))/4 + p.Tree.Length(0)/2
	after := p.Tree.Length(0)/2 + p.Tree.Size()/4
	if r := p.Report; r.Before.Estimate != before || r.After.Estimate != after || r.Before.Compressed != 0 {
		t.Errorf("%+v and %+v, want %d and %d", r.Before, r.After, before, after)
	}
	// What a manifest says of compressed layers counts more; of others it says nothing.
	m := &image.Manifest{}
	for i, media := range []types.MediaType{types.DockerLayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.OCILayer} {
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: media, Size: int64(100 + i)})
	}
	p.Source.Manifest = m
	got, _, _, err := p.estimate(p.Tree, p.Tree.Usage(), []float64{1, 1, 0.5, 1})
	if want := 100 + 101 + p.Tree.Length(2)/2 + 103; err != nil || got < want-1 || got > want {
		t.Errorf("%v: %d, want %d", err, got, want)
	}
	if r := planned(t, Settings{}, Evidence{}, nil, lines, stack...).Report; r.Before.Estimate != 0 || r.After.Estimate != 0 {
		t.Error("an estimate out of nothing")
	}
}
