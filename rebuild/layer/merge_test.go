package layer

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// render gives a tree in the short form of stackCase.shows.
func (ref *reference) render() string {
	var words []string
	first := map[*inode]string{}
	var walk func(path string, n *tnode)
	walk = func(path string, n *tnode) {
		for _, name := range slices.Sorted(maps.Keys(n.children)) {
			c := n.children[name]
			at := path + name
			if f, ok := first[c.inode]; ok && !c.isDir() {
				words = append(words, at+"&"+f)
				continue
			}
			first[c.inode] = at
			switch c.kind {
			case tar.TypeDir:
				words = append(words, at+"/")
				walk(at+"/", c)
			case tar.TypeSymlink:
				words = append(words, at+"->"+c.link)
			case tar.TypeFifo:
				words = append(words, at+"|")
			case tar.TypeChar:
				words = append(words, at+"%c"+c.device)
			case tar.TypeBlock:
				words = append(words, at+"%b"+c.device)
			default:
				words = append(words, at+"="+c.body)
			}
		}
	}
	walk("", ref.root)
	return strings.Join(words, " ")
}

// TestMerge has every named case shown as expected, over its first layer and
// over every other number of them.
func TestMerge(t *testing.T) {
	for _, c := range stackCases {
		t.Run(c.name, func(t *testing.T) {
			tars := tarsOf(t, c.layers)
			for base := range len(tars) + 1 {
				if !checkBase(t, tars, base) {
					t.Fatalf("base of %d layers", base)
				}
				ref, err := applyAll(tars, base)
				if err != nil {
					t.Fatal(err)
				}
				have := ref.render()
				if base == 1 && have != strings.TrimSuffix(c.shows, " ") {
					t.Errorf("base of %d: shows %q, want %q", base, have, c.shows)
				}
			}
			if c.writes == "" {
				return
			}
			_, out := merge(t, tars, 1)
			if have := strings.Join(names(t, out), " "); have != c.writes {
				t.Errorf("merged layer has %q, want %q", have, c.writes)
			}
		})
	}
}

func names(t testing.TB, b []byte) []string {
	var out []string
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err != nil {
			return out
		}
		out = append(out, h.Name)
	}
}

// TestMergeRefuses has stacks that no engine takes end in an error with its place.
func TestMergeRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		layer []ent
		want  string
	}{
		{"whiteout of nothing", of(file(".wh.", "")), "merge layer 2: .wh.: invalid whiteout"},
		{"whiteout of its directory", of(file("d/.wh..", "")), "merge layer 2: d/.wh..: invalid whiteout"},
		{"whiteout of its parent", of(file("d/.wh...", "")), "merge layer 2: d/.wh...: invalid whiteout"},
		{"link to nothing", of(link("a", "b")), "merge layer 2: a: hard link target not found"},
		{"link to a directory", of(dirE("d"), link("a", "d")), "merge layer 2: a: hard link target not found"},
		{"link to itself", of(link("a", "a")), "merge layer 2: a: hard link target not found"},
		{"entry below a file of its layer", of(file("f", ""), file("f/g", "")), "merge layer 2: f/g: parent is not a directory"},
		{"directory after a file of the same name", of(file("d", ""), dirE("d")), "merge layer 2: d: listed as a directory and as something else"},
		{"entry below a loop", of(symlink("l", "m"), symlink("m", "l"), file("l/g", "")), "merge layer 2: l/g: too many levels of symbolic links"},
	} {
		t.Run(c.name, func(t *testing.T) {
			idx := indexes(t, [][]byte{tarOf(t, file("base", "")), tarOf(t, c.layer...)}, false)
			for what, err := range map[string]error{
				"merge":  second(Merge(t.Context(), idx[:1], idx[1:])),
				"verify": second(NewVerifier(t.Context(), idx, 1, VerifyOptions{})),
			} {
				if what == "verify" && strings.Contains(c.want, ErrTwice.Error()) {
					continue // its model has a place for it
				}
				if err == nil || strings.Replace(err.Error(), "verify", "merge", 1) != c.want {
					t.Errorf("%s: %v, want %s", what, err, c.want)
				}
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

// TestMergeSymlinkBomb has links that double at each step end early.
func TestMergeSymlinkBomb(t *testing.T) {
	l := of(dirE("l0"))
	for i := range 40 {
		l = append(l, symlink(fmt.Sprintf("l%d", i+1), fmt.Sprintf("l%d/../l%d", i, i)))
	}
	l = append(l, file("l40/f", ""))
	idx := indexes(t, [][]byte{tarOf(t, l...)}, false)
	if _, err := Merge(t.Context(), nil, idx); err == nil {
		t.Error("no error")
	}
}
