package rebuild

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"docker-flatten/rebuild/image"
)

// TestArchiveGoesIntoAPipe: nothing is read from a pipe to find an earlier
// result, which would wait forever.
func TestArchiveGoesIntoAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan int64, 1)
	go func() {
		f, err := os.Open(pipe)
		if err != nil {
			t.Error(err)
		}
		n, _ := io.Copy(io.Discard, f)
		read <- n
	}()
	out := image.Ref{Transport: image.Archive, Path: pipe}
	if _, err := Flatten(context.Background(), Options{Image: archiveRef(write(t, appImage())), Output: &out, Tags: []string{"x"}, Client: noEngine}); err != nil {
		t.Fatal(err)
	}
	if n := <-read; n < 1024 {
		t.Errorf("%d bytes came", n)
	}
}
