package image

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestNoFileTakesThePlaceOfAPipeOrALink: an archive goes into the one, and to
// where the other leads.
func TestNoFileTakesThePlaceOfAPipeOrALink(t *testing.T) {
	src := open(t, write(t, "in.tar", dockerArchive(three)), Options{})
	im := src.Images[0]
	images := []NewImage{{From: im, Keep: 3, Config: func([]v1.Hash) ([]byte, error) { return im.RawConfig, nil }}}

	dir := t.TempDir()
	pipe, link, file := filepath.Join(dir, "pipe"), filepath.Join(dir, "link.tar"), filepath.Join(dir, "file.tar")
	must(syscall.Mkfifo(pipe, 0o600))
	must(os.WriteFile(file, []byte("what was there"), 0o600))
	must(os.Symlink("file.tar", link))

	read := make(chan []byte, 1)
	go func() {
		f, err := os.Open(pipe)
		must(err)
		b, err := io.ReadAll(f)
		must(err)
		read <- b
	}()
	mustStore(t, "docker-archive:"+pipe, src, images, three.names, Compression{})
	mustStore(t, link, src, images, three.names, Compression{})

	if info, err := os.Lstat(pipe); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("the pipe is %v, %v", info, err)
	}
	if to, err := os.Readlink(link); err != nil || to != "file.tar" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	stored, err := os.ReadFile(file)
	must(err)
	if got := <-read; len(got) == 0 || !bytes.Equal(got, stored) {
		t.Errorf("%d bytes came through the pipe, the file has %d", len(got), len(stored))
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
}
