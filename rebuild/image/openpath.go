package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// openPath opens what a path leads to: a layout if it is a directory, else an
// archive of the kind that its contents show, unless the transport says which.
func (s *Source) openPath(ctx context.Context, opt Options) error {
	if s.Ref.Path == "-" {
		return s.openArchive(ctx, os.Stdin, "stdin", opt)
	}
	info, err := os.Stat(s.Ref.Path)
	if err != nil {
		return pathError("open", s.Ref.Path, err)
	}
	if info.IsDir() {
		switch s.Ref.Transport {
		case AnyFile:
			s.Ref.Transport = Layout
		case Layout:
		default:
			return &Error{Op: "open", Object: s.Ref.Path, Err: detail(ErrNotArchive, "is a directory, not an archive"), Hint: "an OCI layout directory is opened with oci:" + s.Ref.Path}
		}
		return s.openLayout(ctx, opt)
	}
	if s.Ref.Transport == Layout {
		return &Error{Op: "open", Object: s.Ref.Path, Err: detail(ErrNotLayout, "is a file, not an OCI layout directory"), Hint: "a layout in a tar file is opened with oci-archive:" + s.Ref.Path}
	}
	f, err := os.Open(s.Ref.Path)
	if err != nil {
		return pathError("open", s.Ref.Path, err)
	}
	s.closer = append(s.closer, f)
	return s.openArchive(ctx, f, s.Ref.Path, opt)
}

// pathError shortens what the os package says of a path.
func pathError(op, path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	e := &Error{Op: op, Object: path, Err: err}
	if errors.Is(err, fs.ErrNotExist) {
		e.Err = detail(fs.ErrNotExist, "no such file or directory")
		if op == "open" && filepath.Base(path) == path {
			e.Hint = "to name an image of the Docker Engine, write docker-daemon:" + path
		}
	}
	return e
}

// openArchive indexes an archive: where it lies if it is an uncompressed file,
// else in a spool that takes it in one pass.
func (s *Source) openArchive(ctx context.Context, f *os.File, name string, opt Options) error {
	b := bufio.NewReaderSize(f, 1<<20)
	head, err := b.Peek(tarMagicEnd)
	if err != nil && err != io.EOF {
		return pathError("read", name, err)
	}
	if len(head) == 0 {
		return &Error{Op: "open", Object: name, Err: detail(ErrNotArchive, "not an image archive: it is empty")}
	}
	outer := formatOf(head)
	if outer.kind == Uncompressed && !isTar(head) {
		return notTar(name)
	}
	var file sizedReaderAt
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && outer.kind == Uncompressed {
		if at, err := f.Seek(0, io.SeekCurrent); err == nil && at == int64(b.Buffered()) {
			file = io.NewSectionReader(f, 0, info.Size())
		}
	}
	if file == nil {
		if file, err = s.spoolArchive(ctx, b, outer, name); err != nil {
			return err
		}
	}
	index, err := indexTar(ctx, name, file)
	if err != nil {
		return err
	}
	return s.openIndexed(ctx, index, opt)
}

// spoolArchive takes an archive that can't be read at random into a temporary
// file, decompressed.
func (s *Source) spoolArchive(ctx context.Context, r io.Reader, outer format, name string) (sizedReaderAt, error) {
	in := io.Reader(&cancelled{ctx, r})
	if outer.kind != Uncompressed {
		plain, err := outer.OpenReader(in)
		if err != nil {
			return nil, &Error{Op: "decompress", Object: name, Err: archiveEnd(err)}
		}
		defer plain.Close()
		in = plain
	}
	// What isn't a tar needn't be taken in to its end to find out.
	b := bufio.NewReaderSize(in, 1<<20)
	head, err := b.Peek(tarMagicEnd)
	if err != nil && err != io.EOF {
		return nil, &Error{Op: "decompress", Object: name, Err: archiveEnd(err)}
	}
	if !isTar(head) {
		return nil, notTar(name)
	}
	spool, err := s.temp.create()
	if err != nil {
		return nil, err
	}
	// A decompressor that writes by itself may take any failure for a short write.
	n, err := io.Copy(spool, struct{ io.Reader }{b})
	if err != nil {
		return nil, &Error{Op: "read", Object: name, Err: archiveEnd(err), Hint: spaceHint(err)}
	}
	return io.NewSectionReader(spool, 0, n), nil
}

func notTar(name string) error {
	return &Error{Op: "open", Object: name, Err: detail(ErrNotArchive, "not an image archive: not a tar file")}
}

// archiveEnd turns an early end into ErrTruncated.
func archiveEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return truncated("")
	}
	return err
}

const tarMagicEnd = 262

// isTar tells by the magic of POSIX and GNU headers; old V7 headers have none
// and are taken when their checksum field looks like one.
func isTar(head []byte) bool {
	if len(head) < tarMagicEnd {
		return false
	}
	if bytes.Equal(head[257:262], []byte("ustar")) {
		return true
	}
	checksum := bytes.Trim(head[148:156], " \x00")
	return len(checksum) >= 4 && len(bytes.Trim(checksum, "01234567")) == 0
}

// cancelled reads r until ctx ends.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// openIndexed opens an archive by what is in it. Docker 25 and newer write both
// a layout and a manifest.json; the latter then says which images were saved,
// under which names.
func (s *Source) openIndexed(ctx context.Context, ix *tarIndex, opt Options) error {
	_, hasManifest := ix.members["manifest.json"]
	_, hasRepositories := ix.members["repositories"]
	_, hasIndex := ix.members["index.json"]
	switch {
	case s.Ref.Transport == LayoutArchive && !hasIndex:
		e := &Error{Op: "open", Object: ix.name, Err: detail(ErrNotLayout, "not an OCI archive: it has no index.json")}
		if hasManifest {
			e.Hint = "it is a docker-archive: docker-archive:" + s.Ref.Path
		}
		return e
	case s.Ref.Transport == LayoutArchive, s.Ref.Transport == AnyFile && hasIndex && !hasManifest:
		s.Ref.Transport = LayoutArchive
		return s.openLayoutArchive(ctx, ix, opt)
	case hasManifest:
		s.Ref.Transport = Archive
		return s.openDockerArchive(ctx, ix, opt)
	case hasRepositories:
		s.Ref.Transport = Archive
		return s.openLegacyArchive(ctx, ix, opt)
	case hasIndex:
		return &Error{Op: "open", Object: ix.name, Err: detail(ErrNotArchive, "not a docker-archive: it has no manifest.json"), Hint: "it is an OCI archive: oci-archive:" + s.Ref.Path}
	}
	what := fmt.Sprintf("a tar file of %d files without manifest.json and index.json", len(ix.members))
	return &Error{Op: "open", Object: ix.name, Err: detail(ErrNotArchive, "not an image archive: %s", what), Hint: "docker save writes one; docker export doesn't"}
}
