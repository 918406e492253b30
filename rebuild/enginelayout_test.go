package rebuild

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
)

// What the engine builds stands on the base as the source stores it.
func TestEngineBuilderKeepsTheBasesBlobs(t *testing.T) {
	cli := imagetest.Engine(t)
	source := newLayout(t)
	source.name(t, source.image(t, appImage()), "app")
	out := image.Ref{Transport: image.Layout, Path: filepath.Join(t.TempDir(), "out"), Name: "flat"}
	// The engine's tar isn't the native builder's: neither is taken for the other.
	for _, run := range []struct {
		builder Builder
		reused  bool
	}{{Native, false}, {Engine, false}, {Engine, true}} {
		report, err := Flatten(context.Background(), Options{
			Image: image.Ref{Transport: image.Layout, Path: source.dir}, Output: &out, Base: keep("1"), Builder: run.builder,
			Client: func() (*client.Client, error) { return cli, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		if report.Reused != run.reused {
			t.Errorf("%s builder: reused %v", run.builder, report.Reused)
		}
	}
	before, err := layout.ImageIndexFromPath(source.dir)
	if err != nil {
		t.Fatal(err)
	}
	after, err := layout.ImageIndexFromPath(out.Path)
	if err != nil {
		t.Fatal(err)
	}
	was, err := before.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	is, err := after.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	a, err := before.Image(was.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	b, err := after.Image(is.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	checkManifests(t, a, b)
}
