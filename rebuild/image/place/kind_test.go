package place_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/imagetest"
)

// A bare path means what is there, else what its name says.
func TestBarePathAsDestination(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, b []byte) { imagetest.Must(os.WriteFile(filepath.Join(dir, name), b, 0o644)) }
	im := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{}).Images[0]
	n := imagetest.Marked(imagetest.Unchanged(im), "docker-flatten: it")
	for name, transport := range map[string]string{"is.tar": image.LayoutArchive, "is.oci.tar": image.Archive, "is.tar.gz": image.LayoutArchive} {
		imagetest.Store(t, transport+":"+filepath.Join(dir, name), &image.Source{}, []image.NewImage{n}, nil, image.Compression{})
	}
	imagetest.Must(os.Mkdir(filepath.Join(dir, "empty.tar"), 0o755))
	put("text.tar", []byte("text"))
	for path, want := range map[string]string{
		"new.tar": image.Archive, "new": image.Archive, "new/": image.Layout, "empty.tar": image.Layout,
		"new.oci.tar": image.LayoutArchive, "new.OCI.tar.gz": image.LayoutArchive, "new.oci.tar.zst": image.LayoutArchive, "new.tar.oci": image.Archive,
		"is.tar": image.LayoutArchive, "is.oci.tar": image.Archive, "is.tar.gz": image.LayoutArchive,
		"text.tar": "",
	} {
		p, err := place.Prepare(t.Context(), image.Ref{Transport: image.AnyFile, Path: filepath.Join(dir) + "/" + path}, nil, image.Options{})
		switch {
		case want == "":
			if err == nil {
				t.Errorf("%s is taken as %s", path, p.Ref())
			}
		case err != nil || p.Ref().Transport != want:
			t.Errorf("%s is a %s, %v", path, want, err)
		}
	}
}

// While a result is stored a bar counts what is written, and ends.
func TestStoringIsShown(t *testing.T) {
	im := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.CompressedThree)), image.Options{}).Images[0]
	imagetest.ReadAll(t, im)
	for name, dest := range places(t) {
		bars := &imagetest.Bars{}
		_, err := imagetest.StoreErr(t, dest, &image.Source{}, []image.NewImage{imagetest.Flat(im, 1, imagetest.Merged12)}, nil, image.Options{Display: bars})
		imagetest.Must(err)
		var stage string
		var n, total int64
		lines := bars.Lines()
		if len(lines) != 1 {
			t.Fatalf("%s: %q", name, lines)
		}
		if _, err := fmt.Sscanf(lines[0]+"\n", "%s %d of %d\n", &stage, &n, &total); err != nil {
			t.Errorf("%s: %q", name, lines)
		}
		want := "storing"
		if name == "registry" {
			want = "pushing"
		}
		if stage != want || n < int64(len(imagetest.Gzip(imagetest.Base))) || total > 0 && n < total {
			t.Errorf("%s: %q", name, lines)
		}
	}
}
