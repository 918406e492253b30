package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/imagetest"
)

// realEngine is the engine that DOCKER_FLATTEN_ENGINE names.
func realEngine(t *testing.T) (*client.Client, image.Options) {
	t.Helper()
	host := os.Getenv("DOCKER_FLATTEN_ENGINE")
	if host == "" {
		t.Skip("DOCKER_FLATTEN_ENGINE isn't set to an engine's address or to default")
	}
	if host == "default" {
		host = ""
	}
	cli, err := engine.NewClient("", host, 0)
	if err != nil {
		t.Fatal(err)
	}
	return cli, image.Options{TempDir: t.TempDir(), Client: func() (*client.Client, error) { return cli, nil }}
}

// imageIDs are all images that the engine has.
func imageIDs(t *testing.T, cli *client.Client) (ids []string) {
	t.Helper()
	list, err := cli.ImageList(context.Background(), dockerimage.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if slices.ContainsFunc(s.RepoTags, func(n string) bool { return strings.HasPrefix(n, "image-test") }) || len(s.RepoTags) == 0 {
			ids = append(ids, s.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func remove(t *testing.T, cli *client.Client, names ...string) {
	for _, n := range names {
		if _, err := cli.ImageRemove(context.Background(), n, dockerimage.RemoveOptions{Force: true}); err != nil && !engine.IsNotFound(err) {
			t.Errorf("remove %s: %v", n, err)
		}
	}
}

func TestRealEngineRoundTrip(t *testing.T) {
	cli, opt := realEngine(t)
	// contents of this test alone, so that no other image has the layers
	own := func(name string) []byte { return imagetest.Tar(fmt.Sprintf("%s-%d", name, os.Getpid())) }
	many := imagetest.Raw{Layers: [][]byte{own("base"), own("a"), own("b"), own("a"), own("top")}}
	names := []string{"image-test-in:1", "image-test-flat:1", "image-test-flat:2", "image-test-copy:1"}
	t.Cleanup(func() { remove(t, cli, names...) })

	archive := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(many)), image.Options{})
	imagetest.ReadAll(t, archive.Images[0])
	whole := imagetest.Flat(archive.Images[0], 4, many.Layers[4])
	first, err := engine.Prepare(t.Context(), imagetest.Ref(t, names[0]), nil, opt)
	imagetest.Must(err)
	if reads, err := first.ReadsBase(t.Context(), archive.Images[0], 4); err != nil || !reads {
		t.Errorf("a base that the engine can't have isn't read: %v", err)
	}
	loaded, err := imagetest.StoreErr(t, "docker-daemon:"+names[0], archive, []image.NewImage{whole}, nil, opt)
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Images[0].DiffIDs) != 5 {
		t.Errorf("loaded is %+v", loaded)
	}

	src := imagetest.Open(t, names[0], opt)
	got, im, err := imagetest.ReadLayers(src.Images[0], func(i int) bool { return i >= 1 })
	if err != nil {
		t.Fatal(err)
	}
	imagetest.SameLayers(t, got, many.Layers)
	want, err := imagetest.WithLayers(many.Config(), im.DiffIDs)
	if imagetest.Must(err); !bytes.Equal(im.Config, want) {
		t.Errorf("config is %s", im.Config)
	}

	stored, err := imagetest.StoreErr(t, "docker-daemon:"+names[1], src, []image.NewImage{imagetest.Flat(im, 1, imagetest.Merged12)}, names[2:3], opt)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Prepare(t.Context(), imagetest.Ref(t, names[1]), nil, opt)
	imagetest.Must(err)
	reads, err := p.ReadsBase(t.Context(), im, 1)
	if store, storeErr := engine.StoreOf(t.Context(), opt); err != nil || storeErr != nil || reads != (store == engine.Podman) {
		t.Errorf("the engine's own layers are read: %v, %v", reads, err)
	}
	for _, name := range names[1:3] {
		inspect, err := cli.ImageInspect(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		if layers, err := engine.DiffIDs(inspect); err != nil || inspect.ID != stored.ID || !slices.Equal(layers, stored.Images[0].DiffIDs) {
			t.Errorf("%s is %s with %v, %v", name, inspect.ID, layers, err)
		}
	}

	// the same image by way of an archive is the same image
	again, err := imagetest.StoreErr(t, "docker-daemon:"+names[3], archive, []image.NewImage{imagetest.Flat(archive.Images[0], 1, imagetest.Merged12)}, nil, opt)
	if err != nil {
		t.Fatal(err)
	}
	if again.Images[0].DiffID != stored.Images[0].DiffID || again.Images[0].ConfigDigest != stored.Images[0].ConfigDigest && bytes.Equal(archive.Images[0].Config, im.Config) {
		t.Errorf("by way of an archive it is %+v, not %+v", again.Images[0], stored.Images[0])
	}
	survey, err := engine.Look(context.Background(), cli, "")
	if err != nil || !slices.ContainsFunc(survey.Locals, func(l engine.Local) bool {
		return slices.Contains(l.Names, names[1]) && len(l.Image.RootFS.DiffIDs) == 2
	}) {
		t.Errorf("locals: %v, %v", survey, err)
	}
}

func TestRealEngineIsLeftAsItWas(t *testing.T) {
	cli, opt := realEngine(t)
	src := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	im := src.Images[0]
	imagetest.ReadAll(t, im)
	for name, failing := range map[string]func(cancel func()) func(context.Context, io.Writer) error{
		"Write fails": func(func()) func(context.Context, io.Writer) error {
			return func(_ context.Context, w io.Writer) error {
				_, err := w.Write(imagetest.Merged12[:700])
				return errors.Join(err, &ownError{})
			}
		},
		"interrupted": func(cancel func()) func(context.Context, io.Writer) error {
			return func(_ context.Context, w io.Writer) error {
				_, err := w.Write(imagetest.Merged12[:700])
				cancel()
				_, more := w.Write(imagetest.Merged12[700:])
				return errors.Join(err, more)
			}
		},
	} {
		before := imageIDs(t, cli)
		ctx, cancel := context.WithCancel(context.Background())
		p, err := engine.Prepare(ctx, image.Ref{Transport: image.Daemon, Name: "image-test-none:1"}, nil, opt)
		if err != nil {
			t.Fatal(err)
		}
		n := imagetest.Flat(im, 1, imagetest.Merged12)
		n.Write = failing(cancel)
		_, err = imagetest.StoreIn(ctx, p, []image.NewImage{n}, nil)
		cancel()
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if after := imageIDs(t, cli); !slices.Equal(before, after) {
			t.Logf("%s: the engine had %v and has %v; others may be using it", name, before, after)
		}
		if _, err := cli.ImageInspect(context.Background(), "image-test-none:1"); !engine.IsNotFound(err) {
			t.Errorf("%s: the image is there: %v", name, err)
		}
	}
}

func TestRealEngineTakesAnIndex(t *testing.T) {
	cli, opt := realEngine(t)
	src := imagetest.Open(t, "oci:"+imagetest.PlatformsLayout().Dir(t), image.Options{})
	images := imagetest.FlatAll(t, src)
	const name = "image-test-index:1"
	t.Cleanup(func() { remove(t, cli, name) })
	stored, err := imagetest.StoreErr(t, "docker-daemon:"+name, src, images, nil, opt)
	if store, engineErr := engine.StoreOf(t.Context(), opt); engineErr != nil {
		t.Fatal(engineErr)
	} else if store != engine.Containerd {
		if !errors.Is(err, image.ErrFormat) {
			t.Errorf("a store of single images: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	back := imagetest.Open(t, name, opt)
	layers := imagetest.ReadAll(t, back.Images[0])
	if !bytes.Equal(layers[len(layers)-1], imagetest.Merged12) || back.Images[0].ID != stored.ID {
		t.Errorf("comes back as %s of %d layers", back.Images[0].ID, len(layers))
	}
	other := opt
	other.Platform = "linux/arm64"
	imagetest.SameLayers(t, imagetest.ReadAll(t, imagetest.Open(t, name, other).Images[0]), [][]byte{imagetest.Base, imagetest.Merged12})
	if _, err := imagetest.OpenErr(t, name, image.Options{Client: opt.Client, Platform: "linux/s390x"}); !errors.Is(err, image.ErrNoImage) || !strings.Contains(err.Error(), "linux/s390x") {
		t.Errorf("a platform that it lacks: %v", err)
	}
}

// What an engine has, named or not, is found by its config document, and gets
// the names that it lacks.
func TestRealEngineFindsItsResult(t *testing.T) {
	cli, opt := realEngine(t)
	in := imagetest.Raw{Layers: [][]byte{imagetest.Tar(fmt.Sprintf("found-%d", os.Getpid())), imagetest.Upper, imagetest.Third}}
	im := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(in)), image.Options{}).Images[0]
	imagetest.ReadAll(t, im)
	n := imagetest.Marked(imagetest.Flat(im, 1, imagetest.Merged12), mark)
	names := []string{"image-test-found:1", "image-test-found:2"}
	p := prepare(t, opt, names...)
	t.Cleanup(func() { remove(t, cli, names...) })
	if found, err := p.Existing(t.Context(), image.Wanted{Images: []image.NewImage{n}}); err != nil || found != nil {
		t.Fatalf("found before it was stored: %v, %v", found, err)
	}
	first, err := p.Store(t.Context(), image.Wanted{Images: []image.NewImage{n}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { imagetest.Must(first.Discard()) })
	for _, state := range []string{"without a name", "with names"} {
		found, err := p.Existing(t.Context(), image.Wanted{Images: []image.NewImage{n}})
		if err != nil || found == nil || found.Stored.ID != first.ID {
			t.Fatalf("%s it is %v, %v", state, found, err)
		}
		imagetest.SameLayers(t, imagetest.ReadAll(t, found.Source.Images[0]), [][]byte{in.Layers[0], imagetest.Merged12})
		imagetest.Must(found.Stored.Name(t.Context()))
		imagetest.Must(found.Source.Close())
		for _, name := range names {
			if inspect, err := cli.ImageInspect(t.Context(), name); err != nil || inspect.ID != first.ID {
				t.Errorf("%s is %s, %v", name, inspect.ID, err)
			}
		}
	}
	again := imagetest.Marked(imagetest.Flat(im, 1, imagetest.Merged12), mark+" again")
	if found, err := p.Existing(t.Context(), image.Wanted{Images: []image.NewImage{again}}); err != nil || found != nil {
		t.Errorf("another one is found: %v, %v", found, err)
	}
}
