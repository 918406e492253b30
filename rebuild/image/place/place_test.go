package place_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/imagetest"
)

// places returns a reference to store at, of every kind that needs no engine.
func places(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	return map[string]string{
		"docker-archive": filepath.Join(dir, "out.tar"),
		"oci":            "oci:" + filepath.Join(dir, "layout") + ":v1",
		"oci-archive":    "oci-archive:" + filepath.Join(dir, "oci.tar"),
		"registry":       "docker://" + imagetest.Registry(t) + "/demo:flat",
	}
}

// namesFor are names for a result besides its reference's: in a registry it has
// none that isn't the registry's.
func namesFor(dest string) []string {
	if strings.HasPrefix(dest, "docker://") {
		return nil
	}
	return []string{"demo:flat"}
}

// From every source to every destination: the config is as given, the layers
// are right, the new layer has one diff ID, and the base is stored as it was.
func TestEveryRoute(t *testing.T) {
	sources := map[string]func(t *testing.T) string{
		"docker-archive": func(t *testing.T) string {
			return imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.CompressedThree))
		},
		"oci": func(t *testing.T) string {
			return "oci:" + imagetest.LayoutOf(imagetest.CompressedThree, false, "").Dir(t)
		},
		"oci-archive": func(t *testing.T) string {
			return imagetest.Write(t, "in.tar", imagetest.LayoutOf(imagetest.CompressedThree, false, "").Tar())
		},
		"registry": func(t *testing.T) string {
			ref := "docker://" + imagetest.Registry(t) + "/in:1"
			src := imagetest.Open(t, "oci:"+imagetest.LayoutOf(imagetest.CompressedThree, false, "").Dir(t), image.Options{})
			im := src.Images[0]
			imagetest.Store(t, ref, src, []image.NewImage{{From: im, Keep: 3, Config: func([]v1.Hash) ([]byte, error) { return im.Config, nil }}}, nil, image.Compression{})
			return ref
		},
	}
	for from, source := range sources {
		for to := range places(t) {
			for _, kind := range []string{image.Gzip, image.Zstandard, image.Uncompressed} {
				t.Run(from+" to "+to+" "+kind, func(t *testing.T) {
					dest := places(t)[to]
					src := imagetest.Open(t, source(t), image.Options{})
					im := src.Images[0]
					imagetest.SameLayers(t, imagetest.ReadAll(t, im), imagetest.Three.Layers)
					stored := imagetest.Store(t, dest, src, []image.NewImage{imagetest.Flat(im, 1, imagetest.Merged12)}, namesFor(dest), image.Compression{Kind: kind})
					if got, want := stored.Images[0].DiffID, imagetest.Digest(imagetest.Merged12); got != want {
						t.Errorf("diff ID %s, not %s", got, want)
					}

					back := imagetest.Open(t, dest, image.Options{}).Images[0]
					imagetest.SameLayers(t, imagetest.ReadAll(t, back), [][]byte{imagetest.Base, imagetest.Merged12})
					want, err := imagetest.WithLayers(imagetest.Three.Config(), back.DiffIDs)
					if imagetest.Must(err); !bytes.Equal(back.Config, want) {
						t.Errorf("config is\n%s, not\n%s", back.Config, want)
					}
					if to != "docker-archive" && back.Manifest.Layers[0].Digest != imagetest.Digest(imagetest.Gzip(imagetest.Base)) {
						t.Errorf("the base is stored as %s", back.Manifest.Layers[0].Digest)
					}
					if b := (image.NewImage{From: back, Keep: 2}).Base()[1]; b.Kind() != kind {
						t.Errorf("the new layer is stored as %s", b.Kind())
					}
				})
			}
		}
	}
}

