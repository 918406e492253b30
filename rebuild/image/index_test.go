package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var (
	amd = testImage{platform: "linux/amd64", layers: [][]byte{base, upper}, stored: [][]byte{gzipBytes(base), gzipBytes(upper)}}
	arm = testImage{platform: "linux/arm64/v8", layers: [][]byte{base, third}, stored: [][]byte{gzipBytes(base), gzipBytes(third)}}
	win = testImage{platform: "windows/amd64", layers: [][]byte{third}, stored: [][]byte{gzipBytes(third)}}
)

// attestation is what BuildKit lists beside an image.
func attestation(of testImage) (e entry, blobs [][]byte) {
	config, statement := []byte(`{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":[]}}`), []byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`)
	m, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: digestOfBytes(config), Size: int64(len(config))},
		Layers: []v1.Descriptor{{MediaType: "application/vnd.in-toto+json", Digest: digestOfBytes(statement), Size: int64(len(statement))}},
	})
	must(err)
	return entry{kind: types.OCIManifestSchema1, doc: m, platform: "unknown/unknown", annotations: map[string]string{
		"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digestOfBytes(of.manifest(false)).String(),
	}}, [][]byte{m, config, statement}
}

func entryOf(im testImage) entry {
	return entry{kind: types.OCIManifestSchema1, doc: im.manifest(false), platform: im.platform, annotations: map[string]string{"org.example.entry": im.platform}}
}

// platformsLayout is a layout whose index has an index in it, images for three
// platforms, an attestation, and something that isn't an image.
func platformsLayout() files {
	att, blobs := attestation(amd)
	helm := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"` + digestOfBytes([]byte("{}")).String() + `","size":2},"layers":[]}`)
	inner := index(entryOf(arm), entryOf(win))
	outer := index(entryOf(amd), att, entry{kind: types.OCIImageIndex, doc: inner, annotations: map[string]string{"inner": "yes"}}, entry{kind: types.OCIManifestSchema1, doc: helm})
	blobs = append(blobs, inner, outer, helm, []byte("{}"))
	for _, im := range []testImage{amd, arm, win} {
		blobs = append(blobs, im.manifest(false), im.config())
		blobs = append(blobs, im.stored...)
	}
	return layoutFiles(index(entry{kind: types.OCIImageIndex, doc: outer, annotations: map[string]string{refNameAnnotation: "v1"}}), blobs...)
}

func TestIndexGivesAnImageAPlatform(t *testing.T) {
	root, warned := platformsLayout().dir(t), &warnings{}
	src := open(t, "oci:"+root+":v1", Options{Warn: warned.add})
	var platforms []string
	for _, im := range src.Images {
		platforms = append(platforms, im.Platform.String())
	}
	if want := []string{"linux/amd64", "linux/arm64/v8", "windows/amd64"}; !slices.Equal(platforms, want) {
		t.Errorf("platforms %q", platforms)
	}
	if src.Index == nil || src.Index.Annotations["org.example.index"] != "kept" {
		t.Errorf("index %+v", src.Index)
	}
	if len(warned.lines) != 2 || !strings.Contains(warned.lines[0], "attestation-manifest") || !strings.Contains(warned.lines[1], "helm") {
		t.Errorf("warnings %q", warned.lines)
	}
	sameLayers(t, readAll(t, src.Images[1]), arm.layers)
}

func TestPlatformPicksOne(t *testing.T) {
	root := platformsLayout().dir(t)
	for platform, want := range map[string]string{"linux/amd64": "linux/amd64", "linux/arm64": "linux/arm64/v8", "linux/arm64/v8": "linux/arm64/v8", "windows/amd64": "windows/amd64"} {
		src := open(t, "oci:"+root, Options{Platform: platform})
		if len(src.Images) != 1 || src.Images[0].Platform.String() != want || src.Index != nil {
			t.Errorf("%s gives %d images, the first for %s", platform, len(src.Images), src.Images[0].Platform)
		}
	}
	_, err := openErr(t, "oci:"+root, Options{Platform: "linux/s390x"})
	var e *Error
	if !errors.Is(err, ErrNoImage) || !errors.As(err, &e) || !strings.Contains(e.Hint, "linux/arm64") {
		t.Errorf("error %v, hint %q", err, e.Hint)
	}
	if _, err := openErr(t, "oci:"+root, Options{Platform: "linux"}); err == nil {
		t.Error("half a platform is taken")
	}
	if _, err := openErr(t, write(t, "in.tar", dockerArchive(three)), Options{Platform: "linux/arm64"}); !errors.Is(err, ErrNoImage) {
		t.Errorf("a docker-archive for another platform: %v", err)
	}
}

