package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// layer builds a layer's tar. An entry is a directory if its name ends in /, a
// symbolic link if it has the form "name -> target", else a file that holds its
// own name.
func layer(entries ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		name, target, isLink := strings.Cut(e, " -> ")
		h := &tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(name))}
		switch {
		case isLink:
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		case strings.HasSuffix(name, "/"):
			h.Typeflag, h.Size, h.Mode = tar.TypeDir, 0, 0o755
		}
		must(w.WriteHeader(h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, name)
			must(err)
		}
	}
	must(w.Close())
	return b.Bytes()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// a testImage is an image as a test thinks of it.
type testImage struct {
	names    []string
	platform string   // "" = linux/amd64
	layers   [][]byte // uncompressed tars
	stored   [][]byte // how they are stored; nil = as they are
}

// config is the image's config document. It has fields that no library knows,
// and an order and spaces that no encoder would choose.
func (im testImage) config() []byte {
	os, arch, _ := strings.Cut(im.platform, "/")
	if im.platform == "" {
		os, arch = "linux", "amd64"
	}
	arch, variant, _ := strings.Cut(arch, "/")
	var diffIDs []string
	for _, l := range im.layers {
		diffIDs = append(diffIDs, digestOfBytes(l).String())
	}
	ids, err := json.Marshal(diffIDs)
	must(err)
	return []byte(`{ "x-unknown": {"b": 1.50, "a": "<&>"},
  "variant": "` + variant + `", "os": "` + os + `", "architecture": "` + arch + `",
  "config": {"Env": ["A=1"], "X-Vendor": [1, 2.0]},
  "rootfs": {"type": "layers", "diff_ids": ` + string(ids) + `}}`)
}

func (im testImage) blob(i int) []byte {
	if im.stored != nil {
		return im.stored[i]
	}
	return im.layers[i]
}

// manifest is the image's manifest, with a field that no library knows.
func (im testImage) manifest(docker bool) []byte {
	kind, config := types.OCIManifestSchema1, types.OCIConfigJSON
	if docker {
		kind, config = types.DockerManifestSchema2, types.DockerConfigJSON
	}
	m := map[string]any{
		"schemaVersion": 2, "mediaType": kind, "x-unknown": "kept",
		"config":      v1.Descriptor{MediaType: config, Digest: digestOfBytes(im.config()), Size: int64(len(im.config()))},
		"annotations": map[string]string{"org.example.kept": "yes <&>"},
	}
	var layers []any
	for i := range im.layers {
		b := im.blob(i)
		layers = append(layers, map[string]any{
			"mediaType": layerType(formatOf(b).kind, !docker), "digest": digestOfBytes(b), "size": len(b), "x-unknown": i,
			"annotations": map[string]string{"org.example.layer": "yes"},
		})
	}
	m["layers"] = layers
	raw, err := json.Marshal(m)
	must(err)
	return raw
}

func gzipBytes(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	must(err)
	must(w.Close())
	return out.Bytes()
}

func zstdBytes(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	must(err)
	return w.EncodeAll(b, nil)
}

// files is the contents of an archive: names and contents in turn, or a name
// and a link: "name -> target".
type files []any

func (f files) tar() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(f); i++ {
		name := f[i].(string)
		if name, target, ok := strings.Cut(name, " -> "); ok {
			must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}))
			continue
		}
		i++
		contents := f[i].([]byte)
		must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(contents))}))
		_, err := w.Write(contents)
		must(err)
	}
	must(w.Close())
	return b.Bytes()
}

// dockerArchive is the images as docker save writes them.
func dockerArchive(images ...testImage) []byte {
	var f files
	var saved []savedImage
	for _, im := range images {
		m := savedImage{Config: digestOfBytes(im.config()).Hex + ".json", RepoTags: im.names}
		f = append(f, m.Config, im.config())
		for i := range im.layers {
			name := digestOfBytes(im.blob(i)).Hex + "/layer.tar"
			m.Layers = append(m.Layers, name)
			f = append(f, name, im.blob(i))
		}
		saved = append(saved, m)
	}
	raw, err := json.Marshal(saved)
	must(err)
	return append(f, "manifest.json", raw).tar()
}

// entry is a descriptor in an index.
type entry struct {
	kind        types.MediaType
	doc         []byte
	platform    string
	annotations map[string]string
}

func index(entries ...entry) []byte {
	m := map[string]any{
		"schemaVersion": 2, "mediaType": types.OCIImageIndex, "x-unknown": "kept", "annotations": map[string]string{"org.example.index": "kept"},
	}
	var list []v1.Descriptor
	for _, e := range entries {
		d := v1.Descriptor{MediaType: e.kind, Digest: digestOfBytes(e.doc), Size: int64(len(e.doc)), Annotations: e.annotations}
		if e.platform != "" {
			p, err := v1.ParsePlatform(e.platform)
			must(err)
			d.Platform = p
		}
		list = append(list, d)
	}
	m["manifests"] = list
	raw, err := json.Marshal(m)
	must(err)
	return raw
}

