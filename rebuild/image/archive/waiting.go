package archive

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// openFile opens a file for reading. A pipe without a writer is waited for until
// ctx ends.
func openFile(ctx context.Context, path string) (*os.File, error) {
	if info, err := os.Stat(path); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		return os.Open(path)
	}
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.Open(path)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		return o.f, o.err
	case <-ctx.Done():
	}
	go func() {
		if o := <-done; o.err == nil {
			o.f.Close()
		}
	}()
	// It waits for a writer: this is one.
	if f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
		f.Close()
	}
	return nil, ctx.Err()
}

// openPipe opens a pipe or a device for writing. A pipe without a reader is waited
// for until ctx ends. Close the result with the stop that goes with it: until then
// writing ends with ctx.
func openPipe(ctx context.Context, path string) (f *os.File, stop func() bool, err error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		f, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			return f, context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) }), nil
		}
		info, statErr := os.Stat(path)
		if !errors.Is(err, syscall.ENXIO) || statErr != nil || info.Mode().Type() != os.ModeNamedPipe {
			return nil, nil, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// interruptible reads f, a pipe or a terminal perhaps, until ctx ends, also while
// nothing comes. Close it to have no more of f.
func interruptible(ctx context.Context, f io.Reader) io.ReadCloser {
	r, w := io.Pipe()
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{f}, make([]byte, 1<<20))
		stop()
		w.CloseWithError(err)
	}()
	return r
}