func flatAll(t *testing.T, src *Source) (images []NewImage) {
	for _, im := range src.Images {
		readAll(t, im)
		images = append(images, flat(im, len(im.DiffIDs)-1, merged12))
	}
	return images
}

func TestIndexComesBackAsAnIndex(t *testing.T) {
	root := platformsLayout().dir(t)
	for name, dest := range places(t) {
		src := open(t, "oci:"+root, Options{})
		images := flatAll(t, src)
		if name == "docker-archive" {
			_, err := storeErr(t, dest, src, images, nil, Compression{}, Options{})
			var e *Error
			if !errors.Is(err, ErrFormat) || !errors.As(err, &e) || !strings.Contains(e.Hint, "--platform") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		stored := mustStore(t, dest, src, images, nil, Compression{})
		back := open(t, dest, Options{})
		if !strings.HasSuffix(stored.ID, back.Index.descriptor.Digest.String()) {
			t.Errorf("%s: ID %s, index %s", name, stored.ID, back.Index.descriptor.Digest)
		}
		for i, im := range back.Images {
			was := src.Images[i]
			if im.Platform.String() != was.Platform.String() || im.Descriptor.Annotations["org.example.entry"] != was.Platform.String() {
				t.Errorf("%s: image %d is for %s, annotations %v", name, i, im.Platform, im.Descriptor.Annotations)
			}
			layers := readAll(t, im)
			if !bytes.Equal(layers[len(layers)-1], merged12) {
				t.Errorf("%s: image %d has another top layer", name, i)
			}
		}
		if n := len(back.Index.entries); n != 2 || back.Index.entries[1].index == nil {
			t.Errorf("%s: the index has %d entries", name, n)
		}
		if !bytes.Contains(back.Index.Raw, []byte(`"x-unknown":"kept"`)) || !bytes.Contains(back.Index.Raw, []byte(`"inner":"yes"`)) || back.Index.Annotations["org.example.index"] != "kept" {
			t.Errorf("%s: index is %s", name, back.Index.Raw)
		}
	}
}

// Layouts of older tools list an image's platforms in index.json itself.
func TestLayoutListsPlatformsWithoutAnIndex(t *testing.T) {
	var blobs [][]byte
	for _, im := range []testImage{amd, arm} {
		blobs = append(blobs, im.manifest(false), im.config())
		blobs = append(blobs, im.stored...)
	}
	root := layoutFiles(index(entryOf(amd), entryOf(arm)), blobs...).dir(t)
	src := open(t, "oci:"+root, Options{})
	if len(src.Images) != 2 || src.Index == nil {
		t.Fatalf("%d images", len(src.Images))
	}
	out := "oci:" + filepath.Join(t.TempDir(), "out")
	mustStore(t, out, src, flatAll(t, src), nil, Compression{})
	if back := open(t, out, Options{}); len(back.Images) != 2 || back.Images[1].Platform.String() != "linux/arm64/v8" {
		t.Errorf("%d images come back", len(back.Images))
	}
	if one := open(t, "oci:"+root, Options{Platform: "linux/arm64"}); len(one.Images) != 1 {
		t.Errorf("%d images for one platform", len(one.Images))
	}
}

func TestLayoutIsChecked(t *testing.T) {
	whole := func() files { return layoutOf(compressedThree, false, "v1") }
	change := func(f files, contents []byte, to []byte) files {
		for i := 1; i < len(f); i += 2 {
			if bytes.Equal(f[i].([]byte), contents) {
				f[i] = to
			}
		}
		return f
	}
	damaged := func(b []byte) []byte {
		c := bytes.Clone(b)
		c[len(c)/2] ^= 1
		return c
	}
	manifest, config, blob := compressedThree.manifest(false), compressedThree.config(), compressedThree.stored[1]
	for name, c := range map[string]struct {
		files files
		ref   string
		is    error
		text  string
	}{
		"a changed manifest":   {change(whole(), manifest, damaged(manifest)), "", ErrDigest, "manifest " + digestOfBytes(manifest).String()},
		"a changed config":     {change(whole(), config, damaged(config)), "", ErrDigest, "config " + digestOfBytes(config).String()},
		"a changed layer":      {change(whole(), blob, damaged(blob)), "", ErrDigest, digestOfBytes(blob).String()},
		"a shortened layer":    {change(whole(), blob, blob[:len(blob)-9]), "", ErrDigest, digestOfBytes(blob).String()},
		"bytes after a layer":  {change(whole(), blob, append(bytes.Clone(blob), 0, 0)), "", nil, digestOfBytes(blob).String()},
		"another valid layer":  {change(whole(), blob, gzipBytes(third)), "", ErrDigest, digestOfBytes(blob).String()},
		"no such name":         {whole(), "v2", ErrNoImage, "no such image in it: v2"},
		"no index.json":        {whole()[:2], "", nil, "no such file"},
		"a schema 1 manifest":  {layoutFiles(index(entry{kind: types.DockerManifestSchema1, doc: []byte(`{"schemaVersion":1}`)}), []byte(`{"schemaVersion":1}`)), "", ErrFormat, "schema 1"},
		"an index without end": {endlessIndex(), "", nil, "indexes within each other"},
	} {
		t.Run(name, func(t *testing.T) {
			ref := "oci:" + c.files.dir(t)
			if c.ref != "" {
				ref += ":" + c.ref
			}
			src, err := openErr(t, ref, Options{})
			if err == nil {
				_, err = readLayers(src.Images[0], nil)
			}
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error is %v", err)
			}
		})
	}
	if _, err := openErr(t, "oci:"+t.TempDir(), Options{}); !errors.Is(err, ErrNotLayout) {
		t.Errorf("an empty directory: %v", err)
	}
	missing := whole()
	for i := 0; i < len(missing); i += 2 {
		if missing[i] == blobPath(digestOfBytes(blob)) {
			missing = slices.Delete(missing, i, i+2)
			break
		}
	}
	for _, ref := range []string{"oci:" + missing.dir(t), write(t, "oci.tar", missing.tar())} {
		if _, err := openErr(t, ref, Options{}); err == nil || !strings.Contains(err.Error(), digestOfBytes(blob).String()+" isn't in the ") {
			t.Errorf("a missing layer: %v", err)
		}
	}
}

