package oci_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/oci"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/imagetest"
)

// result is what a run makes of the image.
func result(im *image.Image) image.NewImage {
	return imagetest.Marked(imagetest.Flat(im, 1, imagetest.Merged12), "docker-flatten: 2 layers above 1 of it")
}

func read(t *testing.T) *image.Image {
	im := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.CompressedThree)), image.Options{}).Images[0]
	imagetest.ReadAll(t, im)
	return im
}

// listed is a layout's index.json as "name digest" lines.
func listed(t *testing.T, root string) (lines []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "index.json"))
	imagetest.Must(err)
	var ix v1.IndexManifest
	imagetest.Must(json.Unmarshal(raw, &ix))
	for _, d := range ix.Manifests {
		lines = append(lines, strings.Join(oci.EntryNames(d), " ")+" "+d.Digest.Hex[:6])
	}
	return lines
}

// A result has the reference's name and all others, and is one image also when
// nobody says which of its names is meant.
func TestLayoutHasAllNames(t *testing.T) {
	im := read(t)
	for _, ref := range []string{"oci:%", "oci-archive:%"} {
		path := filepath.Join(t.TempDir(), "x")
		ref := strings.Replace(ref, "%", path, 1)
		p, err := place.Prepare(t.Context(), imagetest.Ref(t, ref+":v1"), []string{"demo:1", "a/b:2", "demo:1"}, image.Options{TempDir: t.TempDir()})
		imagetest.Must(err)
		if want := []string{"v1", "demo:1", "a/b:2"}; !slices.Equal(p.Names(), want) {
			t.Errorf("%s: names are %q", ref, p.Names())
		}
		stored, err := imagetest.StoreIn(t.Context(), p, []image.NewImage{result(im)}, nil)
		imagetest.Must(err)
		for _, name := range []string{"", ":v1", ":demo:1", ":docker.io/library/demo:1", ":a/b:2", ":" + stored.ID} {
			back := imagetest.Open(t, ref+name, image.Options{})
			if back.ID != stored.ID || name == "" && !slices.Equal(back.Images[0].Names, []string{"demo:1", "a/b:2"}) {
				t.Errorf("%s%s is %s with the names %q", ref, name, back.ID, back.Images[0].Names)
			}
		}
	}
}

// An earlier result that a layout has under one of the names gets the others;
// what had them before stays in the layout without them.
func TestFoundInALayoutGetsAllNames(t *testing.T) {
	im := read(t)
	root := filepath.Join(t.TempDir(), "x")
	src := &image.Source{}
	imagetest.Store(t, "oci:"+root+":old", src, []image.NewImage{imagetest.Unchanged(im)}, []string{"demo:2"}, image.Compression{})
	first := imagetest.Store(t, "oci:"+root, src, []image.NewImage{result(im)}, []string{"demo:1"}, image.Compression{})
	blobs, err := os.ReadDir(filepath.Join(root, "blobs", "sha256"))
	imagetest.Must(err)

	for _, c := range []struct {
		ref   string
		names []string
		found bool
	}{
		{"oci:" + root, []string{"demo:3"}, false}, // nothing to know it by
		{"oci:" + root, []string{"demo:2", "demo:1"}, true},
		{"oci:" + root + ":v1", []string{"demo:1"}, true},
		{"oci:" + root + ":v1", nil, true},
		{"oci:" + root, []string{"demo:1"}, true},
	} {
		p, err := place.Prepare(t.Context(), imagetest.Ref(t, c.ref), c.names, image.Options{})
		imagetest.Must(err)
		found, err := p.Existing(t.Context(), image.Wanted{Images: []image.NewImage{result(im)}})
		if err != nil || (found != nil) != c.found {
			t.Fatalf("%s %q: %v, %v", c.ref, c.names, found, err)
		}
		if found == nil {
			continue
		}
		imagetest.SameLayers(t, imagetest.ReadAll(t, found.Source.Images[0]), [][]byte{imagetest.Base, imagetest.Merged12})
		if found.Stored.ID != first.ID || found.Stored.Images[0].Layer.Digest != first.Images[0].Layer.Digest || found.Stored.Images[0].Compressed != first.Images[0].Compressed {
			t.Errorf("found %+v, stored %+v", found.Stored, first)
		}
		before := listed(t, root)
		imagetest.Must(found.Stored.Name(t.Context()))
		imagetest.Must(found.Stored.Discard())
		imagetest.Must(found.Source.Close())
		after := listed(t, root)
		for _, name := range p.Names() {
			if src, err := imagetest.OpenErr(t, "oci:"+root+":"+name, image.Options{}); err != nil || src.ID != first.ID {
				t.Errorf("%s is another image: %v", name, err)
			}
		}
		if again := len(c.names) == 1 && c.ref == "oci:"+root; again && !slices.Equal(before, after) {
			t.Errorf("nothing was to be named, but %q became %q", before, after)
		}
	}
	if src, err := imagetest.OpenErr(t, "oci:"+root+":old", image.Options{}); err != nil || src.ID == first.ID {
		t.Errorf("the other image is gone: %v", err)
	}
	if now, err := os.ReadDir(filepath.Join(root, "blobs", "sha256")); err != nil || len(now) != len(blobs) {
		t.Errorf("%d blobs became %d: %v", len(blobs), len(now), err)
	}
}

