package archive_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/imagetest"
)

// Whoever waits for the other end of a pipe, or for what comes through it, is
// heard when he gives up.
func TestWaitingForAPipeEndsWithTheContext(t *testing.T) {
	src := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	images := []image.NewImage{imagetest.Unchanged(src.Images[0])}
	open := func(ctx context.Context, ref string) error {
		src, err := place.Open(ctx, imagetest.Ref(t, ref), image.Options{TempDir: t.TempDir()})
		if err == nil {
			src.Close()
		}
		return err
	}
	store := func(ctx context.Context, ref string) error {
		p, err := place.Prepare(ctx, imagetest.Ref(t, ref), []string{"demo:1"}, image.Options{TempDir: t.TempDir()})
		imagetest.Must(err)
		_, err = imagetest.StoreIn(ctx, p, images, nil)
		return err
	}
	for name, c := range map[string]struct {
		do    func(ctx context.Context, ref string) error
		other int // how the other end is opened; -1 = not at all
		sent  string
	}{
		"input without a writer":         {open, -1, ""},
		"input that sends nothing":       {open, syscall.O_RDWR, ""},
		"input that stops within a tar":  {open, syscall.O_RDWR, string(imagetest.DockerArchive(imagetest.Three)[:2000])},
		"output without a reader":        {store, -1, ""},
		"output that is read by nobody ": {store, syscall.O_RDWR, strings.Repeat("x", 65536)}, // the pipe is full
	} {
		for _, transport := range []string{"docker-archive:", "oci-archive:"} {
			t.Run(transport+" "+name, func(t *testing.T) {
				pipe := filepath.Join(t.TempDir(), "pipe")
				imagetest.Must(syscall.Mkfifo(pipe, 0o600))
				if c.other >= 0 {
					f, err := os.OpenFile(pipe, c.other, 0)
					imagetest.Must(err)
					defer f.Close()
					_, err = f.WriteString(c.sent)
					imagetest.Must(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- c.do(ctx, transport+pipe) }()
				select {
				case err := <-done:
					t.Fatalf("it didn't wait: %v", err)
				case <-time.After(50 * time.Millisecond):
				}
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("error is %v", err)
				}
			})
		}
	}
}
