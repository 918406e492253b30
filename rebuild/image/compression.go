package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/mholt/archiver/v4"
)

// The kinds of Compression. Layers aren't stored with the last two, but archives
// are found compressed so.
const (
	Gzip         = "gzip"
	Zstandard    = "zstd"
	Uncompressed = "none"
	XZ           = "xz"
	Bzip2        = "bzip2"
)

// Compression says how a new layer is stored.
type Compression struct {
	Kind  string // Gzip, Zstandard, Uncompressed; "" = what suits the destination
	Level int    // 1 to 9 for gzip, 1 to 22 for zstd; 0 = the format's default
}

// ParseCompression reads KIND[:LEVEL].
func ParseCompression(s string) (Compression, error) {
	kind, level, leveled := strings.Cut(s, ":")
	c := Compression{Kind: kind}
	highest := map[string]int{Gzip: 9, Zstandard: 22, Uncompressed: 0}
	most, ok := highest[kind]
	switch {
	case !ok:
		return Compression{}, fmt.Errorf("%q must be gzip, zstd or none", s)
	case leveled && most == 0:
		return Compression{}, fmt.Errorf("%q: nothing is compressed, so there is no level", s)
	case leveled:
		n, err := strconv.Atoi(level)
		if err != nil || n < 1 || n > most {
			return Compression{}, fmt.Errorf("%q: a level of %s is a number from 1 to %d", s, kind, most)
		}
		c.Level = n
	}
	return c, nil
}

// String is the form that ParseCompression reads.
func (c Compression) String() string {
	if c.Level == 0 {
		return c.Kind
	}
	return c.Kind + ":" + strconv.Itoa(c.Level)
}

// Or returns c with kind in the place of no kind.
func (c Compression) Or(kind string) Compression {
	if c.Kind == "" {
		c.Kind = kind
	}
	return c
}

// Writer returns a writer that compresses what it gets into w. The same bytes
// in give the same bytes out on any machine: gzip is cut into blocks of a fixed
// size that are compressed in parallel, and its header has neither name nor
// time.
func (c Compression) Writer(w io.Writer) (io.WriteCloser, error) {
	switch c.Kind {
	case Gzip:
		return archiver.Gz{CompressionLevel: c.Level, Multithreaded: true}.OpenWriter(w)
	case Zstandard:
		level := zstd.SpeedDefault
		if c.Level != 0 {
			level = zstd.EncoderLevelFromZstd(c.Level)
		}
		return archiver.Zstd{EncoderOptions: []zstd.EOption{
			zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(2),
		}}.OpenWriter(w)
	case XZ:
		return archiver.Xz{}.OpenWriter(w)
	case Bzip2:
		return archiver.Bz2{}.OpenWriter(w)
	case Uncompressed:
		return nopWriteCloser{w}, nil
	}
	return nil, fmt.Errorf("compress with %q: %w", c.Kind, ErrFormat)
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }

// HeadSize is enough of a file to recognise its compression by: a tar header.
const HeadSize = 512

// A format is a compression as it is found.
type format struct {
	kind string
	matcher
}

// matcher is what each of archiver's compressions is.
type matcher interface {
	archiver.Format
	archiver.Compression
}

// formatOf recognises a compression by the first HeadSize bytes of a file; its kind
// is Uncompressed if there is none.
func formatOf(head []byte) format {
	if isTarHeader(head) { // its first file's name may begin like anything
		return format{kind: Uncompressed}
	}
	longWindow := []zstd.DOption{zstd.WithDecoderMaxWindow(2 << 30), zstd.WithDecoderLowmem(true)} // zstd --long=31 at most
	for _, f := range []format{
		{Gzip, gunzips{}},
		{Zstandard, skippable{archiver.Zstd{DecoderOptions: longWindow}}},
		{XZ, archiver.Xz{}},
		{Bzip2, archiver.Bz2{}},
	} {
		if m, err := f.Match(context.Background(), "", bytes.NewReader(head)); err == nil && m.ByStream {
			return f
		}
	}
	return format{kind: Uncompressed}
}

// isTarHeader tells whether a file begins with a tar header, by its checksum: the
// sum of all bytes, with spaces in the place of the checksum (POSIX, pax, "ustar
// Interchange Format").
func isTarHeader(head []byte) bool {
	if len(head) < HeadSize {
		return false
	}
	want, err := strconv.ParseInt(strings.Trim(string(head[148:156]), " \x00"), 8, 64)
	if err != nil || want == 0 {
		return false
	}
	sum := int64(8 * ' ')
	for i, c := range head[:HeadSize] {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	return sum == want
}

// skippable is zstd that may begin with a skippable frame (RFC 8878, 3.1.2).
type skippable struct{ archiver.Zstd }

func (z skippable) Match(ctx context.Context, name string, r io.Reader) (archiver.MatchResult, error) {
	var head [4]byte
	n, err := io.ReadFull(r, head[:])
	if err == nil && head[0]&0xf0 == 0x50 && head[1] == 0x2a && head[2] == 0x4d && head[3] == 0x18 {
		return archiver.MatchResult{ByStream: true}, nil
	}
	return z.Zstd.Match(ctx, name, bytes.NewReader(head[:n]))
}

// KindOf recognises a compression by the first HeadSize bytes of a file.
func KindOf(head []byte) string { return formatOf(head).kind }

// Decompress returns what r holds, uncompressed if it was compressed, and how
// it was. Closing the result doesn't close r.
func Decompress(r io.Reader) (plain io.ReadCloser, kind string, err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(HeadSize)
	if err != nil && !errors.Is(err, io.EOF) {
		if len(head) == 0 {
			return nil, "", err
		}
		// What could be read comes first: its reader may know better what is wrong.
		b = bufio.NewReader(io.MultiReader(bytes.NewReader(bytes.Clone(head)), failed{err}))
	}
	f := formatOf(head)
	if f.kind == Uncompressed {
		return io.NopCloser(b), f.kind, nil
	}
	plain, err = f.OpenReader(b)
	if err != nil {
		return nil, f.kind, fmt.Errorf("decompress: %w", noEOF(err))
	}
	return plain, f.kind, nil
}

// failed is a reader that fails.
type failed struct{ error }

func (f failed) Read([]byte) (int, error) { return 0, f.error }

// noEOF is err, where io.EOF would be taken for a regular end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}
