package rebuild

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"docker-flatten/rebuild/imagetest"
	"docker-flatten/templates"
)

// ociLayout is a layout directory that a test writes.
type ociLayout struct{ dir string }

func newLayout(t *testing.T) ociLayout {
	t.Helper()
	l := ociLayout{t.TempDir()}
	if err := os.MkdirAll(filepath.Join(l.dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.file(t, "oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return l
}

func (l ociLayout) file(t *testing.T, name string, body []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), body, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (l ociLayout) blob(t *testing.T, kind types.MediaType, body []byte) v1.Descriptor {
	t.Helper()
	hex := sum(body)
	l.file(t, "blobs/sha256/"+hex, body)
	return v1.Descriptor{MediaType: kind, Size: int64(len(body)), Digest: v1.Hash{Algorithm: "sha256", Hex: hex}}
}

func (l ociLayout) document(t *testing.T, kind types.MediaType, v any) v1.Descriptor {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return l.blob(t, kind, b)
}

// image adds an image with annotations everywhere that annotations can be.
func (l ociLayout) image(t *testing.T, im imagetest.Image) v1.Descriptor {
	t.Helper()
	config, layers := im.Document()
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: l.blob(t, types.OCIConfigJSON, config),
		Annotations: map[string]string{"of": "the manifest"},
	}
	for _, tar := range layers {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write(tar)
		if err := errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
		d := l.blob(t, types.OCILayer, b.Bytes())
		d.Annotations, d.URLs = map[string]string{"of": "a layer"}, []string{"https://example.com/" + d.Digest.Hex}
		m.Layers = append(m.Layers, d)
	}
	return l.document(t, types.OCIManifestSchema1, m)
}

// change makes the manifest that d describes anew.
func (l ociLayout) change(t *testing.T, d *v1.Descriptor, change func(*v1.Manifest)) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(l.dir, "blobs", "sha256", d.Digest.Hex))
	if err != nil {
		t.Fatal(err)
	}
	var m v1.Manifest
	readJSON(t, raw, &m)
	change(&m)
	*d = l.document(t, m.MediaType, m)
}

// attestation adds what BuildKit puts beside an image that it attests to.
func (l ociLayout) attestation(t *testing.T, of v1.Descriptor) v1.Descriptor {
	t.Helper()
	statement := l.blob(t, "application/vnd.in-toto+json", []byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`))
	config := l.blob(t, types.OCIConfigJSON, []byte(`{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":["`+statement.Digest.String()+`"]}}`))
	d := l.document(t, types.OCIManifestSchema1, v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: []v1.Descriptor{statement},
	})
	d.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	d.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of.Digest.String()}
	return d
}

func (l ociLayout) index(t *testing.T, annotations map[string]string, entries ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	return l.document(t, types.OCIImageIndex, v1.IndexManifest{
		SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: entries, Annotations: annotations,
	})
}

// name makes what d describes the layout's image.
func (l ociLayout) name(t *testing.T, d v1.Descriptor, name string) {
	t.Helper()
	d.Annotations = map[string]string{"org.opencontainers.image.ref.name": name}
	b, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{d}})
	if err != nil {
		t.Fatal(err)
	}
	l.file(t, "index.json", b)
}