func TestManifestKeepsWhatItHad(t *testing.T) {
	for name, docker := range map[string]bool{"oci": false, "docker": true} {
		t.Run(name, func(t *testing.T) {
			plain := imagetest.Raw{Layers: imagetest.Three.Layers, Stored: [][]byte{imagetest.Gzip(imagetest.Base), imagetest.Gzip(imagetest.Upper), imagetest.Gzip(imagetest.Third)}}
			src := imagetest.Open(t, "oci:"+imagetest.LayoutOf(plain, docker, "").Dir(t), image.Options{})
			im := src.Images[0]
			imagetest.ReadAll(t, im)
			n := imagetest.Flat(im, 2, imagetest.Merged12)
			n.Annotations = map[string]string{"org.opencontainers.image.base.name": "base:1"}
			out := filepath.Join(t.TempDir(), "out")
			imagetest.Store(t, "oci:"+out, src, []image.NewImage{n}, nil, image.Compression{})
			back := imagetest.Open(t, "oci:"+out, image.Options{}).Images[0]
			raw := string(back.Manifest.Raw)
			var old struct{ Layers []json.RawMessage }
			imagetest.Must(json.Unmarshal(im.Manifest.Raw, &old))
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
			if got := back.Manifest.Layers[2].MediaType; got != map[bool]types.MediaType{true: types.DockerLayer, false: types.OCILayer}[docker] {
				t.Errorf("new layer is a %s", got)
			}
		})
	}
}

func TestUnchangedImageKeepsItsDigest(t *testing.T) {
	src := imagetest.Open(t, "oci:"+imagetest.LayoutOf(imagetest.CompressedThree, false, "").Dir(t), image.Options{})
	im := src.Images[0]
	same := image.NewImage{From: im, Keep: 3, Config: func([]v1.Hash) ([]byte, error) { return im.Config, nil }}
	stored := imagetest.Store(t, "oci:"+filepath.Join(t.TempDir(), "out"), src, []image.NewImage{same}, nil, image.Compression{})
	if stored.ID != im.ID {
		t.Errorf("%s became %s", im.ID, stored.ID)
	}
}

func TestZstdMakesADockerManifestOCI(t *testing.T) {
	plain := imagetest.Raw{Layers: imagetest.Three.Layers, Stored: [][]byte{imagetest.Gzip(imagetest.Base), imagetest.Gzip(imagetest.Upper), imagetest.Gzip(imagetest.Third)}}
	src := imagetest.Open(t, "oci:"+imagetest.LayoutOf(plain, true, "").Dir(t), image.Options{})
	im := src.Images[0]
	out, warned := filepath.Join(t.TempDir(), "out"), &imagetest.Warnings{}
	if _, err := imagetest.StoreErr(t, "oci:"+out, src, []image.NewImage{imagetest.Flat(im, 1, imagetest.Merged12)}, nil, image.Options{Compression: image.Compression{Kind: image.Zstandard}, Warn: warned.Add}); err != nil {
		t.Fatal(err)
	}
	m := imagetest.Open(t, "oci:"+out, image.Options{}).Images[0].Manifest
	if m.MediaType != types.OCIManifestSchema1 || m.Config.MediaType != types.OCIConfigJSON || m.Layers[0].MediaType != types.OCILayer || m.Layers[1].MediaType != types.OCILayerZStd {
		t.Errorf("manifest is %+v", m)
	}
	if m.Layers[0].Digest != im.Manifest.Layers[0].Digest || len(warned.Lines) != 1 {
		t.Errorf("base %s, warnings %q", m.Layers[0].Digest, warned.Lines)
	}
}

// A config descriptor with a wrong size makes an image that nobody reads; where
// the digest is right, the size can be put right.
func TestWrongSizeOfAConfigIsPutRight(t *testing.T) {
	src := imagetest.Open(t, "oci:"+imagetest.LayoutOf(imagetest.CompressedThree, false, "").Dir(t), image.Options{})
	src.Images[0].Manifest.Config.Size = 1
	imagetest.ReadAll(t, src.Images[0])
	n := imagetest.Flat(src.Images[0], 3, nil)
	n.Write, n.Config = nil, func([]v1.Hash) ([]byte, error) { return src.Images[0].Config, nil }
	out := filepath.Join(t.TempDir(), "out")
	imagetest.Store(t, "oci:"+out, src, []image.NewImage{n}, nil, image.Compression{})
	if got := imagetest.Open(t, "oci:"+out, image.Options{}).Images[0].Manifest.Config; got.Size != int64(len(imagetest.CompressedThree.Config())) {
		t.Errorf("the config's descriptor is %+v", got)
	}
}

