package layer

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
)

// FuzzRead reads anything: an index or an error, and what the quick reader of
// plain headers takes is what archive/tar reads.
func FuzzRead(f *testing.F) {
	for _, c := range stackCases {
		for _, l := range c.layers {
			if b := tarOf(f, l...); len(b) < 1<<15 {
				f.Add(b)
			}
		}
	}
	f.Add(tarOf(f, file("a", "body").in(tar.FormatPAX).at(epoch.Add(5)).record("comment", "x"))[:1100])
	f.Add(bytes.Replace(tarOf(f, file("a", "body").xattr("user.key", "v")), []byte("user.key"), []byte("user\x00key"), 1))
	// No octal numbers, with the checksum of right ones: of a device, for a file, and of
	// a PAX header itself.
	device := tarOf(f, file("a", "body"))
	device[333], device[334] = device[333]+4, device[334]-4
	f.Add(device)
	pax := tarOf(f, file("a", "body").xattr("user.key", "v"))
	pax[113], pax[114] = pax[113]+4, pax[114]-4
	f.Add(pax)
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte(sparsePrefix)) || bytes.Contains(b, []byte("ustar  ")) {
			return // a sparse file may take minutes
		}
		quick, err := Read(t.Context(), bytes.NewReader(b), ReadOptions{Content: true})
		slow, slowErr := readSlowly(b)
		if (err == nil) != (slowErr == nil) {
			t.Fatalf("quick: %v, archive/tar: %v", err, slowErr)
		}
		if err != nil {
			return
		}
		if q, s := describe(quick), describe(slow); q != s {
			t.Fatalf("quick:\n%s\narchive/tar:\n%s", q, s)
		}
	})
}

// FuzzWhiteout parses names: no panic, nothing leaves the root, and a name is
// what writing it again says it is.
func FuzzWhiteout(f *testing.F) {
	for _, s := range []string{"a", ".wh.a", ".wh.", ".wh..", ".wh...", ".wh..wh..opq", "d/.wh.x", "../.wh.a", "./", "/", "a/../..", ".wh..wh.plnk/1.2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		c := cleanName(name)
		if strings.HasPrefix(c, "/") || strings.HasSuffix(c, "/") || cleanName(c) != c {
			t.Fatalf("%q: %q", name, c)
		}
		for part := range strings.SplitSeq(c, "/") {
			if part == ".." || part == "." || part == "" && c != "" {
				t.Fatalf("%q: %q", name, c)
			}
		}
		dir, base := splitName(c)
		if dir != "" && dir+"/"+base != c || dir == "" && base != c {
			t.Fatalf("%q: %q and %q", c, dir, base)
		}
		kind, hidden := whiteoutName(base)
		if kind == nameWhiteout && (whiteoutPrefix+hidden != base || hidden == "" || hidden == "." || hidden == "..") || kind == nameOrdinary && strings.HasPrefix(base, whiteoutPrefix) {
			t.Fatalf("%q: %d %q", base, kind, hidden)
		}
	})
}

// scripted makes a stack out of bytes: three an entry, or the end of a layer.
// Unlike randomStack it takes no care: names come twice, in any order.
func scripted(script []byte) [][]ent {
	names := []string{"a", "b", "a/a", "a/b", "b/a", "a/a/a", "b/a/b", "/c", "./a/../b", "c/a"}
	stack := [][]ent{nil}
	for ; len(script) >= 3 && len(stack) < 8; script = script[3:] {
		op, name, other := script[0], names[int(script[1])%len(names)], names[int(script[2])%len(names)]
		var e ent
		switch op % 12 {
		case 0, 1:
			e = file(name, string(script[2:3]))
		case 2, 3:
			e = dirE(name)
		case 4:
			e = link(name, other)
		case 5:
			e = symlink(name, other)
		case 6, 7:
			e = gone(name)
		case 8:
			e = opaque(name)
		case 9:
			e = fifo(name)
		case 10:
			e = char(name, int64(script[2]%2), 0)
		default:
			stack = append(stack, nil)
			continue
		}
		if op >= 128 {
			e = e.chmod(int64(script[2])<<4).xattr("user.k", string(script[2:3]))
		}
		stack[len(stack)-1] = append(stack[len(stack)-1], e)
	}
	return stack
}

// FuzzMerge merges anything: an error, or a layer with which verifier and
// reference agree.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 2, 1, 11, 0, 0, 6, 0, 0, 11, 0, 0, 0, 3, 2}, byte(1))
	f.Add([]byte{2, 0, 0, 0, 2, 1, 4, 1, 2, 11, 0, 0, 6, 2, 0, 4, 9, 1, 11, 0, 0, 0, 0, 2}, byte(0))
	f.Add([]byte{5, 0, 1, 2, 1, 0, 11, 0, 0, 0, 2, 0, 8, 1, 0, 11, 0, 0, 130, 0, 130}, byte(1))
	f.Add([]byte{0, 0, 0, 4, 1, 0, 11, 0, 0, 4, 2, 0, 6, 0, 0, 11, 0, 0, 4, 9, 1, 8, 0, 0}, byte(1))
	f.Fuzz(func(t *testing.T, script []byte, at byte) {
		tars := tarsOf(t, scripted(script))
		base := int(at) % (len(tars) + 1)
		idx := indexes(t, tars, false)
		if _, err := Merge(t.Context(), idx[:base], idx[base:]); err != nil {
			return
		}
		if !checkBase(t, tars, base) {
			t.Log(show(scripted(script)))
		}
	})
}
