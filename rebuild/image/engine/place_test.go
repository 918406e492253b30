package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/imagetest"
)

const mark = "docker-flatten: 2 layers above 1 of it"

// gz is the image with layers as a registry has them.
var gz = imagetest.Raw{Names: imagetest.Three.Names, Layers: imagetest.Three.Layers, Stored: [][]byte{imagetest.Gzip(imagetest.Base), imagetest.Gzip(imagetest.Upper), imagetest.Gzip(imagetest.Third)}}

// withSource is an engine that has gz, and the image as it is read from there.
func withSource(t *testing.T, store engine.Store) (*fakeEngine, image.Options, *image.Image) {
	t.Helper()
	e, opt := newFakeEngine(t, store)
	saved := map[engine.Store][]byte{engine.Graphdriver: saved2010(imagetest.Three), engine.Containerd: savedBlobs(gz), engine.Podman: savedPodman(imagetest.Three)}
	e.add(gz, imagetest.Digest(imagetest.Three.Config()).String(), saved[store])
	_, im, err := imagetest.ReadLayers(imagetest.Open(t, "demo:1", opt).Images[0], func(int) bool { return true })
	imagetest.Must(err)
	return e, opt, im
}

func prepare(t *testing.T, opt image.Options, names ...string) image.Place {
	t.Helper()
	p, err := engine.Prepare(t.Context(), imagetest.Ref(t, "docker-daemon:"+names[0]), names[1:], opt)
	imagetest.Must(err)
	return p
}

// An earlier result gets every name that it lacks, whatever its names are, and
// however many it has.
func TestFoundInAnEngineGetsAllNames(t *testing.T) {
	for _, store := range []engine.Store{engine.Graphdriver, engine.Containerd, engine.Podman} {
		for _, had := range [][]string{{"demo:flat"}, {"elsewhere:1"}, nil} {
			t.Run(fmt.Sprint(store, had), func(t *testing.T) {
				e, opt, im := withSource(t, store)
				n := imagetest.Marked(imagetest.Flat(im, 1, imagetest.Merged12), mark)
				first, err := prepare(t, opt, "some:1").Store(t.Context(), image.Wanted{Images: []image.NewImage{n}})
				imagetest.Must(err)
				imagetest.Must(first.Name(t.Context()))
				e.images[first.ID].names = had
				loads := len(e.loads)

				p := prepare(t, opt, "demo:flat", "demo:second", "demo:flat")
				found, err := p.Existing(t.Context(), image.Wanted{Images: []image.NewImage{n}})
				if err != nil || found == nil {
					t.Fatalf("found %v, %v", found, err)
				}
				layers, read, err := imagetest.ReadLayers(found.Source.Images[0], nil)
				imagetest.Must(err)
				imagetest.SameLayers(t, layers, [][]byte{imagetest.Base, imagetest.Merged12})
				config, err := n.Config(read.DiffIDs)
				if err != nil || string(read.Config) != string(config) || found.Stored.Images[0].ConfigDigest != imagetest.Digest(config) || found.Stored.ID != first.ID {
					t.Errorf("it is %+v with %s", found.Stored, read.Config)
				}
				imagetest.Must(found.Stored.Name(t.Context()))
				imagetest.Must(found.Stored.Discard())
				imagetest.Must(found.Source.Close())
				for _, name := range []string{"demo:flat", "demo:second"} {
					if id, _ := e.find(name); id != first.ID {
						t.Errorf("%s is %s", name, id)
					}
				}
				if len(e.loads) != loads || len(e.removed) != 0 {
					t.Errorf("loaded or removed something: %v, %v", e.loads, e.removed)
				}
			})
		}
	}
}