// layoutFiles are the blobs and the index.json of a layout.
func layoutFiles(indexJSON []byte, blobs ...[]byte) files {
	f := files{"oci-layout", []byte(layoutFile)}
	for _, b := range blobs {
		f = append(f, blobPath(digestOfBytes(b)), b)
	}
	return append(f, "index.json", indexJSON)
}

// layoutOf is a layout with one image, named name.
func layoutOf(im testImage, docker bool, name string) files {
	kind := types.OCIManifestSchema1
	if docker {
		kind = types.DockerManifestSchema2
	}
	m := im.manifest(docker)
	var annotations map[string]string
	if name != "" {
		annotations = map[string]string{refNameAnnotation: name}
	}
	blobs := [][]byte{m, im.config()}
	for i := range im.layers {
		blobs = append(blobs, im.blob(i))
	}
	return layoutFiles(index(entry{kind: kind, doc: m, annotations: annotations}), blobs...)
}

// dir puts the files into a new directory.
func (f files) dir(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "layout")
	for i := 0; i < len(f); i += 2 {
		name := filepath.Join(root, filepath.FromSlash(f[i].(string)))
		must(os.MkdirAll(filepath.Dir(name), 0o755))
		must(os.WriteFile(name, f[i+1].([]byte), 0o644))
	}
	return root
}

func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(os.WriteFile(path, b, 0o644))
	return path
}

// warnings collects what Warn gets.
type warnings struct {
	mu    sync.Mutex
	lines []string
}

func (w *warnings) add(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, s)
}

// open opens ref, and closes it when the test ends.
func open(t *testing.T, ref string, opt Options) *Source {
	t.Helper()
	src, err := openErr(t, ref, opt)
	if err != nil {
		t.Fatalf("open %s: %v", ref, err)
	}
	return src
}

func openErr(t *testing.T, ref string, opt Options) (*Source, error) {
	t.Helper()
	r, err := ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	if opt.TempDir == "" {
		opt.TempDir = t.TempDir()
	}
	src, err := Open(context.Background(), r, opt)
	if err == nil {
		t.Cleanup(func() {
			if err := src.Close(); err != nil {
				t.Errorf("close %s: %v", ref, err)
			}
			left, err := os.ReadDir(opt.TempDir)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
	return src, err
}

// readAll returns every layer's tar.
func readAll(t *testing.T, im *Image) [][]byte {
	t.Helper()
	layers, err := readLayers(im, func(int) bool { return true })
	if err != nil {
		t.Fatalf("read %s: %v", im.Ref, err)
	}
	return layers
}

func readLayers(im *Image, keep func(int) bool) ([][]byte, error) {
	layers := make([][]byte, len(im.DiffIDs))
	err := im.Read(context.Background(), keep, func(i int, r io.Reader) error {
		b, err := io.ReadAll(r)
		layers[i] = append(layers[i], b...) // twice the layer if visited twice
		return err
	})
	return layers, err
}

// withLayers is the image's config document with other diff IDs.
func withLayers(raw []byte, diffIDs []v1.Hash) ([]byte, error) {
	c, err := parseDocument(raw)
	if err != nil {
		return nil, err
	}
	err = c.set("rootfs", map[string]any{"type": "layers", "diff_ids": diffIDs})
	return c.bytes(), err
}

// flat is im's lowest keep layers and one more.
func flat(im *Image, keep int, tar []byte) NewImage {
	return NewImage{
		From: im, Keep: keep, Size: int64(len(tar)),
		Write: func(_ context.Context, w io.Writer) error {
			_, err := w.Write(tar)
			return err
		},
		Config: func(diffIDs []v1.Hash) ([]byte, error) { return withLayers(im.RawConfig, diffIDs) },
	}
}

func storeErr(t *testing.T, dest string, src *Source, images []NewImage, names []string, c Compression, opt Options) (*Stored, error) {
	t.Helper()
	r, err := ParseRef(dest)
	if err != nil {
		t.Fatal(err)
	}
	if opt.TempDir == "" {
		opt.TempDir = t.TempDir()
	}
	d, err := OpenDest(context.Background(), r, opt)
	if err != nil {
		return nil, err
	}
	stored, err := d.Store(context.Background(), src, images, names, c)
	if left, readErr := os.ReadDir(opt.TempDir); readErr != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, readErr)
	}
	return stored, err
}

func mustStore(t *testing.T, dest string, src *Source, images []NewImage, names []string, c Compression) *Stored {
	t.Helper()
	stored, err := storeErr(t, dest, src, images, names, c, Options{})
	if err != nil {
		t.Fatalf("store to %s: %v", dest, err)
	}
	return stored
}
