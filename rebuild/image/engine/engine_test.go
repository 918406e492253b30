package engine_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/imagetest"
)

// saved2010 is im as Docker 20.10 to 24 saves it: directories in the order of
// their names, which are v1 image IDs, and equal layers as symbolic links.
func saved2010(im imagetest.Raw) []byte {
	config := imagetest.Digest(im.Config()).Hex + ".json"
	saved := imagetest.Saved{Config: config}
	dirs := map[string][]any{}
	first := map[v1.Hash]string{}
	var ids []string
	var chain v1.Hash
	parent := ""
	for i, l := range im.Layers {
		d := imagetest.Digest(l)
		if i == 0 {
			chain = d
		} else {
			chain = imagetest.Digest([]byte(chain.String() + " " + d.String()))
		}
		// the struct of moby's image.V1Image, as far as it is filled in here
		inner, extra := `{"Hostname":"","Env":null}`, ""
		if i == len(im.Layers)-1 {
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
	var f imagetest.Members
	for _, id := range ids {
		f = append(f, dirs[id]...)
	}
	raw, err := json.Marshal([]imagetest.Saved{saved})
	imagetest.Must(err)
	return append(f, config, im.Config(), "manifest.json", raw).Tar()
}

// What an engine leaves out of its stream is named, with a way round it.
func TestEngineLeavesOutAPart(t *testing.T) {
	config := image.BlobPath(imagetest.Digest(gz.Config()))
	first := image.BlobPath(imagetest.Digest(gz.Stored[0]))
	for name, c := range map[string]struct {
		out  []string
		text string
	}{
		"a layer that may not be distributed": {[]string{first}, ": layer 1 of 3 (" + imagetest.Digest(gz.Layers[0]).String() + ") isn't in the engine's stream"},
		"everything, for lack of one blob":    {[]string{config, first, image.BlobPath(imagetest.Digest(gz.Stored[1])), image.BlobPath(imagetest.Digest(gz.Stored[2]))}, ": the config document isn't in the engine's stream"},
	} {
		var saved bytes.Buffer
		w, r := tar.NewWriter(&saved), tar.NewReader(bytes.NewReader(savedBlobs(gz)))
		for h, err := r.Next(); err != io.EOF; h, err = r.Next() {
			imagetest.Must(err)
			if slices.Contains(c.out, h.Name) {
				continue
			}
			imagetest.Must(w.WriteHeader(h))
			_, err := io.Copy(w, r)
			imagetest.Must(err)
		}
		imagetest.Must(w.Close())
		e, opt := newFakeEngine(t, engine.Containerd)
		e.add(gz, imagetest.Digest([]byte("index")).String(), saved.Bytes())
		_, _, err := imagetest.ReadLayers(imagetest.Open(t, "demo:1", opt).Images[0], nil)
		var known *image.Error
		if !errors.As(err, &known) || !strings.HasSuffix(err.Error(), c.text) || !strings.Contains(known.Hint, "docker://") {
			t.Errorf("%s: error is %v, %+v", name, err, known)
		}
	}
}

// savedBlobs is im as Docker 25 and newer save it; with stored blobs, as the
// containerd store does.
func savedBlobs(im imagetest.Raw) []byte {
	m := im.Manifest(false)
	blobs := map[string][]byte{image.BlobPath(imagetest.Digest(m)): m, image.BlobPath(imagetest.Digest(im.Config())): im.Config()}
	saved := imagetest.Saved{Config: image.BlobPath(imagetest.Digest(im.Config()))}
	for i := range im.Layers {
		name := image.BlobPath(imagetest.Digest(im.Blob(i)))
		blobs[name] = im.Blob(i)
		saved.Layers = append(saved.Layers, name)
	}
	att, attBlobs := imagetest.Attestation(im)
	for _, b := range attBlobs {
		blobs[image.BlobPath(imagetest.Digest(b))] = b
	}
	inner := imagetest.Index(imagetest.Entry{Kind: "application/vnd.oci.image.manifest.v1+json", Doc: m, Platform: "linux/amd64"}, att)
	blobs[image.BlobPath(imagetest.Digest(inner))] = inner
	var names []string
	for n := range blobs {
		names = append(names, n)
	}
	slices.Sort(names)
	var f imagetest.Members
	for _, n := range names {
		f = append(f, n, blobs[n])
	}
	raw, err := json.Marshal([]imagetest.Saved{saved})
	imagetest.Must(err)
	return append(f, "index.json", imagetest.Index(imagetest.Entry{Kind: "application/vnd.oci.image.index.v1+json", Doc: inner}), "manifest.json", raw, "oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)).Tar()
}

// loadedManifest is the manifest that a containerd store makes of an image that
// docker load brought uncompressed: it only restates the diff IDs.
func loadedManifest(im imagetest.Raw) []byte {
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.DockerManifestSchema2, Config: v1.Descriptor{MediaType: types.DockerConfigJSON, Digest: imagetest.Digest(im.Config()), Size: int64(len(im.Config()))}}
	for _, l := range im.Layers {
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: types.DockerUncompressedLayer, Digest: imagetest.Digest(l), Size: int64(len(l))})
	}
	doc, err := json.Marshal(m)
	imagetest.Must(err)
	return doc
}