func TestChangedResultInALayoutIsNotFound(t *testing.T) {
	im := read(t)
	root := filepath.Join(t.TempDir(), "x")
	imagetest.Store(t, "oci:"+root+":v1", &image.Source{}, []image.NewImage{result(im)}, nil, image.Compression{})
	annotated := result(im)
	annotated.Annotations = map[string]string{"a": "b"}
	whole := result(im)
	whole.Keep = 0
	for name, c := range map[string]struct {
		image image.NewImage
		c     image.Compression
	}{
		"annotations":   {annotated, image.Compression{}},
		"another base":  {whole, image.Compression{}},
		"as it is":      {imagetest.Unchanged(im), image.Compression{}},
		"a compression": {result(im), image.Compression{Kind: image.Uncompressed}},
		"a level":       {result(im), image.Compression{Kind: image.Gzip, Level: 9}},
	} {
		p, err := place.Prepare(t.Context(), imagetest.Ref(t, "oci:"+root+":v1"), nil, image.Options{Compression: c.c})
		imagetest.Must(err)
		if found, err := p.Existing(t.Context(), image.Wanted{Images: []image.NewImage{c.image}}); err != nil || found != nil {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
}

// An index is found as a whole, with its platforms.
func TestEarlierIndexIsFound(t *testing.T) {
	src := imagetest.Open(t, "oci:"+imagetest.PlatformsLayout().Dir(t), image.Options{})
	images := imagetest.FlatAll(t, src)
	for i, n := range images {
		images[i] = imagetest.Marked(n, "docker-flatten: it")
	}
	for _, transport := range []string{"oci:", "oci-archive:"} {
		ref := transport + filepath.Join(t.TempDir(), "x")
		first := imagetest.Store(t, ref, src, images, []string{"demo:1"}, image.Compression{})
		p, err := place.Prepare(t.Context(), imagetest.Ref(t, ref), []string{"demo:1"}, image.Options{})
		imagetest.Must(err)
		found, err := p.Existing(t.Context(), image.Wanted{Images: images, Index: src.Index})
		if err != nil || found == nil || found.Stored.ID != first.ID || len(found.Source.Images) != 3 {
			t.Fatalf("%s: %+v, %v", transport, found, err)
		}
		imagetest.Must(found.Source.Close())
		if found, err := p.Existing(t.Context(), image.Wanted{Images: images[:1]}); err != nil || found != nil {
			t.Errorf("%s: one image of it is found: %v, %v", transport, found, err)
		}
	}
}

// Until it is named nothing can be seen of a result, and discarding it leaves
// the layout as it was.
func TestLayoutIsNamedLast(t *testing.T) {
	im := read(t)
	for name, root := range map[string]string{
		"new":      filepath.Join(t.TempDir(), "x"),
		"empty":    t.TempDir(),
		"existing": imagetest.LayoutOf(imagetest.Three, false, "old").Dir(t),
	} {
		files := func() (all []string) {
			if _, err := os.Stat(root); err != nil {
				return nil
			}
			imagetest.Must(filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
				all = append(all, p)
				return err
			}))
			return all
		}
		before := files()
		p, err := place.Prepare(t.Context(), imagetest.Ref(t, "oci:"+root+":v1"), nil, image.Options{})
		imagetest.Must(err)
		stored, err := p.Store(t.Context(), image.Wanted{Images: []image.NewImage{result(im)}})
		imagetest.Must(err)
		if _, err := imagetest.OpenErr(t, "oci:"+root+":v1", image.Options{}); err == nil {
			t.Errorf("%s: it is seen before it has its name", name)
		}
		imagetest.Must(stored.Discard())
		imagetest.Must(stored.Discard())
		if after := files(); !slices.Equal(before, after) {
			t.Errorf("%s: left behind %q", name, after)
		}
	}
}
