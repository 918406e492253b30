package layer

import (
	"bytes"
	"compress/gzip"
	"math"
	"math/rand/v2"
	"testing"
)

// TestSampleComesNearToGzip writes streams of which every stretch of a few MiB
// has as much in it, and compares with gzip over all.
func TestSampleComesNearToGzip(t *testing.T) {
	noise := make([]byte, 17<<20) // one sample, and the beginning of another
	rand.NewChaCha8([32]byte{1}).Read(noise)
	half := bytes.Clone(noise)
	for i := range half {
		if i%4096 < 2048 {
			half[i] = 'x'
		}
	}
	for name, stream := range map[string][]byte{
		"half of it noise": half, "zeros": make([]byte, 17<<20), "a small layer": noise[:1000], "text": bytes.Repeat([]byte("a line of some text, and "), 1000),
	} {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		w.Write(stream)
		w.Close()
		var s Sample
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), 10_001)
			if k, err := s.Write(rest[:n]); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		have, want := s.Share(), float64(packed.Len())/float64(len(stream))
		if math.Abs(have-want) > 0.06 {
			t.Errorf("%s: %.3f, gzip makes %.3f", name, have, want)
		}
	}
	if share := new(Sample).Share(); share != 1 {
		t.Errorf("an empty stream: %f", share)
	}
}
