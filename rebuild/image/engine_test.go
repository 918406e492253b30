package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// saved2010 is im as Docker 20.10 to 24 saves it: directories in the order of
// their names, which are v1 image IDs, and equal layers as symbolic links.
func saved2010(im testImage) []byte {
	config := digestOfBytes(im.config()).Hex + ".json"
	saved := savedImage{Config: config}
	dirs := map[string][]any{}
	first := map[v1.Hash]string{}
	var ids []string
	var chain v1.Hash
	parent := ""
	for i, l := range im.layers {
		d := digestOfBytes(l)
		if i == 0 {
			chain = d
		} else {
			chain = digestOfBytes([]byte(chain.String() + " " + d.String()))
		}
		// the struct of moby's image.V1Image, as far as it is filled in here
		inner, extra := `{"Hostname":"","Env":null}`, ""
		if i == len(im.layers)-1 {
			extra = `"config":{"Env":["A=1"]},`
		}
		with := ""
		if parent != "" {
			with = `,"parent":"sha256:` + parent + `"`
		}
		sum := sha256.Sum256([]byte(`{` + extra + `"container_config":` + inner + `,"created":"1970-01-01T00:00:00Z","layer_id":"` + chain.String() + `"` + with + `}`))
		id := fmt.Sprintf("%x", sum)
		doc := `{"id":"` + id + `","parent":"` + parent + `","created":"1970-01-01T00:00:00Z","container_config":` + inner + `,` + extra + `"os":"linux"}`
		if parent == "" {
			doc = strings.Replace(doc, `"parent":"",`, "", 1)
		}
		ids, parent = append(ids, id), id
		saved.Layers = append(saved.Layers, id+"/layer.tar")
		dirs[id] = []any{id + "/VERSION", []byte("1.0"), id + "/json", []byte(doc)}
		if other, ok := first[d]; ok {
			dirs[id] = append(dirs[id], id+"/layer.tar -> ../"+other+"/layer.tar")
		} else {
			first[d] = id
			dirs[id] = append(dirs[id], id+"/layer.tar", l)
		}
	}
	slices.Sort(ids)
	var f files
	for _, id := range ids {
		f = append(f, dirs[id]...)
	}
	raw, err := json.Marshal([]savedImage{saved})
	must(err)
	return append(f, config, im.config(), "manifest.json", raw).tar()
}

// savedBlobs is im as Docker 25 and newer save it; with stored blobs, as the
// containerd store does.
func savedBlobs(im testImage) []byte {
	m := im.manifest(false)
	blobs := map[string][]byte{blobPath(digestOfBytes(m)): m, blobPath(digestOfBytes(im.config())): im.config()}
	saved := savedImage{Config: blobPath(digestOfBytes(im.config()))}
	for i := range im.layers {
		name := blobPath(digestOfBytes(im.blob(i)))
		blobs[name] = im.blob(i)
		saved.Layers = append(saved.Layers, name)
	}
	att, attBlobs := attestation(im)
	for _, b := range attBlobs {
		blobs[blobPath(digestOfBytes(b))] = b
	}
	inner := index(entry{kind: "application/vnd.oci.image.manifest.v1+json", doc: m, platform: "linux/amd64"}, att)
	blobs[blobPath(digestOfBytes(inner))] = inner
	var names []string
	for n := range blobs {
		names = append(names, n)
	}
	slices.Sort(names)
	var f files
	for _, n := range names {
		f = append(f, n, blobs[n])
	}
	raw, err := json.Marshal([]savedImage{saved})
	must(err)
	return append(f, "index.json", index(entry{kind: "application/vnd.oci.image.index.v1+json", doc: inner}), "manifest.json", raw, "oci-layout", []byte(layoutFile)).tar()
}

// savedPodman is im as podman saves it.
func savedPodman(im testImage) []byte {
	saved := savedImage{Config: digestOfBytes(im.config()).Hex + ".json"}
	var f files
	for i, l := range im.layers {
		name := digestOfBytes(l).Hex + ".tar"
		saved.Layers = append(saved.Layers, name)
		f = append(f, name, l, fmt.Sprintf("%064x/layer.tar -> ../%s", i, name))
	}
	raw, err := json.Marshal([]savedImage{saved})
	must(err)
	return append(f, saved.Config, im.config(), "manifest.json", raw).tar()
}

