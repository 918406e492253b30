package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var merged12 = layer("app/", "app/a", "app/b", "bin/ls -> sh")

// compressedThree has its lowest layer stored by a tool whose bytes nothing
// here would make again.
var compressedThree = testImage{names: three.names, layers: three.layers, stored: [][]byte{gzipBytes(base), gzipBytes(upper), zstdBytes(third)}}

// newRegistry is a registry on a loopback address.
func newRegistry(t *testing.T, handlers ...func(http.Handler) http.Handler) (host string) {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	h := registry.New()
	for _, wrap := range handlers {
		h = wrap(h)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// places returns a reference to store at, of every kind that needs no engine.
func places(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	return map[string]string{
		"docker-archive": filepath.Join(dir, "out.tar"),
		"oci":            "oci:" + filepath.Join(dir, "layout") + ":v1",
		"oci-archive":    "oci-archive:" + filepath.Join(dir, "oci.tar"),
		"registry":       "docker://" + newRegistry(t) + "/demo:flat",
	}
}

// From every source to every destination: the config is as given, the layers
// are right, the new layer has one diff ID, and the base is stored as it was.
func TestEveryRoute(t *testing.T) {
	sources := map[string]func(t *testing.T) string{
		"docker-archive": func(t *testing.T) string { return write(t, "in.tar", dockerArchive(compressedThree)) },
		"oci":            func(t *testing.T) string { return "oci:" + layoutOf(compressedThree, false, "").dir(t) },
		"oci-archive":    func(t *testing.T) string { return write(t, "in.tar", layoutOf(compressedThree, false, "").tar()) },
		"registry": func(t *testing.T) string {
			ref := "docker://" + newRegistry(t) + "/in:1"
			src := open(t, "oci:"+layoutOf(compressedThree, false, "").dir(t), Options{})
			im := src.Images[0]
			mustStore(t, ref, src, []NewImage{{From: im, Keep: 3, Config: func([]v1.Hash) ([]byte, error) { return im.RawConfig, nil }}}, nil, Compression{})
			return ref
		},
	}
	for from, source := range sources {
		for to, dest := range places(t) {
			for _, kind := range []string{Gzip, Zstandard, Uncompressed} {
				t.Run(from+" to "+to+" "+kind, func(t *testing.T) {
					src := open(t, source(t), Options{})
					im := src.Images[0]
					sameLayers(t, readAll(t, im), three.layers)
					stored := mustStore(t, dest, src, []NewImage{flat(im, 1, merged12)}, []string{"demo:flat"}, Compression{Kind: kind})
					if got, want := stored.Images[0].DiffID, digestOfBytes(merged12); got != want {
						t.Errorf("diff ID %s, not %s", got, want)
					}

					back := open(t, dest, Options{}).Images[0]
					sameLayers(t, readAll(t, back), [][]byte{base, merged12})
					want, err := withLayers(three.config(), back.DiffIDs)
					if must(err); !bytes.Equal(back.RawConfig, want) {
						t.Errorf("config is\n%s, not\n%s", back.RawConfig, want)
					}
					if to != "docker-archive" && back.Manifest.Layers[0].Digest != digestOfBytes(gzipBytes(base)) {
						t.Errorf("the base is stored as %s", back.Manifest.Layers[0].Digest)
					}
					if b := back.layers[1]; b.kind != kind {
						t.Errorf("the new layer is stored as %s", b.kind)
					}
				})
			}
		}
	}
}

func TestManifestKeepsWhatItHad(t *testing.T) {
	for name, docker := range map[string]bool{"oci": false, "docker": true} {
		t.Run(name, func(t *testing.T) {
			plain := testImage{layers: three.layers, stored: [][]byte{gzipBytes(base), gzipBytes(upper), gzipBytes(third)}}
			src := open(t, "oci:"+layoutOf(plain, docker, "").dir(t), Options{})
			im := src.Images[0]
			readAll(t, im)
			n := flat(im, 2, merged12)
			n.Annotations = map[string]string{"org.opencontainers.image.base.name": "base:1"}
			out := filepath.Join(t.TempDir(), "out")
			mustStore(t, "oci:"+out, src, []NewImage{n}, nil, Compression{})
			back := open(t, "oci:"+out, Options{}).Images[0]
			raw := string(back.rawManifest)
			var old struct{ Layers []json.RawMessage }
			must(json.Unmarshal(im.rawManifest, &old))
			for _, part := range []string{`"x-unknown":"kept"`, string(old.Layers[0]), string(old.Layers[1]), `"org.example.kept":"yes <&>"`} {
				if !strings.Contains(raw, part) && !strings.Contains(raw, strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(part)) {
					t.Errorf("manifest lacks %s: %s", part, raw)
				}
			}
			if _, given := back.Manifest.Annotations["org.opencontainers.image.base.name"]; given == docker {
				t.Errorf("the base's name is given: %v: %s", given, raw)
			}
			if back.Manifest.MediaType != im.Manifest.MediaType || back.Manifest.Config.MediaType != im.Manifest.Config.MediaType {
				t.Errorf("types changed: %s", raw)
			}
			if got := back.Manifest.Layers[2].MediaType; got != layerType(Gzip, !docker) {
				t.Errorf("new layer is a %s", got)
			}
		})
	}
}

func TestUnchangedImageKeepsItsDigest(t *testing.T) {
	src := open(t, "oci:"+layoutOf(compressedThree, false, "").dir(t), Options{})
	im := src.Images[0]
	same := NewImage{From: im, Keep: 3, Config: func([]v1.Hash) ([]byte, error) { return im.RawConfig, nil }}
	stored := mustStore(t, "oci:"+filepath.Join(t.TempDir(), "out"), src, []NewImage{same}, nil, Compression{})
	if stored.ID != im.ID {
		t.Errorf("%s became %s", im.ID, stored.ID)
	}
}

func TestZstdMakesADockerManifestOCI(t *testing.T) {
	plain := testImage{layers: three.layers, stored: [][]byte{gzipBytes(base), gzipBytes(upper), gzipBytes(third)}}
	src := open(t, "oci:"+layoutOf(plain, true, "").dir(t), Options{})
	im := src.Images[0]
	out, warned := filepath.Join(t.TempDir(), "out"), &warnings{}
	if _, err := storeErr(t, "oci:"+out, src, []NewImage{flat(im, 1, merged12)}, nil, Compression{Kind: Zstandard}, Options{Warn: warned.add}); err != nil {
		t.Fatal(err)
	}
	m := open(t, "oci:"+out, Options{}).Images[0].Manifest
	if m.MediaType != types.OCIManifestSchema1 || m.Config.MediaType != types.OCIConfigJSON || m.Layers[0].MediaType != types.OCILayer || m.Layers[1].MediaType != types.OCILayerZStd {
		t.Errorf("manifest is %+v", m)
	}
	if m.Layers[0].Digest != im.Manifest.Layers[0].Digest || len(warned.lines) != 1 {
		t.Errorf("base %s, warnings %q", m.Layers[0].Digest, warned.lines)
	}
}

// Some readers take the first layer's compression for that of all, and Docker
// before 23.0 knows no zstd.
func TestDockerArchiveIsCompressedLikeItsBase(t *testing.T) {
	as := func(stored func([]byte) []byte) testImage {
		return testImage{layers: three.layers, stored: [][]byte{stored(base), stored(upper), stored(third)}}
	}
	for name, c := range map[string]struct {
		im     testImage
		kind   string
		warned string
	}{
		"gzip":                  {as(gzipBytes), "", ""},
		"zstd":                  {as(zstdBytes), "", "older than 23.0"},
		"none on gzip":          {as(gzipBytes), Uncompressed, "--compression gzip is the base's"},
		"gzip on none":          {three, Gzip, "--compression none is the base's"},
		"zstd on gzip":          {as(gzipBytes), Zstandard, "older than 23.0"},
		"gzip on gzip, spelled": {as(gzipBytes), Gzip, ""},
	} {
		t.Run(name, func(t *testing.T) {
			src := open(t, "oci:"+layoutOf(c.im, false, "").dir(t), Options{})
			readAll(t, src.Images[0])
			out, warned := filepath.Join(t.TempDir(), "out.tar"), &warnings{}
			if _, err := storeErr(t, "docker-archive:"+out, src, []NewImage{flat(src.Images[0], 1, merged12)}, nil, Compression{Kind: c.kind}, Options{Warn: warned.add}); err != nil {
				t.Fatal(err)
			}
			if len(warned.lines) > 1 || !strings.Contains(strings.Join(warned.lines, ""), c.warned) || c.warned == "" && warned.lines != nil {
				t.Errorf("warnings: %q", warned.lines)
			}
			back := open(t, "docker-archive:"+out, Options{}).Images[0]
			sameLayers(t, readAll(t, back), [][]byte{base, merged12})
			if same := back.layers[0].kind == back.layers[1].kind; same != (c.kind == "" || c.kind == Gzip && c.im.stored != nil) {
				t.Errorf("layers are %s and %s", back.layers[0].kind, back.layers[1].kind)
			}
		})
	}
}

// A config descriptor with a wrong size makes an image that nobody reads; where
// the digest is right, the size can be put right.
func TestWrongSizeOfAConfigIsPutRight(t *testing.T) {
	src := open(t, "oci:"+layoutOf(compressedThree, false, "").dir(t), Options{})
	src.Images[0].Manifest.Config.Size = 1
	readAll(t, src.Images[0])
	n := flat(src.Images[0], 3, nil)
	n.Write, n.Config = nil, func([]v1.Hash) ([]byte, error) { return src.Images[0].RawConfig, nil }
	out := filepath.Join(t.TempDir(), "out")
	mustStore(t, "oci:"+out, src, []NewImage{n}, nil, Compression{})
	if got := open(t, "oci:"+out, Options{}).Images[0].Manifest.Config; got.Size != int64(len(compressedThree.config())) {
		t.Errorf("the config's descriptor is %+v", got)
	}
}

func TestSameInputGivesSameBytes(t *testing.T) {
	big := layer("big")
	for len(big) < 5<<20 { // several blocks of what compresses in parallel
		big = append(big, digestOfBytes(big[len(big)-1000:]).String()...)
	}
	path := write(t, "in.tar", dockerArchive(three))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, kind := range []string{"gzip", "gzip:1", "zstd", "zstd:1", "zstd:9", "none"} {
		for _, ext := range []string{"docker-archive", "oci-archive"} {
			var first []byte
			for _, procs := range []int{1, 4} {
				runtime.GOMAXPROCS(procs)
				src := open(t, path, Options{})
				readAll(t, src.Images[0])
				out := filepath.Join(t.TempDir(), "out.tar")
				c, err := ParseCompression(kind)
				must(err)
				mustStore(t, ext+":"+out, src, []NewImage{flat(src.Images[0], 1, big)}, []string{"demo:flat"}, c)
				b, err := os.ReadFile(out)
				if must(err); first == nil {
					first = b
				} else if !bytes.Equal(first, b) {
					t.Errorf("%s %s: different bytes with %d threads", ext, kind, procs)
				}
			}
		}
	}
}

func TestLayoutKeepsOtherImages(t *testing.T) {
	root := layoutOf(compressedThree, false, "old").dir(t)
	src := open(t, write(t, "in.tar", dockerArchive(three)), Options{})
	readAll(t, src.Images[0])
	for _, step := range []struct {
		ref   string
		names []string
		tar   []byte
		want  []string
	}{
		{"oci:" + root + ":new", nil, merged12, []string{"old", "new"}},
		{"oci:" + root + ":new", nil, third, []string{"old", "new"}},
		{"oci:" + root, []string{"demo:flat", "demo:2"}, third, []string{"old", "new", "docker.io/library/demo:flat", "docker.io/library/demo:2"}},
		{"oci:" + root + ":old", nil, third, []string{"new", "docker.io/library/demo:flat", "docker.io/library/demo:2", "old"}},
	} {
		mustStore(t, step.ref, src, []NewImage{flat(src.Images[0], 1, step.tar)}, step.names, Compression{})
		raw, err := os.ReadFile(filepath.Join(root, "index.json"))
		must(err)
		var ix v1.IndexManifest
		must(json.Unmarshal(raw, &ix))
		var have []string
		for _, d := range ix.Manifests {
			have = append(have, layoutNames(d)[0])
		}
		if !slices.Equal(have, step.want) {
			t.Errorf("after %s: %q, not %q", step.ref, have, step.want)
		}
		if !strings.Contains(string(raw), `"x-unknown":"kept"`) {
			t.Error("index.json lost a field")
		}
	}
	sameLayers(t, readAll(t, open(t, "oci:"+root+":new", Options{}).Images[0]), [][]byte{base, third})
	sameLayers(t, readAll(t, open(t, "oci:"+root+":demo:flat", Options{}).Images[0]), [][]byte{base, third})
}

type ownError struct{ at int64 }

func (*ownError) Error() string { return "own" }

// A failing Write or Config, or an interruption, leaves every destination as it
// was.
func TestNothingIsStoredAfterAnError(t *testing.T) {
	src := open(t, write(t, "in.tar", dockerArchive(three)), Options{})
	im := src.Images[0]
	readAll(t, im)
	existing := layoutOf(compressedThree, false, "old").dir(t)
	dests := places(t)
	dests["existing oci"] = "oci:" + existing + ":old"
	listing := func() (all []string) {
		for _, dir := range []string{existing, filepath.Dir(dests["docker-archive"])} {
			must(filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
				all = append(all, p)
				return err
			}))
		}
		return all
	}
	before := listing()
	for name, dest := range dests {
		for failure, change := range map[string]func(n *NewImage, cancel func()){
			"Write fails": func(n *NewImage, _ func()) {
				n.Write = func(_ context.Context, w io.Writer) error {
					if _, err := w.Write(merged12[:700]); err != nil {
						return err
					}
					return &ownError{700}
				}
			},
			"Config fails":       func(n *NewImage, _ func()) { n.Config = func([]v1.Hash) ([]byte, error) { return nil, &ownError{} } },
			"Write is too short": func(n *NewImage, _ func()) { n.Size++ },
			"Write is too long":  func(n *NewImage, _ func()) { n.Size-- },
			"interrupted": func(n *NewImage, cancel func()) {
				write := n.Write
				n.Write = func(ctx context.Context, w io.Writer) error {
					cancel()
					return write(ctx, w)
				}
			},
			"wrong diff IDs in the config": func(n *NewImage, _ func()) {
				n.Config = func([]v1.Hash) ([]byte, error) { return im.RawConfig, nil }
			},
		} {
			ctx, cancel := context.WithCancel(context.Background())
			ref, err := ParseRef(dest)
			must(err)
			temp := t.TempDir()
			d, err := OpenDest(ctx, ref, Options{TempDir: temp})
			if err != nil {
				t.Fatal(err)
			}
			n := flat(im, 1, merged12)
			change(&n, cancel)
			_, err = d.Store(ctx, src, []NewImage{n}, []string{"demo:flat"}, Compression{})
			cancel()
			var own *ownError
			if err == nil || strings.HasSuffix(failure, "fails") && !errors.As(err, &own) || failure == "interrupted" && !errors.Is(err, context.Canceled) {
				t.Errorf("%s, %s: %v", name, failure, err)
			}
			if after := listing(); !slices.Equal(before, after) {
				t.Errorf("%s, %s: left behind %q", name, failure, after)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("%s, %s: temporary files left", name, failure)
			}
			if strings.HasPrefix(dest, "docker://") {
				if _, err := openErr(t, dest, Options{}); !errors.Is(err, ErrNoImage) {
					t.Errorf("%s, %s: the tag is there: %v", name, failure, err)
				}
			}
		}
	}
}

