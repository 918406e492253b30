package layer

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "seed of the random stacks; 0: by the clock")
	stacksFlag = flag.Int("stacks", 0, "number of random stacks; 0: by -short")
)

// randomStack makes layers out of few names, so that they meet often: whiteouts,
// opaque directories, links, every change of type, parents that aren't listed or
// are symbolic links. Engines would load all of it: no name twice in a layer, no
// whiteout after what it hides, no link or entry that its layer has nothing for.
func randomStack(rng *rand.Rand) [][]ent {
	names := []string{"a", "b", "c", "d", ".whx", "é\xff"}
	if rng.IntN(3) == 0 {
		names = names[:3]
	}
	stack := make([][]ent, 1+rng.IntN(5))
	for i := range stack {
		stack[i] = randomLayer(rng, names)
	}
	return stack
}

func randomLayer(rng *rand.Rand, names []string) []ent {
	type own struct {
		kind byte
		e    ent
	}
	have := map[string]own{}
	var out []ent
	// parents brings the directories above a path, and says whether the path can
	// be had.
	var parents func(p string) bool
	parents = func(p string) bool {
		i := strings.LastIndexByte(p, '/')
		if i < 0 {
			return true
		}
		dir := p[:i]
		if o, ok := have[dir]; ok {
			return o.kind == tar.TypeDir || o.kind == 'm'
		}
		if !parents(dir) {
			return false
		}
		if rng.IntN(4) == 0 {
			have[dir] = own{kind: 'm'}
			return true
		}
		e := dress(rng, dirE(dir))
		have[dir] = own{tar.TypeDir, e}
		out = append(out, e)
		return true
	}
	for range rng.IntN(14) {
		p := names[rng.IntN(len(names))]
		for range rng.IntN(4) {
			p += "/" + names[rng.IntN(len(names))]
		}
		if !parents(p) {
			continue
		}
		old, taken := have[p]
		what := rng.IntN(20)
		if taken && old.kind == 'm' {
			if what < 8 { // listed after its children
				e := dress(rng, dirE(p))
				have[p] = own{tar.TypeDir, e}
				out = append(out, e)
			}
			continue
		}
		if taken && old.kind != 'w' {
			if old.kind == tar.TypeDir && what < 6 {
				q := p + "/.wh..wh..opq"
				if _, ok := have[q]; !ok {
					have[q] = own{kind: 'q'}
					out = append(out, opaque(p))
				}
			}
			continue
		}
		if what < 5 {
			if !taken {
				have[p] = own{kind: 'w'}
				out = append(out, gone(p))
			}
			continue
		}
		var e ent
		switch {
		case what < 8:
			e = dirE(p)
		case what < 12:
			e = file(p, strings.Repeat(string(rune('a'+rng.IntN(26))), rng.IntN(900)))
		case what < 14:
			e = symlink(p, []string{"a", "b", "/a/b", "../c", "nowhere"}[rng.IntN(5)])
		case what == 14:
			e = fifo(p)
		case what == 15:
			e = char(p, int64(rng.IntN(3)+1), 3)
		case what == 16:
			e = block(p, 8, int64(rng.IntN(3)))
		default:
			var targets []own
			for _, o := range out {
				if h := have[strings.TrimSuffix(o.name, "/")]; h.kind != 0 && strings.IndexByte("012346", h.kind) >= 0 {
					targets = append(targets, h)
				}
			}
			if len(targets) == 0 {
				continue
			}
			t := targets[rng.IntN(len(targets))].e
			t.link, t.kind, t.body, t.major, t.minor = t.name, tar.TypeLink, "", 0, 0
			e = t.named(p)
			if rng.IntN(6) == 0 {
				e = dress(rng, e)
			}
		}
		if e.kind != tar.TypeLink {
			e = dress(rng, e)
		}
		have[p] = own{e.kind, e}
		out = append(out, e)
	}
	if rng.IntN(8) == 0 {
		root := ent{name: []string{"/", "./"}[rng.IntN(2)], kind: tar.TypeDir, mode: 0o700 + rng.Int64N(8), mtime: epoch}
		out = append([]ent{root}, out...)
	}
	if rng.IntN(10) == 0 {
		out = append(out, opaque("."))
	}
	return out
}

// dress gives an entry metadata.
func dress(rng *rand.Rand, e ent) ent {
	switch rng.IntN(6) {
	case 0:
		e = e.chmod([]int64{0o600, 0o4755, 0o2770, 0o1777, 0}[rng.IntN(5)])
	case 1:
		e = e.chown(rng.IntN(3)*1000, rng.IntN(2)*4294967294)
	case 2:
		e = e.at(time.Unix(int64(rng.IntN(9))*1e9, int64(rng.IntN(3))*1234567))
	case 3:
		if e.kind == tar.TypeReg {
			e = e.xattr("security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
		}
		if e.kind == tar.TypeReg || e.kind == tar.TypeDir {
			e = e.xattr("user.k"+fmt.Sprint(rng.IntN(2)), "v\x00\n"+fmt.Sprint(rng.IntN(3)))
		}
	}
	return e
}

func show(stack [][]ent) string {
	var s strings.Builder
	for i, l := range stack {
		fmt.Fprintf(&s, "layer %d\n", i)
		for _, e := range l {
			fmt.Fprintf(&s, "  %c %q %o %d:%d %v %q %v\n", e.kind, e.name, e.mode, e.uid, e.gid, e.mtime.Unix(), e.link, e.pax)
		}
	}
	return s.String()
}

// TestRandomStacks merges random stacks above every possible base and compares
// base and result, applied one after the other, with all the layers, applied one
// after the other, in the reference.
func TestRandomStacks(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	n := *stacksFlag
	if n == 0 {
		n = 3000
		if testing.Short() {
			n = 300
		}
	}
	t.Logf("seed %d, %d stacks", seed, n)
	for i := range n {
		s := seed + uint64(i)
		stack := randomStack(rand.New(rand.NewPCG(s, 1)))
		if !checkStack(t, stack) {
			t.Fatalf("-seed %d -stacks 1\n%s", s, show(stack))
		}
	}
}

func tarsOf(t testing.TB, stack [][]ent) [][]byte {
	var tars [][]byte
	for _, l := range stack {
		tars = append(tars, tarOf(t, l...))
	}
	return tars
}

func checkStack(t *testing.T, stack [][]ent) bool {
	tars := tarsOf(t, stack)
	for base := range len(tars) + 1 {
		if !checkBase(t, tars, base) {
			t.Logf("base of %d layers", base)
			return false
		}
	}
	return true
}

func checkBase(t *testing.T, tars [][]byte, base int) bool {
	t.Helper()
	ref, err := applyAll(tars, base)
	if err != nil {
		t.Errorf("reference: %v", err)
		return false
	}
	_, out := merge(t, tars, base)
	if base == len(tars) {
		return !t.Failed()
	}
	have, err := applyAll(append(append([][]byte{}, tars[:base]...), out), base)
	if err != nil {
		t.Errorf("reference, result: %v\n%s", err, listing(t, out))
		return false
	}
	if !sameTree(t, ref.dump(), have.dump()) {
		t.Logf("merged layer:\n%s", listing(t, out))
		return false
	}
	seen := map[string]bool{}
	for r := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		name := strings.TrimSuffix(h.Name, "/")
		plain := strings.Replace(name, ".wh.", "", 1)
		if seen[name] || plain != name && seen[plain] {
			t.Errorf("%q is listed twice, or deleted beside it:\n%s", name, listing(t, out))
		}
		seen[name] = true
		if plain != name {
			seen[plain] = true
		}
	}
	return !t.Failed()
}
