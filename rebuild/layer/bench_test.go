package layer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
)

// workload is a stack to measure with.
type workload struct {
	name string
	make func() [][]ent
}

var workloads = []workload{
	{"ManySmallFiles", func() [][]ent {
		var out [][]ent
		for l := range 4 {
			var e []ent
			for d := range 50 {
				dir := fmt.Sprintf("usr/share/doc/package-%d-%d", l, d)
				e = append(e, dirE(dir))
				for f := range 100 {
					e = append(e, file(fmt.Sprintf("%s/file-%d.txt", dir, f), strings.Repeat("x", 100+f*7)))
				}
			}
			out = append(out, e)
		}
		return out
	}},
	{"FewLargeFiles", func() [][]ent {
		body := strings.Repeat("0123456789abcdef", 1<<20)
		return [][]ent{{file("a", body), file("b", body)}, {file("c", body), file("d", body)}, {file("a", body)}}
	}},
	{"DeepTrees", func() [][]ent {
		var out [][]ent
		for l := range 4 {
			var e []ent
			for d := range 100 {
				dir := fmt.Sprintf("r%d", d)
				for k := range 40 {
					dir += fmt.Sprintf("/level%d", k)
					e = append(e, dirE(dir))
				}
				e = append(e, file(fmt.Sprintf("%s/f%d", dir, l), "x"))
			}
			out = append(out, e)
		}
		return out
	}},
	{"HeavyOverwriting", func() [][]ent {
		var out [][]ent
		for l := range 20 {
			e := of(dirE("d"), opaque("d"))
			for f := range 1000 {
				e = append(e, file(fmt.Sprintf("d/f%d", f), fmt.Sprint(l)), file(fmt.Sprintf("e%d/f%d", f%10, f), fmt.Sprint(l)))
			}
			out = append(out, e)
		}
		return out
	}},
}

func (w workload) tars(b *testing.B) (tars [][]byte, entries int, size int64) {
	for _, l := range w.make() {
		t := tarOf(b, l...)
		tars = append(tars, t)
		entries += len(l)
		size += int64(len(t))
	}
	return tars, entries, size
}

// BenchmarkRead indexes layers; MB/s are of tar.
func BenchmarkRead(b *testing.B) {
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			tars, entries, size := w.tars(b)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				indexes(b, tars, false)
			}
			b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// BenchmarkMerge decides what goes out.
func BenchmarkMerge(b *testing.B) {
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			tars, entries, _ := w.tars(b)
			idx := indexes(b, tars, false)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Merge(b.Context(), idx[:1], idx[1:]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// BenchmarkWrite writes merged layers; MB/s are of what is written.
func BenchmarkWrite(b *testing.B) {
	for _, w := range workloads {
		for _, kind := range []string{"Random", "Sequential"} {
			b.Run(w.name+"/"+kind, func(b *testing.B) {
				tars, _, _ := w.tars(b)
				idx := indexes(b, tars, false)
				m, err := Merge(b.Context(), idx[:1], idx[1:])
				if err != nil {
					b.Fatal(err)
				}
				sources := make([]Source, len(tars))
				for i := range tars {
					if sources[i] = stream(tars[i]); kind == "Random" {
						sources[i] = random{tars[i]}
					}
				}
				b.SetBytes(m.Size())
				b.ReportAllocs()
				for b.Loop() {
					if err := m.Write(context.Background(), io.Discard, sources); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkVerify works out what an image shows and checks a merged layer; MB/s
// are of the merged layer.
func BenchmarkVerify(b *testing.B) {
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			tars, _, _ := w.tars(b)
			_, out := merge(b, tars, 1)
			idx := indexes(b, tars, false)
			b.SetBytes(int64(len(out)))
			b.ReportAllocs()
			for b.Loop() {
				v, err := NewVerifier(b.Context(), idx, 1, VerifyOptions{})
				if err == nil {
					err = v.Check(b.Context(), bytes.NewReader(out))
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// manyEntries is a tar of n small files in directories of a hundred, made as it
// is read, without garbage.
type manyEntries struct {
	n      int
	prefix string
	i      int
	f      formatter
	name   []byte
	b      []byte
}

func (m *manyEntries) Close() error { return nil }

func (m *manyEntries) Read(p []byte) (int, error) {
	if len(m.b) == 0 {
		if m.i > m.n {
			return 0, io.EOF
		}
		m.next()
		m.i++
	}
	k := copy(p, m.b)
	m.b = m.b[k:]
	return k, nil
}

func (m *manyEntries) next() {
	if m.i == m.n {
		m.b = zeros[:]
		return
	}
	m.name = fmt.Appendf(m.name[:0], "%s/usr/lib/node_modules/package-%d/", m.prefix, m.i/100)
	h := outHeader{kind: typeDir, mode: 0o755, mtime: 1e9}
	if m.i%100 != 0 {
		m.name = fmt.Appendf(m.name, "dist/file-%d.js", m.i)
		h = outHeader{kind: typeFile, mode: 0o644, mtime: 1e9, size: 1}
	}
	h.name = view(m.name)
	m.b = m.f.format(&h)
	if h.size > 0 {
		m.f.out = append(append(m.f.out, 'x'), zeros[:blockSize-1]...)
		m.b = m.f.out
	}
}
