package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
)

// dirStore is a layout directory.
type dirStore struct {
	root  string
	files []*lazyFile
}

// Blobs is a directory that has blobs where a layout has them, and may have
// nothing else of one: containerd's content store. Close closes them.
func Blobs(root string) interface {
	image.BlobStore
	io.Closer
} {
	return &dirStore{root: root}
}

// Object is what errors call the layout.
func (s *dirStore) Object() string { return s.root }

func (s *dirStore) path(d v1.Hash) string {
	return filepath.Join(s.root, "blobs", d.Algorithm, d.Hex)
}

// failed is the error for a blob that can't be had, for a reason that goes on after
// its name.
func (s *dirStore) failed(d v1.Descriptor, err error) error {
	blob := fmt.Sprintf("%s %s", image.KindOfType(d.MediaType), d.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return &image.Error{Op: "read", Object: s.root, Err: image.Detail(fs.ErrNotExist, "%s isn't in the layout", blob)}
	}
	return &image.Error{Op: "read", Object: s.root, Err: fmt.Errorf("%s %w", blob, err)}
}

// Document reads a manifest or an index.
func (s *dirStore) Document(_ context.Context, d v1.Descriptor) ([]byte, error) {
	b, err := readRegular(s.path(d.Digest))
	if err != nil {
		return nil, s.failed(d, err)
	}
	return b, nil
}

// Open opens a blob.
func (s *dirStore) Open(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	f, err := openRegular(s.path(d.Digest))
	if err != nil {
		return nil, s.failed(d, err)
	}
	return f, nil
}

// File returns a blob, to be opened by the first reading.
func (s *dirStore) File(d v1.Descriptor) (image.File, error) {
	info, err := os.Stat(s.path(d.Digest))
	if err != nil {
		return nil, s.failed(d, cause(err))
	}
	if !info.Mode().IsRegular() {
		return nil, s.failed(d, irregular(info))
	}
	l := &lazyFile{path: s.path(d.Digest), size: info.Size()}
	s.files = append(s.files, l)
	return l, nil
}

// lazyFile is a file that is opened when something reads it.
type lazyFile struct {
	path string
	size int64

	mu sync.Mutex
	f  *os.File
}

func (l *lazyFile) Size() int64 { return l.size }

func (l *lazyFile) ReadAt(b []byte, off int64) (int, error) {
	l.mu.Lock()
	if l.f == nil {
		f, err := openRegular(l.path)
		if err != nil {
			l.mu.Unlock()
			return 0, fmt.Errorf("%s %w", l.path, err)
		}
		l.f = f
	}
	f := l.f
	l.mu.Unlock()
	return f.ReadAt(b, off)
}

// Close closes the blobs.
func (s *dirStore) Close() error {
	var errs []error
	for _, l := range s.files {
		if l.f != nil {
			errs = append(errs, l.f.Close())
		}
	}
	s.files = nil
	return errors.Join(errs...)
}

// tarStore is a layout in a tar file.
type tarStore struct{ tar *archive.Tar }

// Object is what errors call the archive.
func (s *tarStore) Object() string { return s.tar.Name }

// Document reads a manifest or an index.
func (s *tarStore) Document(_ context.Context, d v1.Descriptor) ([]byte, error) {
	if _, err := s.File(d); err != nil {
		return nil, err
	}
	return s.tar.Document(image.BlobPath(d.Digest))
}

// Open opens a blob.
func (s *tarStore) Open(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	f, err := s.File(d)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.NewSectionReader(f, 0, f.Size())), nil
}

// File returns a blob.
func (s *tarStore) File(d v1.Descriptor) (image.File, error) {
	f := s.tar.Find(image.BlobPath(d.Digest))
	if f == nil {
		return nil, &image.Error{Op: "read", Object: s.tar.Name, Err: fmt.Errorf("%s %s isn't in the archive", image.KindOfType(d.MediaType), d.Digest)}
	}
	return f, nil
}
