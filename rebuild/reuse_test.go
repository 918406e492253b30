package rebuild

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/build"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
)

func TestOnlyTheVeryResultIsReused(t *testing.T) {
	source := platforms(t)
	cases := map[string]struct {
		change func(t *testing.T, o *Options)
		want   bool
	}{
		"the same again":        {func(*testing.T, *Options) {}, true},
		"--no-cache":            {func(_ *testing.T, o *Options) { o.NoCache = true }, false},
		"another base":          {func(_ *testing.T, o *Options) { o.Base = keep("scratch") }, false},
		"another compression":   {func(_ *testing.T, o *Options) { o.Compression.Kind = image.Zstandard }, false},
		"the default by name":   {func(_ *testing.T, o *Options) { o.Compression.Kind = image.Gzip }, true},
		"one of the platforms":  {func(_ *testing.T, o *Options) { o.Platform = "linux/amd64" }, false},
		"another time":          {func(_ *testing.T, o *Options) { later := then.Add(time.Hour); o.SourceDate = &later }, false},
		"a manifest's new note": {func(t *testing.T, o *Options) { o.Image.Path = annotated(t).dir }, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			out := image.Ref{Transport: image.Layout, Path: filepath.Join(t.TempDir(), "out"), Name: "flat"}
			o := Options{Image: image.Ref{Transport: image.Layout, Path: source.dir}, Output: &out, Base: keep("1"), Client: noEngine}
			first, err := Flatten(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			c.change(t, &o)
			second, err := Flatten(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			if second.Reused != c.want || c.want && second.ID != first.ID {
				t.Errorf("reused: %v, want %v; %s became %s", second.Reused, c.want, first.ID, second.ID)
			}
		})
	}
}

// With a name for the same base the manifest has an annotation more.
func TestResultWithoutTheBasesNameIsNotReused(t *testing.T) {
	base, source := newLayout(t), newLayout(t)
	base.name(t, baseOfAppImage(t, base), "example.com/base:1")
	source.name(t, source.image(t, appImage()), "app")
	out := image.Ref{Transport: image.Layout, Path: filepath.Join(t.TempDir(), "out"), Name: "flat"}
	for i, want := range []bool{false, false, true} {
		o := Options{Image: image.Ref{Transport: image.Layout, Path: source.dir}, Output: &out, Base: keep("1"), Client: noEngine}
		if i > 0 {
			o.Base = keep("oci:" + base.dir)
		}
		report, err := Flatten(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if report.Reused != want {
			t.Errorf("run %d: reused %v", i+1, report.Reused)
		}
	}
}

// A Docker manifest becomes an OCI one where a layer is compressed with zstd.
func TestResultOfADockerManifestIsReused(t *testing.T) {
	source := imagetest.LayoutOf(imagetest.Three, true, "demo:1").Dir(t)
	for _, kind := range []string{image.Gzip, image.Zstandard, image.Uncompressed} {
		out := image.Ref{Transport: image.Layout, Path: filepath.Join(t.TempDir(), "out"), Name: "flat"}
		for _, want := range []bool{false, true} {
			o := Options{Image: image.Ref{Transport: image.Layout, Path: source}, Output: &out, Base: keep("1"), Client: noEngine}
			o.Compression.Kind = kind
			report, err := Flatten(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if report.Reused != want {
				t.Errorf("%s: reused %v, not %v", kind, report.Reused, want)
			}
		}
	}
}

// annotated is the image of platforms for the first platform with another
// annotation, beside the two others as they were.
func annotated(t *testing.T) ociLayout {
	t.Helper()
	l := platforms(t)
	m, err := l.root(t).IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	first := m.Manifests[0]
	platform, notes := first.Platform, first.Annotations
	l.change(t, &first, func(m *v1.Manifest) { m.Annotations["of"] = "another time" })
	first.Platform, first.Annotations = platform, notes
	m.Manifests[0] = first
	l.name(t, l.document(t, types.OCIImageIndex, m), "app")
	return l
}

// An engine holds results under any name: they are found by what they are.
func TestEnginesResultIsFoundByWhatItIs(t *testing.T) {
	cli := imagetest.Engine(t)
	name := func(tag string) string { return "rebuild-reuse:" + tag }
	flatten := func(tag string) (reused bool, result string) {
		t.Helper()
		out := image.Ref{Transport: image.Daemon, Name: name(tag)}
		report, err := Flatten(context.Background(), Options{
			Image: archiveRef(write(t, appImage())), Output: &out, Base: keep("1"), Client: func() (*client.Client, error) { return cli, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { remove(t, cli, name(tag)) })
		return report.Reused, report.ID
	}
	_, first := flatten("first")
	if reused, second := flatten("second"); !reused || second != first {
		t.Errorf("an archive's result: reused %v, %s became %s", reused, first, second)
	}
	// What is built on the result has the mark, too.
	child, err := build.Engine(context.Background(), cli, build.EngineOptions{Dockerfile: []byte("FROM " + name("first") + "\nLABEL more=yes\n")})
	if err != nil {
		t.Fatal(err)
	}
	if err := cli.ImageTag(context.Background(), child, name("0child")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, cli, name("0child")) })
	remove(t, cli, name("first"))
	remove(t, cli, name("second"))
	if _, third := flatten("third"); third != first {
		t.Errorf("the result is %s, not %s; its child is %s", third, first, child)
	}
}

func remove(t *testing.T, cli *client.Client, name string) {
	t.Helper()
	if _, err := cli.ImageRemove(context.Background(), name, dockerimage.RemoveOptions{}); err != nil && !cerrdefs.IsNotFound(err) {
		t.Error(err)
	}
}
