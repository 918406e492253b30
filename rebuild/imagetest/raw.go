package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// Layers and images that tests use.
var (
	Base     = Tar("bin/", "bin/sh", "etc/", "etc/passwd")
	Upper    = Tar("app/", "app/a", "bin/ls -> sh")
	Third    = Tar("app/b")
	Merged12 = Tar("app/", "app/a", "app/b", "bin/ls -> sh")

	Three = Raw{Names: []string{"demo:1"}, Layers: [][]byte{Base, Upper, Third}}
	// CompressedThree has its lowest layer stored by a tool whose bytes nothing
	// here would make again.
	CompressedThree = Raw{Names: Three.Names, Layers: Three.Layers, Stored: [][]byte{Gzip(Base), Gzip(Upper), Zstd(Third)}}

	AMD = Raw{Platform: "linux/amd64", Layers: [][]byte{Base, Upper}, Stored: [][]byte{Gzip(Base), Gzip(Upper)}}
	ARM = Raw{Platform: "linux/arm64/v8", Layers: [][]byte{Base, Third}, Stored: [][]byte{Gzip(Base), Gzip(Third)}}
	Win = Raw{Platform: "windows/amd64", Layers: [][]byte{Third}, Stored: [][]byte{Gzip(Third)}}
)

// Tar builds a layer's tar. An entry is a directory if its name ends in /, a
// symbolic link if it has the form "name -> target", else a file that holds its
// own name.
func Tar(entries ...string) []byte {
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

// Raw is an image as a test thinks of it.
type Raw struct {
	Names    []string
	Platform string   // "" = linux/amd64
	Layers   [][]byte // uncompressed tars
	Stored   [][]byte // how they are stored; nil = as they are
}

// Config is the image's config document. It has fields that no library knows,
// and an order and spaces that no encoder would choose.
func (im Raw) Config() []byte {
	os, arch, _ := strings.Cut(im.Platform, "/")
	if im.Platform == "" {
		os, arch = "linux", "amd64"
	}
	arch, variant, _ := strings.Cut(arch, "/")
	var diffIDs []string
	for _, l := range im.Layers {
		diffIDs = append(diffIDs, Digest(l).String())
	}
	ids, err := json.Marshal(diffIDs)
	must(err)
	return []byte(`{ "x-unknown": {"b": 1.50, "a": "<&>"},
  "variant": "` + variant + `", "os": "` + os + `", "architecture": "` + arch + `",
  "config": {"Env": ["A=1"], "X-Vendor": [1, 2.0]},
  "rootfs": {"type": "layers", "diff_ids": ` + string(ids) + `}}`)
}

// Blob is the i-th layer as it is stored.
func (im Raw) Blob(i int) []byte {
	if im.Stored != nil {
		return im.Stored[i]
	}
	return im.Layers[i]
}

// Manifest is the image's manifest, with a field that no library knows.
func (im Raw) Manifest(docker bool) []byte {
	kind, config := types.OCIManifestSchema1, types.OCIConfigJSON
	if docker {
		kind, config = types.DockerManifestSchema2, types.DockerConfigJSON
	}
	m := map[string]any{
		"schemaVersion": 2, "mediaType": kind, "x-unknown": "kept",
		"config":      v1.Descriptor{MediaType: config, Digest: Digest(im.Config()), Size: int64(len(im.Config()))},
		"annotations": map[string]string{"org.example.kept": "yes <&>"},
	}
	var layers []any
	for i := range im.Layers {
		b := im.Blob(i)
		layers = append(layers, map[string]any{
			"mediaType": layerType(b, !docker), "digest": Digest(b), "size": len(b), "x-unknown": i,
			"annotations": map[string]string{"org.example.layer": "yes"},
		})
	}
	m["layers"] = layers
	raw, err := json.Marshal(m)
	must(err)
	return raw
}

// Gzip compresses b.
func Gzip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	must(err)
	must(w.Close())
	return out.Bytes()
}

// Zstd compresses b.
func Zstd(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	must(err)
	return w.EncodeAll(b, nil)
}

// layerType is the media type of a layer by its first bytes.
func layerType(b []byte, oci bool) types.MediaType {
	switch {
	case bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return types.OCILayerZStd
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}) && oci:
		return types.OCILayer
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		return types.DockerLayer
	case oci:
		return types.OCIUncompressedLayer
	}
	return types.DockerUncompressedLayer
}

// Digest is the digest of b.
func Digest(b []byte) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: hash(b)} }

// Members is the contents of an archive: names and contents in turn, or a name
// and a link: "name -> target".
type Members []any

