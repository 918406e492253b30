package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// faultStack is an image whose merged layer has something of everything.
func faultStack() [][]ent {
	return [][]ent{
		of(dirE("etc"), file("etc/passwd", "root"), dirE("var"), dirE("var/cache"), file("var/cache/a", "1"), file("old", "x"), link("old2", "old"), dirE("gone"), file("gone/f", "1")),
		of(dirE("bin").chmod(0o700), file("bin/a", "tool").xattr("security.capability", capValue).xattr("user.k", "v"), link("bin/b", "bin/a").xattr("security.capability", capValue).xattr("user.k", "v"),
			file("bin/c", "tool"), symlink("bin/l", "a"), fifo("bin/p"), char("bin/n", 1, 3)),
		of(gone("old"), gone("gone"), dirE("var"), dirE("var/cache"), opaque("var/cache"), file("var/cache/b", "2").at(time.Unix(7, 5)).chown(1, 2)),
	}
}

// rewrite passes a layer's entries through f, which may change, drop (nil) or
// add some.
func rewrite(t *testing.T, b []byte, f func(h *tar.Header, body string) []ent) []byte {
	t.Helper()
	var out []ent
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return tarOf(t, out...)
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		for k := range h.PAXRecords {
			if !strings.HasPrefix(k, xattrPrefix) {
				delete(h.PAXRecords, k)
			}
		}
		out = append(out, f(h, string(body))...)
	}
}

func same(h *tar.Header, body string) ent {
	return ent{name: h.Name, kind: h.Typeflag, body: body, link: h.Linkname, mode: h.Mode, uid: h.Uid, gid: h.Gid, mtime: h.ModTime,
		pax: h.PAXRecords, major: h.Devmajor, minor: h.Devminor}
}

