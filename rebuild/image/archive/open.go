package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"docker-flatten/rebuild/image"
)

// OpenTar indexes an archive: where it lies if it is an uncompressed file, else
// in a temporary file that takes it in one pass. The path "-" is stdin.
func OpenTar(ctx context.Context, path string, opt image.Options) (*Tar, error) {
	if path == "-" {
		return openTar(ctx, os.Stdin, "stdin", opt)
	}
	f, err := openFile(ctx, path)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, image.PathError("open", path, err)
	}
	t, err := openTar(ctx, f, path, opt)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t.closers = append(t.closers, f)
	return t, nil
}

func openTar(ctx context.Context, f *os.File, name string, opt image.Options) (t *Tar, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, image.PathError("read", name, err)
	}
	var in io.Reader = f
	if !info.Mode().IsRegular() {
		pipe := interruptible(ctx, f)
		defer pipe.Close()
		in = pipe
	}
	b := bufio.NewReaderSize(in, 1<<20)
	head, err := b.Peek(image.HeadSize)
	if err != nil && err != io.EOF {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, image.PathError("read", name, err)
	}
	if len(head) == 0 {
		return nil, &image.Error{Op: "open", Object: name, Err: image.Detail(image.ErrNotArchive, "not an image archive: it is empty")}
	}
	kind := image.KindOf(head)
	plain := kind == image.Uncompressed
	if plain && !isTar(head) {
		return nil, notTar(name)
	}
	var file image.File
	if info.Mode().IsRegular() && plain {
		if at, err := f.Seek(0, io.SeekCurrent); err == nil && at == int64(b.Buffered()) {
			file = io.NewSectionReader(f, 0, info.Size())
		}
	}
	spools := &image.Spools{Dir: opt.TempDir}
	defer func() {
		if err != nil {
			err = errors.Join(err, spools.Close())
		}
	}()
	if file == nil {
		if file, err = spoolArchive(ctx, b, spools, name); err != nil {
			return nil, err
		}
	}
	if t, err = indexTar(ctx, name, file); err != nil {
		return nil, err
	}
	t.Kind, t.closers = kind, append(t.closers, spools)
	return t, nil
}

// spoolArchive takes an archive that can't be read at random into a temporary
// file, decompressed.
func spoolArchive(ctx context.Context, r io.Reader, spools *image.Spools, name string) (image.File, error) {
	in, _, err := image.Decompress(image.Until(ctx, r))
	if err != nil {
		return nil, &image.Error{Op: "decompress", Object: name, Err: archiveEnd(err)}
	}
	defer in.Close()
	// What isn't a tar needn't be taken in to its end to find out.
	b := bufio.NewReaderSize(in, 1<<20)
	head, err := b.Peek(image.HeadSize)
	if err != nil && err != io.EOF {
		return nil, &image.Error{Op: "decompress", Object: name, Err: archiveEnd(err)}
	}
	if !isTar(head) {
		return nil, notTar(name)
	}
	spool, err := spools.Create()
	if err != nil {
		return nil, err
	}
	// A decompressor that writes by itself may take any failure for a short write.
	n, err := io.Copy(spool, struct{ io.Reader }{b})
	if err != nil {
		return nil, &image.Error{Op: "read", Object: name, Err: archiveEnd(err), Hint: image.SpaceHint(err)}
	}
	return io.NewSectionReader(spool, 0, n), nil
}

func notTar(name string) error {
	return &image.Error{Op: "open", Object: name, Err: image.Detail(image.ErrNotArchive, "not an image archive: not a tar file")}
}

// archiveEnd turns an early end into image.ErrTruncated.
func archiveEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return truncated("")
	}
	return err
}

// isTar tells by the magic of POSIX and GNU headers; old V7 headers have none
// and are taken when their checksum field looks like one.
func isTar(head []byte) bool {
	if len(head) < 262 {
		return false
	}
	if bytes.Equal(head[257:262], []byte("ustar")) {
		return true
	}
	checksum := bytes.Trim(head[148:156], " \x00")
	return len(checksum) >= 4 && len(bytes.Trim(checksum, "01234567")) == 0
}
