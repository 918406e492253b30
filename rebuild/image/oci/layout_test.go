package oci_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/oci"
	"docker-flatten/rebuild/imagetest"
)

func TestIndexGivesAnImageAPlatform(t *testing.T) {
	root, warned := imagetest.PlatformsLayout().Dir(t), &imagetest.Warnings{}
	src := imagetest.Open(t, "oci:"+root+":v1", image.Options{Warn: warned.Add})
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
	if len(warned.Lines) != 2 || !strings.Contains(warned.Lines[0], "attestation-manifest") || !strings.Contains(warned.Lines[1], "helm") {
		t.Errorf("warnings %q", warned.Lines)
	}
	imagetest.SameLayers(t, imagetest.ReadAll(t, src.Images[1]), imagetest.ARM.Layers)
}

func TestPlatformPicksOne(t *testing.T) {
	root := imagetest.PlatformsLayout().Dir(t)
	for platform, want := range map[string]string{"linux/amd64": "linux/amd64", "linux/arm64": "linux/arm64/v8", "linux/arm64/v8": "linux/arm64/v8", "windows/amd64": "windows/amd64"} {
		src := imagetest.Open(t, "oci:"+root, image.Options{Platform: platform})
		if len(src.Images) != 1 || src.Images[0].Platform.String() != want || src.Index != nil {
			t.Errorf("%s gives %d images, the first for %s", platform, len(src.Images), src.Images[0].Platform)
		}
	}
	_, err := imagetest.OpenErr(t, "oci:"+root, image.Options{Platform: "linux/s390x"})
	var e *image.Error
	if !errors.Is(err, image.ErrNoImage) || !errors.As(err, &e) || !strings.Contains(e.Hint, "linux/arm64") {
		t.Errorf("error %v, hint %q", err, e.Hint)
	}
	if _, err := imagetest.OpenErr(t, "oci:"+root, image.Options{Platform: "linux"}); err == nil {
		t.Error("half a platform is taken")
	}
	if _, err := imagetest.OpenErr(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{Platform: "linux/arm64"}); !errors.Is(err, image.ErrNoImage) {
		t.Errorf("a docker-archive for another platform: %v", err)
	}
}

// Layouts of older tools list an image's platforms in index.json itself.
func TestLayoutListsPlatformsWithoutAnIndex(t *testing.T) {
	var blobs [][]byte
	for _, im := range []imagetest.Raw{imagetest.AMD, imagetest.ARM} {
		blobs = append(blobs, im.Manifest(false), im.Config())
		blobs = append(blobs, im.Stored...)
	}
	root := imagetest.LayoutFiles(imagetest.Index(imagetest.EntryOf(imagetest.AMD), imagetest.EntryOf(imagetest.ARM)), blobs...).Dir(t)
	src := imagetest.Open(t, "oci:"+root, image.Options{})
	if len(src.Images) != 2 || src.Index == nil {
		t.Fatalf("%d images", len(src.Images))
	}
	out := "oci:" + filepath.Join(t.TempDir(), "out")
	imagetest.Store(t, out, src, imagetest.FlatAll(t, src), nil, image.Compression{})
	if back := imagetest.Open(t, out, image.Options{}); len(back.Images) != 2 || back.Images[1].Platform.String() != "linux/arm64/v8" {
		t.Errorf("%d images come back", len(back.Images))
	}
	if one := imagetest.Open(t, "oci:"+root, image.Options{Platform: "linux/arm64"}); len(one.Images) != 1 {
		t.Errorf("%d images for one platform", len(one.Images))
	}
}

func TestLayoutIsChecked(t *testing.T) {
	whole := func() imagetest.Members { return imagetest.LayoutOf(imagetest.CompressedThree, false, "v1") }
	change := func(f imagetest.Members, contents []byte, to []byte) imagetest.Members {
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
	manifest, config, blob := imagetest.CompressedThree.Manifest(false), imagetest.CompressedThree.Config(), imagetest.CompressedThree.Stored[1]
	for name, c := range map[string]struct {
		files imagetest.Members
		ref   string
		is    error
		text  string
	}{
		"a changed manifest":   {change(whole(), manifest, damaged(manifest)), "", image.ErrDigest, "manifest " + imagetest.Digest(manifest).String()},
		"a changed config":     {change(whole(), config, damaged(config)), "", image.ErrDigest, "config " + imagetest.Digest(config).String()},
		"a changed layer":      {change(whole(), blob, damaged(blob)), "", image.ErrDigest, imagetest.Digest(blob).String()},
		"a shortened layer":    {change(whole(), blob, blob[:len(blob)-9]), "", image.ErrDigest, imagetest.Digest(blob).String()},
		"bytes after a layer":  {change(whole(), blob, append(bytes.Clone(blob), 0, 0)), "", nil, imagetest.Digest(blob).String()},
		"another valid layer":  {change(whole(), blob, imagetest.Gzip(imagetest.Third)), "", image.ErrDigest, imagetest.Digest(blob).String()},
		"no such name":         {whole(), "v2", image.ErrNoImage, "no such image in it: v2"},
		"no index.json":        {whole()[:2], "", nil, "index.json isn't there"},
		"a schema 1 manifest":  {imagetest.LayoutFiles(imagetest.Index(imagetest.Entry{Kind: types.DockerManifestSchema1, Doc: []byte(`{"schemaVersion":1}`)}), []byte(`{"schemaVersion":1}`)), "", image.ErrFormat, "schema 1"},
		"an index without end": {endlessIndex(), "", nil, "indexes within each other"},
	} {
		t.Run(name, func(t *testing.T) {
			ref := "oci:" + c.files.Dir(t)
			if c.ref != "" {
				ref += ":" + c.ref
			}
			src, err := imagetest.OpenErr(t, ref, image.Options{})
			if err == nil {
				_, _, err = imagetest.ReadLayers(src.Images[0], nil)
			}
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error is %v", err)
			}
		})
	}
	if _, err := imagetest.OpenErr(t, "oci:"+t.TempDir(), image.Options{}); !errors.Is(err, image.ErrNotLayout) {
		t.Errorf("an empty directory: %v", err)
	}
	missing := whole()
	for i := 0; i < len(missing); i += 2 {
		if missing[i] == image.BlobPath(imagetest.Digest(blob)) {
			missing = slices.Delete(missing, i, i+2)
			break
		}
	}
	for _, ref := range []string{"oci:" + missing.Dir(t), imagetest.Write(t, "oci.tar", missing.Tar())} {
		if _, err := imagetest.OpenErr(t, ref, image.Options{}); err == nil || !strings.Contains(err.Error(), imagetest.Digest(blob).String()+" isn't in the ") {
			t.Errorf("a missing layer: %v", err)
		}
	}
}

