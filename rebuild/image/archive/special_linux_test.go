package archive_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
)

// TestNoFileTakesThePlaceOfAPipeOrALink: an archive goes into the one, and to
// where the other leads.
func TestNoFileTakesThePlaceOfAPipeOrALink(t *testing.T) {
	src := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	im := src.Images[0]
	images := []image.NewImage{{From: im, Keep: 3, Config: func([]v1.Hash) ([]byte, error) { return im.Config, nil }}}

	dir := t.TempDir()
	pipe, link, file := filepath.Join(dir, "pipe"), filepath.Join(dir, "link.tar"), filepath.Join(dir, "file.tar")
	imagetest.Must(syscall.Mkfifo(pipe, 0o600))
	imagetest.Must(os.WriteFile(file, []byte("what was there"), 0o600))
	imagetest.Must(os.Symlink("file.tar", link))

	read := make(chan []byte, 1)
	go func() {
		f, err := os.Open(pipe)
		imagetest.Must(err)
		b, err := io.ReadAll(f)
		imagetest.Must(err)
		read <- b
	}()
	imagetest.Store(t, "docker-archive:"+pipe, src, images, imagetest.Three.Names, image.Compression{})
	if _, err := imagetest.StoreErr(t, link, src, images, imagetest.Three.Names, image.Options{Force: true}); err != nil {
		t.Fatal(err)
	}

	if info, err := os.Lstat(pipe); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("the pipe is %v, %v", info, err)
	}
	if to, err := os.Readlink(link); err != nil || to != "file.tar" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	stored, err := os.ReadFile(file)
	imagetest.Must(err)
	if got := <-read; len(got) == 0 || !bytes.Equal(got, stored) {
		t.Errorf("%d bytes came through the pipe, the file has %d", len(got), len(stored))
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
}
