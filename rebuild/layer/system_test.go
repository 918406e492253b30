package layer

import (
	"bytes"
	"strings"
	"testing"
)

const (
	release = "ID=debian\nVERSION_ID=12\n"
	dpkg    = "Package: a\nStatus: install ok installed\nVersion: 1\n\n" +
		"Package: b\nStatus: deinstall ok config-files\n\n" +
		"Package: c\nDescription: long\n Package: x\n Status: install ok installed\nStatus: hold ok installed\n\n\n" +
		"Status: install ok installed\n\n" +
		"Package: d\nStatus: install ok installed" // no line end
	apk = "C:Q1\nP:musl\nV:1\n\nP:busybox\nT:P:none\n"
)

func TestSystem(t *testing.T) {
	big := strings.Repeat("#", mostKept) + "\n"
	for name, c := range map[string]struct {
		base, upper []ent
		second      []ent // of the base
		want        System
	}{
		"dpkg":           {base: of(file("etc/os-release", release), file("var/lib/dpkg/status", dpkg)), want: System{release, 3}},
		"apk":            {base: of(file("usr/lib/os-release", release), file("lib/apk/db/installed", apk)), want: System{release, 2}},
		"apk in usr":     {base: of(file("usr/lib/apk/db/installed", apk)), want: System{"", 2}},
		"link":           {base: of(symlink("etc/os-release", "../usr/lib/os-release"), file("usr/lib/os-release", release)), want: System{release, 0}},
		"etc wins":       {base: of(file("usr/lib/os-release", "ID=x"), file("etc/os-release", release)), want: System{release, 0}},
		"no dpkg itself": {base: of(dirE("var/lib/dpkg/status.d"), file("var/lib/dpkg/status.d/base", "x"), file("var/lib/dpkg/status.d/base.md5sums", "x"), file("var/lib/dpkg/status.d/tzdata", "x")), want: System{"", 2}},
		"empty":          {base: of(file("etc/os-release", ""), file("var/lib/dpkg/status", "")), want: System{}},
		"too big":        {base: of(file("etc/os-release", big)), want: System{}},
		"directory":      {base: of(dirE("etc/os-release"), dirE("var/lib/dpkg/status")), want: System{}},
		"replaced above": {base: of(file("etc/os-release", "ID=old"), file("lib/apk/db/installed", apk+apk)), second: of(file("etc/os-release", release), file("lib/apk/db/installed", apk)), want: System{release, 2}},
		"deleted above":  {base: of(file("etc/os-release", release), file("lib/apk/db/installed", apk)), second: of(gone("etc/os-release"), gone("lib/apk")), want: System{}},
		"not the base's": {base: of(file("etc/os-release", release), file("var/lib/dpkg/status", dpkg)), upper: of(file("etc/os-release", "ID=new"), gone("var/lib/dpkg")), want: System{release, 3}},
		"twice":          {base: of(file("etc/os-release", "ID=first"), file("etc/os-release", release)), want: System{release, 0}},
		"long names":     {base: of(file("etc/os-release", release).record("comment", "PAX")), want: System{release, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			tars := tarsOf(t, [][]ent{c.base, c.second, c.upper})
			idx := indexes(t, tars, false)
			m, err := Merge(t.Context(), idx[:2], idx[2:])
			if err != nil {
				t.Fatal(err)
			}
			if have := m.System(); have != c.want {
				t.Errorf("have %+v, want %+v", have, c.want)
			}
		})
	}
}

func TestSystemOfAnImageWithoutABase(t *testing.T) {
	m, _ := merge(t, tarsOf(t, [][]ent{of(file("etc/os-release", "ID=old")), of(file("etc/os-release", release), file("lib/apk/db/installed", apk))}), 0)
	if have := m.System(); have != (System{release, 2}) {
		t.Errorf("%+v", have)
	}
}

// A database comes in parts, wherever these end.
func TestPackagesAreCountedInParts(t *testing.T) {
	for size := 1; size < len(dpkg); size++ {
		c := packageCounter{dpkg: true}
		for b := []byte(dpkg); len(b) > 0; {
			n := min(size, len(b))
			c.add(b[:n])
			b = b[n:]
		}
		if c.count() != 3 {
			t.Fatalf("%d packages in parts of %d bytes", c.count(), size)
		}
	}
	c := packageCounter{dpkg: true}
	c.add(bytes.Repeat([]byte("x"), 1<<20))
	if cap(c.line) > 4*longestLine {
		t.Errorf("a line takes %d bytes", cap(c.line))
	}
}

func TestContents(t *testing.T) {
	m, _ := merge(t, tarsOf(t, [][]ent{
		of(dirE("etc"), file("etc/passwd", "x")),
		of(dirE("app"), file("app/a", "12"), symlink("app/b", "a"), gone("etc/passwd"), file("app/c", "345")),
		of(dirE("app"), dirE("app/logs")),
		of(file("app/a", "12")),
	}), 1)
	for name, c := range map[string]struct {
		layers []int
		want   string
		files  int
	}{
		"files":          {[]int{1}, "/app/a /app/b", 3},
		"directories":    {[]int{2}, "/app/ /app/logs/", 0},
		"several layers": {[]int{2, 3, 1}, "/app/a /app/a", 4},
		"none":           {nil, "", 0},
	} {
		have := m.Contents(c.layers, 2)
		if paths := strings.Join(have.Paths, " "); paths != c.want || have.Files != c.files {
			t.Errorf("%s: %s, %d files", name, paths, have.Files)
		}
	}
}
