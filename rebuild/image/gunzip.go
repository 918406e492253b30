package image

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/pgzip"
	"github.com/mholt/archiver/v4"
)

// gunzips is gzip for reading.
type gunzips struct{ archiver.Gz }

// OpenReader returns what r holds, uncompressed.
func (gunzips) OpenReader(r io.Reader) (io.ReadCloser, error) {
	// A *bufio.Reader is what the decompressor reads fastest.
	end := &toItsEnd{r: r}
	in := bufio.NewReaderSize(end, 64<<10)
	z, err := pgzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return &gunzip{in: in, end: end, ahead: z}, nil
}

// bigMember is the size from which a gzip member is worth a reader that works
// ahead of its user: to start one takes as long as to decompress half of this.
const bigMember = 1 << 20

// gunzip reads the members of a gzip file one after the other. As long as they are
// big it decompresses ahead; from the first small one on it doesn't: there may be
// tens of thousands of them, one a file (eStargz).
type gunzip struct {
	in    *bufio.Reader
	end   *toItsEnd     // below in
	ahead *pgzip.Reader // nil once small has the rest
	small *gzip.Reader
	n     int64 // bytes of ahead's member
	err   error // of going on to the next
}

func (g *gunzip) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	for g.ahead != nil {
		n, err := g.ahead.Read(p)
		g.n += int64(n)
		if err != io.EOF {
			if n > 0 || err != nil || len(p) == 0 {
				return n, err
			}
			continue
		}
		if g.end.passed { // the member's checksum and length should have come
			g.err = io.ErrUnexpectedEOF
			return n, g.err
		}
		if g.err = g.next(); g.err != nil {
			return n, g.err
		}
		if n > 0 {
			return n, nil
		}
	}
	return g.small.Read(p)
}

// toItsEnd notes that somebody asked for more than there is. pgzip takes a member
// without its checksum and length for a whole one.
type toItsEnd struct {
	r      io.Reader
	passed bool
}

// Read tells the end by itself, never with the last bytes: then nobody has asked
// for more yet.
func (t *toItsEnd) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n > 0 && err == io.EOF {
		return n, nil
	}
	t.passed = t.passed || err == io.EOF
	return n, err
}

// next begins the next member; io.EOF if there is none.
func (g *gunzip) next() error {
	if _, err := g.in.Peek(1); err != nil {
		return err
	}
	if g.n >= bigMember {
		g.n = 0
		err := g.ahead.Reset(g.in)
		g.ahead.Multistream(false)
		return noPlainEOF(err)
	}
	if err := g.ahead.Close(); err != nil {
		return err
	}
	g.ahead = nil
	var err error
	g.small, err = gzip.NewReader(g.in)
	return noPlainEOF(err)
}

// noPlainEOF is err of a header that is there: its end is no regular one.
func noPlainEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (g *gunzip) Close() error {
	if g.ahead != nil {
		return g.ahead.Close()
	}
	return nil // small has nothing to give back
}