func TestEngineImageIsReadInOneSave(t *testing.T) {
	many := testImage{names: []string{"many:1"}}
	for i := range 20 {
		many.layers = append(many.layers, layer(fmt.Sprintf("file%d", i)))
	}
	many.layers = append(many.layers, many.layers[3], many.layers[7], layer("top"))
	stored := many
	for i, l := range many.layers {
		stored.stored = append(stored.stored, [][]byte{gzipBytes(l), zstdBytes(l), l}[i%3])
	}
	one := testImage{names: []string{"many:1"}, layers: [][]byte{base}}
	for name, c := range map[string]struct {
		store engineStore
		im    testImage
		saved []byte
	}{
		"Docker 20.10":              {graphdriverStore, many, saved2010(many)},
		"Docker 20.10, one layer":   {graphdriverStore, one, saved2010(one)},
		"Docker 25":                 {graphdriverStore, many, savedBlobs(many)},
		"containerd store":          {containerdStore, stored, savedBlobs(stored)},
		"podman":                    {podmanStore, many, savedPodman(many)},
		"names that aren't digests": {podmanStore, many, fixNames(many)},
	} {
		for _, keep := range []string{"all", "none", "some"} {
			t.Run(name+" keep "+keep, func(t *testing.T) {
				e, opt := newFakeEngine(t, c.store)
				id := digestOfBytes(c.im.config()).String()
				if c.store == containerdStore {
					id = digestOfBytes([]byte("index")).String()
				}
				e.add(c.im, id, c.saved)
				src := open(t, "many:1", opt)
				im := src.Images[0]
				if p := im.Platform.String(); p != "linux/amd64" {
					t.Errorf("platform is %s", p)
				}
				kept := func(i int) bool { return keep == "all" || keep == "some" && i%2 == 1 }
				got, err := readLayers(im, kept)
				if err != nil {
					t.Fatal(err)
				}
				sameLayers(t, got, c.im.layers)
				if !bytes.Equal(im.RawConfig, c.im.config()) {
					t.Errorf("config is %s", im.RawConfig)
				}
				if (im.Manifest != nil) != (c.store == containerdStore) {
					t.Errorf("manifest is %v", im.Manifest)
				}
				delete(e.saved, id) // kept layers need no other save
				for i := range got {
					if !kept(i) {
						continue
					}
					r, err := im.Layer(i).Open()
					if err != nil {
						t.Fatal(err)
					}
					b, err := io.ReadAll(r)
					if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(b, c.im.layers[i]) {
						t.Errorf("layer %d again: %d bytes, %v", i, len(b), err)
					}
				}
				e.saved[id] = c.saved // the others do
				r, err := im.Layer(0).Open()
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(r)
				if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(b, c.im.layers[0]) {
					t.Errorf("layer 0 after another save: %d bytes, %v", len(b), err)
				}
			})
		}
	}
}

// fixNames is im saved with names that tell nothing about their contents.
func fixNames(im testImage) []byte {
	saved := savedImage{Config: "config.json"}
	f := files{"config.json", im.config()}
	for i, l := range im.layers {
		saved.Layers = append(saved.Layers, fmt.Sprintf("l%d.tar", i))
		f = append(f, saved.Layers[i], l)
	}
	raw, err := json.Marshal([]savedImage{saved})
	must(err)
	return append(f, "manifest.json", raw).tar()
}