// savedLoaded is im as the containerd store saves it then.
func savedLoaded(im imagetest.Raw) []byte {
	doc := loadedManifest(im)
	saved := imagetest.Saved{Config: image.BlobPath(imagetest.Digest(im.Config()))}
	f := imagetest.Members{saved.Config, im.Config(), image.BlobPath(imagetest.Digest(doc)), doc}
	for _, l := range im.Layers {
		saved.Layers = append(saved.Layers, image.BlobPath(imagetest.Digest(l)))
		f = append(f, image.BlobPath(imagetest.Digest(l)), l)
	}
	raw, err := json.Marshal([]imagetest.Saved{saved})
	imagetest.Must(err)
	return append(f, "index.json", imagetest.Index(imagetest.Entry{Kind: types.DockerManifestSchema2, Doc: doc}), "manifest.json", raw).Tar()
}

// savedPodman is im as podman saves it.
func savedPodman(im imagetest.Raw) []byte {
	saved := imagetest.Saved{Config: imagetest.Digest(im.Config()).Hex + ".json"}
	var f imagetest.Members
	for i, l := range im.Layers {
		name := imagetest.Digest(l).Hex + ".tar"
		saved.Layers = append(saved.Layers, name)
		f = append(f, name, l, fmt.Sprintf("%064x/layer.tar -> ../%s", i, name))
	}
	raw, err := json.Marshal([]imagetest.Saved{saved})
	imagetest.Must(err)
	return append(f, saved.Config, im.Config(), "manifest.json", raw).Tar()
}

func TestEngineImageIsReadInOneSave(t *testing.T) {
	many := imagetest.Raw{Names: []string{"many:1"}}
	for i := range 20 {
		many.Layers = append(many.Layers, imagetest.Tar(fmt.Sprintf("file%d", i)))
	}
	many.Layers = append(many.Layers, many.Layers[3], many.Layers[7], imagetest.Tar("top"))
	stored := many
	for i, l := range many.Layers {
		stored.Stored = append(stored.Stored, [][]byte{imagetest.Gzip(l), imagetest.Zstd(l), l}[i%3])
	}
	one := imagetest.Raw{Names: []string{"many:1"}, Layers: [][]byte{imagetest.Base}}
	for name, c := range map[string]struct {
		store engine.Store
		im    imagetest.Raw
		saved []byte
	}{
		"Docker 20.10":              {engine.Graphdriver, many, saved2010(many)},
		"Docker 20.10, one layer":   {engine.Graphdriver, one, saved2010(one)},
		"Docker 25":                 {engine.Graphdriver, many, savedBlobs(many)},
		"containerd store":          {engine.Containerd, stored, savedBlobs(stored)},
		"podman":                    {engine.Podman, many, savedPodman(many)},
		"names that aren't digests": {engine.Podman, many, fixNames(many)},
	} {
		for _, keep := range []string{"all", "none", "some"} {
			t.Run(name+" keep "+keep, func(t *testing.T) {
				e, opt := newFakeEngine(t, c.store)
				id := imagetest.Digest(c.im.Config()).String()
				if c.store == engine.Containerd {
					id = imagetest.Digest([]byte("index")).String()
				}
				e.add(c.im, id, c.saved)
				opened := imagetest.Open(t, "many:1", opt).Images[0]
				if p := opened.Platform.String(); p != "linux/amd64" {
					t.Errorf("platform is %s", p)
				}
				kept := func(i int) bool { return keep == "all" || keep == "some" && i%2 == 1 }
				got, im, err := imagetest.ReadLayers(opened, kept)
				if err != nil {
					t.Fatal(err)
				}
				imagetest.SameLayers(t, got, c.im.Layers)
				if !bytes.Equal(im.Config, c.im.Config()) {
					t.Errorf("config is %s", im.Config)
				}
				if (im.Manifest != nil) != (c.store == engine.Containerd) {
					t.Errorf("manifest is %v", im.Manifest)
				}
				delete(e.saved, id) // kept layers need no other save
				for i := range got {
					if !kept(i) {
						continue
					}
					readAgain(t, im, i, c.im.Layers[i])
				}
				e.saved[id] = c.saved // the others do
				readAgain(t, im, 0, c.im.Layers[0])
			})
		}
	}
}