// Tar is the archive.
func (f Members) Tar() []byte {
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

// Saved is an entry of a docker-archive's manifest.json.
type Saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// DockerArchive is the images as docker save writes them.
func DockerArchive(images ...Raw) []byte {
	var f Members
	var saved []Saved
	for _, im := range images {
		m := Saved{Config: Digest(im.Config()).Hex + ".json", RepoTags: im.Names}
		f = append(f, m.Config, im.Config())
		for i := range im.Layers {
			name := Digest(im.Blob(i)).Hex + "/layer.tar"
			m.Layers = append(m.Layers, name)
			f = append(f, name, im.Blob(i))
		}
		saved = append(saved, m)
	}
	raw, err := json.Marshal(saved)
	must(err)
	return append(f, "manifest.json", raw).Tar()
}

// Entry is a descriptor in an index.
type Entry struct {
	Kind        types.MediaType
	Doc         []byte
	Platform    string
	Annotations map[string]string
}

// Index is an index that lists the entries, with a field that no library knows.
func Index(entries ...Entry) []byte {
	m := map[string]any{
		"schemaVersion": 2, "mediaType": types.OCIImageIndex, "x-unknown": "kept", "annotations": map[string]string{"org.example.index": "kept"},
	}
	var list []v1.Descriptor
	for _, e := range entries {
		d := v1.Descriptor{MediaType: e.Kind, Digest: Digest(e.Doc), Size: int64(len(e.Doc)), Annotations: e.Annotations}
		if e.Platform != "" {
			p, err := v1.ParsePlatform(e.Platform)
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

// LayoutFiles are the blobs and the index.json of a layout.
func LayoutFiles(indexJSON []byte, blobs ...[]byte) Members {
	f := Members{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	for _, b := range blobs {
		f = append(f, "blobs/sha256/"+hash(b), b)
	}
	return append(f, "index.json", indexJSON)
}

// LayoutOf is a layout with one image, named name.
func LayoutOf(im Raw, docker bool, name string) Members {
	kind := types.OCIManifestSchema1
	if docker {
		kind = types.DockerManifestSchema2
	}
	m := im.Manifest(docker)
	var annotations map[string]string
	if name != "" {
		annotations = map[string]string{"org.opencontainers.image.ref.name": name}
	}
	blobs := [][]byte{m, im.Config()}
	for i := range im.Layers {
		blobs = append(blobs, im.Blob(i))
	}
	return LayoutFiles(Index(Entry{Kind: kind, Doc: m, Annotations: annotations}), blobs...)
}

// Dir puts the files into a new directory.
func (f Members) Dir(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "layout")
	for i := 0; i < len(f); i += 2 {
		name := filepath.Join(root, filepath.FromSlash(f[i].(string)))
		must(os.MkdirAll(filepath.Dir(name), 0o755))
		must(os.WriteFile(name, f[i+1].([]byte), 0o644))
	}
	return root
}

// Write puts b into a new file.
func Write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(os.WriteFile(path, b, 0o644))
	return path
}

// Attestation is what BuildKit lists beside an image.
func Attestation(of Raw) (e Entry, blobs [][]byte) {
	config, statement := []byte(`{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":[]}}`), []byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`)
	m, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: Digest(config), Size: int64(len(config))},
		Layers: []v1.Descriptor{{MediaType: "application/vnd.in-toto+json", Digest: Digest(statement), Size: int64(len(statement))}},
	})
	must(err)
	return Entry{Kind: types.OCIManifestSchema1, Doc: m, Platform: "unknown/unknown", Annotations: map[string]string{
		"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": Digest(of.Manifest(false)).String(),
	}}, [][]byte{m, config, statement}
}

// EntryOf is the image in an index.
func EntryOf(im Raw) Entry {
	return Entry{Kind: types.OCIManifestSchema1, Doc: im.Manifest(false), Platform: im.Platform, Annotations: map[string]string{"org.example.entry": im.Platform}}
}

// PlatformsLayout is a layout whose index has an index in it, images for three
// platforms, an attestation, and something that isn't an image.
func PlatformsLayout() Members {
	att, blobs := Attestation(AMD)
	helm := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"` + Digest([]byte("{}")).String() + `","size":2},"layers":[]}`)
	inner := Index(EntryOf(ARM), EntryOf(Win))
	outer := Index(EntryOf(AMD), att, Entry{Kind: types.OCIImageIndex, Doc: inner, Annotations: map[string]string{"inner": "yes"}}, Entry{Kind: types.OCIManifestSchema1, Doc: helm})
	blobs = append(blobs, inner, outer, helm, []byte("{}"))
	for _, im := range []Raw{AMD, ARM, Win} {
		blobs = append(blobs, im.Manifest(false), im.Config())
		blobs = append(blobs, im.Stored...)
	}
	return LayoutFiles(Index(Entry{Kind: types.OCIImageIndex, Doc: outer, Annotations: map[string]string{"org.opencontainers.image.ref.name": "v1"}}), blobs...)
}