// root opens the layout's only image, an index.
func (l ociLayout) root(t *testing.T) v1.ImageIndex {
	t.Helper()
	index, err := layout.ImageIndexFromPath(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	return only(t, index)
}

func only(t *testing.T, index v1.ImageIndex) v1.ImageIndex {
	t.Helper()
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != 1 {
		t.Fatalf("index.json has %d entries", len(m.Manifests))
	}
	root, err := index.ImageIndex(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// platforms is appImage for two platforms in an index, each with an
// attestation, and for a third in an index within the index.
func platforms(t *testing.T) ociLayout {
	t.Helper()
	l := newLayout(t)
	for_ := func(p v1.Platform) v1.Descriptor {
		im := appImage()
		im.Fields["architecture"] = p.Architecture
		if p.Variant != "" {
			im.Fields["variant"] = p.Variant
		}
		d := l.image(t, im)
		d.Platform, d.Annotations = &p, map[string]string{"of": "the entry for " + p.Architecture}
		return d
	}
	arm := for_(v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"})
	amd := for_(v1.Platform{OS: "linux", Architecture: "amd64"})
	inner := l.index(t, map[string]string{"of": "the inner index"}, for_(v1.Platform{OS: "linux", Architecture: "s390x"}))
	inner.Annotations = map[string]string{"of": "the inner index's entry"}
	l.name(t, l.index(t, map[string]string{"of": "the index"}, arm, amd, inner, l.attestation(t, arm), l.attestation(t, amd)), "app")
	return l
}

// checkPlatforms holds a flattened index against the one that it was made of:
// the same but for the attestations, which the report tells of, and for what
// flattening changes in each image.
func checkPlatforms(t *testing.T, report *templates.Report, before, after v1.ImageIndex, options ...validate.Option) {
	t.Helper()
	if err := validate.Index(after, options...); err != nil {
		t.Error(err)
	}
	dropped := 0
	for _, w := range report.Warnings {
		if strings.Contains(w, "attestation-manifest") {
			dropped++
		}
	}
	if dropped != 2 {
		t.Errorf("warnings %q don't tell of two attestations", report.Warnings)
	}
	checkIndex(t, before, after)
}

func checkIndex(t *testing.T, before, after v1.ImageIndex) {
	t.Helper()
	was, err := before.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	is, err := after.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var kept []v1.Descriptor
	for _, d := range was.Manifests {
		if d.Annotations["vnd.docker.reference.type"] == "" {
			kept = append(kept, d)
		}
	}
	if len(is.Manifests) != len(kept) {
		t.Fatalf("%d entries, want %d", len(is.Manifests), len(kept))
	}
	if is.MediaType != was.MediaType || !reflect.DeepEqual(is.Annotations, was.Annotations) {
		t.Errorf("index of %s %v became one of %s %v", was.MediaType, was.Annotations, is.MediaType, is.Annotations)
	}
	for i, w := range kept {
		d := is.Manifests[i]
		if !reflect.DeepEqual(d.Platform, w.Platform) || !reflect.DeepEqual(d.Annotations, w.Annotations) || d.MediaType != w.MediaType {
			t.Errorf("entry %d: %+v became %+v", i+1, w, d)
		}
		if d.MediaType.IsIndex() {
			a, err := before.ImageIndex(w.Digest)
			if err != nil {
				t.Fatal(err)
			}
			b, err := after.ImageIndex(d.Digest)
			if err != nil {
				t.Fatal(err)
			}
			checkIndex(t, a, b)
			continue
		}
		a, err := before.Image(w.Digest)
		if err != nil {
			t.Fatal(err)
		}
		b, err := after.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkManifests(t, a, b)
	}
}

// checkManifests holds a flattened image's manifest against its source's: all
// of it but the layers above the base is as it was.
func checkManifests(t *testing.T, before, after v1.Image) {
	t.Helper()
	was, err := before.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	is, err := after.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(is.Layers) != 2 || !reflect.DeepEqual(is.Layers[0], was.Layers[0]) {
		t.Errorf("layers %+v are not the base %+v and one", is.Layers, was.Layers[0])
	}
	if is.MediaType != was.MediaType || is.Config.MediaType != was.Config.MediaType || !reflect.DeepEqual(is.Annotations, was.Annotations) {
		t.Errorf("manifest %s %s %v became %s %s %v", was.MediaType, was.Config.MediaType, was.Annotations, is.MediaType, is.Config.MediaType, is.Annotations)
	}
}

// untar unpacks the files of an archive.
func untar(t *testing.T, name, dir string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		p := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err == nil {
			err = os.WriteFile(p, b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