func TestSameInputGivesSameBytes(t *testing.T) {
	big := imagetest.Tar("big")
	size := 5 << 20
	if testing.Short() {
		size = 2 << 20
	}
	for len(big) < size { // several blocks of what compresses in parallel
		big = append(big, imagetest.Digest(big[len(big)-1000:]).String()...)
	}
	path := imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, kind := range []string{"gzip", "gzip:1", "zstd", "zstd:1", "zstd:9", "none"} {
		for _, ext := range []string{"docker-archive", "oci-archive"} {
			var first []byte
			for _, procs := range []int{1, 4} {
				runtime.GOMAXPROCS(procs)
				src := imagetest.Open(t, path, image.Options{})
				imagetest.ReadAll(t, src.Images[0])
				out := filepath.Join(t.TempDir(), "out.tar")
				c, err := image.ParseCompression(kind)
				imagetest.Must(err)
				imagetest.Store(t, ext+":"+out, src, []image.NewImage{imagetest.Flat(src.Images[0], 1, big)}, []string{"demo:flat"}, c)
				b, err := os.ReadFile(out)
				if imagetest.Must(err); first == nil {
					first = b
				} else if !bytes.Equal(first, b) {
					t.Errorf("%s %s: different bytes with %d threads", ext, kind, procs)
				}
			}
		}
	}
}

type ownError struct{ at int64 }

func (*ownError) Error() string { return "own" }

// A failing Write or Config, or an interruption, leaves every destination as it
// was.
func TestNothingIsStoredAfterAnError(t *testing.T) {
	src := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	im := src.Images[0]
	imagetest.ReadAll(t, im)
	existing := imagetest.LayoutOf(imagetest.CompressedThree, false, "old").Dir(t)
	dests := places(t)
	dests["existing oci"] = "oci:" + existing + ":old"
	listing := func() (all []string) {
		for _, dir := range []string{existing, filepath.Dir(dests["docker-archive"])} {
			imagetest.Must(filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
				all = append(all, p)
				return err
			}))
		}
		return all
	}
	before := listing()
	for name, dest := range dests {
		for failure, change := range map[string]func(n *image.NewImage, cancel func()){
			"Write fails": func(n *image.NewImage, _ func()) {
				n.Write = func(_ context.Context, w io.Writer) error {
					if _, err := w.Write(imagetest.Merged12[:700]); err != nil {
						return err
					}
					return &ownError{700}
				}
			},
			"Config fails": func(n *image.NewImage, _ func()) {
				n.Config = func([]v1.Hash) ([]byte, error) { return nil, &ownError{} }
			},
			"Write is too short": func(n *image.NewImage, _ func()) { n.Size++ },
			"Write is too long":  func(n *image.NewImage, _ func()) { n.Size-- },
			"interrupted": func(n *image.NewImage, cancel func()) {
				write := n.Write
				n.Write = func(ctx context.Context, w io.Writer) error {
					cancel()
					return write(ctx, w)
				}
			},
			"wrong diff IDs in the config": func(n *image.NewImage, _ func()) {
				n.Config = func([]v1.Hash) ([]byte, error) { return im.Config, nil }
			},
		} {
			ctx, cancel := context.WithCancel(context.Background())
			ref, err := image.ParseRef(dest)
			imagetest.Must(err)
			temp := t.TempDir()
			d, err := place.Prepare(ctx, ref, namesFor(dest), image.Options{TempDir: temp})
			if err != nil {
				t.Fatal(err)
			}
			n := imagetest.Flat(im, 1, imagetest.Merged12)
			change(&n, cancel)
			_, err = imagetest.StoreIn(ctx, d, []image.NewImage{n}, nil)
			cancel()
			var own *ownError
			if err == nil || strings.HasSuffix(failure, "fails") && !errors.As(err, &own) || failure == "interrupted" && !errors.Is(err, context.Canceled) {
				t.Errorf("%s, %s: %v", name, failure, err)
			}
			if after := listing(); !slices.Equal(before, after) {
				t.Errorf("%s, %s: left behind %q", name, failure, after)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("%s, %s: temporary imagetest.Members left", name, failure)
			}
			if strings.HasPrefix(dest, "docker://") {
				if _, err := imagetest.OpenErr(t, dest, image.Options{}); !errors.Is(err, image.ErrNoImage) {
					t.Errorf("%s, %s: the tag is there: %v", name, failure, err)
				}
			}
		}
	}
}

