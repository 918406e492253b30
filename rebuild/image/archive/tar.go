package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"docker-flatten/rebuild/image"
)

// Tar is a tar file that can be read at random: an index of where its members
// lie.
type Tar struct {
	Name string // of the file, for errors
	Kind string // how it is compressed as a whole

	file    io.ReaderAt
	members map[string]member
	closers []io.Closer
}

// Close closes the file.
func (ix *Tar) Close() error {
	var errs []error
	for _, c := range ix.closers {
		errs = append(errs, c.Close())
	}
	ix.closers = nil
	return errors.Join(errs...)
}

// Has tells whether there is a member of that name.
func (ix *Tar) Has(name string) bool {
	_, ok := ix.members[name]
	return ok
}

// Len is the number of members.
func (ix *Tar) Len() int { return len(ix.members) }

type member struct {
	offset, size int64
	link         string // the name that a symbolic or hard link leads to
}

// indexTar reads the headers of the tar file f once.
func indexTar(ctx context.Context, name string, f image.File) (*Tar, error) {
	ix := &Tar{file: f, Name: name, members: map[string]member{}}
	// archive/tar reads headers block by block and seeks over contents, so the
	// position after Next is where the contents start.
	s := io.NewSectionReader(f, 0, f.Size())
	tr := tar.NewReader(s)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, err := tr.Next()
		if err == io.EOF {
			return ix, nil
		}
		if err != nil {
			return nil, ix.badTar(err)
		}
		key := CleanMember(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			offset, err := s.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			if offset+h.Size > f.Size() {
				return nil, &image.Error{Op: "read", Object: name, Err: truncated(h.Name)}
			}
			ix.members[key] = member{offset: offset, size: h.Size}
		case tar.TypeSymlink:
			ix.members[key] = member{link: CleanMember(path.Join(path.Dir(key), h.Linkname))}
		case tar.TypeLink:
			ix.members[key] = member{link: CleanMember(h.Linkname)}
		}
	}
}

func (ix *Tar) badTar(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = truncated("")
	} else if errors.Is(err, tar.ErrHeader) {
		err = image.Detail(image.ErrNotArchive, "not an image archive: %s", strings.TrimPrefix(err.Error(), "archive/"))
		if len(ix.members) > 0 {
			err = fmt.Errorf("damaged tar header after %d files", len(ix.members))
		}
	}
	return &image.Error{Op: "read", Object: ix.Name, Err: err}
}

func truncated(in string) error {
	if in == "" {
		return image.Detail(image.ErrTruncated, "the archive is truncated")
	}
	return image.Detail(image.ErrTruncated, "the archive is truncated, it ends within %s", in)
}

// CleanMember is a member's name without ./ and the like.
func CleanMember(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// Find returns the member's contents, through links; nil if there is none.
func (ix *Tar) Find(name string) image.File {
	key := CleanMember(name)
	for range 16 { // links to links end somewhere, or aren't worth following
		m, ok := ix.members[key]
		if !ok {
			// a directory of the path may be the link
			dir, ok := ix.members[path.Dir(key)]
			if !ok || dir.link == "" {
				return nil
			}
			key = path.Join(dir.link, path.Base(key))
			continue
		}
		if m.link == "" {
			return io.NewSectionReader(ix.file, m.offset, m.size)
		}
		key = m.link
	}
	return nil
}

// Document returns the whole of a JSON member.
func (ix *Tar) Document(name string) ([]byte, error) {
	f := ix.Find(name)
	if f == nil {
		return nil, &image.Error{Op: "read", Object: ix.Name, Err: fmt.Errorf("the archive has no %s", name)}
	}
	if f.Size() > image.LargestDocument {
		return nil, &image.Error{Op: "read", Object: ix.Name, Err: fmt.Errorf("%s is too large: %d bytes", name, f.Size())}
	}
	b := make([]byte, f.Size())
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, &image.Error{Op: "read", Object: ix.Name, Err: err}
	}
	return b, nil
}
