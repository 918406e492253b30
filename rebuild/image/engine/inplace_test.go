package engine_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/imagetest"
)

// storeLayer keeps a layer as an engine does: what isn't contents of files in
// tar-split.json.gz, the files in a directory.
func storeLayer(t *testing.T, layer []byte, files map[string]string) (split, diff string) {
	t.Helper()
	dir := t.TempDir()
	split, diff = filepath.Join(dir, "tar-split.json.gz"), filepath.Join(dir, "diff")
	var metadata bytes.Buffer
	gz := gzip.NewWriter(&metadata)
	r, done, err := asm.NewInputTarStreamWithDone(bytes.NewReader(layer), storage.NewJSONPacker(gz), storage.NewDiscardFilePutter())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(split, metadata.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, body := range files {
		p := filepath.Join(diff, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return split, diff
}

func TestAssembledTarIsTheLayerToTheByte(t *testing.T) {
	layer := imagetest.Layer(time.Unix(1, 5), []imagetest.File{
		{Name: "./dir/"}, {Name: "./dir/file", Body: "contents"}, {Name: "dir/empty"},
		{Name: "dir/.wh.gone"}, {Name: "link", Link: "/etc"}, {Name: "also", HardLink: "dir/file"},
	})
	split, diff := storeLayer(t, layer, map[string]string{"dir/file": "contents"})
	r, err := engine.AssembleTar(split, diff)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, layer) {
		t.Error("the assembled tar is another one")
	}
}

// TestAssemblingKeepsNoNames looks at what is held near the end of many entries.
func TestAssemblingKeepsNoNames(t *testing.T) {
	if testing.Short() {
		t.Skip("a hundred thousand files, to see what is held")
	}
	files := make([]imagetest.File, 100_000)
	for i := range files {
		files[i].Name = fmt.Sprintf("directory/with/a/name/of/some/length/file-%08d", i)
	}
	split, diff := storeLayer(t, imagetest.Layer(time.Unix(1, 0), files), map[string]string{"x": ""})
	held := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := held()
	r, err := engine.AssembleTar(split, diff)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, int64(len(files)-10_000)*512); err != nil { // the rest is more than a buffer
		t.Fatal(err)
	}
	if more := held() - before; more > 5<<20 {
		t.Errorf("%d bytes are held", more)
	}
}

func TestAssembledTarHasNothingFromOutsideTheLayer(t *testing.T) {
	layer := imagetest.Layer(time.Unix(1, 0), []imagetest.File{{Name: "dir/file", Body: "contents"}})
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "file"), []byte("contents"), 0o600); err != nil {
		t.Fatal(err)
	}
	split, diff := storeLayer(t, layer, map[string]string{"other": ""})
	if err := os.Symlink(outside, filepath.Join(diff, "dir")); err != nil {
		t.Skip("no symbolic links here: " + err.Error())
	}
	r, err := engine.AssembleTar(split, diff)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err == nil {
		t.Errorf("a link led out of the layer's directory: %d bytes", len(b))
	}
}

func TestUnpackedLayerOpensItsFilesAndNoOthers(t *testing.T) {
	layer := imagetest.Layer(time.Unix(1, 0), []imagetest.File{{Name: "top", Body: "1"}, {Name: "dir/"}, {Name: "dir/file", Body: "2"}})
	_, diff := storeLayer(t, layer, map[string]string{"top": "1", "dir/file": "2", "dir/\xff": "3"})
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "file"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(diff, "out")); err != nil {
		t.Skip("no symbolic links here: " + err.Error())
	}
	stored := image.NewLayer("layer", imagetest.Digest(layer), func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil }).
		Unpacked(func() (image.Files, error) { return engine.OpenFiles(diff) })
	im := image.Make(t.Context(), image.Image{DiffIDs: []v1.Hash{imagetest.Digest(layer)}}, []*image.Layer{stored}, image.SideBySide{})
	if _, ok := im.Layer(0).(*image.UnpackedLayer); ok {
		t.Error("files are offered before the layer was found right")
	}
	imagetest.ReadAll(t, im)
	l := im.Layer(0).(*image.UnpackedLayer)
	for _, name := range []string{"top", "dir/file", "dir/\xff", "top", "dir/file"} {
		f, err := l.OpenFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(f); err != nil || len(b) != 1 {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if name == "dir/\xff" { // and open again after that
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	for _, name := range []string{"out/file", "../diff/top", "dir/../../diff/top", "none"} {
		if f, err := l.OpenFile(name); err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestEngineReadsTheSameInPlaceAndSaved(t *testing.T) {
	cli := imagetest.Engine(t)
	name := "flatten-image-test/inplace:1"
	archive := imagetest.Archive(imagetest.Image{
		Names: []string{name}, Created: time.Unix(1, 0), Config: map[string]any{"Cmd": []string{"x"}},
		Steps: []imagetest.Step{
			{By: "one", Files: []imagetest.File{{Name: "a", Body: "first"}, {Name: "d/"}, {Name: "d/f", Body: "file"}}},
			{By: "two", Files: []imagetest.File{{Name: ".wh.a"}, {Name: "d/"}, {Name: "d/g", Body: "another"}}},
		},
	})
	response, err := cli.ImageLoad(t.Context(), bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	defer cli.ImageRemove(context.Background(), name, dockerimage.RemoveOptions{Force: true})
	src, err := engine.Open(t.Context(), image.Ref{Transport: image.Daemon, Name: name}, image.Options{Client: func() (*client.Client, error) { return cli, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	im := src.Images[0]
	saved := engine.BySave(im)
	if saved == nil {
		t.Skip("this engine's layers can't be read in place: it isn't on this machine, or doesn't use overlay2, or we aren't root")
	}
	tars, im, err := imagetest.ReadLayers(im, nil)
	if err != nil {
		t.Fatal(err)
	}
	savedTars, saved, err := imagetest.ReadLayers(saved, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(im.Config) == 0 || !bytes.Equal(im.Config, saved.Config) {
		t.Errorf("config in place %s, saved %s", im.Config, saved.Config)
	}
	imagetest.SameLayers(t, tars, savedTars)
}
