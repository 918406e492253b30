package rebuild

import (
	"context"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
)

// baseOfAppImage is the image that appImage stands on.
func baseOfAppImage(t *testing.T, l ociLayout) v1.Descriptor {
	t.Helper()
	im := appImage()
	im.Names, im.Steps = []string{"base:1"}, im.Steps[:2]
	im.Config = map[string]any{"Env": []string{"PATH=/bin"}, "Cmd": []string{"/bin/sh"}}
	return l.image(t, im)
}

func TestManifestNamesTheBase(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	base := strings.TrimPrefix(server.URL, "http://") + "/base:1"
	inLayout := newLayout(t)
	digest := baseOfAppImage(t, inLayout)
	inLayout.name(t, digest, "base")
	if _, err := Flatten(context.Background(), Options{ // one layer is copied as it is
		Image: image.Ref{Transport: image.Layout, Path: inLayout.dir}, Output: registryRef(base), Client: noEngine,
	}); err != nil {
		t.Fatal(err)
	}
	const name, hash = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"
	other := "sha256:" + strings.Repeat("0", 64)

	cases := []struct {
		title  string
		source map[string]string // what the source's manifest says
		base   string
		want   map[string]string
	}{
		{"a registry's base with its digest", nil, "docker://" + base, map[string]string{name: base, hash: digest.Digest.String()}},
		{"in place of another", map[string]string{name: "other:1", hash: other}, "docker://" + base, map[string]string{name: base, hash: digest.Digest.String()}},
		{"a base that only a number tells", nil, "1", nil},
		{"no base", map[string]string{name: "other:1", hash: other}, "scratch", nil},
		{"the base that the source names", map[string]string{name: "other:1", hash: other}, "auto", map[string]string{name: "other:1", hash: other}},
	}
	for _, c := range cases {
		for _, kind := range []types.MediaType{types.OCIManifestSchema1, types.DockerManifestSchema2} {
			t.Run(c.title+" in "+string(kind), func(t *testing.T) {
				source := newLayout(t)
				d := source.image(t, appImage())
				source.change(t, &d, func(m *v1.Manifest) {
					m.MediaType = kind
					maps.Copy(m.Annotations, c.source)
				})
				source.name(t, d, "app")
				out := image.Ref{Transport: image.Layout, Path: filepath.Join(t.TempDir(), "out"), Name: "flat"}
				if _, err := Flatten(context.Background(), Options{
					Image: image.Ref{Transport: image.Layout, Path: source.dir}, Output: &out, Base: keep(c.base), Client: noEngine,
				}); err != nil {
					t.Fatal(err)
				}
				want := maps.Clone(c.want)
				if kind == types.DockerManifestSchema2 && len(c.source) == 0 || kind == types.DockerManifestSchema2 && c.base != "auto" {
					want = nil // Docker's own format has no annotations
				}
				got := manifestOf(t, out.Path).Annotations
				if got["of"] != "the manifest" || got[name] != want[name] || got[hash] != want[hash] {
					t.Errorf("annotations %v, want %v", got, want)
				}
			})
		}
	}
}

func manifestOf(t *testing.T, dir string) *v1.Manifest {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	im, err := index.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := im.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return m
}
