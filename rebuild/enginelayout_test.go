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
	if _, err := Flatten(context.Background(), Options{
		Image: image.Ref{Transport: image.Layout, Path: source.dir}, Output: &out, Base: "1", Builder: "engine",
		Client: func() (*client.Client, error) { return cli, nil },
	}); err != nil {
		t.Fatal(err)
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
