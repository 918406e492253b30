package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand"
	"testing"

	"github.com/klauspost/compress/zstd"

	"docker-flatten/rebuild/image"
)

func member(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(1)).Read(b)
	return b
}

func tarOf(name string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Size: 3}); err != nil {
		panic(err)
	}
	w.Write([]byte("abc"))
	w.Close()
	return b.Bytes()
}

func TestDecompressReadsAllMembersOfAGzipFile(t *testing.T) {
	small, big := noise(1000), noise(3<<20)
	if testing.Short() {
		big = big[:1<<20] // a few blocks still
	}
	for name, parts := range map[string][][]byte{
		"one small":                     {small},
		"one big":                       {big},
		"none that isn't empty":         {{}, {}, {}},
		"big ones":                      {big, big, big},
		"small ones":                    {small, small, {}, small},
		"a small one between big ones":  {big, small, big},
		"small ones after a big one":    {big, {}, {}, small},
		"the size of a block exactly":   {noise(250000), noise(500000), noise(1000000)},
		"big ones of whole block sizes": {noise(2000000), noise(2000000)},
	} {
		var in, want []byte
		for _, p := range parts {
			in, want = append(in, member(p)...), append(want, p...)
		}
		check := func(in []byte, want []byte, fails bool, title string) {
			r, kind, err := image.Decompress(bytes.NewReader(in))
			if err != nil || kind != image.Gzip {
				t.Fatalf("%s: %s, %v", title, kind, err)
			}
			got, err := io.ReadAll(r)
			if fails != (err != nil) || !fails && !bytes.Equal(got, want) || errors.Is(err, io.EOF) {
				t.Errorf("%s: %d bytes of %d, %v", title, len(got), len(want), err)
			}
			if err := r.Close(); err != nil && !fails {
				t.Errorf("%s: close: %v", title, err)
			}
		}
		check(in, want, false, name)
		check(in[:len(in)-1], nil, true, name+", cut off")
		check(append(bytes.Clone(in), 0x1f), nil, true, name+", one byte more")
		check(append(bytes.Clone(in), bytes.Repeat([]byte{0}, 20)...), nil, true, name+", zeros after it")
		damaged := bytes.Clone(in)
		damaged[len(damaged)-6] ^= 1 // of the checksum
		check(damaged, nil, true, name+", damaged")
	}
}

// Tens of thousands of members cost what their bytes cost: nothing is started for
// each that lasts.
func TestManyEmptyGzipMembersCostLittle(t *testing.T) {
	in := bytes.Repeat(member(nil), 20000)
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			r, _, err := image.Decompress(bytes.NewReader(in))
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); n != 0 || err != nil {
				b.Fatal(n, err)
			}
			r.Close()
		}
	}).AllocedBytesPerOp()
	if allocated > 20<<20 { // a reader a member takes 40 KB each
		t.Errorf("%d bytes are allocated for %d of input", allocated, len(in))
	}
}

func TestCompressionIsToldFromATar(t *testing.T) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	z := w.EncodeAll(tarOf("a"), nil)
	skipped := append([]byte{0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3}, z...)
	for name, c := range map[string]struct {
		in, want []byte
		kind     string
	}{
		"zstd":                                   {z, tarOf("a"), image.Zstandard},
		"zstd after a skippable frame":           {skipped, tarOf("a"), image.Zstandard},
		"a tar whose first name looks like zstd": {tarOf("\x28\xb5\x2f\xfd"), tarOf("\x28\xb5\x2f\xfd"), image.Uncompressed},
		"a tar whose first name looks like gzip": {tarOf("\x1f\x8b\x08"), tarOf("\x1f\x8b\x08"), image.Uncompressed},
		"a tar whose first name looks like bz2":  {tarOf("BZh91AY&SY"), tarOf("BZh91AY&SY"), image.Uncompressed},
		"a tar":                                  {tarOf("a"), tarOf("a"), image.Uncompressed},
		"nothing":                                {nil, nil, image.Uncompressed},
		"three bytes":                            {[]byte{0x5a, 0x2a, 0x4d}, []byte{0x5a, 0x2a, 0x4d}, image.Uncompressed},
	} {
		r, kind, err := image.Decompress(bytes.NewReader(c.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil || kind != c.kind || !bytes.Equal(got, c.want) {
			t.Errorf("%s is %s with %d bytes, %v", name, kind, len(got), err)
		}
	}
}
