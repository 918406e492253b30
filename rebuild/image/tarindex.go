package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// tarIndex is where the members of an uncompressed tar file lie.
type tarIndex struct {
	file    io.ReaderAt
	name    string // of the file, for errors
	members map[string]member
}

type member struct {
	offset, size int64
	link         string // the name that a symbolic or hard link leads to
}

// indexTar reads the headers of the tar file f once.
func indexTar(ctx context.Context, name string, f sizedReaderAt) (*tarIndex, error) {
	ix := &tarIndex{file: f, name: name, members: map[string]member{}}
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
		key := cleanMember(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			offset, err := s.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, err
			}
			if offset+h.Size > f.Size() {
				return nil, &Error{Op: "read", Object: name, Err: truncated(h.Name)}
			}
			ix.members[key] = member{offset: offset, size: h.Size}
		case tar.TypeSymlink:
			ix.members[key] = member{link: cleanMember(path.Join(path.Dir(key), h.Linkname))}
		case tar.TypeLink:
			ix.members[key] = member{link: cleanMember(h.Linkname)}
		}
	}
}

func (ix *tarIndex) badTar(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = truncated("")
	} else if errors.Is(err, tar.ErrHeader) {
		err = detail(ErrNotArchive, "not an image archive: %s", strings.TrimPrefix(err.Error(), "archive/"))
		if len(ix.members) > 0 {
			err = fmt.Errorf("damaged tar header after %d files", len(ix.members))
		}
	}
	return &Error{Op: "read", Object: ix.name, Err: err}
}

func truncated(in string) error {
	if in == "" {
		return detail(ErrTruncated, "the archive is truncated")
	}
	return detail(ErrTruncated, "the archive is truncated, it ends within %s", in)
}

func cleanMember(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// find returns the member's contents, through links; nil if there is none.
func (ix *tarIndex) find(name string) sizedReaderAt {
	key := cleanMember(name)
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

// largestDocument is more than any manifest or config document has.
const largestDocument = 64 << 20

// document returns the whole of a JSON member.
func (ix *tarIndex) document(name string) ([]byte, error) {
	f := ix.find(name)
	if f == nil {
		return nil, &Error{Op: "read", Object: ix.name, Err: fmt.Errorf("the archive has no %s", name)}
	}
	if f.Size() > largestDocument {
		return nil, &Error{Op: "read", Object: ix.name, Err: fmt.Errorf("%s is too large: %d bytes", name, f.Size())}
	}
	b := make([]byte, f.Size())
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, &Error{Op: "read", Object: ix.name, Err: err}
	}
	return b, nil
}
