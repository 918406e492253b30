package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{
		"a": "a", "a/": "a", "./a": "a", "/a": "a", "a//b": "a/b", "a/./b": "a/b", "a/../b": "b", "../b": "b", "a/../../b": "b",
		"": "", ".": "", "./": "", "/": "", "..": "", "a/..": "", "...": "...", "a b/\n": "a b/\n", "a/.b": "a/.b", "..a/b..": "..a/b..", "a/b/": "a/b", "a/b//": "a/b",
	} {
		if have := cleanName(in); have != want {
			t.Errorf("%q: %q, want %q", in, have, want)
		}
	}
}

func TestWhiteoutName(t *testing.T) {
	for in, want := range map[string]struct {
		kind   nameKind
		hidden string
	}{
		"a": {nameOrdinary, ""}, ".wh": {nameOrdinary, ""}, ".whx": {nameOrdinary, ""}, "a.wh.b": {nameOrdinary, ""}, ".WH.a": {nameOrdinary, ""},
		".wh.a": {nameWhiteout, "a"}, ".wh..a": {nameWhiteout, ".a"}, ".wh....": {nameWhiteout, "..."}, ".wh. ": {nameWhiteout, " "}, ".wh..wh.": {nameWhiteout, ".wh."},
		".wh.": {nameInvalid, ""}, ".wh..": {nameInvalid, ""}, ".wh...": {nameInvalid, ""},
		".wh..wh..opq": {nameOpaque, ""}, ".wh..wh.plnk": {nameWhiteout, ".wh.plnk"}, ".wh..wh..opqx": {nameWhiteout, ".wh..opqx"},
	} {
		if kind, hidden := whiteoutName(in); kind != want.kind || hidden != want.hidden {
			t.Errorf("%q: %d %q, want %d %q", in, kind, hidden, want.kind, want.hidden)
		}
	}
}

// TestReadForms reads the same entries from every format, whole and in single
// bytes, and both ways of reading headers agree.
func TestReadForms(t *testing.T) {
	for _, c := range []struct {
		name string
		e    ent
	}{
		{"ustar", file("a/b", "body").in(tar.FormatUSTAR).owned("user", "group")},
		{"ustar with a prefix", file(strings.Repeat("dir/", 40)+"f", "body").in(tar.FormatUSTAR)},
		{"gnu", file("a/b", "body").in(tar.FormatGNU)},
		{"gnu with a long name", file(strings.Repeat("dir/", 40)+"f", "body").in(tar.FormatGNU)},
		{"gnu with base-256 numbers", file("a", "body").in(tar.FormatGNU).chown(bigID, bigID).at(time.Unix(-5, 0))},
		{"pax", file("a\xff", "body").in(tar.FormatPAX).at(time.Unix(5, 123456789)).chown(bigID, 3).xattr("user.a", "=\n\x00").owned("ü", "g")},
		{"pax with times", file("a", "body").in(tar.FormatPAX).at(time.Unix(-5, 5e8)).record("comment", "é")},
		{"pax link", link("a", strings.Repeat("x", 200)).in(tar.FormatPAX)},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := tarOf(t, c.e)
			var got []string
			for _, r := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b))} {
				x, err := Read(t.Context(), r, ReadOptions{Content: true})
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, describe(x))
			}
			x, err := readSlowly(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, describe(x))
			if got[0] != got[1] || got[0] != got[2] {
				t.Errorf("readings differ:\n%s\n%s\n%s", got[0], got[1], got[2])
			}
		})
	}
}

// readSlowly is Read by archive/tar alone: a global header in front makes it so.
func readSlowly(b []byte) (*Index, error) {
	var g bytes.Buffer
	w := tar.NewWriter(&g)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "global", PAXRecords: map[string]string{"path": "ignored", "comment": "ignored"}}); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	n := g.Len()
	x, err := Read(context.Background(), io.MultiReader(bytes.NewReader(g.Bytes()), bytes.NewReader(b)), ReadOptions{Content: true})
	if err != nil {
		return nil, err
	}
	for i := range x.entries.n {
		if e := x.entries.at(i); e.body >= 0 {
			e.body -= int64(n)
		}
	}
	x.length -= int64(n)
	return x, nil
}

func describe(x *Index) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d entries %d bytes %d long\n", x.Len(), x.Bytes(), x.length)
	for i := range x.entries.n {
		e := x.entries.at(i)
		var d [32]byte
		if x.digests.n > 0 {
			d = *x.digests.at(i)
		}
		fmt.Fprintf(&s, "%q %q %q %+v size %d body %d hash %x %x mtime %d.%09d\n", x.name(e), x.link(e), x.records(e), *x.attr(e), e.size, e.body, e.hash, d[:4], e.mtime, e.nsec)
	}
	return s.String()
}