// TestVerifyCatchesFaults plants one fault at a time in a right layer.
func TestVerifyCatchesFaults(t *testing.T) {
	tars := tarsOf(t, faultStack())
	idx := indexes(t, tars, true)
	_, right := merge(t, tars, 1)
	drop := func(name string) func(*tar.Header, string) []ent {
		return func(h *tar.Header, body string) []ent {
			if h.Name == name {
				return nil
			}
			return of(same(h, body))
		}
	}
	change := func(name string, f func(ent) ent) func(*tar.Header, string) []ent {
		return func(h *tar.Header, body string) []ent {
			e := same(h, body)
			if h.Name == name {
				e = f(e)
			}
			return of(e)
		}
	}
	add := func(more ...ent) func(*tar.Header, string) []ent {
		done := false
		return func(h *tar.Header, body string) []ent {
			out := of(same(h, body))
			if !done && h.Name == "bin/l" {
				done = true
				out = append(out, more...)
			}
			return out
		}
	}
	for _, c := range []struct {
		name string
		f    func(*tar.Header, string) []ent
		want string
	}{
		{"nothing", add(), ""},
		{"dropped whiteout", drop(".wh.old"), "/old: not deleted"},
		{"dropped whiteout of a directory", drop(".wh.gone"), "/gone: not deleted; /gone/f: not deleted"},
		{"dropped opaque marker", drop("var/cache/.wh..wh..opq"), "/var/cache/a: not deleted"},
		{"missing file", drop("bin/c"), "/bin/c: missing"},
		{"missing directory", drop("bin/"), "/bin: mode is 0755, not 0700"},
		{"missing link", drop("bin/b"), "/bin/b: missing"},
		{"extra file", add(file("extra", "")), "/extra: not in the source"},
		{"extra directory", add(dirE("extra")), "/extra: not in the source"},
		{"extra file that was deleted", add(file("gone/f", "1")), "/gone/f: not in the source; /gone: not deleted"},
		{"extra whiteout", add(gone("etc/passwd")), "/etc/passwd: missing"},
		{"extra whiteout of nothing", add(gone("nowhere")), "/nowhere: whiteout of nothing"},
		{"listed twice", add(file("bin/c", "tool")), "listed twice"},
		{"wrong symlink", change("bin/l", func(e ent) ent { e.link = "b"; return e }), "/bin/l: link target is b, not a"},
		{"link as a copy", change("bin/b", func(e ent) ent { e.kind, e.body = tar.TypeReg, "tool"; return e }), "/bin/b: not linked to /bin/a"},
		{"link to another file", change("bin/b", func(e ent) ent { e.link = "bin/l"; return e }), "/bin/b: hard link target not found"},
		{"link to a file of the base", change("bin/b", func(e ent) ent { e.link = "etc/passwd"; return e }), "/bin/b: hard link target not found"},
		{"copy as a link", change("bin/c", func(e ent) ent { e.kind, e.link, e.body = tar.TypeLink, "bin/a", ""; return e }), "wrongly linked"},
		{"lost xattr", change("bin/a", func(e ent) ent { delete(e.pax, xattrPrefix+"user.k"); return e }), `/bin/a: xattr user.k is absent, not "v"`},
		{"lost capability on a link", change("bin/b", func(e ent) ent { delete(e.pax, capability); return e }), "/bin/b: xattr security.capability is absent"},
		{"changed xattr", change("bin/a", func(e ent) ent { return e.record(xattrPrefix+"user.k", "w") }), `/bin/a: xattr user.k is "w", not "v"`},
		{"changed mode", change("bin/c", func(e ent) ent { return e.chmod(0o755) }), "/bin/c: mode is 0755, not 0644"},
		{"changed mode of a link", change("bin/b", func(e ent) ent { return e.chmod(0o755) }), "/bin/b: mode is 0755, not 0644"},
		{"changed mode of a directory", change("bin/", func(e ent) ent { return e.chmod(0o701) }), "/bin: mode is 0701, not 0700"},
		{"changed owner", change("var/cache/b", func(e ent) ent { return e.chown(1, 3) }), "/var/cache/b: owner is 1:3, not 1:2"},
		{"changed mtime", change("bin/c", func(e ent) ent { return e.at(epoch.Add(time.Second)) }), "/bin/c: mtime is 1000000001, not 1000000000"},
		{"mtime cut to seconds", change("var/cache/b", func(e ent) ent { return e.at(time.Unix(7, 0)) }), "/var/cache/b: mtime is 7, not 7.000000005"},
		{"swapped body", change("bin/c", func(e ent) ent { e.body = "loot"; return e }), "/bin/c: content"},
		{"shortened body", change("bin/c", func(e ent) ent { e.body = "too"; return e }), "/bin/c: size is 3, not 4"},
		{"changed device", change("bin/n", func(e ent) ent { e.minor = 5; return e }), "/bin/n: device"},
		{"changed type", change("bin/p", func(e ent) ent { e.kind = tar.TypeReg; return e }), "/bin/p: type is file, not fifo"},
		{"file in place of a directory", change("bin/", func(e ent) ent { e.kind, e.name = tar.TypeReg, "bin"; return e }), "/bin: type is file, not directory"},
		{"directory in place of a file", change("bin/c", func(e ent) ent { e.kind, e.name = tar.TypeDir, "bin/c/"; e.body = ""; return e }), "/bin/c: type is directory, not file"},
		{"metadata of the root", add(dirE("").named("/")), "/: metadata of the root: not in the source"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := NewVerifier(t.Context(), idx, 1, VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			err = v.Check(t.Context(), bytes.NewReader(rewrite(t, right, c.f)))
			if c.name == "nothing" {
				if err != nil {
					t.Errorf("a right layer: %v", err)
				}
				return
			}
			var d *DifferenceError
			if !errors.As(err, &d) {
				t.Fatalf("not caught: %v", err)
			}
			if !strings.Contains(d.Error(), c.want) {
				t.Errorf("%v, want %s", d, c.want)
			}
		})
	}
}