func TestDamagedBaseStopsStoring(t *testing.T) {
	archive := dockerArchive(three)
	path := write(t, "in.tar", archive)
	src := open(t, path, Options{})
	im := src.Images[0]
	readAll(t, im)
	archive[bytes.Index(archive, base)+3] ^= 1 // after the reading
	must(os.WriteFile(path, archive, 0o644))
	out := filepath.Join(t.TempDir(), "out.tar")
	_, err := storeErr(t, out, src, []NewImage{flat(im, 1, third)}, nil, Compression{}, Options{})
	if !errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), "layer 1 of 3") {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("the file is there")
	}
}

func TestDestinationsThatCantBe(t *testing.T) {
	file := write(t, "file", []byte("x"))
	for dest, text := range map[string]string{
		filepath.Join(t.TempDir(), "no", "dir.tar"):             "no such file or directory",
		"oci:" + filepath.Dir(file):                             "no OCI layout",
		"docker-archive:" + t.TempDir():                         "is a directory",
		"oci:" + file:                                           "not a directory",
		"docker://localhost:1/a@" + digestOfBytes(nil).String(): "the digest follows from the image",
	} {
		ref, err := ParseRef(dest)
		must(err)
		if _, err := OpenDest(context.Background(), ref, Options{}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", dest, err)
		}
	}
}
