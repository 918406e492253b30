package layer

import (
	"archive/tar"
	"context"
	"errors"
	"io"
)

// rangeBodies reads bodies where they lie. Small ones that lie close together
// come with one read.
type rangeBodies struct {
	r      io.ReaderAt
	end    int64
	at     int64
	window []byte
	from   int64
}

const windowSize = 1 << 16

func (b *rangeBodies) start(_ int, e *entry) error {
	b.at = e.body
	return nil
}

func (b *rangeBodies) read(p []byte) error {
	if len(p) < windowSize/4 {
		if b.at < b.from || b.at+int64(len(p)) > b.from+int64(len(b.window)) {
			n := min(windowSize, b.end-b.at)
			if cap(b.window) == 0 {
				b.window = make([]byte, windowSize)
			}
			k, err := b.r.ReadAt(b.window[:max(n, 0)], b.at)
			b.window, b.from = b.window[:k], b.at
			if k < len(p) {
				if err == nil {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
		}
		copy(p, b.window[b.at-b.from:])
	} else if err := readAt(b.r, p, b.at); err != nil {
		return err
	}
	b.at += int64(len(p))
	return nil
}

func readAt(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// streamBodies goes through an uncompressed tar and stops at the bodies.
type streamBodies struct {
	ctx context.Context
	r   io.Reader
	at  int64
	buf []byte
}

func (b *streamBodies) start(_ int, e *entry) error {
	skip := e.body - b.at
	if skip < 0 {
		return io.ErrUnexpectedEOF
	}
	if s, ok := b.r.(io.Seeker); ok && skip > windowSize {
		if _, err := s.Seek(skip, io.SeekCurrent); err != nil {
			return err
		}
	} else {
		if b.buf == nil {
			b.buf = make([]byte, windowSize)
		}
		for skip > 0 {
			if err := b.ctx.Err(); err != nil {
				return err
			}
			n, err := b.r.Read(b.buf[:min(skip, windowSize)])
			if skip -= int64(n); skip > 0 && err != nil {
				return err
			}
		}
	}
	b.at = e.body
	return nil
}

func (b *streamBodies) read(p []byte) error {
	n, err := io.ReadFull(b.r, p)
	b.at += int64(n)
	return err
}

// fileBodies reads the files that a layer was unpacked to.
type fileBodies struct {
	x     *Index
	files FileSource
	file  io.ReadCloser // the current one; nil before the first
}

func (b *fileBodies) start(_ int, e *entry) error {
	if err := b.leave(); err != nil {
		return err
	}
	f, err := b.files.OpenFile(b.x.name(e))
	b.file = f
	return err
}

func (b *fileBodies) read(p []byte) error {
	_, err := io.ReadFull(b.file, p)
	return err
}

func (b *fileBodies) leave() error {
	if b.file == nil {
		return nil
	}
	f := b.file
	b.file = nil
	return f.Close()
}

func (b *fileBodies) Close() error { return errors.Join(b.leave(), b.files.Close()) }

// tarBodies reads a layer that has sparse files, whose holes only the tar reader
// can fill in.
type tarBodies struct {
	ctx context.Context
	r   *tar.Reader
	at  int // number of the current entry
}

func (b *tarBodies) start(number int, _ *entry) error {
	for b.at < number {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		t, err := b.r.Next()
		if err != nil {
			return err
		}
		if t.Typeflag != tar.TypeXGlobalHeader {
			b.at++
		}
	}
	if b.at > number {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (b *tarBodies) read(p []byte) error {
	_, err := io.ReadFull(b.r, p)
	return err
}
