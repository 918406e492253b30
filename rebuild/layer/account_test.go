package layer

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

var everything = Limits{Causes: 100, Wasted: 100, Dirs: 100, Files: 100}

func causesOf(a *Account) []string {
	var out []string
	for _, c := range a.Causes {
		where := ""
		if c.InBase {
			where = " in the base"
		}
		out = append(out, fmt.Sprintf("%d: %d of layers %d-%d by %d%s: /%s, /%s", c.Why, c.Bytes, c.Low, c.High, c.By, where, c.Dir, c.Path))
	}
	return out
}

func account(t *testing.T, limits Limits, base int, layers ...[]ent) *Account {
	t.Helper()
	m, _ := merge(t, tarsOf(t, layers), base)
	return m.Account(limits)
}

func TestCausesOfWaste(t *testing.T) {
	big := strings.Repeat("x", movedMin)
	app := of(dirE("app"), file("app/a", "12345"), file("app/b", "123"), dirE("app/sub"), file("app/sub/c", "1234567"))
	changed := func(change func(ent) ent) []ent {
		out := of()
		for _, e := range app {
			out = append(out, change(e))
		}
		return out
	}
	for name, c := range map[string]struct {
		base   int
		root   func(string) string
		layers [][]ent
		want   []string
	}{
		"chown -R": {0, nil, [][]ent{app, changed(func(e ent) ent { return e.chown(1000, 1000) })},
			[]string{fmt.Sprintf("%d: 15 of layers 0-0 by 1: /app, /app/sub/c", WhyOwner)}},
		"chmod -R, in the base": {1, nil, [][]ent{app, changed(func(e ent) ent { return e.chmod(0o600) })},
			[]string{fmt.Sprintf("%d: 15 of layers 0-0 by 1 in the base: /app, /app/sub/c", WhyMode)}},
		"touch": {0, nil, [][]ent{app, changed(func(e ent) ent { return e.at(epoch.Add(time.Hour)) })},
			[]string{fmt.Sprintf("%d: 15 of layers 0-0 by 1: /app, /app/sub/c", WhyTimes)}},
		"setcap": {0, nil, [][]ent{app, of(file("app/a", "12345").xattr("security.capability", capValue))},
			[]string{fmt.Sprintf("%d: 5 of layers 0-0 by 1: /app, /app/a", WhyXattrs)}},
		"the same COPY twice": {0, nil, [][]ent{app, app, app},
			[]string{fmt.Sprintf("%d: 15 of layers 0-0 by 1: /app, /app/sub/c", WhyAgain), fmt.Sprintf("%d: 15 of layers 1-1 by 2: /app, /app/sub/c", WhyAgain)}},
		"other contents of the same length": {0, nil, [][]ent{app, of(file("app/a", "54321"))},
			[]string{fmt.Sprintf("%d: 5 of layers 0-0 by 1: /app, /app/a", WhyChanged)}},
		"changed again and again, one cause for the directory": {0, nil, [][]ent{of(file("var/db", "1")), of(file("var/db", "22")), of(file("var/db", "333"))},
			[]string{fmt.Sprintf("%d: 3 of layers 0-1 by -1: /var, /var/db", WhyChanged)}},
		"a directory deleted, one cause": {0, nil, [][]ent{app, of(gone("app"))},
			[]string{fmt.Sprintf("%d: 15 of layers 0-0 by 1: /app, /app/sub/c", WhyDeleted)}},
		"files deleted from a directory that stays": {0, nil, [][]ent{app, of(dirE("app"), gone("app/a"), gone("app/b"))},
			[]string{fmt.Sprintf("%d: 8 of layers 0-0 by 1: /app, /app/a", WhyDeleted)}},
		"a cache rolled up by the caller": {0,
			func(dir string) string {
				if strings.HasPrefix(dir, "cache") {
					return "cache"
				}
				return ""
			},
			[][]ent{of(file("cache/a/1", "12"), file("cache/b/2", "345")), of(gone("cache/a/1"), gone("cache/b"))},
			[]string{fmt.Sprintf("%d: 5 of layers 0-0 by 1: /cache, /cache/b/2", WhyDeleted)}},
		"mv": {0, nil, [][]ent{of(file("tmp/x", big)), of(gone("tmp/x"), file("opt/x", big))},
			[]string{fmt.Sprintf("%d: 4096 of layers 0-0 by 1: /tmp, /tmp/x", WhyMoved)}},
		"base and layers apart": {1, nil, [][]ent{of(file("d/a", "1")), of(file("d/b", "22")), of(gone("d/a"), gone("d/b"))},
			[]string{fmt.Sprintf("%d: 2 of layers 1-1 by 2: /d, /d/b", WhyDeleted), fmt.Sprintf("%d: 1 of layers 0-0 by 2 in the base: /d, /d/a", WhyDeleted)}},
	} {
		limits := everything
		limits.Root = c.root
		a := account(t, limits, c.base, c.layers...)
		if have := causesOf(a); !slices.Equal(have, c.want) {
			t.Errorf("%s: %q\nwant %q", name, have, c.want)
		}
	}
}

