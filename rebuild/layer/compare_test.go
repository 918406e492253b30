package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func compare(t testing.TB, want, have [][]byte) *Comparison {
	t.Helper()
	c, err := Compare(t.Context(), indexes(t, want, true), indexes(t, have, true), false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompareCountsWhatWindowsKeepsInRecords(t *testing.T) {
	plain := file("Files/a", "1").record("MSWINDOWS.rawsd", "AQAE").record("comment", "x")
	for _, c := range []struct {
		name    string
		changed ent
		windows bool
		want    int
	}{
		{"access rights", plain.record("MSWINDOWS.rawsd", "AQAF"), true, 1},
		{"attributes more", plain.record("MSWINDOWS.fileattr", "33"), true, 1},
		{"another record", plain.record("comment", "y"), true, 0},
		{"owner names", plain.owned("me", "us"), true, 0},
		{"access rights on another system", plain.record("MSWINDOWS.rawsd", "AQAF"), false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Compare(t.Context(), indexes(t, [][]byte{tarOf(t, plain)}, true), indexes(t, [][]byte{tarOf(t, c.changed)}, true), c.windows)
			if err != nil || got.Count != c.want {
				t.Errorf("%+v, %v; want %d", got, err, c.want)
			}
		})
	}
}

// allKinds is an image of one layer that has something of every kind.
func allKinds() []ent {
	return of(
		dirE("bin"), file("bin/tool", "tool").chmod(0o755).xattr("security.capability", capValue).xattr("user.k", "v"),
		link("bin/tool2", "bin/tool").chmod(0o755).xattr("security.capability", capValue).xattr("user.k", "v"),
		file("bin/copy", "tool").chmod(0o755), symlink("bin/l", "tool"), file("bin/su", "su").chmod(0o4755),
		dirE("dev"), fifo("dev/p"), char("dev/null", 1, 3), block("dev/sda", 8, 0),
		dirE("empty"), dirE("etc").chmod(0o750), file("etc/passwd", "root").chown(3, 4).at(time.Unix(7, 123456789)),
		file("made/f", "1"), // no entry for its parent
	)
}

func TestCompareTellsOneDifference(t *testing.T) {
	change := func(name string, f func(e ent) ent) func([]ent) []ent {
		return func(list []ent) []ent {
			i := slices.IndexFunc(list, func(e ent) bool { return e.name == name })
			list[i] = f(list[i])
			return list
		}
	}
	add := func(more ...ent) func([]ent) []ent { return func(l []ent) []ent { return append(l, more...) } }
	drop := func(name string) func([]ent) []ent {
		return func(l []ent) []ent { return slices.DeleteFunc(l, func(e ent) bool { return e.name == name }) }
	}
	both := func(fs ...func([]ent) []ent) func([]ent) []ent {
		return func(l []ent) []ent {
			for _, f := range fs {
				l = f(l)
			}
			return l
		}
	}
	for _, c := range []struct {
		name   string
		change func([]ent) []ent
		want   []string // path, what, and both values
	}{
		{"nothing", add(), nil},
		{"an empty directory more", add(dirE("empty2")), []string{"/empty2|extra||directory"}},
		{"an empty directory less", drop("empty/"), []string{"/empty|missing|directory|"}},
		{"an empty file more", add(file("x", "")), []string{"/x|extra||file"}},
		{"a second", change("etc/passwd", func(e ent) ent { return e.at(time.Unix(8, 123456789)) }), []string{"/etc/passwd|mtime|7.123456789|8.123456789"}},
		{"a nanosecond", change("etc/passwd", func(e ent) ent { return e.at(time.Unix(7, 123456788)) }), []string{"/etc/passwd|mtime|7.123456789|7.123456788"}},
		{"time of a directory", change("empty/", func(e ent) ent { return e.at(time.Unix(8, 0)) }), []string{"/empty|mtime|1000000000|8"}},
		{"time of a symlink", change("bin/l", func(e ent) ent { return e.at(time.Unix(8, 0)) }), []string{"/bin/l|mtime|1000000000|8"}},
		{"mode of a file", change("bin/copy", func(e ent) ent { return e.chmod(0o754) }), []string{"/bin/copy|mode|0755|0754"}},
		{"mode of a directory", change("etc/", func(e ent) ent { return e.chmod(0o700) }), []string{"/etc|mode|0750|0700"}},
		{"setuid", change("bin/su", func(e ent) ent { return e.chmod(0o755) }), []string{"/bin/su|mode|4755|0755"}},
		{"sticky", change("empty/", func(e ent) ent { return e.chmod(0o1755) }), []string{"/empty|mode|0755|1755"}},
		{"user", change("etc/passwd", func(e ent) ent { return e.chown(5, 4) }), []string{"/etc/passwd|owner|3:4|5:4"}},
		{"group", change("etc/passwd", func(e ent) ent { return e.chown(3, 5) }), []string{"/etc/passwd|owner|3:4|3:5"}},
		{"an xattr's value", both(change("bin/tool", func(e ent) ent { return e.xattr("user.k", "w") }), change("bin/tool2", func(e ent) ent { return e.xattr("user.k", "w") })),
			[]string{`/bin/tool|xattr user.k|"v"|"w"`, `/bin/tool2|xattr user.k|"v"|"w"`}},
		{"an xattr more", change("bin/copy", func(e ent) ent { return e.xattr("user.z", "1") }), []string{`/bin/copy|xattr user.z|absent|"1"`}},
		{"an xattr of a directory", change("empty/", func(e ent) ent { return e.xattr("user.z", "1") }), []string{`/empty|xattr user.z|absent|"1"`}},
		{"an empty xattr", change("bin/copy", func(e ent) ent { return e.xattr("user.z", "") }), []string{`/bin/copy|xattr user.z|absent|""`}},
		{"a capability", both(change("bin/copy", func(e ent) ent { return e.xattr("security.capability", capValue) })), []string{"/bin/copy|xattr security.capability|absent|" + strconv.Quote(capValue)}},
		{"a link that is a copy", change("bin/tool2", func(e ent) ent { e.kind, e.link, e.body = tar.TypeReg, "", "tool"; return e }), []string{"/bin/tool2|link group|with /bin/tool|without /bin/tool"}},
		{"a copy that is a link", both(drop("bin/copy"), add(link("bin/copy", "bin/tool").chmod(0o755).xattr("security.capability", capValue).xattr("user.k", "v")), change("bin/tool", func(e ent) ent { return e })),
			[]string{`/bin/copy|xattr security.capability|absent|` + strconv.Quote(capValue), `/bin/copy|xattr user.k|absent|"v"`, "/bin/copy|link group|without /bin/tool2|with /bin/tool2"}},
		{"target of a symlink", change("bin/l", func(e ent) ent { e.link = "tool2"; return e }), []string{"/bin/l|link target|tool|tool2"}},
		{"major number", change("dev/null", func(e ent) ent { e.major = 2; return e }), []string{"/dev/null|device|1:3|2:3"}},
		{"minor number", change("dev/sda", func(e ent) ent { e.minor = 1; return e }), []string{"/dev/sda|device|8:0|8:1"}},
		{"a block device for one of characters", change("dev/null", func(e ent) ent { e.kind = tar.TypeBlock; return e }), []string{"/dev/null|type|character device|block device"}},
		{"a file for a fifo", change("dev/p", func(e ent) ent { e.kind = tar.TypeReg; return e }), []string{"/dev/p|type|fifo|file"}},
		{"a file for a directory", both(drop("empty/"), add(file("empty", ""))), []string{"/empty|type|directory|file"}},
		{"size", change("bin/copy", func(e ent) ent { e.body = "too"; return e }), []string{"/bin/copy|size|4|3"}},
		{"content", change("bin/copy", func(e ent) ent { e.body = "toot"; return e }), []string{"/bin/copy|content|7c9bbe5ec9b3fb77|0bdabb5697aae2c2"}},
		{"mode of a directory that nothing lists", add(dirE("made").chmod(0o700)), []string{"/made|mode|0755|0700"}},
		{"owner of a directory that nothing lists", add(dirE("made").chown(1, 0)), []string{"/made|owner|0:0|1:0"}},
		{"xattr of a directory that nothing lists", add(dirE("made").xattr("user.k", "v")), []string{`/made|xattr user.k|absent|"v"`}},
		{"mode of the root", add(dirE("").named("/").chmod(0o700)), []string{"/|mode|0755|0700"}},

		{"a listed parent for one that isn't", add(dirE("made").at(time.Unix(5, 0))), nil},
		{"owner names", change("etc/passwd", func(e ent) ent { return e.owned("me", "us") }), nil},
		{"a record that no file system has", change("etc/passwd", func(e ent) ent { return e.record("comment", "hi") }), nil},
		{"mode of a symlink", change("bin/l", func(e ent) ent { return e.chmod(0o644) }), nil},
		{"a root that engines pass over", add(dirE("").named("./").chmod(0o700)), nil},
		{"an overlay's own xattr", change("empty/", func(e ent) ent { return e.xattr("trusted.overlay.opaque", "y") }), nil},
		{"order", func(l []ent) []ent { slices.Reverse(l[10:]); return l }, nil},
		{"another name of the link group first", func(l []ent) []ent {
			l[1].name, l[2].name, l[2].link = "bin/tool2", "bin/tool", "bin/tool2"
			return l
		}, nil},
		{"format of the tar", change("dev/p", func(e ent) ent { return e.in(tar.FormatGNU) }), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			plain, changed := tarOf(t, allKinds()...), tarOf(t, c.change(allKinds())...)
			for _, swap := range []bool{false, true} {
				want, have := [][]byte{plain}, [][]byte{changed}
				if swap {
					want, have = have, want
				}
				var got []string
				found := compare(t, want, have)
				for _, d := range found.Differences {
					if swap {
						d.Want, d.Have = d.Have, d.Want
						d.What = map[string]string{"missing": "extra", "extra": "missing"}[d.What] + strings.TrimPrefix(strings.TrimPrefix(d.What, "missing"), "extra")
					}
					got = append(got, strings.Join([]string{d.Path, d.What, d.Want, d.Have}, "|"))
				}
				if !slices.Equal(got, c.want) || found.Count != len(c.want) {
					t.Errorf("swapped %v: %d: %q, want %q", swap, found.Count, got, c.want)
				}
			}
		})
	}
}