// Only what this run would make is an earlier result, to the byte of the config.
func TestSomethingElseInAnEngineIsNotFound(t *testing.T) {
	for _, store := range []engine.Store{engine.Graphdriver, engine.Containerd} {
		_, opt, im := withSource(t, store)
		n := imagetest.Marked(imagetest.Flat(im, 1, imagetest.Merged12), mark)
		first, err := prepare(t, opt, "some:1").Store(t.Context(), image.Wanted{Images: []image.NewImage{n}})
		imagetest.Must(err)
		imagetest.Must(first.Name(t.Context()))
		another := n
		another.Config = func(diffIDs []v1.Hash) ([]byte, error) {
			raw, err := n.Config(diffIDs)
			return []byte(strings.Replace(string(raw), "A=1", "A=2", 1)), err
		}
		annotated := n
		annotated.Annotations = map[string]string{"a": "b"}
		higher := n
		higher.Keep = 2
		for name, c := range map[string]struct {
			image image.NewImage
			found bool
		}{
			"the same":          {n, true},
			"another mark":      {imagetest.Marked(imagetest.Flat(im, 1, imagetest.Merged12), "docker-flatten: other"), false},
			"another config":    {another, false},
			"another base":      {higher, false},
			"other annotations": {annotated, store == engine.Graphdriver}, // which has none
		} {
			found, err := prepare(t, opt, "demo:flat").Existing(t.Context(), image.Wanted{Images: []image.NewImage{c.image}})
			if err != nil || (found != nil) != c.found {
				t.Errorf("store %v, %s: %v, %v", store, name, found, err)
			}
			if found != nil {
				imagetest.Must(found.Source.Close())
			}
		}
	}
}

// What a containerd store has is a result only if it is the very image, also where
// nothing is to be flattened: not one with other images beside it, nor one whose
// layers are stored in another way. What can't be read is none, and ends no run.
func TestOnlyTheVeryImageIsFoundInAContainerdStore(t *testing.T) {
	damaged := bytes.Clone(savedBlobs(gz))
	damaged[bytes.Index(damaged, gz.Stored[1])+len(gz.Stored[1])/2] ^= 1
	very := imagetest.Digest(gz.Manifest(false)).String()
	index := imagetest.Digest([]byte("index")).String()
	for name, c := range map[string]struct {
		im    imagetest.Raw
		id    string
		saved []byte
		found bool
		saves int // to find it
	}{
		"the image itself":      {gz, very, savedBlobs(gz), true, 1},
		"in an index":           {gz, index, savedBlobs(gz), false, 0},
		"stored in another way": {imagetest.Three, imagetest.Digest(loadedManifest(imagetest.Three)).String(), savedLoaded(imagetest.Three), false, 0},
		"damaged":               {gz, very, damaged, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			source, opt := newFakeEngine(t, engine.Containerd)
			source.add(gz, very, savedBlobs(gz))
			_, im, err := imagetest.ReadLayers(imagetest.Open(t, "demo:1", opt).Images[0], func(int) bool { return true })
			imagetest.Must(err)
			e, opt := newFakeEngine(t, engine.Containerd)
			e.add(c.im, c.id, c.saved)
			found, err := prepare(t, opt, "demo:flat").Existing(t.Context(), image.Wanted{Images: []image.NewImage{imagetest.Unchanged(im)}})
			if err != nil || (found != nil) != c.found {
				t.Fatalf("found %v, %v", found, err)
			}
			if len(e.saves) != c.saves {
				t.Errorf("%d saves", len(e.saves))
			}
			if found == nil {
				return
			}
			imagetest.Must(found.Source.Close())
			stored, err := prepare(t, opt, "demo:flat").Store(t.Context(), image.Wanted{Images: []image.NewImage{imagetest.Unchanged(im)}})
			imagetest.Must(err)
			if err := stored.Name(t.Context()); err != nil || stored.ID != found.Stored.ID {
				t.Errorf("found is %s, stored %s, %v", found.Stored.ID, stored.ID, err)
			}
		})
	}
}