// In the forms that Docker's graphdriver engines write, layers are known before
// they are read: nothing needs a temporary file.
func TestEngineStreamIsNotSpooled(t *testing.T) {
	for name, saved := range map[string][]byte{"20.10": saved2010(three), "25": savedBlobs(three)} {
		e, opt := newFakeEngine(t, graphdriverStore)
		e.add(three, digestOfBytes(three.config()).String(), saved)
		opt.TempDir = filepath.Join(t.TempDir(), "missing")
		ref, err := ParseRef("demo:1")
		must(err)
		src, err := Open(context.Background(), ref, opt)
		must(err)
		if _, err := readLayers(src.Images[0], nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		must(src.Close())
	}
}

func TestDamagedEngineStream(t *testing.T) {
	whole := saved2010(three)
	id := digestOfBytes(three.config()).String()
	changed := bytes.Clone(whole)
	changed[bytes.Index(changed, upper)+3] ^= 1
	other := testImage{layers: [][]byte{base, upper}}
	for name, c := range map[string]struct {
		saved []byte
		is    error
		text  string
	}{
		"cut off":        {whole[:len(whole)/2], ErrTruncated, "early"},
		"empty":          {nil, nil, "manifest.json"},
		"changed layer":  {changed, ErrDigest, "layer 2 of 3"},
		"another image":  {saved2010(other), nil, ""},
		"changed config": {bytes.Replace(whole, []byte("A=1"), []byte("A=2"), -1), ErrDigest, "config"},
	} {
		t.Run(name, func(t *testing.T) {
			e, opt := newFakeEngine(t, graphdriverStore)
			e.add(three, id, c.saved)
			_, err := readLayers(open(t, "demo:1", opt).Images[0], nil)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestParentsAreFollowed(t *testing.T) {
	e, opt := newFakeEngine(t, graphdriverStore)
	e.add(three, "sha256:c", nil)
	e.add(testImage{layers: three.layers[:2]}, "sha256:b", nil)
	e.add(testImage{names: []string{"base:1"}, layers: three.layers[:1]}, "sha256:a", nil)
	e.images["sha256:c"].parent, e.images["sha256:b"].parent, e.images["sha256:a"].parent = "sha256:b", "sha256:a", "sha256:gone"
	im := open(t, "demo:1", opt).Images[0]
	if len(im.Parents) != 2 || im.Parents[0].ID != "sha256:b" || !slices.Equal(im.Parents[1].Names, []string{"base:1"}) || len(im.Parents[1].DiffIDs) != 1 {
		t.Errorf("parents are %+v", im.Parents)
	}
}

func TestEngineHasNoSuchImage(t *testing.T) {
	e, opt := newFakeEngine(t, graphdriverStore)
	e.add(testImage{names: []string{"debian:12", "ubuntu:24.04"}}, "sha256:a", nil)
	for name, hint := range map[string]string{"debian:11": "there is debian:12", "debain:12": "there is debian:12", "nginx": "docker images"} {
		_, err := openErr(t, name, opt)
		var own *Error
		if !errors.Is(err, ErrNoImage) || !errors.As(err, &own) || !strings.Contains(own.Hint, hint) {
			t.Errorf("%s: %v, hint %q", name, err, own.Hint)
		}
	}
}

func TestNoEngine(t *testing.T) {
	for _, host := range []string{"unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1"} {
		opt := Options{Client: func() (*client.Client, error) { return NewClient("", host) }}
		_, err := openErr(t, "demo:1", opt)
		var own *Error
		if !errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), host) || !errors.As(err, &own) || !strings.Contains(own.Hint, "archive") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// engineDest stores the flattened image of a docker-archive, or of the engine
// itself, in a fake engine.
func toFakeEngine(t *testing.T, e *fakeEngine, opt Options, from string, change func(*NewImage)) (*Stored, error) {
	src := open(t, from, opt)
	im := src.Images[0]
	if _, err := readLayers(im, func(i int) bool { return true }); err != nil {
		t.Fatal(err)
	}
	n := flat(im, 1, merged12)
	if change != nil {
		change(&n)
	}
	ref, err := ParseRef("docker-daemon:demo:flat")
	must(err)
	d, err := OpenDest(context.Background(), ref, opt)
	must(err)
	return d.Store(context.Background(), src, []NewImage{n}, []string{"demo:flat", "demo:second"}, Compression{})
}

func TestEngineGetsWhatItLacks(t *testing.T) {
	gz := testImage{names: three.names, layers: three.layers, stored: [][]byte{gzipBytes(base), gzipBytes(upper), gzipBytes(third)}}
	id := digestOfBytes(three.config()).String()
	for name, c := range map[string]struct {
		store   engineStore
		own     []byte // what the engine saves; nil = the image comes from an archive
		hasBase bool   // of the archive
		strict  bool
		omitted bool
		loads   int
	}{
		"graphdriver, from itself":                   {graphdriverStore, saved2010(three), false, false, true, 1},
		"graphdriver that insists on all":            {graphdriverStore, saved2010(three), false, true, false, 2},
		"graphdriver, from an archive":               {graphdriverStore, nil, false, false, false, 1},
		"graphdriver with the base, from an archive": {graphdriverStore, nil, true, false, true, 1},
		"containerd store, from itself":              {containerdStore, savedBlobs(gz), false, false, true, 1},
		"containerd store that insists on all":       {containerdStore, savedBlobs(gz), false, true, false, 2},
		"containerd store, from an archive":          {containerdStore, nil, false, false, false, 1},
		"podman, from itself":                        {podmanStore, savedPodman(three), false, false, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			e, opt := newFakeEngine(t, c.store)
			from := "demo:1"
			switch {
			case c.own != nil:
				e.add(gz, id, c.own)
			case c.hasBase:
				e.add(testImage{names: []string{"base:1"}, layers: three.layers[:1]}, "sha256:a", nil)
				fallthrough
			default:
				from = write(t, "in.tar", dockerArchive(three))
			}
			e.strict = c.strict
			stored, err := toFakeEngine(t, e, opt, from, nil)
			if err != nil {
				t.Fatal(err)
			}
			if stored.Images[0].BaseOmitted != c.omitted || len(e.loads) != c.loads {
				t.Errorf("base omitted: %v, %d loads: %v", stored.Images[0].BaseOmitted, len(e.loads), e.loads)
			}
			_, im := e.find(stored.ID)
			if im == nil || !slices.Equal(im.names, []string{"demo:flat", "demo:second"}) || !slices.Equal(im.diffIDs, stored.Images[0].DiffIDs) {
				t.Errorf("the engine has %+v", im)
			}
			if stored.Images[0].DiffID != digestOfBytes(merged12) {
				t.Errorf("diff ID is %s", stored.Images[0].DiffID)
			}
		})
	}
}

func TestEngineIsLeftAsItWas(t *testing.T) {
	gz := testImage{names: three.names, layers: three.layers, stored: [][]byte{gzipBytes(base), gzipBytes(upper), gzipBytes(third)}}
	id := digestOfBytes(three.config()).String()
	saved := map[engineStore][]byte{graphdriverStore: saved2010(three), containerdStore: savedBlobs(gz), podmanStore: savedPodman(three)}
	for store, stream := range saved {
		for failure, c := range map[string]struct {
			change func(*NewImage)
			engine func(*fakeEngine)
		}{
			"Write fails": {change: func(n *NewImage) {
				n.Write = func(_ context.Context, w io.Writer) error {
					if _, err := w.Write(merged12[:700]); err != nil {
						return err
					}
					return &ownError{700}
				}
			}},
			"Config fails":           {change: func(n *NewImage) { n.Config = func([]v1.Hash) ([]byte, error) { return nil, &ownError{} } }},
			"tagging fails":          {engine: func(e *fakeEngine) { e.failTag = "docker.io/library/demo" }},
			"the result isn't right": {engine: func(e *fakeEngine) { e.lies = true }},
		} {
			t.Run(fmt.Sprint(store, " ", failure), func(t *testing.T) {
				e, opt := newFakeEngine(t, store)
				e.add(gz, id, stream)
				if c.engine != nil && !strings.Contains(failure, "right") {
					c.engine(e)
				}
				if strings.Contains(failure, "right") {
					c.change = func(n *NewImage) {
						write := n.Write
						n.Write = func(ctx context.Context, w io.Writer) error {
							e.mu.Lock()
							e.lies = true
							e.mu.Unlock()
							return write(ctx, w)
						}
					}
				}
				_, err := toFakeEngine(t, e, opt, "demo:1", c.change)
				var own *ownError
				if strings.Contains(failure, "right") != errors.Is(err, ErrDiffers) {
					t.Errorf("error is %v", err)
				}
				if err == nil || strings.HasSuffix(failure, "e fails") && strings.HasPrefix(failure, "W") && !errors.As(err, &own) {
					t.Errorf("error is %v", err)
				}
				if len(e.images) != 1 || !slices.Equal(e.images[id].names, three.names) {
					t.Errorf("the engine has %v", e.images)
				}
			})
		}
	}
}

func TestLocalsTellTheirConfig(t *testing.T) {
	e, opt := newFakeEngine(t, graphdriverStore)
	e.add(testImage{names: []string{"b:1"}, layers: [][]byte{base}}, "sha256:b", nil)
	e.add(testImage{names: []string{"a:2", "a:1"}, layers: [][]byte{base, upper}}, "sha256:a", nil)
	e.add(testImage{layers: [][]byte{third}}, "sha256:c", nil)
	cli, err := opt.Client()
	must(err)
	locals, err := Locals(context.Background(), cli)
	if err != nil || len(locals) != 2 {
		t.Fatalf("%v, %v", locals, err)
	}
	a := locals[0]
	if !slices.Equal(a.Names, []string{"a:1", "a:2"}) || len(a.Image.RootFS.DiffIDs) != 2 || a.Image.Config.Env[0] != "A=1" {
		t.Errorf("first is %+v, %+v", a, a.Image)
	}
	if h := a.Image.History; len(h) != 2 || h[0].CreatedBy != "oldest" || h[0].EmptyLayer || !h[1].EmptyLayer {
		t.Errorf("history is %+v", h)
	}
}

func TestLocalsPassOverABrokenImage(t *testing.T) {
	e, opt := newFakeEngine(t, graphdriverStore)
	e.add(testImage{names: []string{"b:1"}, layers: [][]byte{base}}, "sha256:b", nil)
	e.add(testImage{names: []string{"a:1"}, layers: [][]byte{base, upper}}, "sha256:a", nil)
	e.broken = "sha256:a"
	cli, err := opt.Client()
	must(err)
	locals, err := Locals(context.Background(), cli)
	if err != nil || len(locals) != 1 || locals[0].ID != "sha256:b" {
		t.Errorf("%v, %v", locals, err)
	}
}

// TestInterruptAfterTheLastByteLeavesNothing: an engine that has all of an
// archive loads it, whether anybody waits for it or not.
func TestInterruptAfterTheLastByteLeavesNothing(t *testing.T) {
	for _, store := range []engineStore{graphdriverStore, containerdStore} {
		t.Run(fmt.Sprint(store), func(t *testing.T) {
			e, opt := newFakeEngine(t, store)
			ctx, cancel := context.WithCancel(t.Context())
			e.sent = func() {
				cancel()
				time.Sleep(300 * time.Millisecond) // the client is gone by now
			}
			src := open(t, write(t, "in.tar", dockerArchive(three)), opt)
			im := src.Images[0]
			if _, err := readLayers(im, func(int) bool { return true }); err != nil {
				t.Fatal(err)
			}
			ref, err := ParseRef("docker-daemon:demo:flat")
			must(err)
			d, err := OpenDest(ctx, ref, opt)
			must(err)
			_, err = d.Store(ctx, src, []NewImage{flat(im, 1, merged12)}, []string{"demo:flat"}, Compression{})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			for {
				e.mu.Lock()
				loads, images := len(e.loads), len(e.images)
				e.mu.Unlock()
				if loads == 0 {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				if images != 0 {
					t.Errorf("%d images are left behind", images)
				}
				break
			}
		})
	}
}

// TestEngineThatDiesIsNamed: that the archive can't be written any more is what
// follows, not what happened.
func TestEngineThatDiesIsNamed(t *testing.T) {
	e, opt := newFakeEngine(t, graphdriverStore)
	e.dies = true
	src := open(t, write(t, "in.tar", dockerArchive(three)), Options{})
	im := src.Images[0]
	images := []NewImage{{From: im, Size: 1 << 22, Write: func(_ context.Context, w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<22)) // more than any socket's buffers hold
		return err
	}, Config: func([]v1.Hash) ([]byte, error) { return im.RawConfig, nil }}}
	_, err := storeErr(t, "docker-daemon:x:1", src, images, []string{"x:1"}, Compression{}, opt)
	var own *Error
	if !errors.As(err, &own) || !strings.Contains(err.Error(), "tcp://") || errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
}
