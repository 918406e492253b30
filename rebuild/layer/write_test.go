package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
)

// TestWriteChecksSources has a source that is missing, fails or has changed end
// in an error that says where.
func TestWriteChecksSources(t *testing.T) {
	body := strings.Repeat("body", 300_000)
	good := tarOf(t, file("a", "1"), file("d/b", body))
	idx := indexes(t, [][]byte{good}, false)
	m, err := Merge(t.Context(), nil, idx)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(good)
	changed[len(changed)-100_000] ^= 1
	boom := errors.New("boom")
	for _, c := range []struct {
		name   string
		source Source
		want   error
		text   string
	}{
		{"none", nil, ErrSource, "copy layer 1: a: layer cannot be read again"},
		{"changed, sequential", stream(changed), ErrChanged, "copy layer 1: d/b: layer changed since it was read"},
		{"changed, random access", random{changed}, ErrChanged, "copy layer 1: d/b: layer changed since it was read"},
		{"shorter, sequential", stream(good[:5000]), ErrChanged, "copy layer 1: d/b: layer changed since it was read"},
		{"shorter, random access", random{good[:5000]}, ErrChanged, "copy layer 1: d/b: layer changed since it was read"},
		{"changed, unpacked", &unpacked{stream: good, files: map[string]string{"a": "1", "d/b": "x" + body[1:]}}, ErrChanged, "copy layer 1: d/b: layer changed since it was read"},
		{"shorter, unpacked", &unpacked{stream: good, files: map[string]string{"a": "1", "d/b": body[1:]}}, ErrChanged, "copy layer 1: d/b: layer changed since it was read"},
		{"gone, unpacked", &unpacked{stream: good, files: map[string]string{"a": "1"}}, fs.ErrNotExist, "copy layer 1: d/b: file does not exist"},
		{"cannot be opened", failing{boom}, boom, "copy layer 1: a: open: boom"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := m.Write(t.Context(), io.Discard, []Source{c.source})
			if !errors.Is(err, c.want) || err.Error() != c.text {
				t.Errorf("%v, want %s", err, c.text)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Write(ctx, io.Discard, []Source{stream(good)}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := m.Write(t.Context(), failing{boom}, []Source{stream(good)}); !errors.Is(err, boom) {
		t.Errorf("writer fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Open() (io.ReadCloser, error) { return nil, f.err }
func (f failing) Write(p []byte) (int, error)  { return 0, f.err }

// unpacked is a FileSource.
type unpacked struct {
	stream
	files map[string]string
	open  int // files that are open
	ends  int // calls of Close
}

func (u *unpacked) OpenFile(path string) (io.ReadCloser, error) {
	body, ok := u.files[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	u.open++
	return &unpackedFile{strings.NewReader(body), u}, nil
}

func (u *unpacked) Close() error { u.ends++; return nil }

type unpackedFile struct {
	io.Reader
	of *unpacked
}

func (f *unpackedFile) Close() error { f.of.open--; return nil }

// TestWriteReadsUnpackedLayers writes the same from files as from tars, and
// leaves none of them open.
func TestWriteReadsUnpackedLayers(t *testing.T) {
	for _, c := range stackCases {
		if c.refused { // no engine has it unpacked
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			tars := tarsOf(t, c.layers)
			m, err := Merge(t.Context(), nil, indexes(t, tars, false))
			if err != nil {
				t.Fatal(err)
			}
			var streams, files []Source
			for _, b := range tars {
				streams = append(streams, stream(b))
				u := &unpacked{stream: b, files: map[string]string{}}
				for r := tar.NewReader(bytes.NewReader(b)); ; {
					h, err := r.Next()
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					if h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse {
						body, err := io.ReadAll(r)
						if err != nil {
							t.Fatal(err)
						}
						u.files[cleanName(h.Name)] = string(body)
					}
				}
				files = append(files, u)
			}
			var want, got bytes.Buffer
			if err := m.Write(t.Context(), &want, streams); err != nil {
				t.Fatal(err)
			}
			if err := m.Write(t.Context(), &got, files); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Error("the files give another layer than the tars")
			}
			for i, f := range files {
				if u := f.(*unpacked); u.open != 0 || u.ends > 1 {
					t.Errorf("layer %d: %d files left open, closed %d times", i, u.open, u.ends)
				}
			}
		})
	}
}

// counted is a Source that counts how often it is opened.
type counted struct {
	stream
	n *int
}

func (c counted) Open() (io.ReadCloser, error) { *c.n++; return c.stream.Open() }

// TestWriteReadsEachLayerOnce opens a sequential source at most once.
func TestWriteReadsEachLayerOnce(t *testing.T) {
	tars := tarsOf(t, faultStack())
	idx := indexes(t, tars, false)
	m, err := Merge(t.Context(), nil, idx)
	if err != nil {
		t.Fatal(err)
	}
	var n [3]int
	var sources []Source
	for i := range tars {
		sources = append(sources, counted{tars[i], &n[i]})
	}
	if err := m.Write(t.Context(), io.Discard, sources); err != nil {
		t.Fatal(err)
	}
	if n != [3]int{1, 1, 1} {
		t.Errorf("opened %v times", n)
	}
}

// TestFormatReadsBack has archive/tar read every header that format writes, the
// ones that archive/tar's own writer refuses as well.
func TestFormatReadsBack(t *testing.T) {
	xattr := records(appendField(appendField(nil, xattrPrefix+"user.a"), "\x00=\n\xff"))
	for _, h := range []outHeader{
		{name: "a", kind: typeFile, mode: 0o100644, size: 0, mtime: 1},
		{name: strings.Repeat("dir/", 30), kind: typeDir, mode: 0o755},
		{name: strings.Repeat("d", 90) + "/" + strings.Repeat("f", 100), kind: typeFile},
		{name: strings.Repeat("d", 156) + "/f", kind: typeFile},
		{name: strings.Repeat("n", 101), kind: typeFile},
		{name: "é", link: strings.Repeat("l", 101), kind: typeSymlink, uname: strings.Repeat("u", 40), gname: "\xff"},
		{name: "big", kind: typeFile, mode: 0xFFFFFFFF, uid: 4294967295, gid: 2097152, size: 1 << 40, mtime: 1 << 36, nsec: 1},
		{name: "old", kind: typeChar, major: 0xFFFFFFFF, minor: 2097152, mtime: -5, nsec: 5},
		{name: "x", kind: typeLink, link: "y", records: xattr, mtime: 5, nsec: 999999999},
	} {
		b := new(formatter).format(&h)
		if len(b)%blockSize != 0 {
			t.Fatalf("%s: %d bytes", h.name, len(b))
		}
		r := tar.NewReader(bytes.NewReader(b))
		got, err := r.Next()
		if err != nil {
			t.Errorf("%s: %v", h.name, err)
			continue
		}
		have := outHeader{name: got.Name, link: got.Linkname, kind: got.Typeflag, mode: uint32(got.Mode), uid: uint32(got.Uid), gid: uint32(got.Gid),
			major: uint32(got.Devmajor), minor: uint32(got.Devminor), size: got.Size, mtime: got.ModTime.Unix(), nsec: uint32(got.ModTime.Nanosecond()), uname: got.Uname, gname: got.Gname}
		var keys []string
		have.records = records(appendRecords(nil, got.PAXRecords, &keys))
		if have != h {
			t.Errorf("\nwrote %+v\nread  %+v", h, have)
		}
	}
}

// TestListedNamesEveryDirectory has what the merged layer leaves to the engine
// that loads it said for one that ADDs it: a directory that nobody listed, in
// the place of a file, of a symbolic link and of a directory.
func TestListedNamesEveryDirectory(t *testing.T) {
	tars := tarsOf(t, [][]ent{
		of(file("f", "1"), symlink("l", "d"), dirE("d").chmod(0o700), file("d/a", "1"), file("x", "1")),
		of(file("f/in", "2"), file("l/in", "2"), file("d/in", "2"), gone("x")),
	})
	m, _ := merge(t, tars, 1)
	listed, err := m.Listed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := listed.Write(t.Context(), &out, []Source{nil, stream(tars[1])}); err != nil {
		t.Fatal(err)
	}
	if int64(out.Len()) != listed.Size() {
		t.Errorf("Size is %d, Write wrote %d", listed.Size(), out.Len())
	}
	if got, want := listing(t, out.Bytes()), ".wh.x\nf/\nf/in\nl/\nl/in\nd/\nd/in\n"; got != want {
		t.Errorf("entries are\n%swant\n%s", got, want)
	}
	v, err := NewVerifier(t.Context(), indexes(t, tars, false), 1, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Check(t.Context(), &out); err != nil {
		t.Error(err)
	}
}
