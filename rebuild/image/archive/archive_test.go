package archive_test

import (
	"bytes"
	"context"
	"encoding/json"
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

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
)

func TestDockerArchiveIsRead(t *testing.T) {
	compressed := imagetest.Three
	compressed.Stored = [][]byte{imagetest.Gzip(imagetest.Base), imagetest.Zstd(imagetest.Upper), append(imagetest.Gzip(imagetest.Third[:512]), imagetest.Gzip(imagetest.Third[512:])...)}
	config := imagetest.Digest(imagetest.Three.Config()).Hex
	manifest := func(layers string) []byte {
		return fmt.Appendf(nil, `[{"Config":"%s.json","RepoTags":null,"Layers":[%s]}]`, config, layers)
	}
	twice := imagetest.Raw{Layers: [][]byte{imagetest.Base, imagetest.Upper, imagetest.Base}}
	for name, c := range map[string]struct {
		archive []byte
		want    [][]byte
	}{
		"layers as tars":                              {imagetest.DockerArchive(imagetest.Three), imagetest.Three.Layers},
		"gzip, zstd and several gzip members":         {imagetest.DockerArchive(compressed), imagetest.Three.Layers},
		"config without a digest for a name":          {imagetest.Members{"config.json", imagetest.Three.Config(), "a", imagetest.Base, "b", imagetest.Upper, "c", imagetest.Third, "manifest.json", []byte(`[{"Config":"config.json","Layers":["a","b","c"]}]`)}.Tar(), imagetest.Three.Layers},
		"names with ./ in front":                      {imagetest.Members{"./" + config + ".json", imagetest.Three.Config(), "./a", imagetest.Base, "./b", imagetest.Upper, "./c", imagetest.Third, "./manifest.json", manifest(`"a","b","c"`)}.Tar(), imagetest.Three.Layers},
		"equal layers as symbolic links":              {imagetest.Members{"c", twice.Config(), "x/layer.tar", imagetest.Base, "y/layer.tar", imagetest.Upper, "a/layer.tar -> ../x/layer.tar", "manifest.json", []byte(`[{"Config":"c","Layers":["x/layer.tar","y/layer.tar","a/layer.tar"]}]`)}.Tar(), twice.Layers},
		"a link to a file that comes later":           {imagetest.Members{"c", twice.Config(), "a/layer.tar -> ../x/layer.tar", "x/layer.tar", imagetest.Base, "y/layer.tar", imagetest.Upper, "manifest.json", []byte(`[{"Config":"c","Layers":["x/layer.tar","y/layer.tar","a/layer.tar"]}]`)}.Tar(), twice.Layers},
		"no layers at all (docker save of a scratch)": {imagetest.DockerArchive(imagetest.Raw{}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			src := imagetest.Open(t, imagetest.Write(t, "image.tar", c.archive), image.Options{})
			if src.Ref.Transport != image.Archive || len(src.Images) != 1 {
				t.Fatalf("opened as %s, %d images", src.Ref, len(src.Images))
			}
			im := src.Images[0]
			imagetest.SameLayers(t, imagetest.ReadAll(t, im), c.want)
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
	src := imagetest.Open(t, imagetest.Write(t, "image.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	im := src.Images[0]
	if !bytes.Equal(im.Config, imagetest.Three.Config()) {
		t.Errorf("config is\n%s", im.Config)
	}
	if !slices.Equal(im.Names, imagetest.Three.Names) || im.Platform.String() != "linux/amd64" || im.ID != imagetest.Digest(imagetest.Three.Config()).String() {
		t.Errorf("names %q, platform %s, ID %s", im.Names, im.Platform, im.ID)
	}
}

func TestArchiveCompressedAsAWhole(t *testing.T) {
	archive := imagetest.DockerArchive(imagetest.Three)
	for ext, c := range map[string]archiver.Compression{"gz": archiver.Gz{}, "bz2": archiver.Bz2{}, "xz": archiver.Xz{}, "zst": archiver.Zstd{}} {
		t.Run(ext, func(t *testing.T) {
			var b bytes.Buffer
			w, err := c.OpenWriter(&b)
			imagetest.Must(err)
			_, err = w.Write(archive)
			imagetest.Must(err)
			imagetest.Must(w.Close())
			src := imagetest.Open(t, imagetest.Write(t, "image.tar."+ext, b.Bytes()), image.Options{})
			imagetest.SameLayers(t, imagetest.ReadAll(t, src.Images[0]), imagetest.Three.Layers)

			cut := imagetest.Write(t, "image.tar."+ext, b.Bytes()[:b.Len()*2/3])
			if _, err := imagetest.OpenErr(t, cut, image.Options{}); !errors.Is(err, image.ErrTruncated) && !strings.Contains(fmt.Sprint(err), "image.tar") {
				t.Errorf("truncated: %v", err)
			}
		})
	}
}

func TestArchiveOnStdin(t *testing.T) {
	for name, contents := range map[string][]byte{"plain": imagetest.DockerArchive(imagetest.Three), "gzip": imagetest.Gzip(imagetest.DockerArchive(imagetest.Three))} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			imagetest.Must(err)
			old := os.Stdin
			os.Stdin = r
			defer func() { os.Stdin = old }()
			go func() {
				_, err := w.Write(contents)
				imagetest.Must(errors.Join(err, w.Close()))
			}()
			src := imagetest.Open(t, "-", image.Options{})
			imagetest.SameLayers(t, imagetest.ReadAll(t, src.Images[0]), imagetest.Three.Layers)
		})
	}
}

func TestSeveralImagesInAnArchive(t *testing.T) {
	other := imagetest.Raw{Names: []string{"registry.example.com/other:2", "other:3"}, Layers: [][]byte{imagetest.Base}}
	unnamed := imagetest.Raw{Layers: [][]byte{imagetest.Third}}
	path := imagetest.Write(t, "images.tar", imagetest.DockerArchive(imagetest.Three, other, unnamed))

	_, err := imagetest.OpenErr(t, path, image.Options{})
	if !errors.Is(err, image.ErrSeveral) || !strings.Contains(err.Error(), "holds 3 images: demo:1, registry.example.com/other:2, @2") {
		t.Errorf("without a name: %v", err)
	}
	for ref, want := range map[string]imagetest.Raw{
		"demo": {}, "demo:1": imagetest.Three, "docker.io/library/demo:1": imagetest.Three, "other:3": other, "registry.example.com/other:2": other,
		"@2": unnamed, imagetest.Digest(other.Config()).Hex[:12]: other, imagetest.Digest(unnamed.Config()).String(): unnamed, "nothere": {}, "@3": {},
	} {
		src, err := imagetest.OpenErr(t, "docker-archive:"+path+":"+ref, image.Options{})
		switch {
		case want.Layers == nil:
			if !errors.Is(err, image.ErrNoImage) {
				t.Errorf("%s: %v", ref, err)
			}
		case err != nil:
			t.Errorf("%s: %v", ref, err)
		default:
			imagetest.SameLayers(t, imagetest.ReadAll(t, src.Images[0]), want.Layers)
		}
	}
}

func TestArchiveOfDockerBefore110(t *testing.T) {
	archive := imagetest.Members{
		"aa/json", []byte(`{"id":"aa","created":"2015-01-01T00:00:00Z","container_config":{"Cmd":["/bin/sh","-c","#(nop) ADD file:1 in /"]}}`), "aa/layer.tar", imagetest.Base,
		"bb/json", []byte(`{"id":"bb","parent":"aa","author":"me","container_config":{"Cmd":["/bin/sh","-c","make"]},"config":{"Env":["A=1"]},"architecture":"amd64","os":"linux"}`), "bb/layer.tar", imagetest.Upper,
		"repositories", []byte(`{"demo":{"1":"bb","latest":"bb"}}`),
	}.Tar()
	src := imagetest.Open(t, imagetest.Write(t, "old.tar", archive), image.Options{})
	im := src.Images[0]
	imagetest.SameLayers(t, imagetest.ReadAll(t, im), [][]byte{imagetest.Base, imagetest.Upper})
	for _, part := range []string{`"author":"me"`, `"config":{"Env":["A=1"]}`, imagetest.Digest(imagetest.Base).String(), `"created_by":"/bin/sh -c make"`, `"created":"2015-01-01T00:00:00Z"`} {
		if !strings.Contains(string(im.Config), part) {
			t.Errorf("config lacks %s: %s", part, im.Config)
		}
	}
	if strings.Contains(string(im.Config), `"parent"`) || !slices.Equal(im.Names, []string{"demo:1", "demo:latest"}) {
		t.Errorf("names %q, config %s", im.Names, im.Config)
	}
}

func TestWhatIsNoImageIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		file []byte
		is   error
		text string
	}{
		"an empty file":                {nil, image.ErrNotArchive, "it is empty"},
		"a short text":                 {[]byte("hello"), image.ErrNotArchive, "not an image archive"},
		"a long text":                  {bytes.Repeat([]byte("hello\n"), 1000), image.ErrNotArchive, "not an image archive"},
		"a compressed text":            {imagetest.Gzip(bytes.Repeat([]byte("hello\n"), 1000)), image.ErrNotArchive, "not a tar file"},
		"a root file system":           {imagetest.Base, image.ErrNotArchive, "without manifest.json"},
		"an archive of nothing":        {imagetest.Members{"manifest.json", []byte(`[]`)}.Tar(), image.ErrNoImage, "holds no image"},
		"a damaged manifest.json":      {imagetest.Members{"manifest.json", []byte(`[{`)}.Tar(), image.ErrNotArchive, "manifest.json"},
		"a missing config":             {imagetest.Members{"manifest.json", []byte(`[{"Config":"a.json","Layers":[]}]`)}.Tar(), nil, "has no a.json"},
		"a missing layer":              {imagetest.Members{"c", imagetest.Three.Config(), "a", imagetest.Base, "c2", imagetest.Third, "manifest.json", []byte(`[{"Config":"c","Layers":["a","b","c2"]}]`)}.Tar(), nil, "layer 2 of 3"},
		"fewer layers than the config": {imagetest.Members{"c", imagetest.Three.Config(), "a", imagetest.Base, "manifest.json", []byte(`[{"Config":"c","Layers":["a"]}]`)}.Tar(), nil, "lists 1 layers, the config has 3"},
		"a changed config blob":        {imagetest.Members{"blobs/sha256/" + imagetest.Digest([]byte("x")).Hex, imagetest.Three.Config(), "a", imagetest.Base, "b", imagetest.Upper, "c", imagetest.Third, "manifest.json", fmt.Appendf(nil, `[{"Config":"blobs/sha256/%s","Layers":["a","b","c"]}]`, imagetest.Digest([]byte("x")).Hex)}.Tar(), image.ErrDigest, "digest mismatch: config"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := imagetest.OpenErr(t, imagetest.Write(t, "image.tar", c.file), image.Options{})
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
	archive := imagetest.DockerArchive(imagetest.Three)
	for n := 512; n < len(archive)-1024; n += 512 + 37 {
		src, err := imagetest.OpenErr(t, imagetest.Write(t, "image.tar", archive[:n]), image.Options{})
		if err == nil {
			_, _, err = imagetest.ReadLayers(src.Images[0], nil)
		}
		if err == nil {
			t.Errorf("of %d bytes the first %d are taken for an image", len(archive), n)
		}
	}
}

func TestDamagedLayerIsNamed(t *testing.T) {
	for name, stored := range map[string][]byte{"tar": imagetest.Upper, "gzip": imagetest.Gzip(imagetest.Upper), "zstd": imagetest.Zstd(imagetest.Upper)} {
		t.Run(name, func(t *testing.T) {
			im := imagetest.Three
			im.Stored = [][]byte{imagetest.Base, stored, imagetest.Third}
			archive := imagetest.DockerArchive(im)
			archive[bytes.Index(archive, stored)+len(stored)/2] ^= 1
			src := imagetest.Open(t, imagetest.Write(t, "image.tar", archive), image.Options{})
			_, _, err := imagetest.ReadLayers(src.Images[0], nil)
			if err == nil || !strings.Contains(err.Error(), "layer 2 of 3 ("+imagetest.Digest(imagetest.Upper).String()) {
				t.Errorf("error is %v", err)
			}
			if name == "tar" && !errors.Is(err, image.ErrDigest) {
				t.Errorf("not an image.ErrDigest: %v", err)
			}
		})
	}
}

func TestVisitorsErrorComesBack(t *testing.T) {
	src := imagetest.Open(t, imagetest.Write(t, "image.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	mine := errors.New("mine")
	_, err := src.Images[0].Read(context.Background(), nil, func(i int, r io.Reader) error {
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
	src := imagetest.Open(t, imagetest.Write(t, "image.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	_, err := src.Images[0].Read(ctx, nil, func(i int, r io.Reader) error {
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
	src := imagetest.Open(t, imagetest.Write(t, "image.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	imagetest.ReadAll(t, src.Images[0])
	out := filepath.Join(t.TempDir(), "out.tar")
	imagetest.Store(t, out, src, []image.NewImage{imagetest.Flat(src.Images[0], 1, imagetest.Third)}, []string{"flat:1"}, image.Compression{})
	list, err := exec.Command(gnutar, "tf", out).CombinedOutput()
	if err != nil || len(strings.Fields(string(list))) != 4 {
		t.Errorf("tar tf: %v\n%s", err, list)
	}
}

// An archive of Docker 25 and newer is a layout too, with descriptors worth
// keeping where the layers are stored compressed.
func TestDockerArchiveWithALayoutInIt(t *testing.T) {
	f := imagetest.LayoutOf(imagetest.AMD, false, "v1")
	saved := imagetest.Saved{Config: image.BlobPath(imagetest.Digest(imagetest.AMD.Config())), RepoTags: []string{"demo:1"}}
	for i := range imagetest.AMD.Layers {
		saved.Layers = append(saved.Layers, image.BlobPath(imagetest.Digest(imagetest.AMD.Stored[i])))
	}
	raw, err := json.Marshal([]imagetest.Saved{saved})
	imagetest.Must(err)
	path := imagetest.Write(t, "image.tar", append(f, "manifest.json", raw).Tar())
	for ref, transport := range map[string]string{path: image.Archive, "docker-archive:" + path: image.Archive, "oci-archive:" + path: image.LayoutArchive} {
		src := imagetest.Open(t, ref, image.Options{})
		im := src.Images[0]
		imagetest.SameLayers(t, imagetest.ReadAll(t, im), imagetest.AMD.Layers)
		if src.Ref.Transport != transport || im.Manifest == nil || im.Manifest.Layers[0].Digest != imagetest.Digest(imagetest.AMD.Stored[0]) {
			t.Errorf("%s is a %s, manifest %v", ref, src.Ref.Transport, im.Manifest)
		}
	}
}

// Some readers take the first layer's compression for that of all, and Docker
// before 23.0 knows no zstd.
func TestDockerArchiveIsCompressedLikeItsBase(t *testing.T) {
	as := func(stored func([]byte) []byte) imagetest.Raw {
		return imagetest.Raw{Layers: imagetest.Three.Layers, Stored: [][]byte{stored(imagetest.Base), stored(imagetest.Upper), stored(imagetest.Third)}}
	}
	for name, c := range map[string]struct {
		im     imagetest.Raw
		kind   string
		warned string
	}{
		"gzip":                  {as(imagetest.Gzip), "", ""},
		"zstd":                  {as(imagetest.Zstd), "", "older than 23.0"},
		"none on gzip":          {as(imagetest.Gzip), image.Uncompressed, "--compression gzip is the base's"},
		"gzip on none":          {imagetest.Three, image.Gzip, "--compression none is the base's"},
		"zstd on gzip":          {as(imagetest.Gzip), image.Zstandard, "older than 23.0"},
		"gzip on gzip, spelled": {as(imagetest.Gzip), image.Gzip, ""},
	} {
		t.Run(name, func(t *testing.T) {
			src := imagetest.Open(t, "oci:"+imagetest.LayoutOf(c.im, false, "").Dir(t), image.Options{})
			imagetest.ReadAll(t, src.Images[0])
			out, warned := filepath.Join(t.TempDir(), "out.tar"), &imagetest.Warnings{}
			if _, err := imagetest.StoreErr(t, "docker-archive:"+out, src, []image.NewImage{imagetest.Flat(src.Images[0], 1, imagetest.Merged12)}, nil, image.Options{Compression: image.Compression{Kind: c.kind}, Warn: warned.Add}); err != nil {
				t.Fatal(err)
			}
			if len(warned.Lines) > 1 || !strings.Contains(strings.Join(warned.Lines, ""), c.warned) || c.warned == "" && warned.Lines != nil {
				t.Errorf("warnings: %q", warned.Lines)
			}
			back := imagetest.Open(t, "docker-archive:"+out, image.Options{}).Images[0]
			imagetest.SameLayers(t, imagetest.ReadAll(t, back), [][]byte{imagetest.Base, imagetest.Merged12})
			layers := image.NewImage{From: back, Keep: 2}.Base()
			if same := layers[0].Kind() == layers[1].Kind(); same != (c.kind == "" || c.kind == image.Gzip && c.im.Stored != nil) {
				t.Errorf("layers are %s and %s", layers[0].Kind(), layers[1].Kind())
			}
		})
	}
}