// TestVerifyContent has equal hashes and other bytes caught by the SHA-256: the
// difference is planted in the index, since nobody can make such a file.
func TestVerifyContent(t *testing.T) {
	tars := tarsOf(t, faultStack())
	idx := indexes(t, tars, true)
	_, right := merge(t, tars, 1)
	idx[1].digests.at(1)[0] ^= 1
	for _, content := range []bool{false, true} {
		v, err := NewVerifier(t.Context(), idx, 1, VerifyOptions{Content: content})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Check(t.Context(), bytes.NewReader(right)); (err != nil) != content {
			t.Errorf("content %v: %v", content, err)
		}
	}
	if _, err := NewVerifier(t.Context(), indexes(t, tars, false), 1, VerifyOptions{Content: true}); err == nil {
		t.Error("contents that were never hashed compare equal")
	}
}

// TestVerifyCountsAll has the error keep a few differences and count them all.
func TestVerifyCountsAll(t *testing.T) {
	tars := tarsOf(t, faultStack())
	v, err := NewVerifier(t.Context(), indexes(t, tars, false), 1, VerifyOptions{First: 2})
	if err != nil {
		t.Fatal(err)
	}
	var d *DifferenceError
	if err := v.Check(t.Context(), bytes.NewReader(tarOf(t))); !errors.As(err, &d) || len(d.First) != 2 || d.Count < 8 {
		t.Errorf("%v", err)
	}
	if !strings.HasSuffix(d.Error(), "; …") {
		t.Errorf("%v doesn't say that there is more", d)
	}
}

// TestVerifyReadsToTheEnd keeps whoever writes into the pipe from getting stuck.
func TestVerifyReadsToTheEnd(t *testing.T) {
	tars := tarsOf(t, faultStack())
	v, err := NewVerifier(t.Context(), indexes(t, tars, false), 1, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(append([]byte("this is no tar"), make([]byte, 1<<20)...))
	if err := v.Check(t.Context(), r); err == nil || r.Len() != 0 {
		t.Errorf("%v, %d bytes left", err, r.Len())
	}
}

// TestVerifyBesideMerge shows that a Verifier built before the merge, or beside
// it, sees the same.
func TestVerifyBesideMerge(t *testing.T) {
	tars := tarsOf(t, faultStack())
	idx := indexes(t, tars, false)
	m, err := Merge(t.Context(), idx[:1], idx[1:])
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(t.Context(), idx, 1, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- v.Check(t.Context(), r) }()
	sources := []Source{nil, stream(tars[1]), stream(tars[2])}
	w.CloseWithError(m.Write(context.Background(), w, sources))
	if err := <-done; err != nil {
		t.Error(err)
	}
	if slices.Contains([]bool{m.Needs(1), m.Needs(2)}, false) || m.Needs(0) {
		t.Error("Needs is wrong")
	}
}

// TestVerifyUnpacked has the owner names and the records that no file system
// keeps pass in a layer that an engine made, and nothing else.
func TestVerifyUnpacked(t *testing.T) {
	layers := [][]ent{of(file("a", "1").owned("root", "root")), of(file("b", "2").owned("", "").record("atime", "5").xattr("user.k", "v"))}
	tars := tarsOf(t, layers)
	idx := indexes(t, tars, false)
	for _, c := range []struct {
		made     ent
		unpacked bool
		same     bool
	}{
		{file("b", "2").owned("root", "daemon").xattr("user.k", "v"), true, true},
		{file("b", "2").owned("root", "daemon").xattr("user.k", "v"), false, false},
		{file("b", "2").owned("root", "daemon"), true, false},
		{file("b", "2").owned("", "").xattr("user.k", "v").chown(1, 0), true, false},
	} {
		v, err := NewVerifier(t.Context(), idx, 1, VerifyOptions{Unpacked: c.unpacked})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Check(t.Context(), bytes.NewReader(tarOf(t, c.made))); (err == nil) != c.same {
			t.Errorf("unpacked %v, %+v: %v", c.unpacked, c.made, err)
		}
	}
}