func TestCopiesOfOneFileAreTold(t *testing.T) {
	for want, layers := range map[bool][][]ent{
		true:  {of(file("d/a", "1")), of(file("d/a", "22")), of(file("d/a", "333"))},
		false: {of(file("d/a", "1"), file("d/b", "1")), of(file("d/a", "22")), of(file("d/a", "333"), file("d/b", "2"))},
	} {
		if a := account(t, everything, 0, layers...); len(a.Causes) != 1 || a.Causes[0].Copies != want || a.Causes[0].Path != "d/a" {
			t.Errorf("%v: %+v", want, a.Causes)
		}
	}
}

func TestAccountAddsUp(t *testing.T) {
	m, _ := merge(t, tarsOf(t, reportStack()), 1)
	a := m.Account(everything)
	var kept, lost int64
	for _, u := range m.Usage() {
		kept += u.Kept.Bytes
		lost += u.Overwritten.Bytes + u.Deleted.Bytes
	}
	sum := int64(0)
	for _, c := range a.Causes {
		sum += c.Bytes
	}
	root := a.Dirs[0]
	if root.Path != "" || root.Kept.Bytes != kept || root.bytes() != kept+lost || sum != lost || a.AllWasted.Bytes != lost || a.AllWasted.Paths != len(a.Wasted) {
		t.Errorf("kept %d, lost %d: root %+v, causes %d, wasted %+v", kept, lost, root, sum, a.AllWasted)
	}
	for _, d := range a.Dirs[1:] {
		up := path.Dir("/" + d.Path)[1:]
		i := slices.IndexFunc(a.Dirs, func(p Dir) bool { return p.Path == up })
		if i < 0 || a.Dirs[i].bytes() < d.bytes() {
			t.Errorf("%q has more than the directory it is in", d.Path)
		}
	}
	if want := []int{5, 2, 2}; !slices.Equal(a.FileCount, want) {
		t.Errorf("%v files, want %v", a.FileCount, want)
	}
	if have := a.Files[1][1]; have != (File{Path: "u/tmp", Bytes: 5, By: 2, Deleted: true}) {
		t.Errorf("%+v", have)
	}
}

func TestAccountKeepsToItsLimits(t *testing.T) {
	var low, high []ent
	for i := range 400 {
		name := fmt.Sprintf("d%d/e%d/f%d", i%7, i%50, i)
		low = append(low, file(name, strings.Repeat("1", i+1)))
		high = append(high, file(name, strings.Repeat("2", 400-i)))
	}
	a := account(t, Limits{Causes: 5, Wasted: 6, Dirs: 9, Files: 4}, 0, low, high, of())
	if len(a.Causes) != 5 || len(a.Wasted) != 6 || len(a.Dirs) != 9 || len(a.Files[0]) != 4 || len(a.Files[1]) != 4 || len(a.Files[2]) != 0 {
		t.Errorf("%d causes, %d wasted, %d directories, %d files", len(a.Causes), len(a.Wasted), len(a.Dirs), len(a.Files[0]))
	}
	listed := Count{}
	for _, c := range a.Causes {
		listed.plus(c.Count)
	}
	listed.plus(a.Other)
	if want := (Count{400, 400 * 401 / 2}); listed != want || a.AllWasted != want {
		t.Errorf("%+v and %+v, want %+v", listed, a.AllWasted, want)
	}
	for i, w := range a.Wasted {
		if w.Bytes != int64(400-i) || w.By != 1 {
			t.Errorf("%d: %+v", i, w)
		}
	}
	if a.Dirs[0].Path != "" || a.DirCount != 350 {
		t.Errorf("%q first, %d directories", a.Dirs[0].Path, a.DirCount)
	}
}

// TestBytesAboveAnyBoundary merges at every boundary, and compares.
func TestBytesAboveAnyBoundary(t *testing.T) {
	stack := append(reportStack(), of(link("u/again", "u/b"), link("top", "d")), of(file("u/b", "new")))
	tars := tarsOf(t, stack)
	one, _ := merge(t, tars, 1)
	for base := range stack {
		m, _ := merge(t, tars, base)
		want := m.Bytes()
		for _, x := range indexes(t, tars[:base], false) {
			want += x.Bytes()
		}
		if have := one.BytesAbove(base, one.Usage()); have != want {
			t.Errorf("%d layers kept: %d bytes, want %d", base, have, want)
		}
	}
}

// BenchmarkAccount is to be held against BenchmarkRead of the same layers.
func BenchmarkAccount(b *testing.B) {
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			tars, entries, _ := w.tars(b)
			idx := indexes(b, tars, false)
			m, err := Merge(b.Context(), idx[:1], idx[1:])
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				m.Account(Limits{Causes: 100, Wasted: 200, Dirs: 250, Files: 50})
			}
			b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}
