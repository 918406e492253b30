package oci_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/imagetest"
)

// The files of a layout are regular ones, or links to such. Anything else is
// named: a pipe would be waited for, and a device has no end.
func TestFilesOfALayoutAreRegular(t *testing.T) {
	im := imagetest.CompressedThree
	manifest := imagetest.Digest(im.Manifest(false)).Hex
	for what, c := range map[string]struct {
		put  func(path string) error
		says string // "" = it is taken
	}{
		"a pipe":               {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "is a named pipe, not a regular file"},
		"a directory":          {func(path string) error { return os.Mkdir(path, 0o755) }, "is a directory, not a regular file"},
		"a link to a device":   {func(path string) error { return os.Symlink("/dev/zero", path) }, "is a device, not a regular file"},
		"a link to nothing":    {func(path string) error { return os.Symlink("nothing", path) }, "isn't "},
		"a link to itself":     {func(path string) error { return os.Symlink(path, path) }, "too many levels"},
		"a link to the file":   {func(path string) error { return os.Symlink(path+".moved", path) }, ""},
		"a pipe through links": {func(path string) error { return os.Symlink(path+".pipe", path) }, "is a named pipe, not a regular file"},
	} {
		for _, file := range []string{"oci-layout", "index.json", "blobs/sha256/" + manifest, "blobs/sha256/" + imagetest.Digest(im.Config()).Hex, "blobs/sha256/" + imagetest.Digest(im.Stored[1]).Hex} {
			t.Run(what+" for "+filepath.Dir(file)+" "+filepath.Base(file)[:5], func(t *testing.T) {
				root := imagetest.LayoutOf(im, false, "v1").Dir(t)
				path := filepath.Join(root, file)
				imagetest.Must(os.Rename(path, path+".moved"))
				imagetest.Must(syscall.Mkfifo(path+".pipe", 0o600))
				imagetest.Must(c.put(path))
				src, err := imagetest.OpenErr(t, "oci:"+root, image.Options{})
				if err == nil {
					_, _, err = imagetest.ReadLayers(src.Images[0], nil)
				}
				name := filepath.Base(file)
				if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n")) {
					t.Errorf("error is %v", err)
				}
				if _, err := place.Prepare(t.Context(), imagetest.Ref(t, "oci:"+root), nil, image.Options{}); !strings.HasPrefix(file, "blobs") && c.says != "" && err == nil && what != "a link to nothing" {
					t.Error("such a layout is written to")
				}
			})
		}
	}
}
