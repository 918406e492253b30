package rebuild

import (
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/room"
	"docker-flatten/rebuild/imagetest"
	"docker-flatten/templates"
)

// smallDisk is a directory with a file system of its own.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small disk can't be mounted here (it takes root): %v", err)
	}
	t.Cleanup(func() { imagetest.Must(unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// noise doesn't compress.
func noise(n int, seed int64) string {
	b := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(b)
	return string(b)
}

// bigImage has a base of 3 MB and 2 MB above it that don't compress.
func bigImage(t *testing.T) string {
	im := appImage()
	im.Steps[0].Files = append(im.Steps[0].Files, imagetest.File{Name: "big", Body: noise(3<<20, 1)})
	im.Steps[3].Files = append(im.Steps[3].Files, imagetest.File{Name: "bigger", Body: noise(2<<20, 2)})
	return write(t, im)
}

// A disk that surely can't hold the result is found out before anything is
// written, in every place that has one.
func TestRoomIsCheckedBeforeAnythingIsWritten(t *testing.T) {
	src := bigImage(t)
	for _, dest := range []string{"docker-archive:%/out.tar", "oci-archive:%/out.tar", "oci:%/layout:flat", "oci:%/new/layout:flat"} {
		disk := smallDisk(t, "2500k")
		if strings.Contains(dest, "new") {
			imagetest.Must(os.Mkdir(filepath.Join(disk, "new"), 0o755))
		}
		before, err := os.ReadDir(disk)
		imagetest.Must(err)
		var to image.Ref
		to, err = image.ParseRef(strings.ReplaceAll(dest, "%", disk))
		imagetest.Must(err)
		var stages recorder
		_, err = Flatten(t.Context(), Options{Image: archiveRef(src), Base: keep("1"), Output: &to, Tags: []string{"app:flat"}, Client: noEngine, Display: &stages})
		var e *image.Error
		if !errors.Is(err, room.ErrShort) || !errors.As(err, &e) || !strings.Contains(e.Hint, "TMPDIR") {
			t.Errorf("%s: %v", dest, err)
		}
		for _, s := range stages.stages {
			if strings.HasPrefix(s, "writ") || strings.HasPrefix(s, "stor") {
				t.Errorf("%s: it began with %q", dest, stages.stages)
			}
		}
		if after, err := os.ReadDir(disk); err != nil || len(after) != len(before) {
			t.Errorf("%s: %v in it, %v", dest, after, err)
		}
		// the same on a disk with room for it, to the last page or so
		disk = smallDisk(t, "6m")
		if strings.Contains(dest, "new") {
			imagetest.Must(os.Mkdir(filepath.Join(disk, "new"), 0o755))
		}
		to, err = image.ParseRef(strings.ReplaceAll(dest, "%", disk))
		imagetest.Must(err)
		report, err := Flatten(t.Context(), Options{Image: archiveRef(src), Base: keep("1"), Output: &to, Tags: []string{"app:flat"}, Client: noEngine})
		if err != nil || len(report.Warnings) > 0 {
			t.Errorf("%s: with room for it: %v, %+v", dest, err, report)
		}
	}
}

// Layers of a registry are spooled while they are read, and their sizes known.
func TestRoomForLayersOfARegistry(t *testing.T) {
	host := imagetest.Registry(t)
	to, err := image.ParseRef("docker://" + host + "/app:1")
	imagetest.Must(err)
	if _, err := Flatten(t.Context(), Options{Image: archiveRef(bigImage(t)), Base: keep("1"), Output: &to, Client: noEngine}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", smallDisk(t, "1m"))
	out := archiveRef(filepath.Join(t.TempDir(), "out.tar"))
	_, err = Flatten(t.Context(), Options{Image: to, Base: keep("scratch"), Output: &out, Tags: []string{"app:flat"}, Client: noEngine})
	if !errors.Is(err, room.ErrShort) {
		t.Error(err)
	}
}

// A dry run says what a run would take, and warns where a run would be refused.
func TestPlanSaysWhatARunTakes(t *testing.T) {
	src, disk := bigImage(t), smallDisk(t, "1m")
	to := archiveRef(filepath.Join(disk, "out.tar"))
	report, err := Flatten(t.Context(), Options{Image: archiveRef(src), Base: keep("1"), Output: &to, Tags: []string{"app:flat"}, Client: noEngine, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], "too little space") {
		t.Errorf("warnings: %q", report.Warnings)
	}
	made, _ := flattenFile(t, src, func(o *Options) { o.Base = keep("1") })
	for name, n := range map[string]templates.Needs{"plan": report.Needs, "run": made.Needs} {
		if len(n.Space) != 2 || n.Space[0].What != "temporary files" || n.Space[1].What != "the archive" {
			t.Fatalf("%s: %+v", name, n)
		}
		if temp := n.Space[0].Bytes; temp < 2<<20 || temp > 2<<20+100_000 {
			t.Errorf("%s: %d bytes of temporary files", name, temp)
		}
		if file := n.Space[1].Bytes; file < 5<<20 || file > 5<<20+100_000 {
			t.Errorf("%s: %d bytes of the archive", name, file)
		}
		if n.ReadBytes < 5<<20 || n.ReadBytes > 5<<20+100_000 || n.WriteBytes != n.Space[0].Bytes+n.Space[1].Bytes {
			t.Errorf("%s: %+v", name, n)
		}
	}
}

// What fits isn't refused: a new layer that compresses, and equal layers, which lie
// there once.
func TestWhatFitsIsNotRefused(t *testing.T) {
	im := appImage()
	im.Steps[3].Files = append(im.Steps[3].Files, imagetest.File{Name: "zeros", Body: strings.Repeat("\x00", 4<<20)})
	compressible := write(t, im)
	big, small := imagetest.Layer(then, []imagetest.File{{Name: "big", Body: noise(1<<20, 1)}}), imagetest.Tar("small")
	twice := imagetest.Write(t, "twice.tar", imagetest.DockerArchive(imagetest.Raw{Layers: [][]byte{big, big, small, small}}))
	for name, c := range map[string]struct {
		source, base string
		dests        []string
	}{
		"it compresses":   {compressible, "1", []string{"oci-archive:%/out.tar", "oci:%/layout:flat"}},
		"equal layers":    {twice, "2", []string{"docker-archive:%/out.tar", "oci-archive:%/out.tar", "oci:%/layout:flat"}},
		"it all shrinks":  {compressible, "1", []string{"docker-archive:%/out.tar.gz"}},
		"as it was asked": {compressible, "1", []string{"docker-archive:%/out.tar"}},
	} {
		for _, dest := range c.dests {
			to, err := image.ParseRef(strings.ReplaceAll(dest, "%", smallDisk(t, "1500k")))
			imagetest.Must(err)
			o := Options{Image: archiveRef(c.source), Base: keep(c.base), Output: &to, Tags: []string{"app:flat"}, Client: noEngine}
			if name == "as it was asked" {
				o.Compression, err = image.ParseCompression("gzip")
				imagetest.Must(err)
			}
			if _, err := Flatten(t.Context(), o); err != nil {
				t.Errorf("%s, %s: %v", name, dest, err)
			}
		}
	}
}