// endlessIndex is ten indexes within each other.
func endlessIndex() imagetest.Members {
	var blobs [][]byte
	ix := imagetest.Index()
	for range 10 {
		blobs = append(blobs, ix)
		ix = imagetest.Index(imagetest.Entry{Kind: types.OCIImageIndex, Doc: ix})
	}
	return imagetest.LayoutFiles(ix, blobs...)
}

func TestLayoutKeepsOtherImages(t *testing.T) {
	root := imagetest.LayoutOf(imagetest.CompressedThree, false, "old").Dir(t)
	src := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	imagetest.ReadAll(t, src.Images[0])
	for _, step := range []struct {
		ref   string
		names []string
		tar   []byte
		want  []string
	}{
		{"oci:" + root + ":new", nil, imagetest.Merged12, []string{"old", "new"}},
		{"oci:" + root + ":new", nil, imagetest.Third, []string{"old", "new"}},
		{"oci:" + root, []string{"demo:flat", "demo:2"}, imagetest.Third, []string{"old", "new", "docker.io/library/demo:flat", "docker.io/library/demo:2"}},
		{"oci:" + root + ":old", nil, imagetest.Third, []string{"new", "docker.io/library/demo:flat", "docker.io/library/demo:2", "old"}},
	} {
		imagetest.Store(t, step.ref, src, []image.NewImage{imagetest.Flat(src.Images[0], 1, step.tar)}, step.names, image.Compression{})
		raw, err := os.ReadFile(filepath.Join(root, "index.json"))
		imagetest.Must(err)
		var ix v1.IndexManifest
		imagetest.Must(json.Unmarshal(raw, &ix))
		var have []string
		for _, d := range ix.Manifests {
			have = append(have, oci.EntryNames(d)[0])
		}
		if !slices.Equal(have, step.want) {
			t.Errorf("after %s: %q, not %q", step.ref, have, step.want)
		}
		if !strings.Contains(string(raw), `"x-unknown":"kept"`) {
			t.Error("index.json lost a field")
		}
	}
	imagetest.SameLayers(t, imagetest.ReadAll(t, imagetest.Open(t, "oci:"+root+":new", image.Options{}).Images[0]), [][]byte{imagetest.Base, imagetest.Third})
	imagetest.SameLayers(t, imagetest.ReadAll(t, imagetest.Open(t, "oci:"+root+":demo:flat", image.Options{}).Images[0]), [][]byte{imagetest.Base, imagetest.Third})
}

// What a layout's index.json is, as far as readers see it, it still is with a new
// image, and that has its name.
func TestOddIndexTakesANewImage(t *testing.T) {
	src := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	imagetest.ReadAll(t, src.Images[0])
	for name, c := range map[string]struct {
		change func(index string) string
		want   []string
	}{
		"null":                       {func(string) string { return "null" }, []string{"new"}},
		"nothing":                    {func(string) string { return "{}" }, []string{"new"}},
		"the list is null":           {func(string) string { return `{"schemaVersion":2,"manifests":null}` }, []string{"new"}},
		"a list in another case":     {func(s string) string { return strings.Replace(s, `"manifests"`, `"Manifests"`, 1) }, []string{"old", "new"}},
		"a list in two cases":        {func(s string) string { return strings.Replace(s, `{`, `{"MANIFESTS":[],`, 1) }, []string{"old", "new"}},
		"a list of another alphabet": {func(s string) string { return strings.Replace(s, `"manifests"`, `"manifeſts"`, 1) }, []string{"old", "new"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := imagetest.LayoutOf(imagetest.CompressedThree, false, "old").Dir(t)
			path := filepath.Join(root, "index.json")
			raw, err := os.ReadFile(path)
			imagetest.Must(err)
			imagetest.Must(os.WriteFile(path, []byte(c.change(string(raw))), 0o644))
			imagetest.Store(t, "oci:"+root+":new", src, []image.NewImage{imagetest.Flat(src.Images[0], 1, imagetest.Merged12)}, nil, image.Compression{})
			for _, name := range c.want {
				imagetest.ReadAll(t, imagetest.Open(t, "oci:"+root+":"+name, image.Options{}).Images[0])
			}
		})
	}
}