// The same of a result with a new layer.
func TestOnlyTheVeryResultIsFoundInAContainerdStore(t *testing.T) {
	for name, change := range map[string]func(e *fakeEngine, id string) (found bool){
		"as it was": func(*fakeEngine, string) bool { return true },
		"in an index": func(e *fakeEngine, id string) bool {
			index := imagetest.Digest([]byte("index")).String()
			e.images[index], e.saved[index] = e.images[id], e.saved[id]
			delete(e.images, id)
			return false
		},
		"damaged": func(e *fakeEngine, id string) bool {
			e.saved[id] = e.saved[id][:len(e.saved[id])/2]
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, opt, im := withSource(t, engine.Containerd)
			n := imagetest.Marked(imagetest.Flat(im, 1, imagetest.Merged12), mark)
			stored, err := prepare(t, opt, "some:1").Store(t.Context(), image.Wanted{Images: []image.NewImage{n}})
			imagetest.Must(err)
			imagetest.Must(stored.Name(t.Context()))
			want := change(e, stored.ID)
			found, err := prepare(t, opt, "demo:flat").Existing(t.Context(), image.Wanted{Images: []image.NewImage{n}})
			if err != nil || (found != nil) != want {
				t.Fatalf("found %v, %v", found, err)
			}
			if found != nil {
				imagetest.Must(found.Source.Close())
			}
		})
	}
}

// A result is in the engine without a name before it gets one, and goes again
// without a trace, unless it was there before.
func TestEngineResultIsNamedLast(t *testing.T) {
	for _, store := range []engine.Store{engine.Graphdriver, engine.Containerd, engine.Podman} {
		e, opt, im := withSource(t, store)
		n := imagetest.Flat(im, 1, imagetest.Merged12)
		for _, wasThere := range []bool{false, true} {
			stored, err := prepare(t, opt, "demo:flat").Store(t.Context(), image.Wanted{Images: []image.NewImage{n}})
			imagetest.Must(err)
			if _, has := e.find("demo:flat"); has != nil || e.images[stored.ID] == nil {
				t.Errorf("store %v: it is %v", store, e.images)
			}
			if wasThere {
				imagetest.Must(stored.Discard())
				if e.images[stored.ID] == nil {
					t.Errorf("store %v: what was there before is gone", store)
				}
				continue
			}
			imagetest.Must(stored.Discard())
			if len(e.images) != 1 {
				t.Errorf("store %v: left behind %v", store, e.images)
			}
			kept, err := prepare(t, opt, "demo:flat").Store(t.Context(), image.Wanted{Images: []image.NewImage{n}}) // stays, for the next round
			imagetest.Must(err)
			t.Cleanup(func() { imagetest.Must(kept.Discard()) })
		}
	}
}

// What an engine doesn't remove, the next run does. An image of which the engine's
// answer got lost goes at once.
func TestWhatAnEngineDoesNotRemoveGoesWithTheNextRun(t *testing.T) {
	for _, store := range []engine.Store{engine.Graphdriver, engine.Containerd} {
		for name, c := range map[string]struct {
			stuck, lost bool
			end         func(s *image.Stored) error
			keeps       int // images after the next run
		}{
			"discarded":                      {true, false, (*image.Stored).Discard, 1},
			"named":                          {true, false, func(s *image.Stored) error { return s.Name(context.Background()) }, 2},
			"its answer got lost":            {false, true, nil, 1},
			"its answer got lost, and stuck": {true, true, nil, 1},
		} {
			t.Run(fmt.Sprint(store, name), func(t *testing.T) {
				e, opt, im := withSource(t, store)
				e.stuck, e.lost = c.stuck, c.lost
				n := imagetest.Flat(im, 1, imagetest.Merged12)
				stored, err := prepare(t, opt, "demo:flat").Store(t.Context(), image.Wanted{Images: []image.NewImage{n}})
				if (err != nil) != c.lost {
					t.Fatal(err)
				}
				if c.end != nil {
					_ = c.end(stored) // says that it can't be removed, or warns
				}
				left := func() (names []string) {
					for _, im := range e.images {
						names = append(names, im.names...)
					}
					return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, "docker-flatten/run:") })
				}
				if got := len(left()) > 0; got != c.stuck {
					t.Errorf("left are %q", left())
				}
				e.stuck, e.lost = false, false
				cli, err := opt.Client()
				imagetest.Must(err)
				engine.ClearAway(t.Context(), cli, opt, true)
				if len(left()) > 0 || len(e.images) != c.keeps {
					t.Errorf("after the next run left are %q of %d images", left(), len(e.images))
				}
			})
		}
	}
}

