package image

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

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
)

// realEngine is the engine that DOCKER_FLATTEN_ENGINE names.
func realEngine(t *testing.T) (*client.Client, Options) {
	t.Helper()
	host := os.Getenv("DOCKER_FLATTEN_ENGINE")
	if host == "" {
		t.Skip("DOCKER_FLATTEN_ENGINE isn't set to an engine's address or to default")
	}
	if host == "default" {
		host = ""
	}
	cli, err := NewClient("", host)
	if err != nil {
		t.Fatal(err)
	}
	return cli, Options{TempDir: t.TempDir(), Client: func() (*client.Client, error) { return cli, nil }}
}

// imageIDs are all images that the engine has.
func imageIDs(t *testing.T, cli *client.Client) (ids []string) {
	t.Helper()
	list, err := cli.ImageList(context.Background(), image.ListOptions{All: true})
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
		if _, err := cli.ImageRemove(context.Background(), n, image.RemoveOptions{Force: true}); err != nil && !isNotFound(err) {
			t.Errorf("remove %s: %v", n, err)
		}
	}
}

func TestRealEngineRoundTrip(t *testing.T) {
	cli, opt := realEngine(t)
	// contents of this test alone, so that no other image has the layers
	own := func(name string) []byte { return layer(fmt.Sprintf("%s-%d", name, os.Getpid())) }
	many := testImage{layers: [][]byte{own("base"), own("a"), own("b"), own("a"), own("top")}}
	names := []string{"image-test-in:1", "image-test-flat:1", "image-test-flat:2", "image-test-copy:1"}
	t.Cleanup(func() { remove(t, cli, names...) })

	archive := open(t, write(t, "in.tar", dockerArchive(many)), Options{})
	readAll(t, archive.Images[0])
	whole := flat(archive.Images[0], 4, many.layers[4])
	loaded, err := storeErr(t, "docker-daemon:"+names[0], archive, []NewImage{whole}, nil, Compression{}, opt)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Images[0].BaseOmitted {
		t.Error("a base that the engine can't have was left out")
	}

	src := open(t, names[0], opt)
	im := src.Images[0]
	got, err := readLayers(im, func(i int) bool { return i >= 1 })
	if err != nil {
		t.Fatal(err)
	}
	sameLayers(t, got, many.layers)
	want, err := withLayers(many.config(), im.DiffIDs)
	if must(err); !bytes.Equal(im.RawConfig, want) {
		t.Errorf("config is %s", im.RawConfig)
	}

	stored, err := storeErr(t, "docker-daemon:"+names[1], src, []NewImage{flat(im, 1, merged12)}, names[2:3], Compression{}, opt)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := newEngine(context.Background(), opt); err != nil || e.store != podmanStore && !stored.Images[0].BaseOmitted {
		t.Error("the engine's own layers were sent to it")
	}
	for _, name := range names[1:3] {
		inspect, err := cli.ImageInspect(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		if layers, err := inspectedLayers(inspect); err != nil || inspect.ID != stored.ID || !slices.Equal(layers, stored.Images[0].DiffIDs) {
			t.Errorf("%s is %s with %v, %v", name, inspect.ID, layers, err)
		}
	}

	// the same image by way of an archive is the same image
	again, err := storeErr(t, "docker-daemon:"+names[3], archive, []NewImage{flat(archive.Images[0], 1, merged12)}, nil, Compression{}, opt)
	if err != nil {
		t.Fatal(err)
	}
	if again.Images[0].DiffID != stored.Images[0].DiffID || again.Images[0].ConfigDigest != stored.Images[0].ConfigDigest && bytes.Equal(archive.Images[0].RawConfig, im.RawConfig) {
		t.Errorf("by way of an archive it is %+v, not %+v", again.Images[0], stored.Images[0])
	}
	locals, err := Locals(context.Background(), cli)
	if err != nil || !slices.ContainsFunc(locals, func(l Local) bool { return slices.Contains(l.Names, names[1]) && len(l.Image.RootFS.DiffIDs) == 2 }) {
		t.Errorf("locals: %d, %v", len(locals), err)
	}
}

func TestRealEngineIsLeftAsItWas(t *testing.T) {
	cli, opt := realEngine(t)
	src := open(t, write(t, "in.tar", dockerArchive(three)), Options{})
	im := src.Images[0]
	readAll(t, im)
	for name, failing := range map[string]func(cancel func()) func(context.Context, io.Writer) error{
		"Write fails": func(func()) func(context.Context, io.Writer) error {
			return func(_ context.Context, w io.Writer) error {
				_, err := w.Write(merged12[:700])
				return errors.Join(err, &ownError{})
			}
		},
		"interrupted": func(cancel func()) func(context.Context, io.Writer) error {
			return func(_ context.Context, w io.Writer) error {
				_, err := w.Write(merged12[:700])
				cancel()
				_, more := w.Write(merged12[700:])
				return errors.Join(err, more)
			}
		},
	} {
		before := imageIDs(t, cli)
		ctx, cancel := context.WithCancel(context.Background())
		d, err := OpenDest(ctx, Ref{Transport: Daemon, Name: "image-test-none:1"}, opt)
		if err != nil {
			t.Fatal(err)
		}
		n := flat(im, 1, merged12)
		n.Write = failing(cancel)
		_, err = d.Store(ctx, src, []NewImage{n}, nil, Compression{})
		cancel()
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if after := imageIDs(t, cli); !slices.Equal(before, after) {
			t.Logf("%s: the engine had %v and has %v; others may be using it", name, before, after)
		}
		if _, err := cli.ImageInspect(context.Background(), "image-test-none:1"); !isNotFound(err) {
			t.Errorf("%s: the image is there: %v", name, err)
		}
	}
}

func TestRealEngineTakesAnIndex(t *testing.T) {
	cli, opt := realEngine(t)
	src := open(t, "oci:"+platformsLayout().dir(t), Options{})
	images := flatAll(t, src)
	const name = "image-test-index:1"
	t.Cleanup(func() { remove(t, cli, name) })
	stored, err := storeErr(t, "docker-daemon:"+name, src, images, nil, Compression{}, opt)
	if e, engineErr := newEngine(context.Background(), opt); engineErr != nil {
		t.Fatal(engineErr)
	} else if e.store != containerdStore {
		if !errors.Is(err, ErrFormat) {
			t.Errorf("a store of single images: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	back := open(t, name, opt)
	layers := readAll(t, back.Images[0])
	if !bytes.Equal(layers[len(layers)-1], merged12) || back.Images[0].ID != stored.ID {
		t.Errorf("comes back as %s of %d layers", back.Images[0].ID, len(layers))
	}
	other := opt
	other.Platform = "linux/arm64"
	sameLayers(t, readAll(t, open(t, name, other).Images[0]), [][]byte{base, merged12})
	if _, err := openErr(t, name, Options{Client: opt.Client, Platform: "linux/s390x"}); !errors.Is(err, ErrNoImage) || !strings.Contains(err.Error(), "linux/s390x") {
		t.Errorf("a platform that it lacks: %v", err)
	}
}
