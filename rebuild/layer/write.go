package layer

import (
	"archive/tar"
	"context"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// Source opens one layer of the image again.
type Source interface {
	// Open gives the layer's uncompressed tar, from its start. A source that
	// also implements io.ReaderAt over that tar is read through it instead.
	Open() (io.ReadCloser, error)
}

// FileSource is a Source that has the layer unpacked as well. Its files are then
// read one by one instead of the tar.
type FileSource interface {
	Source
	// OpenFile gives the content of the regular file at a cleaned path.
	OpenFile(path string) (io.ReadCloser, error)
	// Close gives back what OpenFile has kept.
	Close() error
}

// Write writes the merged layer's tar, Size bytes of it; the same image and base
// give the same bytes. sources[i] is the image's layer i, the base's first; it
// may be nil where Needs(i) is false. Every layer is gone through once, forwards.
// What is read is checked against the hash that Read took: ErrChanged if it
// differs.
func (m *Merged) Write(ctx context.Context, w io.Writer, sources []Source) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	out := &writer{ctx: ctx, w: w, m: m, sources: sources, buf: *buf, open: -1, sum: xxhash.New()}
	defer out.close()
	if _, err := m.emit(ctx, out); err != nil {
		return err
	}
	if err := out.header(zeros[:]); err != nil {
		return err
	}
	return out.flush()
}

// writer is the sink that writes. Small headers and bodies share a buffer.
type writer struct {
	ctx     context.Context
	w       io.Writer
	m       *Merged
	sources []Source
	buf     []byte
	n       int // of buf, to be written

	open   int // the layer whose source is open, -1 if none is
	from   bodyReader
	closer io.Closer
	sum    *xxhash.Digest
}

// bodyReader gives bodies of one layer, in the order of the tar.
type bodyReader interface {
	// start goes to a body.
	start(number int, e *entry) error
	// read fills p.
	read(p []byte) error
}

func (w *writer) flush() error {
	if w.n == 0 {
		return nil
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	_, err := w.w.Write(w.buf[:w.n])
	w.n = 0
	return err
}

func (w *writer) header(b []byte) error {
	for len(b) > 0 {
		if w.n == len(w.buf) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		k := copy(w.buf[w.n:], b)
		w.n, b = w.n+k, b[k:]
	}
	return nil
}

func (w *writer) body(layer int, x *Index, number int, e *entry) error {
	if e.size == 0 {
		return nil
	}
	fail := func(err error) error {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = ErrChanged
		}
		return &Error{Op: "copy", Layer: layer, Path: x.name(e), Err: err}
	}
	if err := w.source(layer, x); err != nil {
		return fail(err)
	}
	if err := w.from.start(number, e); err != nil {
		return fail(err)
	}
	w.sum.Reset()
	for left := e.size; left > 0; {
		if w.n == len(w.buf) {
			if err := w.flush(); err != nil {
				return err
			}
		}
		p := w.buf[w.n:]
		if int64(len(p)) > left {
			p = p[:left]
		}
		if err := w.from.read(p); err != nil {
			return fail(err)
		}
		w.sum.Write(p)
		w.n += len(p)
		left -= int64(len(p))
	}
	if w.sum.Sum64() != e.hash {
		return fail(ErrChanged)
	}
	return w.header(zeros[:padding(e.size)])
}

// source opens a layer.
func (w *writer) source(layer int, x *Index) error {
	if w.open == layer {
		return nil
	}
	w.close()
	if layer >= len(w.sources) || w.sources[layer] == nil {
		return ErrSource
	}
	s := w.sources[layer]
	if files, ok := s.(FileSource); ok {
		b := &fileBodies{x: x, files: files}
		w.open, w.from, w.closer = layer, b, b
		return nil
	}
	sparse := w.m.sparse(layer)
	if r, ok := s.(io.ReaderAt); ok && !sparse {
		w.open, w.from = layer, &rangeBodies{r: r, end: x.length}
		return nil
	}
	r, err := s.Open()
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	w.open, w.closer = layer, r
	if sparse {
		w.from = &tarBodies{ctx: w.ctx, r: tar.NewReader(r), at: -1}
	} else {
		w.from = &streamBodies{ctx: w.ctx, r: r}
	}
	return nil
}

func (w *writer) close() {
	if w.closer != nil {
		w.closer.Close()
	}
	w.open, w.from, w.closer = -1, nil, nil
}

// sparse is true if a file of a layer that goes out isn't one range of its tar.
func (m *Merged) sparse(layer int) bool {
	x := m.a.layers[layer]
	for i := range x.entries.n {
		if e := x.entries.at(i); e.body < 0 && e.size > 0 {
			return true
		}
	}
	return false
}
