package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mholt/archiver/v4"
)

var (
	base  = layer("bin/", "bin/sh", "etc/", "etc/passwd")
	upper = layer("app/", "app/a", "bin/ls -> sh")
	third = layer("app/b")
	three = testImage{names: []string{"demo:1"}, layers: [][]byte{base, upper, third}}
)

func sameLayers(t *testing.T, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d layers, not %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("layer %d differs: %d bytes, not %d", i, len(got[i]), len(want[i]))
		}
	}
}

func TestDockerArchiveIsRead(t *testing.T) {
	compressed := three
	compressed.stored = [][]byte{gzipBytes(base), zstdBytes(upper), append(gzipBytes(third[:512]), gzipBytes(third[512:])...)}
	config := digestOfBytes(three.config()).Hex
	manifest := func(layers string) []byte {
		return fmt.Appendf(nil, `[{"Config":"%s.json","RepoTags":null,"Layers":[%s]}]`, config, layers)
	}
	twice := testImage{layers: [][]byte{base, upper, base}}
	for name, c := range map[string]struct {
		archive []byte
		want    [][]byte
	}{
		"layers as tars":                              {dockerArchive(three), three.layers},
		"gzip, zstd and several gzip members":         {dockerArchive(compressed), three.layers},
		"config without a digest for a name":          {files{"config.json", three.config(), "a", base, "b", upper, "c", third, "manifest.json", []byte(`[{"Config":"config.json","Layers":["a","b","c"]}]`)}.tar(), three.layers},
		"names with ./ in front":                      {files{"./" + config + ".json", three.config(), "./a", base, "./b", upper, "./c", third, "./manifest.json", manifest(`"a","b","c"`)}.tar(), three.layers},
		"equal layers as symbolic links":              {files{"c", twice.config(), "x/layer.tar", base, "y/layer.tar", upper, "a/layer.tar -> ../x/layer.tar", "manifest.json", []byte(`[{"Config":"c","Layers":["x/layer.tar","y/layer.tar","a/layer.tar"]}]`)}.tar(), twice.layers},
		"a link to a file that comes later":           {files{"c", twice.config(), "a/layer.tar -> ../x/layer.tar", "x/layer.tar", base, "y/layer.tar", upper, "manifest.json", []byte(`[{"Config":"c","Layers":["x/layer.tar","y/layer.tar","a/layer.tar"]}]`)}.tar(), twice.layers},
		"no layers at all (docker save of a scratch)": {dockerArchive(testImage{}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			src := open(t, write(t, "image.tar", c.archive), Options{})
			if src.Ref.Transport != Archive || len(src.Images) != 1 {
				t.Fatalf("opened as %s, %d images", src.Ref, len(src.Images))
			}
			im := src.Images[0]
			sameLayers(t, readAll(t, im), c.want)
			for i := range c.want {
				l := im.Layer(i)
				r, err := l.Open()
				if err != nil {
					t.Fatal(err)
				}
				again, err := io.ReadAll(r)
				if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(again, c.want[i]) {
					t.Errorf("layer %d again: %d bytes, %v", i, len(again), err)
				}
				if at, ok := l.(io.ReaderAt); ok {
					p := make([]byte, 100)
					if _, err := at.ReadAt(p, 200); err != nil || !bytes.Equal(p, c.want[i][200:300]) {
						t.Errorf("layer %d at random: %v", i, err)
					}
				} else if bytes.Contains(c.archive, c.want[i]) {
					t.Errorf("layer %d lies uncompressed in the file, but isn't an io.ReaderAt", i)
				}
			}
		})
	}
}

func TestConfigSurvivesByteForByte(t *testing.T) {
	src := open(t, write(t, "image.tar", dockerArchive(three)), Options{})
	im := src.Images[0]
	if !bytes.Equal(im.RawConfig, three.config()) {
		t.Errorf("config is\n%s", im.RawConfig)
	}
	if !slices.Equal(im.Names, three.names) || im.Platform.String() != "linux/amd64" || im.ID != digestOfBytes(three.config()).String() {
		t.Errorf("names %q, platform %s, ID %s", im.Names, im.Platform, im.ID)
	}
}