// readAgain reads a layer of an image that has been read, which must be want.
func readAgain(t *testing.T, im *image.Image, i int, want []byte) {
	t.Helper()
	r, err := im.Layer(i).Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(b, want) {
		t.Errorf("layer %d again: %d bytes, %v", i, len(b), err)
	}
}

// fixNames is im saved with names that tell nothing about their contents.
func fixNames(im imagetest.Raw) []byte {
	saved := imagetest.Saved{Config: "config.json"}
	f := imagetest.Members{"config.json", im.Config()}
	for i, l := range im.Layers {
		saved.Layers = append(saved.Layers, fmt.Sprintf("l%d.tar", i))
		f = append(f, saved.Layers[i], l)
	}
	raw, err := json.Marshal([]imagetest.Saved{saved})
	imagetest.Must(err)
	return append(f, "manifest.json", raw).Tar()
}

// In the forms that Docker's graphdriver engines write, layers are known before
// they are read: nothing needs a temporary file.
func TestEngineStreamIsNotSpooled(t *testing.T) {
	for name, saved := range map[string][]byte{"20.10": saved2010(imagetest.Three), "25": savedBlobs(imagetest.Three)} {
		e, opt := newFakeEngine(t, engine.Graphdriver)
		e.add(imagetest.Three, imagetest.Digest(imagetest.Three.Config()).String(), saved)
		opt.TempDir = filepath.Join(t.TempDir(), "missing")
		ref, err := image.ParseRef("demo:1")
		imagetest.Must(err)
		src, err := engine.Open(context.Background(), ref, opt)
		imagetest.Must(err)
		if _, _, err := imagetest.ReadLayers(src.Images[0], nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		imagetest.Must(src.Close())
	}
}

// A containerd store sends compressed layers under names that don't tell which
// they are: what is on its way is shown.
func TestSavingIsShown(t *testing.T) {
	for name, c := range map[string]struct {
		im   imagetest.Raw
		want []string
	}{
		"compressed":   {gz, []string{fmt.Sprintf("saving %d of 0", len(gz.Stored[0])+len(gz.Stored[1])+len(gz.Stored[2]))}},
		"uncompressed": {imagetest.Three, nil}, // read as they pass
	} {
		e, opt := newFakeEngine(t, engine.Containerd)
		bars := &imagetest.Bars{}
		opt.Display = bars
		e.add(c.im, imagetest.Digest([]byte("index")).String(), savedBlobs(c.im))
		imagetest.ReadAll(t, imagetest.Open(t, "demo:1", opt).Images[0])
		if got := bars.Lines(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, not %q", name, got, c.want)
		}
	}
}

// A platform is asked for only where an image has several, and not a second time
// where the engine doesn't find one that it has told.
func TestPlatformIsAskedForWhereThereAreSeveral(t *testing.T) {
	platform := `{"architecture":"amd64","os":"linux"}`
	for name, c := range map[string]struct {
		others int
		fussy  bool
		asked  []string
	}{
		"one image":            {0, true, []string{""}},
		"several":              {1, false, []string{platform}},
		"several, and refused": {1, true, []string{platform, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			e, opt := newFakeEngine(t, engine.Containerd)
			id := imagetest.Digest([]byte("index")).String()
			e.add(gz, id, savedBlobs(gz))
			e.images[id].others, e.fussy = c.others, c.fussy
			imagetest.SameLayers(t, imagetest.ReadAll(t, imagetest.Open(t, "demo:1", opt).Images[0]), gz.Layers)
			if !slices.Equal(e.saves, c.asked) {
				t.Errorf("saves were asked for %q, not %q", e.saves, c.asked)
			}
		})
	}
}

// What an engine saves of all platforms has the wanted one found by its layers.
func TestOneOfSeveralSavedImagesIsFound(t *testing.T) {
	other := imagetest.Raw{Platform: "linux/arm64", Layers: [][]byte{imagetest.Tar("other")}}
	one := imagetest.Raw{Names: []string{"demo:1"}, Layers: [][]byte{imagetest.Base, imagetest.Upper}}
	for name, images := range map[string][]imagetest.Raw{"first": {one, other}, "second": {other, one}} {
		e, opt := newFakeEngine(t, engine.Containerd)
		id := imagetest.Digest([]byte("index")).String()
		e.add(one, id, imagetest.DockerArchive(images...))
		layers, im, err := imagetest.ReadLayers(imagetest.Open(t, "demo:1", opt).Images[0], nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		imagetest.SameLayers(t, layers, one.Layers)
		if !bytes.Equal(im.Config, one.Config()) {
			t.Errorf("%s: config is %s", name, im.Config)
		}
	}
}

func TestDamagedEngineStream(t *testing.T) {
	whole := saved2010(imagetest.Three)
	id := imagetest.Digest(imagetest.Three.Config()).String()
	changed := bytes.Clone(whole)
	changed[bytes.Index(changed, imagetest.Upper)+3] ^= 1
	other := imagetest.Raw{Layers: [][]byte{imagetest.Base, imagetest.Upper}}
	for name, c := range map[string]struct {
		saved []byte
		is    error
		text  string
	}{
		"cut off":        {whole[:len(whole)/2], image.ErrTruncated, "early"},
		"empty":          {nil, nil, "manifest.json"},
		"changed layer":  {changed, image.ErrDigest, "layer 2 of 3"},
		"another image":  {saved2010(other), nil, ""},
		"changed config": {bytes.Replace(whole, []byte("A=1"), []byte("A=2"), -1), image.ErrDigest, "config"},
	} {
		t.Run(name, func(t *testing.T) {
			e, opt := newFakeEngine(t, engine.Graphdriver)
			e.add(imagetest.Three, id, c.saved)
			_, _, err := imagetest.ReadLayers(imagetest.Open(t, "demo:1", opt).Images[0], nil)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestParentsAreFollowed(t *testing.T) {
	e, opt := newFakeEngine(t, engine.Graphdriver)
	e.add(imagetest.Three, "sha256:c", nil)
	e.add(imagetest.Raw{Layers: imagetest.Three.Layers[:2]}, "sha256:b", nil)
	e.add(imagetest.Raw{Names: []string{"base:1"}, Layers: imagetest.Three.Layers[:1]}, "sha256:a", nil)
	e.images["sha256:c"].parent, e.images["sha256:b"].parent, e.images["sha256:a"].parent = "sha256:b", "sha256:a", "sha256:gone"
	cli, err := opt.Client()
	imagetest.Must(err)
	survey, err := engine.Look(t.Context(), cli, "demo:1")
	if err != nil {
		t.Fatal(err)
	}
	parents := survey.Parents
	if len(parents) != 2 || parents[0].ID != "sha256:b" || !slices.Equal(parents[1].Names, []string{"base:1"}) || len(parents[1].DiffIDs) != 1 {
		t.Errorf("parents are %+v", parents)
	}
	if survey.Self.ID != "sha256:c" || len(survey.Locals) != 2 {
		t.Errorf("it is %+v, with %d named images", survey.Self, len(survey.Locals))
	}
}

func TestEngineHasNoSuchImage(t *testing.T) {
	e, opt := newFakeEngine(t, engine.Graphdriver)
	e.add(imagetest.Raw{Names: []string{"debian:12", "ubuntu:24.04"}}, "sha256:a", nil)
	t.Chdir(t.TempDir())
	imagetest.Must(os.Mkdir("testdata-of-mine", 0o755))
	for name, hint := range map[string]string{"debian:11": "there is debian:12", "debain:12": "there is debian:12", "nginx": "docker images", "testdata-of-mine": "./testdata-of-mine"} {
		_, err := imagetest.OpenErr(t, name, opt)
		var own *image.Error
		if !errors.Is(err, image.ErrNoImage) || !errors.As(err, &own) || !strings.Contains(own.Hint, hint) {
			t.Errorf("%s: %v, hint %q", name, err, own.Hint)
		}
	}
}

func TestNoEngineForAPath(t *testing.T) {
	t.Chdir(t.TempDir())
	imagetest.Must(os.Mkdir("layout", 0o755))
	opt := image.Options{Client: func() (*client.Client, error) { return engine.NewClient("", "unix:///nonexistent/docker.sock", 0) }}
	_, err := imagetest.OpenErr(t, "layout", opt)
	var own *image.Error
	if !errors.Is(err, image.ErrNoEngine) || !errors.As(err, &own) || !strings.Contains(own.Hint, "./layout") {
		t.Errorf("%v", err)
	}
}

func TestNoEngine(t *testing.T) {
	t.Setenv("PATH", "") // no ssh
	for _, host := range []string{"unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1", "ssh://192.0.2.3"} {
		opt := image.Options{Client: func() (*client.Client, error) { return engine.NewClient("", host, 0) }}
		_, err := imagetest.OpenErr(t, "demo:1", opt)
		var own *image.Error
		if err != nil && (strings.Contains(err.Error(), "http://") || strings.Contains(err.Error(), "example.com")) {
			t.Errorf("%s: names another address: %v", host, err)
		}
		if !errors.Is(err, image.ErrNoEngine) || !strings.Contains(err.Error(), host) || !errors.As(err, &own) || !strings.Contains(own.Hint, "archive") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// toFakeEngine stores the flattened image of a docker-archive, or of the engine
// itself, in a fake engine.
func toFakeEngine(t *testing.T, opt image.Options, from string, change func(*image.NewImage)) (*image.Stored, error) {
	p, err := engine.Prepare(t.Context(), imagetest.Ref(t, "docker-daemon:demo:flat"), []string{"demo:flat", "demo:second"}, opt)
	imagetest.Must(err)
	opened := imagetest.Open(t, from, opt).Images[0]
	reads, err := p.ReadsBase(t.Context(), opened, 1)
	imagetest.Must(err)
	_, im, err := imagetest.ReadLayers(opened, func(i int) bool { return i > 0 || reads })
	if err != nil {
		t.Fatal(err)
	}
	n := imagetest.Flat(im, 1, imagetest.Merged12)
	if change != nil {
		change(&n)
	}
	return imagetest.StoreIn(t.Context(), p, []image.NewImage{n}, nil)
}

func TestEngineGetsWhatItLacks(t *testing.T) {
	gz := imagetest.Raw{Names: imagetest.Three.Names, Layers: imagetest.Three.Layers, Stored: [][]byte{imagetest.Gzip(imagetest.Base), imagetest.Gzip(imagetest.Upper), imagetest.Gzip(imagetest.Third)}}
	id := imagetest.Digest(imagetest.Three.Config()).String()
	for name, c := range map[string]struct {
		store   engine.Store
		own     []byte // what the engine saves; nil = the image comes from an archive
		hasBase bool   // of the archive
		strict  bool
		omitted bool
		loads   int
	}{
		"graphdriver, from itself":                             {engine.Graphdriver, saved2010(imagetest.Three), false, false, true, 1},
		"graphdriver that insists on all":                      {engine.Graphdriver, saved2010(imagetest.Three), false, true, false, 2},
		"graphdriver, from an archive":                         {engine.Graphdriver, nil, false, false, false, 1},
		"graphdriver with the imagetest.Base, from an archive": {engine.Graphdriver, nil, true, false, true, 1},
		"containerd store, from itself":                        {engine.Containerd, savedBlobs(gz), false, false, true, 1},
		"containerd store, loaded uncompressed, from itself":   {engine.Containerd, savedLoaded(imagetest.Three), false, false, true, 1},
		"containerd store that insists on all":                 {engine.Containerd, savedBlobs(gz), false, true, false, 2},
		"containerd store, from an archive":                    {engine.Containerd, nil, false, false, false, 1},
		"podman, from itself":                                  {engine.Podman, savedPodman(imagetest.Three), false, false, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			e, opt := newFakeEngine(t, c.store)
			from := "demo:1"
			switch {
			case c.own != nil:
				e.add(gz, id, c.own)
			case c.hasBase:
				e.add(imagetest.Raw{Names: []string{"base:1"}, Layers: imagetest.Three.Layers[:1]}, "sha256:a", nil)
				fallthrough
			default:
				from = imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three))
			}
			e.strict = c.strict
			stored, err := toFakeEngine(t, opt, from, nil)
			if err != nil {
				t.Fatal(err)
			}
			last := e.loads[len(e.loads)-1]
			omitted := !slices.ContainsFunc(last, func(name any) bool {
				return strings.Contains(name.(string), imagetest.Digest(imagetest.Base).Hex) || strings.Contains(name.(string), imagetest.Digest(imagetest.Gzip(imagetest.Base)).Hex)
			})
			if omitted != c.omitted || len(e.loads) != c.loads {
				t.Errorf("base omitted: %v, %d loads: %v", omitted, len(e.loads), e.loads)
			}
			if c.own != nil && len(e.saves) != c.loads {
				t.Errorf("%d saves", len(e.saves))
			}
			_, im := e.find(stored.ID)
			if im == nil || !slices.Equal(im.names, []string{"demo:flat", "demo:second"}) || !slices.Equal(im.diffIDs, stored.Images[0].DiffIDs) {
				t.Errorf("the engine has %+v", im)
			}
			if stored.Images[0].DiffID != imagetest.Digest(imagetest.Merged12) {
				t.Errorf("diff ID is %s", stored.Images[0].DiffID)
			}
		})
	}
}

type ownError struct{ at int64 }

func (*ownError) Error() string { return "own" }

func TestEngineIsLeftAsItWas(t *testing.T) {
	gz := imagetest.Raw{Names: imagetest.Three.Names, Layers: imagetest.Three.Layers, Stored: [][]byte{imagetest.Gzip(imagetest.Base), imagetest.Gzip(imagetest.Upper), imagetest.Gzip(imagetest.Third)}}
	id := imagetest.Digest(imagetest.Three.Config()).String()
	saved := map[engine.Store][]byte{engine.Graphdriver: saved2010(imagetest.Three), engine.Containerd: savedBlobs(gz), engine.Podman: savedPodman(imagetest.Three)}
	for store, stream := range saved {
		for failure, c := range map[string]struct {
			change func(*image.NewImage)
			engine func(*fakeEngine)
		}{
			"Write fails": {change: func(n *image.NewImage) {
				n.Write = func(_ context.Context, w io.Writer) error {
					if _, err := w.Write(imagetest.Merged12[:700]); err != nil {
						return err
					}
					return &ownError{700}
				}
			}},
			"Config fails":           {change: func(n *image.NewImage) { n.Config = func([]v1.Hash) ([]byte, error) { return nil, &ownError{} } }},
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
					c.change = func(n *image.NewImage) {
						write := n.Write
						n.Write = func(ctx context.Context, w io.Writer) error {
							e.mu.Lock()
							e.lies = true
							e.mu.Unlock()
							return write(ctx, w)
						}
					}
				}
				_, err := toFakeEngine(t, opt, "demo:1", c.change)
				var own *ownError
				if strings.Contains(failure, "right") != errors.Is(err, image.ErrDiffers) {
					t.Errorf("error is %v", err)
				}
				if err == nil || strings.HasSuffix(failure, "e fails") && strings.HasPrefix(failure, "W") && !errors.As(err, &own) {
					t.Errorf("error is %v", err)
				}
				if len(e.images) != 1 || !slices.Equal(e.images[id].names, imagetest.Three.Names) {
					t.Errorf("the engine has %v", e.images)
				}
			})
		}
	}
}

func TestLocalsTellTheirConfig(t *testing.T) {
	e, opt := newFakeEngine(t, engine.Graphdriver)
	e.add(imagetest.Raw{Names: []string{"b:1"}, Layers: [][]byte{imagetest.Base}}, "sha256:b", nil)
	e.add(imagetest.Raw{Names: []string{"a:2", "a:1"}, Layers: [][]byte{imagetest.Base, imagetest.Upper}}, "sha256:a", nil)
	e.add(imagetest.Raw{Layers: [][]byte{imagetest.Third}}, "sha256:c", nil)
	cli, err := opt.Client()
	imagetest.Must(err)
	survey, err := engine.Look(context.Background(), cli, "")
	if err != nil || survey.Self != nil || len(survey.Locals) != 2 {
		t.Fatalf("%v, %v", survey, err)
	}
	a := survey.Locals[0]
	if !slices.Equal(a.Names, []string{"a:1", "a:2"}) || len(a.Image.RootFS.DiffIDs) != 2 || a.Image.Config.Env[0] != "A=1" {
		t.Errorf("first is %+v, %+v", a, a.Image)
	}
	if h := a.Image.History; len(h) != 2 || h[0].CreatedBy != "oldest" || h[0].EmptyLayer || !h[1].EmptyLayer {
		t.Errorf("history is %+v", h)
	}
}

func TestLocalsPassOverABrokenImage(t *testing.T) {
	e, opt := newFakeEngine(t, engine.Graphdriver)
	e.add(imagetest.Raw{Names: []string{"b:1"}, Layers: [][]byte{imagetest.Base}}, "sha256:b", nil)
	e.add(imagetest.Raw{Names: []string{"a:1"}, Layers: [][]byte{imagetest.Base, imagetest.Upper}}, "sha256:a", nil)
	e.broken = "sha256:a"
	cli, err := opt.Client()
	imagetest.Must(err)
	survey, err := engine.Look(context.Background(), cli, "")
	if err != nil || survey.Self != nil || len(survey.Locals) != 1 || survey.Locals[0].ID != "sha256:b" {
		t.Errorf("%v, %v", survey, err)
	}
}

// TestInterruptAfterTheLastByteLeavesNothing: an engine that has all of an
// archive loads it, whether anybody waits for it or not.
func TestInterruptAfterTheLastByteLeavesNothing(t *testing.T) {
	for _, store := range []engine.Store{engine.Graphdriver, engine.Containerd} {
		t.Run(fmt.Sprint(store), func(t *testing.T) {
			e, opt := newFakeEngine(t, store)
			ctx, cancel := context.WithCancel(t.Context())
			e.sent = func() {
				cancel()
				time.Sleep(300 * time.Millisecond) // the client is gone by now
			}
			im := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), opt).Images[0]
			imagetest.ReadAll(t, im)
			p, err := engine.Prepare(ctx, imagetest.Ref(t, "docker-daemon:demo:flat"), nil, opt)
			imagetest.Must(err)
			_, err = imagetest.StoreIn(ctx, p, []image.NewImage{imagetest.Flat(im, 1, imagetest.Merged12)}, nil)
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
	e, opt := newFakeEngine(t, engine.Graphdriver)
	e.dies = true
	src := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	im := src.Images[0]
	images := []image.NewImage{{From: im, Size: 1 << 22, Write: func(_ context.Context, w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<22)) // more than any socket's buffers hold
		return err
	}, Config: func([]v1.Hash) ([]byte, error) { return im.Config, nil }}}
	_, err := imagetest.StoreErr(t, "docker-daemon:x:1", src, images, []string{"x:1"}, opt)
	var own *image.Error
	if !errors.As(err, &own) || !strings.Contains(err.Error(), "tcp://") || errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
}