func TestDamagedBaseStopsStoring(t *testing.T) {
	archive := imagetest.DockerArchive(imagetest.Three)
	path := imagetest.Write(t, "in.tar", archive)
	src := imagetest.Open(t, path, image.Options{})
	im := src.Images[0]
	imagetest.ReadAll(t, im)
	archive[bytes.Index(archive, imagetest.Base)+3] ^= 1 // after the reading
	imagetest.Must(os.WriteFile(path, archive, 0o644))
	out := filepath.Join(t.TempDir(), "out.tar")
	_, err := imagetest.StoreErr(t, out, src, []image.NewImage{imagetest.Flat(im, 1, imagetest.Third)}, nil, image.Options{})
	if !errors.Is(err, image.ErrDigest) || !strings.Contains(err.Error(), "layer 1 of 3") {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("the file is there")
	}
}

func TestDestinationsThatCantBe(t *testing.T) {
	file := imagetest.Write(t, "file", []byte("x"))
	for dest, text := range map[string]string{
		filepath.Join(t.TempDir(), "no", "dir.tar"):                "no such file or directory",
		"oci:" + filepath.Dir(file):                                "no OCI layout",
		"docker-archive:" + t.TempDir():                            "is a directory",
		"oci:" + file:                                              "not a directory",
		"docker://localhost:1/a@" + imagetest.Digest(nil).String(): "the digest follows from the image",
	} {
		ref, err := image.ParseRef(dest)
		imagetest.Must(err)
		if _, err := place.Prepare(context.Background(), ref, nil, image.Options{}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", dest, err)
		}
	}
}

func TestIndexComesBackAsAnIndex(t *testing.T) {
	root := imagetest.PlatformsLayout().Dir(t)
	for name, dest := range places(t) {
		src := imagetest.Open(t, "oci:"+root, image.Options{})
		images := imagetest.FlatAll(t, src)
		if name == "docker-archive" {
			_, err := imagetest.StoreErr(t, dest, src, images, nil, image.Options{})
			var e *image.Error
			if !errors.Is(err, image.ErrFormat) || !errors.As(err, &e) || !strings.Contains(e.Hint, "--platform") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		stored := imagetest.Store(t, dest, src, images, nil, image.Compression{})
		back := imagetest.Open(t, dest, image.Options{})
		if !strings.HasSuffix(stored.ID, back.Index.Descriptor.Digest.String()) {
			t.Errorf("%s: ID %s, index %s", name, stored.ID, back.Index.Descriptor.Digest)
		}
		for i, im := range back.Images {
			was := src.Images[i]
			if im.Platform.String() != was.Platform.String() || im.Manifest.Descriptor.Annotations["org.example.entry"] != was.Platform.String() {
				t.Errorf("%s: image %d is for %s, annotations %v", name, i, im.Platform, im.Manifest.Descriptor.Annotations)
			}
			layers := imagetest.ReadAll(t, im)
			if !bytes.Equal(layers[len(layers)-1], imagetest.Merged12) {
				t.Errorf("%s: image %d has another top layer", name, i)
			}
		}
		var listed v1.IndexManifest
		imagetest.Must(json.Unmarshal(back.Index.Raw, &listed))
		if n := len(listed.Manifests); n != 2 || !listed.Manifests[1].MediaType.IsIndex() {
			t.Errorf("%s: the index has %d entries", name, n)
		}
		if !bytes.Contains(back.Index.Raw, []byte(`"x-unknown":"kept"`)) || !bytes.Contains(back.Index.Raw, []byte(`"inner":"yes"`)) || back.Index.Annotations["org.example.index"] != "kept" {
			t.Errorf("%s: index is %s", name, back.Index.Raw)
		}
	}
}