// Names that were given before a naming failed stay, and so does the image.
func TestNamedResultIsNotDiscarded(t *testing.T) {
	e, opt, im := withSource(t, engine.Graphdriver)
	e.failTag = "docker.io/library/second"
	stored, err := prepare(t, opt, "first:1", "second:1").Store(t.Context(), image.Wanted{Images: []image.NewImage{imagetest.Flat(im, 1, imagetest.Merged12)}})
	imagetest.Must(err)
	if err := stored.Name(t.Context()); err == nil || !strings.Contains(err.Error(), "second:1") {
		t.Errorf("error is %v", err)
	}
	imagetest.Must(stored.Discard())
	if _, has := e.find("first:1"); has == nil {
		t.Error("an image that has a name by now is gone")
	}
}

// The bytes that are sent besides a layer that is being written are shown, and
// the bar stays while the engine works.
func TestLoadingIsShown(t *testing.T) {
	for store, want := range map[engine.Store]string{
		engine.Graphdriver: fmt.Sprintf("loading %d of %[1]d", len(imagetest.Base)),
		engine.Containerd:  "loading ",
	} {
		e, opt := newFakeEngine(t, store)
		bars := &imagetest.Bars{}
		opt.Display = bars
		var during []string
		e.sent = func() { during = bars.Lines() }
		im := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{}).Images[0]
		imagetest.ReadAll(t, im)
		_, err := prepare(t, opt, "demo:flat").Store(t.Context(), image.Wanted{Images: []image.NewImage{imagetest.Flat(im, 1, imagetest.Merged12)}})
		imagetest.Must(err)
		if lines := bars.Lines(); len(lines) != 1 || !strings.HasPrefix(lines[0], want) || strings.Contains(lines[0], ",") {
			t.Errorf("store %v: %q, not %q", store, lines, want)
		}
		if len(during) != 1 || !strings.HasSuffix(during[0], ", running") {
			t.Errorf("store %v: while it loads: %q", store, during)
		}
	}
}

// From a registry into an engine every blob is read once.
func TestRegistryToEngineReadsEachBlobOnce(t *testing.T) {
	var gets atomic.Int64
	host := imagetest.Registry(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") {
				gets.Add(1)
			}
			h.ServeHTTP(w, q)
		})
	})
	local := imagetest.Open(t, "oci:"+imagetest.LayoutOf(gz, false, "").Dir(t), image.Options{})
	imagetest.Store(t, "docker://"+host+"/in:1", local, []image.NewImage{imagetest.Unchanged(local.Images[0])}, nil, image.Compression{})
	for _, store := range []engine.Store{engine.Graphdriver, engine.Containerd, engine.Podman} {
		_, opt := newFakeEngine(t, store)
		p := prepare(t, opt, "demo:flat")
		src := imagetest.Open(t, "docker://"+host+"/in:1", image.Options{})
		reads, err := p.ReadsBase(t.Context(), src.Images[0], 1)
		if err != nil || !reads {
			t.Fatalf("store %v: the base isn't read: %v", store, err)
		}
		gets.Store(0)
		_, im, err := imagetest.ReadLayers(src.Images[0], func(i int) bool { return i >= 1 || reads })
		imagetest.Must(err)
		n := imagetest.Flat(im, 1, nil)
		n.Size = int64(len(imagetest.Upper))
		n.Write = func(_ context.Context, w io.Writer) error {
			r, err := im.Layer(1).Open()
			imagetest.Must(err)
			_, err = io.Copy(w, r)
			return err
		}
		stored, err := imagetest.StoreIn(t.Context(), p, []image.NewImage{n}, nil)
		imagetest.Must(err)
		if got := gets.Load(); got != 3 {
			t.Errorf("store %v: %d blobs were read", store, got)
		}
		if want := []v1.Hash{imagetest.Digest(imagetest.Base), imagetest.Digest(imagetest.Upper)}; !slices.Equal(stored.Images[0].DiffIDs, want) {
			t.Errorf("store %v: stored %v", store, stored.Images[0].DiffIDs)
		}
	}
}
