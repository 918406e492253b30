package layer

import (
	"archive/tar"
	"bytes"
	"errors"
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
		{"link through a symbolic link of its layer to a lower file", of(symlink("l", "."), link("f", "l/base")), "merge layer 2: f: hard link target not found"},
		{"link to a whiteout that went with its directory", of(gone("b/a/b"), link("b", "b/a/b"), link("b/a/b", "b/a/b")), "merge layer 2: b/a/b: hard link target not found"},
		{"link to a directory", of(dirE("d"), link("a", "d")), "merge layer 2: a: hard link target not found"},
		{"link to itself", of(link("a", "a")), "merge layer 2: a: hard link target not found"},
		{"entry below a file of its layer", of(file("f", ""), file("f/g", "")), "merge layer 2: f/g: parent is not a directory"},
		{"directory after a file of the same name", of(file("low", ""), dirE("low")), "merge layer 2: low: listed as a directory and as something else"},
		{"directory after a link to a whiteout", of(file("low/f", ""), gone("q"), link("/low", "q"), dirE("../low")), "merge layer 2: low: listed as a directory and as something else"},
		{"directory after a file after a directory", of(file("low/f", ""), file("/low", ""), dirE("../low")), "merge layer 2: low: listed as a directory and as something else"},
		{"entry below a loop", of(symlink("l", "m"), symlink("m", "l"), file("l/g", "")), "merge layer 2: l/g: too many levels of symbolic links"},
	} {
		t.Run(c.name, func(t *testing.T) {
			idx := indexes(t, [][]byte{tarOf(t, file("base", ""), dirE("low")), tarOf(t, c.layer...)}, false)
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

// TestMergeForgottenTarget refuses a link that engines refuse, rather than link
// something else.
func TestMergeForgottenTarget(t *testing.T) {
	idx := indexes(t, tarsOf(t, layers(of(dirE("q"), file("q/f", "1"), symlink("s", "q")), of(file("q/f", "2"), link("b", "s/f")))), false)
	if _, err := Merge(t.Context(), nil, idx); !errors.Is(err, ErrLink) {
		t.Errorf("%v, want %v", err, ErrLink)
	}
}

// TestMergeAboveStrangePaths has what overlayfs shows something else for stay in the
// base, as long as no upper layer has a directory there.
func TestMergeAboveStrangePaths(t *testing.T) {
	strange := of(
		dirE("r").xattr("trusted.overlay.redirect", "/d"), file("r/k", "1"), dirE("m").xattr("trusted.overlay.metacopy", ""),
		file("f", "").xattr("trusted.overlay.metacopy", ""), file("g", "").xattr("trusted.overlay.redirect", "/h"), link("g2", "g").xattr("trusted.overlay.metacopy", ""),
		dirE("p"), dirE("p/r").xattr("trusted.overlay.redirect", "x"), dirE("x").xattr("trusted.overlay.opaque", "x"), file("x/w", "").xattr("trusted.overlay.whiteout", ""),
		dirE("o").xattr("trusted.overlay.opaque", "y").xattr("trusted.overlay.redirect", "/d"),
	)
	for _, c := range []struct {
		name    string
		upper   [][]ent
		refused bool
	}{
		{name: "nothing", upper: layers(of())},
		{name: "a path beside", upper: layers(of(file("n", "1"), file("p/n", "2"), file("d/n", "3"), dirE("x").chmod(0o700), file("o/n", "4")), of(gone("d/n"), dirE("p")))},
		{name: "whiteouts", upper: layers(of(gone("r"), gone("m"), gone("f"), gone("p/r"), gone("x/w"), opaque("o")))},
		{name: "a whiteout, then a directory in the next layer", upper: layers(of(gone("r")), of(dirE("r"), file("r/n", "1")))},
		{name: "files instead", upper: layers(of(file("r", "1"), symlink("m", "x"), fifo("p/r"), file("f", "2"), file("x/w", "3")))},
		{name: "a file, then a directory in the next layer", upper: layers(of(file("r", "1")), of(file("r/n", "1")))},
		{name: "a directory for a file", upper: layers(of(dirE("f"), file("g/n", "1")))},
		{name: "the directory above hidden", upper: layers(of(gone("p")), of(file("p/r/n", "1")))},
		{name: "the directory itself", upper: layers(of(dirE("r").chmod(0o700))), refused: true},
		{name: "a file in it", upper: layers(of(file("r/n", "1"))), refused: true},
		{name: "a whiteout in it", upper: layers(of(gone("p/r/n"))), refused: true},
		{name: "an opaque directory instead", upper: layers(of(opaque("m"), dirE("r"), file("r/n", "1"), opaque("r")))},
		{name: "a file in it, in a later layer", upper: layers(of(file("n", "1")), of(file("m/n", "1"))), refused: true},
		{name: "an upper layer with such a path", upper: layers(strange), refused: true},
		{name: "a whiteout by an xattr above", upper: layers(of(file("z", "").xattr("trusted.overlay.whiteout", ""))), refused: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := layers(of(dirE("d"), file("d/f", "1"), file("h", "2")), strange)
			tars := tarsOf(t, append(base, c.upper...))
			if !c.refused {
				checkBase(t, tars, len(base))
				return
			}
			idx := indexes(t, tars, false)
			_, plain := applyAll(tars, len(base))
			for what, err := range map[string]error{
				"merge":     second(Merge(t.Context(), idx[:2], idx[2:])),
				"verify":    second(NewVerifier(t.Context(), idx, len(base), VerifyOptions{})),
				"reference": plain,
			} {
				if want := map[bool]error{true: errStrange, false: ErrOverlay}[what == "reference"]; !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", what, err, want)
				}
			}
		})
	}
}

// TestMergeLowestRedirect keeps a redirect of the lowest layer in a result without
// a base: nothing is below it there either.
func TestMergeLowestRedirect(t *testing.T) {
	tars := tarsOf(t, layers(of(dirE("d").xattr("trusted.overlay.redirect", "/e"), file("f", "").xattr("trusted.overlay.metacopy", "")), of(file("g", "1"))))
	checkBase(t, tars, 0)
	checkBase(t, tars, 1)
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