// endlessIndex is ten indexes within each other.
func endlessIndex() files {
	var blobs [][]byte
	ix := index()
	for range 10 {
		blobs = append(blobs, ix)
		ix = index(entry{kind: types.OCIImageIndex, doc: ix})
	}
	return layoutFiles(ix, blobs...)
}

// An archive of Docker 25 and newer is a layout too, with descriptors worth
// keeping where the layers are stored compressed.
func TestDockerArchiveWithALayoutInIt(t *testing.T) {
	f := layoutOf(amd, false, "v1")
	saved := savedImage{Config: blobPath(digestOfBytes(amd.config())), RepoTags: []string{"demo:1"}}
	for i := range amd.layers {
		saved.Layers = append(saved.Layers, blobPath(digestOfBytes(amd.stored[i])))
	}
	raw, err := json.Marshal([]savedImage{saved})
	must(err)
	path := write(t, "image.tar", append(f, "manifest.json", raw).tar())
	for ref, transport := range map[string]string{path: Archive, "docker-archive:" + path: Archive, "oci-archive:" + path: LayoutArchive} {
		src := open(t, ref, Options{})
		im := src.Images[0]
		sameLayers(t, readAll(t, im), amd.layers)
		if src.Ref.Transport != transport || im.Manifest == nil || im.Manifest.Layers[0].Digest != digestOfBytes(amd.stored[0]) {
			t.Errorf("%s is a %s, manifest %v", ref, src.Ref.Transport, im.Manifest)
		}
	}
}
