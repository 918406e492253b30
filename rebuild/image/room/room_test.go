package room

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestShortagesCountByFileSystem(t *testing.T) {
	a, b, c := t.TempDir(), t.TempDir(), t.TempDir()
	disks := map[string]space{
		a: {id: "1", free: 100},
		b: {id: "1", free: 100},
		c: {id: "2", free: 50, compresses: true},
	}
	measure := func(dir string) (space, bool) { s, ok := disks[dir]; return s, ok }
	for name, test := range map[string]struct {
		needs []Need
		want  string
	}{
		"all fits":              {[]Need{{a, "x", 60, 60}, {b, "y", 40, 40}, {c, "z", 50, 50}}, "[]"},
		"two in one are more":   {[]Need{{a, "x", 61, 61}, {b, "y", 40, 40}}, "[x 101 101 of 100 true]"},
		"only about":            {[]Need{{a, "x", 61, 1}, {b, "y", 140, 40}}, "[y 201 41 of 100 false]"},
		"it may compress":       {[]Need{{c, "z", 51, 51}}, "[z 51 51 of 50 false]"},
		"nothing is known of":   {[]Need{{"/nowhere/else", "w", 1 << 40, 1 << 40}}, "[]"},
		"what isn't there yet":  {[]Need{{filepath.Join(a, "new", "dir"), "x", 101, 101}}, "[x 101 101 of 100 true]"},
		"nothing":               {[]Need{{a, "x", 0, 0}}, "[]"},
		"each on its own":       {[]Need{{a, "x", 101, 101}, {c, "z", 100, 0}}, "[x 101 101 of 100 true z 100 0 of 50 false]"},
		"a directory of no use": {[]Need{{a, "x", 101, 0}, {c, "z", 1, 0}}, "[x 101 0 of 100 false]"},
	} {
		var got []string
		for _, s := range shortages(test.needs, measure) {
			got = append(got, fmt.Sprint(s.What, " ", s.Bytes, " ", s.Least, " of ", s.Free, " ", s.Sure))
		}
		if fmt.Sprint(got) != test.want {
			t.Errorf("%s: %v, not %s", name, got, test.want)
		}
	}
}

func TestThisSystemIsMeasured(t *testing.T) {
	one, ok := measure(t.TempDir())
	two, _ := measure(os.TempDir())
	if !ok {
		t.Skip("this system's file systems can't be measured")
	}
	if one.id != two.id || one.free <= 0 {
		t.Errorf("%+v, %+v", one, two)
	}
}
