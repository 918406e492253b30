package layer

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

func reportStack() [][]ent {
	return [][]ent{
		of(dirE("d"), file("d/f", "12345"), dirE("d/e"), file("d/e/g", "123"), file("old", "1234567"), dirE("q"), file("q/1", "1"), file("f2d", "12"), symlink("l", "d")),
		of(dirE("u"), file("u/a", "0123456789"), link("u/b", "u/a"), file("u/tmp", "01234")),
		of(gone("old"), gone("u/tmp"), dirE("q"), opaque("q"), file("d", "now a file"), dirE("f2d"), gone("u/a"), file("l/x", "1")),
	}
}

func TestDeletions(t *testing.T) {
	m, _ := merge(t, tarsOf(t, reportStack()), 1)
	want := []Deletion{
		{"d", true, Replaced, Count{4, 8}},
		{"old", false, Deleted, Count{1, 7}},
		{"q", true, Emptied, Count{1, 1}},
		{"f2d", false, Replaced, Count{1, 2}},
		{"l", false, Replaced, Count{1, 0}},
	}
	if have := m.Deletions(); !slices.Equal(have, want) {
		t.Errorf("%+v", have)
	}
	if have := m.Removals(); !slices.Equal(have, []string{"/d", "/old", "/q", "/f2d", "/l"}) {
		t.Errorf("%q", have)
	}
}

func TestDoubtful(t *testing.T) {
	odd := dirE("d").chmod(0o700)
	for name, c := range map[string]struct {
		layers [][]ent
		base   int
		want   int
	}{
		"mode":                          {layers(of(file("g", "1")), of(odd), of(file("d/f", "1"))), 1, 1},
		"owner":                         {layers(of(file("g", "1")), of(dirE("d").chown(5, 0)), of(file("d/f", "1"))), 1, 1},
		"xattr":                         {layers(of(file("g", "1")), of(dirE("d").xattr("user.a", "1")), of(file("d/f", "1"))), 1, 1},
		"by a whiteout":                 {layers(of(odd, file("d/f", "1")), of(gone("d/f"))), 0, 1},
		"by two layers":                 {layers(of(odd), of(file("d/f", "1")), of(file("d/g", "1"))), 0, 1},
		"two directories":               {layers(of(odd, dirE("d/e").chmod(0o711)), of(file("d/e/f", "1"))), 0, 2},
		"nothing odd":                   {layers(of(dirE("d")), of(file("d/f", "1"))), 0, 0},
		"in the base":                   {layers(of(odd), of(file("d/f", "1"))), 1, 0},
		"the base and an upper layer":   {layers(of(odd), of(dirE("d")), of(file("d/f", "1"))), 1, 0},
		"listed before what is in it":   {layers(of(odd), of(odd, file("d/f", "1"))), 0, 0},
		"listed after what is in it":    {layers(of(odd), of(file("d/f", "1"), odd)), 0, 0},
		"listed again by a later layer": {layers(of(odd), of(file("d/f", "1")), of(odd)), 0, 0},
		"deleted in between":            {layers(of(odd), of(gone("d")), of(file("d/f", "1"))), 0, 0},
		"a file in between":             {layers(of(odd), of(file("d", "1")), of(file("d/f", "1"))), 0, 0},
		"deleted in the end":            {layers(of(odd), of(file("d/f", "1")), of(gone("d"))), 0, 0},
		"a file in the end":             {layers(of(odd), of(file("d/f", "1")), of(file("d", "1"))), 0, 0},
	} {
		m, _ := merge(t, tarsOf(t, c.layers), c.base)
		if first, n := m.Doubtful(); n != c.want || n > 0 && first != "/d" {
			t.Errorf("%s: %d, the first is %q", name, n, first)
		}
	}
}

