package place_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
)

// beside are the images in a place, each by its names and its platform.
func beside(t *testing.T, ref string) []string {
	t.Helper()
	var found []string
	for _, im := range imagetest.Open(t, ref, image.Options{}).Beside.Images(t.Context()) {
		found = append(found, strings.Join(append(slices.Clone(im.Names), im.Platform.String()), " "))
	}
	return found
}

func TestImagesBesideAnother(t *testing.T) {
	named := func(im imagetest.Raw, name string) imagetest.Entry {
		e := imagetest.EntryOf(im)
		e.Annotations = map[string]string{"org.opencontainers.image.ref.name": name}
		return e
	}
	two := imagetest.LayoutFiles(imagetest.Index(named(imagetest.AMD, "example.com/amd:1"), named(imagetest.ARM, "tag")),
		append([][]byte{imagetest.AMD.Manifest(false), imagetest.AMD.Config(), imagetest.ARM.Manifest(false), imagetest.ARM.Config()}, append(imagetest.AMD.Stored, imagetest.ARM.Stored...)...)...)
	other := imagetest.AMD
	other.Names = []string{"other:1", "other:2"}
	damaged := imagetest.LayoutFiles(imagetest.Index(named(imagetest.AMD, "example.com/amd:1"), named(imagetest.ARM, "tag")),
		append([][]byte{imagetest.AMD.Manifest(false), imagetest.AMD.Config(), imagetest.ARM.Manifest(false)}, append(imagetest.AMD.Stored, imagetest.ARM.Stored...)...)...)
	for name, c := range map[string]struct {
		ref  string
		want []string
	}{
		"a layout":                              {"oci:" + two.Dir(t) + ":tag", []string{"example.com/amd:1 linux/amd64", "linux/arm64/v8"}},
		"its archive":                           {"oci-archive:" + imagetest.Write(t, "in.tar.gz", imagetest.Gzip(two.Tar())) + ":tag", []string{"example.com/amd:1 linux/amd64", "linux/arm64/v8"}},
		"an index":                              {"oci:" + imagetest.PlatformsLayout().Dir(t), []string{"linux/amd64", "unknown/unknown", "linux/arm64/v8", "windows/amd64", ""}},
		"a docker-archive":                      {"docker-archive:" + imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three, other)) + ":demo:1", []string{"demo:1 linux/amd64", "other:1 other:2 linux/amd64"}},
		"one that lacks its config is left out": {"oci:" + damaged.Dir(t) + ":example.com/amd:1", []string{"example.com/amd:1 linux/amd64"}},
	} {
		if got := beside(t, c.ref); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A few documents can list each other millions of times.
func TestImagesBesideAreBounded(t *testing.T) {
	entries := slices.Repeat([]imagetest.Entry{imagetest.EntryOf(imagetest.AMD)}, 100)
	inner := imagetest.Index(entries...)
	outer := imagetest.Index(slices.Repeat([]imagetest.Entry{{Kind: types.OCIImageIndex, Doc: inner}}, 100)...)
	list := append(slices.Repeat([]imagetest.Entry{{Kind: types.OCIImageIndex, Doc: outer}}, 100), imagetest.Entry{
		Kind: types.OCIManifestSchema1, Doc: imagetest.AMD.Manifest(false), Annotations: map[string]string{"org.opencontainers.image.ref.name": "app"},
	})
	dir := imagetest.LayoutFiles(imagetest.Index(list...), append([][]byte{inner, outer, imagetest.AMD.Manifest(false), imagetest.AMD.Config()}, imagetest.AMD.Stored...)...).Dir(t)
	src := imagetest.Open(t, "oci:"+dir+":app", image.Options{})
	if n := len(src.Beside.Images(t.Context())); n == 0 || n > 1024 {
		t.Errorf("%d images", n)
	}
	src.Beside.Around(t.Context(), imagetest.Digest([]byte("none")))
}

// What refers to an image is found, and read with its digest checked.
func TestAttestationsBesideAnImage(t *testing.T) {
	dir := imagetest.PlatformsLayout().Dir(t)
	src := imagetest.Open(t, "oci:"+dir, image.Options{Platform: "linux/amd64"})
	found := src.Beside.Around(t.Context(), src.Images[0].Manifest.Descriptor.Digest)
	if len(found) != 1 {
		t.Fatalf("%d found", len(found))
	}
	raw, err := src.Beside.Document(t.Context(), found[0], 1<<20)
	if err != nil || !bytes.Contains(raw, []byte("in-toto")) {
		t.Errorf("%s, %v", raw, err)
	}
	if _, err := src.Beside.Document(t.Context(), found[0], 10); err == nil {
		t.Error("it is longer than 10 bytes")
	}
	imagetest.Must(os.WriteFile(filepath.Join(dir, "blobs", "sha256", found[0].Digest.Hex), []byte("{}"), 0o644))
	if _, err := src.Beside.Document(t.Context(), found[0], 1<<20); err == nil {
		t.Error("another document has its digest")
	}
}
