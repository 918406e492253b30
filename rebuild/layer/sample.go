package layer

import (
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// A Sample tells about what gzip would make of a stream, without compressing all
// of it: it compresses the first 64 KiB of every 16 MiB, so that a small layer
// counts whole and a large one costs a 256th. Write never fails. The zero value
// is ready; it isn't for several goroutines.
type Sample struct {
	at      int64 // in the stream
	in, out int64 // of what was compressed
	packer  *flate.Writer
}

// packers are compressors at rest: one takes more than a megabyte, and an image
// may have thousands of small layers.
var packers = sync.Pool{New: func() any {
	z, err := flate.NewWriter(io.Discard, flate.DefaultCompression)
	if err != nil {
		panic(fmt.Sprintf("flate refuses its own default level: %v", err))
	}
	return z
}}

const (
	samplePiece = 64 << 10
	sampleEvery = 16 << 20
)

// Write takes the next bytes of the stream.
func (s *Sample) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		in := s.at % sampleEvery
		piece := p
		if in < samplePiece {
			piece = p[:min(int64(len(p)), samplePiece-in)]
			s.take(piece)
		} else {
			piece = p[:min(int64(len(p)), sampleEvery-in)]
		}
		s.at += int64(len(piece))
		p = p[len(piece):]
	}
	return n, nil
}

func (s *Sample) take(piece []byte) {
	if s.packer == nil {
		s.packer = packers.Get().(*flate.Writer)
		s.packer.Reset((*sampled)(s))
	}
	s.packer.Write(piece) // sampled takes all
	s.in += int64(len(piece))
}

// sampled counts what comes out.
type sampled Sample

func (s *sampled) Write(p []byte) (int, error) {
	s.out += int64(len(p))
	return len(p), nil
}

// Share is the part of its bytes that the stream would have compressed, 1 for an
// empty one. Nothing may be written after it.
func (s *Sample) Share() float64 {
	if s.in == 0 {
		return 1
	}
	s.packer.Close() // sampled takes all
	packers.Put(s.packer)
	s.packer = nil
	return float64(s.out) / float64(s.in)
}