func TestUsage(t *testing.T) {
	m, _ := merge(t, tarsOf(t, reportStack()), 1)
	want := []Usage{
		{Entries: 9, Bytes: 18, Overwritten: Count{7, 10}, Deleted: Count{2, 8}},
		{Entries: 4, Bytes: 15, Kept: Count{2, 10}, Overwritten: Count{1, 0}, Deleted: Count{1, 5}},
		{Entries: 8, Bytes: 11, Kept: Count{4, 11}},
	}
	if have := m.Usage(); !slices.Equal(have, want) {
		t.Errorf("\n%+v\n%+v", have, want)
	}
	if m.Paths() != 7 || m.Bytes() != 21 {
		t.Errorf("%d paths, %d bytes", m.Paths(), m.Bytes())
	}
}

func TestWastedIsSortedAndCut(t *testing.T) {
	var l []ent
	for i := range 300 {
		l = append(l, file(string(rune('a'+i%26))+string(rune('a'+i/26)), string(make([]byte, i))))
	}
	m, _ := merge(t, tarsOf(t, [][]ent{l, l, of()}), 0)
	w := m.Account(Limits{Wasted: 3}).Wasted
	if len(w) != 3 || w[0].Bytes != 299 || w[1].Bytes != 298 || w[2].Bytes != 297 || w[0].Deleted || w[0].By != 1 || w[0].Layer != 0 {
		t.Errorf("%+v", w)
	}
}

func TestEmpty(t *testing.T) {
	m, out := merge(t, tarsOf(t, [][]ent{of(file("a", "1")), of(file("b", "1")), of(gone("b"), gone("nowhere"))}), 1)
	if m.Paths() != 0 || m.Size() != 1024 || len(out) != 1024 {
		t.Errorf("%d paths, size %d, %d bytes", m.Paths(), m.Size(), len(out))
	}
}

func TestLosses(t *testing.T) {
	m, _ := merge(t, tarsOf(t, [][]ent{of(file("base", "").xattr("user.a", "1")), of(
		dirE("").named("/").chmod(0o700), file("a", "").xattr("user.a", "1").xattr("security.capability", capValue), dirE("d").xattr("trusted.t", "1"),
		file("b", "").at(time.Unix(1, 5)), file("c", "").at(time.Unix(-1, 0)), char("n", 0, 0), file("ok", ""),
		file("acl", "").xattr("system.posix_acl_access", "1"), file("late", "").at(time.Unix(lastTime+1, 0)), file("last", "").at(time.Unix(lastTime, 0)))}), 1)
	want := []Loss{{"/", "metadata of the root"}, {"/a", "xattr user.a"}, {"/d", "xattr trusted.t"}, {"/b", "fraction of the mtime"}, {"/c", "mtime before 1970"}, {"/n", "character device 0:0"}, {"/acl", "xattr system.posix_acl_access"}, {"/late", "mtime after 2262"}}
	if have := m.Losses(); !slices.Equal(have, want) {
		t.Errorf("%+v", have)
	}
}

// TestPortable has removals and the layer without whiteouts give the tree.
func TestPortable(t *testing.T) {
	tars := tarsOf(t, reportStack())
	m, _ := merge(t, tars, 1)
	p, err := m.Portable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if have, want := listOf(t, p, tars), []string{"d", "f2d/", "l/", "l/x", "q/", "u/", "u/b"}; !slices.Equal(have, want) {
		t.Errorf("%q", have)
	}
}

func listOf(t *testing.T, m *Merged, tars [][]byte) []string {
	var sources []Source
	for _, b := range tars {
		sources = append(sources, stream(b))
	}
	var b bytes.Buffer
	if err := m.Write(t.Context(), &b, sources); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != m.Size() {
		t.Errorf("Size is %d, Write wrote %d", m.Size(), b.Len())
	}
	out := names(t, b.Bytes())
	slices.Sort(out)
	return out
}

func TestChanges(t *testing.T) {
	m, _ := merge(t, tarsOf(t, reportStack()), 1)
	added, changed := m.Changes()
	if added != (Count{2, 11}) || changed != (Count{3, 10}) {
		t.Errorf("added %+v, changed %+v", added, changed)
	}
	var brought []string
	for b := range m.Brought() {
		brought = append(brought, b.Path)
	}
	slices.Sort(brought)
	if !slices.Equal(brought, []string{"d", "f2d", "l/x", "u/b"}) {
		t.Errorf("%q", brought)
	}
}