func TestArchiveCompressedAsAWhole(t *testing.T) {
	archive := dockerArchive(three)
	for ext, c := range map[string]archiver.Compression{"gz": archiver.Gz{}, "bz2": archiver.Bz2{}, "xz": archiver.Xz{}, "zst": archiver.Zstd{}} {
		t.Run(ext, func(t *testing.T) {
			var b bytes.Buffer
			w, err := c.OpenWriter(&b)
			must(err)
			_, err = w.Write(archive)
			must(err)
			must(w.Close())
			src := open(t, write(t, "image.tar."+ext, b.Bytes()), Options{})
			sameLayers(t, readAll(t, src.Images[0]), three.layers)

			cut := write(t, "image.tar."+ext, b.Bytes()[:b.Len()*2/3])
			if _, err := openErr(t, cut, Options{}); !errors.Is(err, ErrTruncated) && !strings.Contains(fmt.Sprint(err), "image.tar") {
				t.Errorf("truncated: %v", err)
			}
		})
	}
}

func TestArchiveOnStdin(t *testing.T) {
	for name, contents := range map[string][]byte{"plain": dockerArchive(three), "gzip": gzipBytes(dockerArchive(three))} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			must(err)
			old := os.Stdin
			os.Stdin = r
			defer func() { os.Stdin = old }()
			go func() {
				_, err := w.Write(contents)
				must(errors.Join(err, w.Close()))
			}()
			src := open(t, "-", Options{})
			sameLayers(t, readAll(t, src.Images[0]), three.layers)
		})
	}
}

func TestSeveralImagesInAnArchive(t *testing.T) {
	other := testImage{names: []string{"registry.example.com/other:2", "other:3"}, layers: [][]byte{base}}
	unnamed := testImage{layers: [][]byte{third}}
	path := write(t, "images.tar", dockerArchive(three, other, unnamed))

	_, err := openErr(t, path, Options{})
	if !errors.Is(err, ErrSeveral) || !strings.Contains(err.Error(), "holds 3 images: demo:1, registry.example.com/other:2, @2") {
		t.Errorf("without a name: %v", err)
	}
	for ref, want := range map[string]testImage{
		"demo": {}, "demo:1": three, "docker.io/library/demo:1": three, "other:3": other, "registry.example.com/other:2": other,
		"@2": unnamed, digestOfBytes(other.config()).Hex[:12]: other, digestOfBytes(unnamed.config()).String(): unnamed, "nothere": {}, "@3": {},
	} {
		src, err := openErr(t, "docker-archive:"+path+":"+ref, Options{})
		switch {
		case want.layers == nil:
			if !errors.Is(err, ErrNoImage) {
				t.Errorf("%s: %v", ref, err)
			}
		case err != nil:
			t.Errorf("%s: %v", ref, err)
		default:
			sameLayers(t, readAll(t, src.Images[0]), want.layers)
		}
	}
}

func TestArchiveOfDockerBefore110(t *testing.T) {
	archive := files{
		"aa/json", []byte(`{"id":"aa","created":"2015-01-01T00:00:00Z","container_config":{"Cmd":["/bin/sh","-c","#(nop) ADD file:1 in /"]}}`), "aa/layer.tar", base,
		"bb/json", []byte(`{"id":"bb","parent":"aa","author":"me","container_config":{"Cmd":["/bin/sh","-c","make"]},"config":{"Env":["A=1"]},"architecture":"amd64","os":"linux"}`), "bb/layer.tar", upper,
		"repositories", []byte(`{"demo":{"1":"bb","latest":"bb"}}`),
	}.tar()
	src := open(t, write(t, "old.tar", archive), Options{})
	im := src.Images[0]
	sameLayers(t, readAll(t, im), [][]byte{base, upper})
	for _, part := range []string{`"author":"me"`, `"config":{"Env":["A=1"]}`, digestOfBytes(base).String(), `"created_by":"/bin/sh -c make"`, `"created":"2015-01-01T00:00:00Z"`} {
		if !strings.Contains(string(im.RawConfig), part) {
			t.Errorf("config lacks %s: %s", part, im.RawConfig)
		}
	}
	if strings.Contains(string(im.RawConfig), `"parent"`) || !slices.Equal(im.Names, []string{"demo:1", "demo:latest"}) {
		t.Errorf("names %q, config %s", im.Names, im.RawConfig)
	}
}

func TestWhatIsNoImageIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		file []byte
		is   error
		text string
	}{
		"an empty file":                {nil, ErrNotArchive, "it is empty"},
		"a short text":                 {[]byte("hello"), ErrNotArchive, "not an image archive"},
		"a long text":                  {bytes.Repeat([]byte("hello\n"), 1000), ErrNotArchive, "not an image archive"},
		"a compressed text":            {gzipBytes(bytes.Repeat([]byte("hello\n"), 1000)), ErrNotArchive, "not a tar file"},
		"a root file system":           {base, ErrNotArchive, "without manifest.json"},
		"an archive of nothing":        {files{"manifest.json", []byte(`[]`)}.tar(), ErrNoImage, "holds no image"},
		"a damaged manifest.json":      {files{"manifest.json", []byte(`[{`)}.tar(), ErrNotArchive, "manifest.json"},
		"a missing config":             {files{"manifest.json", []byte(`[{"Config":"a.json","Layers":[]}]`)}.tar(), nil, "has no a.json"},
		"a missing layer":              {files{"c", three.config(), "a", base, "c2", third, "manifest.json", []byte(`[{"Config":"c","Layers":["a","b","c2"]}]`)}.tar(), nil, "layer 2 of 3"},
		"fewer layers than the config": {files{"c", three.config(), "a", base, "manifest.json", []byte(`[{"Config":"c","Layers":["a"]}]`)}.tar(), nil, "lists 1 layers, the config has 3"},
		"a changed config":             {bytes.Replace(dockerArchive(three), []byte("A=1"), []byte("A=2"), 1), ErrDigest, "digest mismatch: config"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := openErr(t, write(t, "image.tar", c.file), Options{})
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error is %v", err)
			}
			if strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("error of several lines: %v", err)
			}
		})
	}
}

// Wherever an archive ends early, something says so; nothing panics, and no
// image is delivered as if it were whole.
func TestTruncatedArchiveIsAnError(t *testing.T) {
	archive := dockerArchive(three)
	for n := 512; n < len(archive)-1024; n += 512 + 37 {
		src, err := openErr(t, write(t, "image.tar", archive[:n]), Options{})
		if err == nil {
			_, err = readLayers(src.Images[0], nil)
		}
		if err == nil {
			t.Errorf("of %d bytes the first %d are taken for an image", len(archive), n)
		}
	}
}

func TestDamagedLayerIsNamed(t *testing.T) {
	for name, stored := range map[string][]byte{"tar": upper, "gzip": gzipBytes(upper), "zstd": zstdBytes(upper)} {
		t.Run(name, func(t *testing.T) {
			im := three
			im.stored = [][]byte{base, stored, third}
			archive := dockerArchive(im)
			archive[bytes.Index(archive, stored)+len(stored)/2] ^= 1
			src := open(t, write(t, "image.tar", archive), Options{})
			_, err := readLayers(src.Images[0], nil)
			if err == nil || !strings.Contains(err.Error(), "layer 2 of 3 ("+digestOfBytes(upper).String()) {
				t.Errorf("error is %v", err)
			}
			if name == "tar" && !errors.Is(err, ErrDigest) {
				t.Errorf("not an ErrDigest: %v", err)
			}
		})
	}
}

func TestVisitorsErrorComesBack(t *testing.T) {
	src := open(t, write(t, "image.tar", dockerArchive(three)), Options{})
	mine := errors.New("mine")
	err := src.Images[0].Read(context.Background(), nil, func(i int, r io.Reader) error {
		if i == 1 {
			return mine
		}
		return nil // reading to the end is seen to
	})
	if !errors.Is(err, mine) {
		t.Errorf("error is %v", err)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	src := open(t, write(t, "image.tar", dockerArchive(three)), Options{})
	ctx, cancel := context.WithCancel(context.Background())
	err := src.Images[0].Read(ctx, nil, func(i int, r io.Reader) error {
		cancel()
		_, err := io.Copy(io.Discard, r)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// What this package writes as a tar is read by another implementation.
func TestWrittenArchiveIsATar(t *testing.T) {
	gnutar, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("no tar command here")
	}
	src := open(t, write(t, "image.tar", dockerArchive(three)), Options{})
	readAll(t, src.Images[0])
	out := filepath.Join(t.TempDir(), "out.tar")
	mustStore(t, out, src, []NewImage{flat(src.Images[0], 1, third)}, []string{"flat:1"}, Compression{})
	list, err := exec.Command(gnutar, "tf", out).CombinedOutput()
	if err != nil || len(strings.Fields(string(list))) != 4 {
		t.Errorf("tar tf: %v\n%s", err, list)
	}
}