func TestReadRefuses(t *testing.T) {
	good := tarOf(t, file("a", "body"), file("b", strings.Repeat("x", 2000)))
	for _, c := range []struct {
		name string
		b    []byte
		want error
	}{
		{"truncated header", good[:1100], ErrTruncated},
		{"truncated body", good[:514], ErrTruncated},
		{"truncated second body", good[:2200], ErrTruncated},
		{"a root that is a file", bytes.Clone(new(formatter).format(&outHeader{name: "/", kind: typeFile})), nil},
		{"a name without end", bytes.Clone(new(formatter).format(&outHeader{name: strings.Repeat("x", maxName+1), kind: typeFile})), ErrLimit},
		{"no tar", []byte(strings.Repeat("no tar at all ", 100)), tar.ErrHeader},
		{"another type", tarOf(t, ent{name: "x", kind: 'Z', mtime: epoch}), ErrType},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(t.Context(), bytes.NewReader(c.b), ReadOptions{Layer: 3})
			var e *Error
			if !errors.As(err, &e) || e.Layer != 3 {
				t.Fatalf("%v: not an error of layer 3", err)
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	for _, b := range [][]byte{nil, good[:0], tarOf(t), good[:len(good)-1024], append(bytes.Clone(good), "trailing"...)} {
		if _, err := Read(t.Context(), bytes.NewReader(b), ReadOptions{}); err != nil {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
}

// TestReadSparse reads the two usual forms of a sparse file and writes it whole.
func TestReadSparse(t *testing.T) {
	// PAX 1.0: the map stands in front of the data.
	m := "1\n1000000\n4\n"
	body := m + strings.Repeat("\x00", 512-len(m)) + "data"
	e := file("GNUSparseFile.0/s", body)
	var b bytes.Buffer
	var f formatter
	h := outHeader{name: e.name, kind: typeFile, mode: 0o644, size: int64(len(body)), mtime: 1e9}
	raw := map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": "1000004"}
	var pax []byte
	for _, k := range []string{"GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize"} {
		pax = appendField(appendField(pax, k), raw[k])
	}
	h.records = records(pax)
	b.Write(tarOf(t, file("before", "1"))[:1024])
	b.Write(f.format(&h))
	b.WriteString(body)
	b.Write(zeros[:padding(int64(len(body)))])
	b.Write(tarOf(t, file("after", "2")))
	tars := [][]byte{tarOf(t, file("base", "")), b.Bytes()}
	_, out := merge(t, tars, 1)
	r := tar.NewReader(bytes.NewReader(out))
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := io.ReadAll(r)
	if err != nil || len(got) != 1000004 || string(got[1000000:]) != "data" || strings.Trim(string(got[:1000000]), "\x00") != "" {
		t.Errorf("%v, %d bytes", err, len(got))
	}
}

// hugeTar is a layer with one file of n zeros.
func hugeTar(n int64) io.Reader {
	var f formatter
	h := bytes.Clone(f.format(&outHeader{name: "huge", kind: typeFile, mode: 0o644, size: n, mtime: 1e9}))
	return io.MultiReader(bytes.NewReader(h), io.LimitReader(zeroReader{}, n+padding(n)), bytes.NewReader(zeros[:]))
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type hugeSource int64

func (n hugeSource) Open() (io.ReadCloser, error) { return io.NopCloser(hugeTar(int64(n))), nil }

// TestHugeFile passes a file through that USTAR can't say the size of.
func TestHugeFile(t *testing.T) {
	if testing.Short() {
		t.Skip("9 GiB of zeros take seconds")
	}
	const n = 9<<30 + 5
	x, err := Read(t.Context(), hugeTar(n), ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Merge(t.Context(), nil, []*Index{x})
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(t.Context(), []*Index{x}, 0, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- v.Check(t.Context(), r) }()
	w.CloseWithError(m.Write(context.Background(), w, []Source{hugeSource(n)}))
	if err := <-done; err != nil {
		t.Error(err)
	}
	if want := int64(512*3 + n + 507 + 1024); m.Size() != want {
		t.Errorf("size %d, want %d", m.Size(), want)
	}
}

func TestPaxTime(t *testing.T) {
	for _, c := range []struct {
		sec  int64
		nsec uint32
		want string
	}{{5, 0, "5"}, {5, 1, "5.000000001"}, {5, 5e8, "5.5"}, {-5, 0, "-5"}, {-5, 5e8, "-4.5"}, {-1, 999999999, "-0.000000001"}, {0, 25e7, "0.25"}} {
		have := paxTime(c.sec, c.nsec)
		if have != c.want {
			t.Errorf("%d.%09d: %s, want %s", c.sec, c.nsec, have, c.want)
		}
		if sec, nsec, ok := plainTime([]byte(have)); !ok || sec != c.sec || nsec != c.nsec {
			t.Errorf("%s reads as %d.%09d", have, sec, nsec)
		}
	}
}