// What differs only in how the layers come to it is the same.
func TestCompareKnowsNoLayers(t *testing.T) {
	one := tarOf(t, allKinds()...)
	for name, layers := range map[string][][]ent{
		"an entry a layer": func() (out [][]ent) {
			for _, e := range allKinds() {
				if e.kind == tar.TypeLink { // belongs to its file's layer
					out[1] = append(out[1], e)
					continue
				}
				out = append(out, of(e))
			}
			// Each layer makes the parents that it doesn't list: list them above.
			return append(out, of(dirE("bin"), dirE("dev"), dirE("etc").chmod(0o750)))
		}(),
		"deleted on the way":  {of(file("gone", "1"), dirE("d"), file("d/f", "2")), allKinds(), of(gone("gone"), gone("d"))},
		"an opaque directory": {of(dirE("empty"), file("empty/f", "1")), append(allKinds(), opaque("empty"))},
		"replaced":            {of(file("bin", "a file"), symlink("etc", "bin")), allKinds()},
		"brought twice":       {allKinds(), allKinds()},
		"an empty layer":      {nil, allKinds(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := compare(t, [][]byte{one}, tarsOf(t, layers)); got.Count != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestCompareListsInOrderAndCounts(t *testing.T) {
	var a, b []ent
	for i := range 500 {
		a = append(a, file(fmt.Sprint("a", i), ""))
		b = append(b, file(fmt.Sprint("b", i), ""))
	}
	got := compare(t, [][]byte{tarOf(t, a...)}, [][]byte{tarOf(t, b...)})
	if got.Count != 1000 || len(got.Differences) != 1000 || got.Paths != 501 {
		t.Errorf("%d differences, %d listed, %d paths", got.Count, len(got.Differences), got.Paths)
	}
	if !slices.IsSortedFunc(got.Differences, func(a, b Difference) int { return strings.Compare(a.Path, b.Path) }) {
		t.Error("they aren't in order")
	}
}

// Directories that no entry lists make a text much longer than the tars.
func TestCompareListsWithinLimits(t *testing.T) {
	const chains, depth = 60, 2000
	var list []ent
	for i := range chains {
		list = append(list, fifo(strconv.Itoa(i)+strings.Repeat("/d", depth)))
	}
	got := compare(t, nil, [][]byte{tarOf(t, list...)})
	text := 0
	for _, d := range got.Differences {
		text += len(d.Path)
	}
	if got.Count != chains*(depth+1) || len(got.Differences) == got.Count || text > 1<<27 {
		t.Errorf("%d of %d differences with %d bytes", len(got.Differences), got.Count, text)
	}
}

func TestCompareEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	x := indexes(t, [][]byte{tarOf(t, allKinds()...)}, true)
	var list []ent
	for i := range 3000 {
		list = append(list, file(strconv.Itoa(i), ""))
	}
	y := indexes(t, [][]byte{tarOf(t, list...)}, true)
	cancel()
	if _, err := Compare(ctx, x, y, false); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCompareWantsContents(t *testing.T) {
	x := indexes(t, [][]byte{tarOf(t, allKinds()...)}, false)
	if _, err := Compare(t.Context(), x, x, false); err == nil {
		t.Error("contents that were never hashed compare equal")
	}
}

// flat is a tree of the reference as one layer.
func (ref *reference) flat() []ent {
	first := map[*inode]string{}
	var out []ent
	var walk func(name string, n *tnode)
	walk = func(name string, n *tnode) {
		e := ent{name: name, kind: n.kind, body: n.body, link: n.link, mode: n.mode, uid: n.uid, gid: n.gid}
		nanos, _ := strconv.ParseInt(n.mtime, 10, 64) // none where no entry lists it
		e.mtime = time.Unix(0, nanos)
		fmt.Sscanf(n.device, "%d:%d", &e.major, &e.minor)
		for k, v := range n.records {
			if strings.HasPrefix(k, "SCHILY.xattr.") {
				e = e.record(k, v)
			}
		}
		switch {
		case n.isDir():
			e.name += "/"
		case first[n.inode] != "":
			e.kind, e.link, e.body, e.major, e.minor = tar.TypeLink, first[n.inode], "", 0, 0
		default:
			first[n.inode] = name
		}
		if name != "" || !n.made {
			out = append(out, e)
		}
		for _, k := range slices.Sorted(maps.Keys(n.children)) {
			walk(strings.TrimPrefix(name+"/"+k, "/"), n.children[k])
		}
	}
	walk("", ref.root)
	return out
}

// mutate changes one thing of a tree and says which; "" where it found nothing
// to change.
func (ref *reference) mutate(rng *rand.Rand) string {
	var all []*tnode
	names := map[*tnode]string{}
	uses := map[*inode]int{}
	var walk func(name string, n *tnode)
	walk = func(name string, n *tnode) {
		all, names[n] = append(all, n), name
		uses[n.inode]++
		for _, k := range slices.Sorted(maps.Keys(n.children)) {
			walk(name+"/"+k, n.children[k])
		}
	}
	walk("", ref.root)
	n := all[rng.IntN(len(all))]
	name := names[n]
	if n == ref.root && n.made {
		n.children["new"] = &tnode{inode: &inode{kind: tar.TypeFifo}}
		return "a new path"
	}
	what := []string{"mode", "uid", "gid", "seconds", "nanoseconds", "xattr", "body", "target", "device", "type", "remove", "add", "unlink"}[rng.IntN(13)]
	switch what {
	case "mode":
		if n.kind == tar.TypeSymlink {
			return ""
		}
		n.mode ^= 1 << rng.IntN(12)
	case "uid":
		n.uid ^= 1 << rng.IntN(31)
	case "gid":
		n.gid ^= 1 << rng.IntN(31)
	case "seconds", "nanoseconds":
		if n.made {
			return ""
		}
		nanos, _ := strconv.ParseInt(n.mtime, 10, 64)
		nanos += map[string]int64{"seconds": 1e9, "nanoseconds": 1}[what]
		n.mtime = strconv.FormatInt(nanos, 10)
	case "xattr":
		n.records["SCHILY.xattr.user.new"] = ""
	case "body":
		if n.kind != tar.TypeReg {
			return ""
		}
		n.body += "x"
	case "target":
		if n.kind != tar.TypeSymlink {
			return ""
		}
		n.link += "x"
	case "device":
		if n.device == "" {
			return ""
		}
		n.device += "1"
	case "type":
		if n.kind != tar.TypeFifo {
			return ""
		}
		n.kind = tar.TypeReg
	case "remove", "unlink":
		for _, dir := range all {
			for k, c := range dir.children {
				switch {
				case c != n:
				case what == "remove":
					delete(dir.children, k)
					return what + " " + name
				case uses[n.inode] > 1:
					apart := *n.inode
					dir.children[k] = &tnode{inode: &apart}
					return what + " " + name
				}
			}
		}
		return ""
	case "add":
		if !n.isDir() {
			return ""
		}
		n.children["new"] = &tnode{inode: &inode{kind: tar.TypeDir, mode: 0o755}}
	}
	return what + " " + name
}

// TestCompareOfRandomStacks holds random stacks against their flattening by the
// reference, which is the same, and then with one thing changed.
func TestCompareOfRandomStacks(t *testing.T) {
	seed, n := *seedFlag, *stacksFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	if n == 0 {
		n = 800
		if testing.Short() {
			n = 200
		}
	}
	t.Logf("seed %d, %d stacks", seed, n)
	changes := map[string]int{}
	for i := range n {
		rng := rand.New(rand.NewPCG(seed+uint64(i), 1))
		stack := randomStack(rng)
		tars := tarsOf(t, stack)
		ref, err := applyAll(tars, 0)
		if err != nil {
			t.Fatal(err)
		}
		again := fmt.Sprintf("-seed %d -stacks 1\n%s", seed+uint64(i), show(stack))
		if got := compare(t, tars, [][]byte{tarOf(t, ref.flat()...)}); got.Count != 0 {
			t.Fatalf("%+v\n%s", got, again)
		}
		change := ref.mutate(rng)
		if change == "" {
			continue
		}
		word, _, _ := strings.Cut(change, " ")
		changes[word]++
		if got := compare(t, tars, [][]byte{tarOf(t, ref.flat()...)}); got.Count == 0 {
			t.Fatalf("%s isn't seen\n%s", change, again)
		}
	}
	t.Log(changes)
}
