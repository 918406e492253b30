package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"maps"
	"strings"
	"testing"
	"time"
)

// ent is one entry of a layer in a test.
type ent struct {
	name  string
	kind  byte
	body  string
	link  string
	mode  int64
	uid   int
	gid   int
	mtime time.Time
	pax   map[string]string
	major int64
	minor int64
	uname string
	gname string
	form  tar.Format
}

var epoch = time.Unix(1_000_000_000, 0)

func file(name, body string) ent {
	return ent{name: name, kind: tar.TypeReg, body: body, mode: 0o644, mtime: epoch}
}
func dirE(name string) ent {
	return ent{name: name + "/", kind: tar.TypeDir, mode: 0o755, mtime: epoch}
}
func link(name, target string) ent {
	return ent{name: name, kind: tar.TypeLink, link: target, mode: 0o644, mtime: epoch}
}
func symlink(name, target string) ent {
	return ent{name: name, kind: tar.TypeSymlink, link: target, mode: 0o777, mtime: epoch}
}
func fifo(name string) ent { return ent{name: name, kind: tar.TypeFifo, mode: 0o600, mtime: epoch} }
func char(name string, major, minor int64) ent {
	return ent{name: name, kind: tar.TypeChar, mode: 0o666, mtime: epoch, major: major, minor: minor}
}
func block(name string, major, minor int64) ent {
	return ent{name: name, kind: tar.TypeBlock, mode: 0o660, mtime: epoch, major: major, minor: minor}
}
func gone(name string) ent {
	i := strings.LastIndexByte(name, '/') + 1
	return file(name[:i]+".wh."+name[i:], "")
}
func opaque(dir string) ent { return file(dir+"/.wh..wh..opq", "") }

func (e ent) chmod(mode int64) ent   { e.mode = mode; return e }
func (e ent) chown(uid, gid int) ent { e.uid, e.gid = uid, gid; return e }
func (e ent) at(t time.Time) ent     { e.mtime = t; return e }
func (e ent) owned(u, g string) ent  { e.uname, e.gname = u, g; return e }
func (e ent) in(form tar.Format) ent { e.form = form; return e }
func (e ent) named(name string) ent  { e.name = name; return e }
func (e ent) xattr(k, v string) ent  { return e.record("SCHILY.xattr."+k, v) }
func (e ent) record(k, v string) ent {
	m := maps.Clone(e.pax)
	if m == nil {
		m = map[string]string{}
	}
	m[k] = v
	e.pax = m
	return e
}

// tarOf writes a layer.
func tarOf(t testing.TB, ents ...ent) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range ents {
		h := &tar.Header{
			Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: e.mode, Uid: e.uid, Gid: e.gid, ModTime: e.mtime,
			Size: int64(len(e.body)), PAXRecords: e.pax, Devmajor: e.major, Devminor: e.minor,
			Uname: e.uname, Gname: e.gname, Format: e.form,
		}
		if h.Format == 0 && (len(e.pax) > 0 || e.mtime.Nanosecond() != 0) {
			h.Format = tar.FormatPAX
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("write %s: %v", e.name, err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatalf("write %s: %v", e.name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// stream is a Source that is read from its start only.
type stream []byte

func (s stream) Open() (io.ReadCloser, error) {
	return io.NopCloser(struct{ io.Reader }{bytes.NewReader(s)}), nil
}

// random is a Source with random access.
type random struct{ stream }

func (s random) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(s.stream).ReadAt(p, off)
}

func indexes(t testing.TB, tars [][]byte, content bool) []*Index {
	t.Helper()
	var out []*Index
	for i, b := range tars {
		x, err := Read(t.Context(), bytes.NewReader(b), ReadOptions{Layer: i, Content: content})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

// merge runs the whole path over a stack and checks what must hold for every
// one: the size is exact, both kinds of sources give the same bytes, and the
// verifier agrees.
func merge(t testing.TB, tars [][]byte, base int) (*Merged, []byte) {
	t.Helper()
	idx := indexes(t, tars, true)
	m, err := Merge(t.Context(), idx[:base], idx[base:])
	if err != nil {
		t.Fatal(err)
	}
	var outs [2]bytes.Buffer
	for k := range outs {
		sources := make([]Source, len(tars))
		for i, b := range tars {
			switch {
			case !m.Needs(i):
			case k == 0:
				sources[i] = random{b}
			default:
				sources[i] = stream(b)
			}
		}
		if err := m.Write(context.Background(), &outs[k], sources); err != nil {
			t.Fatal(err)
		}
	}
	out := outs[0].Bytes()
	if !bytes.Equal(out, outs[1].Bytes()) {
		t.Fatal("random access and sequential sources give different bytes")
	}
	if m.Size() != int64(len(out)) {
		t.Fatalf("Size is %d, Write wrote %d", m.Size(), len(out))
	}
	v, err := NewVerifier(t.Context(), idx, base, VerifyOptions{Content: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Check(t.Context(), bytes.NewReader(out)); err != nil {
		t.Errorf("verify: %v\n%s", err, listing(t, out))
	}
	return m, out
}

// listing shows a layer's entries, one a line.
func listing(t testing.TB, b []byte) string {
	t.Helper()
	var s strings.Builder
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return s.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		s.WriteString(Display(h.Name))
		switch h.Typeflag {
		case tar.TypeLink:
			s.WriteString(" = " + h.Linkname)
		case tar.TypeSymlink:
			s.WriteString(" -> " + h.Linkname)
		}
		s.WriteByte('\n')
	}
}
