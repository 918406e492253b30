package oci

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"docker-flatten/rebuild/image"
)

// openRegular opens a file of a layout, which must be a regular one once links
// have been followed: a pipe would never end, nor would a device. The error goes
// on after the file's name.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, irregular(info)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // should it be a pipe by now
	if err != nil {
		return nil, cause(err)
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = irregular(info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// cause is what the os package says of a file that can't be opened.
func cause(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return image.Detail(fs.ErrNotExist, "isn't there")
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Errorf("can't be read: %w", err)
}

// irregular is the error for what is no regular file.
func irregular(info fs.FileInfo) error {
	kind := "special file"
	switch info.Mode().Type() {
	case fs.ModeDir:
		kind = "directory"
	case fs.ModeNamedPipe:
		kind = "named pipe"
	case fs.ModeSocket:
		kind = "socket"
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		kind = "device"
	}
	return fmt.Errorf("is a %s, not a regular file", kind)
}

// readRegular reads the whole of a document.
func readRegular(path string) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, image.LargestDocument+1))
	if err != nil {
		return nil, cause(err)
	}
	if len(b) > image.LargestDocument {
		return nil, fmt.Errorf("is too large: more than %d bytes", image.LargestDocument)
	}
	return b, nil
}
