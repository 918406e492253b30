//go:build linux

package hostile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// seed makes the random moments; a failure names it.
const seed = 20261124

// destination is where a run puts its result, and how to look whether it is
// there, whole and alone.
type destination struct {
	name string
	args []string
	// before prepares the place; after checks it once a run has succeeded.
	before func(p *place)
	after  func(t *testing.T, p *place, im image)
	keeps  []string // what belongs there after success
}

func destinations() []destination {
	readBack := func(name string) func(t *testing.T, p *place, im image) {
		return func(t *testing.T, p *place, im image) { checkStored(t, p.path(name), "", im) }
	}
	named := func(t *testing.T, p *place, im image) { checkStored(t, p.path("out/layout"), "flat", im) }
	return []destination{
		{name: "archive", args: []string{"-o", "out/image.tar"}, after: readBack("out/image.tar"), keeps: []string{"out/image.tar"}},
		{name: "oci-archive", args: []string{"-o", "oci-archive:out/image.tar"}, after: readBack("out/image.tar"), keeps: []string{"out/image.tar"}},
		{name: "layout", args: []string{"-o", "oci:out/layout:flat"}, after: named, keeps: []string{"out/layout"}},
		{name: "layout-of-others", args: []string{"-o", "oci:out/layout:flat"}, keeps: []string{"out/layout"},
			before: func(p *place) {
				other := app("other=x")
				other.names = []string{"other"}
				must(os.Rename(layout(other).dir(p, "other"), p.path("out/layout")))
			},
			after: func(t *testing.T, p *place, im image) {
				named(t, p, im)
				checkStored(t, p.path("out/layout"), "other", app("other=x"))
			}},
		{name: "over-an-old-archive", args: []string{"--force", "-o", "out/image.tar"}, after: readBack("out/image.tar"), keeps: []string{"out/image.tar"},
			before: func(p *place) {
				must(os.WriteFile(p.path("out/image.tar"), archive(app("old=x")).tar(), 0o644))
			}},
		{name: "context", args: []string{"--base", "scratch", "--context", "out/context", "-o", "out/image.tar"}, keeps: []string{"out/context", "out/image.tar"}, after: func(t *testing.T, p *place, im image) {
			if _, err := os.Stat(p.path("out/context/Dockerfile")); err != nil {
				t.Error(err)
			}
		}},
		{name: "recovery", args: []string{"--dockerfile", "original", "--context", "out/context"}, keeps: []string{"out/context"}, after: func(t *testing.T, p *place, im image) {
			if _, err := os.Stat(p.path("out/context/Dockerfile")); err != nil {
				t.Error(err)
			}
		}},
		{name: "pages", args: []string{"--dry-run", "--report", "out/page.html", "--report", "out/page.svg"}, keeps: []string{"out/page.html", "out/page.svg"}, after: func(t *testing.T, p *place, im image) {
			for _, name := range []string{"out/page.html", "out/page.svg"} {
				if _, err := os.Stat(p.path(name)); err != nil {
					t.Error(err)
				}
			}
		}},
		{name: "report", args: []string{"-o", "out/image.tar", "--report", "out/page.html", "--report", "out/page.svg"}, keeps: []string{"out/image.tar", "out/page.html", "out/page.svg"},
			after: func(t *testing.T, p *place, im image) {
				checkStored(t, p.path("out/image.tar"), "", im)
				b, err := os.ReadFile(p.path("out/page.html"))
				if err != nil || !bytes.Contains(b, []byte("</html>")) {
					t.Errorf("the page isn't whole: %v", err)
				}
			}},
	}
}

// slowImage takes some tenths of a second to flatten.
var slowImage = sync.OnceValue(func() image {
	r := rand.New(rand.NewPCG(3, 4))
	file := func(name string) entry {
		body := make([]byte, 3<<20)
		for i := 0; i < len(body); i += 8 {
			v := r.Uint64()
			for j := range 8 {
				body[i+j] = byte(v >> (8 * j))
			}
		}
		return entry{name: name, body: string(body), kind: '0', mode: 0o644, time: 1}
	}
	return image{layers: []layer{of("bin/", "bin/sh=shell", "gone=x"), of("srv/", file("srv/a")), of(file("srv/b"), ".wh.gone"), of(file("srv/c"), "srv/a=replaced")}}
})

var slowArchive = sync.OnceValue(func() []byte { return gzipped(archive(slowImage()).tar()) })

// moment is a signal at a random moment of a run.
type moment struct {
	dest   destination
	signal syscall.Signal
	n      int
}

func (m moment) String() string {
	return fmt.Sprintf("%s-%s-%d", m.dest.name, strings.ReplaceAll(m.signal.String(), " ", "-"), m.n)
}

// at is when the signal comes, as a part of what an honest run takes.
func (m moment) at() float64 {
	h := uint64(len(m.dest.name))
	for _, c := range m.String() {
		h = h*31 + uint64(c)
	}
	return rand.New(rand.NewPCG(seed, h)).Float64() * 1.1
}

func moments(n int, signals ...syscall.Signal) []moment {
	var all []moment
	for _, d := range destinations() {
		for _, s := range signals {
			for i := range n {
				all = append(all, moment{d, s, i})
			}
		}
	}
	return all
}

func signalCases() []moment {
	return append(moments(3, syscall.SIGINT, syscall.SIGTERM), moments(2, syscall.SIGHUP)...)
}

// killCases are signals that end a run on the spot.
func killCases() []moment { return append(moments(6, syscall.SIGKILL), moments(1, syscall.SIGQUIT)...) }

// pauseCases are signals that end no run: it goes on, and does all its work.
func pauseCases() []moment { return moments(1, syscall.SIGSTOP, syscall.SIGPIPE, syscall.SIGWINCH) }

// honest is how long the run takes that is left alone.
func honest(t testing.TB) time.Duration {
	t.Helper()
	measured.Do(func() {
		p := newPlace(t)
		r := p.run(command{args: []string{"-q", "--base", "1", "-o", "out/image.tar", p.file("image.tar.gz", slowArchive())}, limit: time.Minute})
		if r.code != 0 {
			t.Fatalf("an honest run fails: %s", r.stderr)
		}
		honestly = r.took
	})
	return honestly
}

var (
	measured sync.Once
	honestly time.Duration
)

func TestFaultSignal(t *testing.T) {
	for i, m := range slices.Concat(signalCases(), killCases(), pauseCases()) {
		t.Run(m.String(), func(t *testing.T) {
			if testing.Short() && i%8 != 0 {
				t.Skip("left out by -short")
			}
			t.Parallel()
			m.run(t)
		})
	}
}

func (m moment) run(t *testing.T) {
	p := newPlace(t)
	input := p.file("image.tar.gz", slowArchive())
	if m.dest.before != nil {
		m.dest.before(p)
	}
	before := p.listing()
	wait := time.Duration(float64(honest(t)) * m.at())
	if m.n%2 == 1 {
		wait /= 20 // after the first sign of the product, which soon is whole
	}
	c := command{args: append(append([]string{"-q", "--base", "1"}, m.dest.args...), input), limit: 30 * time.Second}
	c.started = func(process *os.Process) {
		for was := entries(p.path("out")); m.n%2 == 1 && alive(process.Pid) && entries(p.path("out")) == was; {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(wait)
		_ = process.Signal(m.signal) // it may have ended
		if m.signal == syscall.SIGSTOP {
			time.Sleep(honest(t) / 2)
			_ = process.Signal(syscall.SIGCONT)
		}
	}
	r := p.run(c)
	t.Logf("seed %d: %v after %v of %v: exit code %d", seed, m.signal, wait.Round(time.Millisecond), honest(t).Round(time.Millisecond), r.code)
	switch m.signal {
	case syscall.SIGKILL, syscall.SIGQUIT:
		quit := m.signal == syscall.SIGQUIT && r.code == 2 // Go prints where it was, as SIGQUIT is for
		if r.code != 0 && r.signal != m.signal && !quit {
			t.Errorf("exit code %d: %s", r.code, short(r.stderr))
		}
	case syscall.SIGSTOP, syscall.SIGPIPE, syscall.SIGWINCH:
		if early := r.signal == m.signal && r.cpu < startup; !early {
			checkRun(t, r, c)
			if r.code != 0 {
				t.Errorf("exit code %d: %s", r.code, short(r.stderr))
			}
		}
	default:
		// Before the program has begun to listen, the signal itself ends it.
		early := r.signal == m.signal && r.cpu < startup
		if !early {
			checkInterrupted(t, r, c)
		}
		if r.code != 0 {
			checkUnchanged(t, before, p.listing())
		}
	}
	// The same command again, without a signal.
	c.started = nil
	again := p.run(c)
	checkRun(t, again, c)
	if again.code != 0 {
		t.Errorf("the run after it: exit code %d: %s", again.code, short(again.stderr))
		return
	}
	m.dest.after(t, p, slowImage())
	kept := before
	for name := range kept {
		if name == "out" || slices.ContainsFunc(m.dest.keeps, func(k string) bool { return name == k || strings.HasPrefix(name, k+"/") }) {
			delete(kept, name)
		}
	}
	after := p.listing(m.dest.keeps...)
	delete(after, "out")
	checkUnchanged(t, kept, after)
	checkNoLeftovers(t, p.root)
}

// checkInterrupted is for a run that got an interrupt: it ends with 130 and one
// line, or had just done all its work.
func checkInterrupted(t *testing.T, r result, c command) {
	t.Helper()
	if r.timedOut {
		t.Errorf("deaf to the signal: still ran after %v", r.took)
		return
	}
	if r.code == 0 {
		return
	}
	checkRun(t, r, c)
	if r.code != 130 || strings.TrimSpace(r.stderr) != "docker-flatten: interrupted" {
		t.Errorf("exit code %d, signal %v: %q", r.code, r.signal, short(r.stderr))
	}
}

// checkNoLeftovers looks for temporary files that no listing should have, inside
// of what a run has made, too.
func checkNoLeftovers(t *testing.T, root string) {
	t.Helper()
	must(filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := filepath.Base(path)
		if strings.HasPrefix(base, ".") && path != root {
			rel, _ := filepath.Rel(root, path)
			// A lock file may stay: removing it would make two locks of one.
			if info, err := d.Info(); err != nil || info.Size() > 0 || !strings.Contains(base, "lock") {
				t.Errorf("left behind: %s", rel)
			}
		}
		return nil
	}))
}

// pipe is a FIFO or a bomb, and an interrupt that must end the run.
type pipe struct {
	name, why string
	args      func(p *place) []string
	signal    syscall.Signal
}

func pipeCases() []pipe {
	var all []pipe
	fifo := func(p *place, name string) string {
		must(unix.Mkfifo(p.path(name), 0o644))
		return p.path(name)
	}
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		add := func(name, why string, args func(p *place) []string) {
			all = append(all, pipe{name + "-" + strings.ReplaceAll(s.String(), " ", "-"), why, args, s})
		}
		add("output-fifo", "an output that nobody reads", func(p *place) []string {
			return []string{"-o", fifo(p, "in/fifo.tar"), p.file("image.tar", archive(plain()).tar())}
		})
		add("output-fifo-oci", "the same of an OCI archive", func(p *place) []string {
			return []string{"-o", "oci-archive:" + fifo(p, "in/fifo.tar"), p.file("image.tar", archive(plain()).tar())}
		})
		add("input-fifo", "an input that nobody writes", func(p *place) []string {
			return []string{"-o", "out/image.tar", fifo(p, "in/fifo.tar")}
		})
		add("input-fifo-oci", "the same of an OCI archive", func(p *place) []string {
			return []string{"-o", "out/image.tar", "oci-archive:" + fifo(p, "in/fifo.tar")}
		})
		add("report-fifo", "a page that nobody reads", func(p *place) []string {
			must(os.Symlink(fifo(p, "in/fifo"), p.path("in/page.html")))
			return []string{"--dry-run", "--report", p.path("in/page.html"), p.file("image.tar", archive(plain()).tar())}
		})
		add("context-fifo", "a context where a FIFO is", func(p *place) []string {
			return []string{"--context", fifo(p, "in/fifo"), p.file("image.tar", archive(plain()).tar())}
		})
		add("input-zero", "an input without an end", func(p *place) []string {
			must(os.Symlink("/dev/zero", p.path("in/zero.tar")))
			return []string{"-o", "out/image.tar", "oci-archive:" + p.path("in/zero.tar")}
		})
		for _, b := range []struct {
			name, why string
			im        func() image
		}{
			{"sparse", "a hole of 1 TiB", func() image { return holes(1 << 40) }},
			{"sparse-gnu", "in the oldest form", func() image { return holesGNU(1 << 40) }},
		} {
			add(b.name, b.why, func(p *place) []string {
				return []string{"-o", "out/image.tar", "--base", "1", p.file("image.tar", archive(b.im()).tar())}
			})
		}
		add("nested", "indexes in indexes", func(p *place) []string {
			return []string{"-o", "out/image.tar", nested(10, 7, true).dir(p, "layout")}
		})
	}
	return all
}

// A run that waits for ever, or nearly, ends at the first interrupt.
func TestFaultPipe(t *testing.T) {
	for _, c := range pipeCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			run := command{args: append([]string{"-q"}, c.args(p)...), limit: 8 * time.Second, waits: true}
			before := p.listing()
			run.started = func(process *os.Process) {
				settle(process.Pid)
				_ = process.Signal(c.signal) // a bomb may have been refused
			}
			r := p.run(run)
			if r.timedOut {
				t.Errorf("deaf to the signal: still ran after %v", r.took)
				return
			}
			checkRun(t, r, run)
			if r.code != 0 {
				checkUnchanged(t, before, p.listing())
			}
		})
	}
}

// entries counts what is in a directory and below it.
func entries(dir string) (n int) {
	// What goes away meanwhile isn't there.
	_ = filepath.WalkDir(dir, func(string, os.DirEntry, error) error { n++; return nil })
	return n
}

// alive tells whether a child still runs, or has ended without having been waited for.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

// startup is more processor time than the program needs until it listens to signals.
const startup = 80 * time.Millisecond

// settle waits until a process is at work, or waits for something itself: its
// processor time, in ticks of 10 ms, has stood still for a second. On a fast
// machine all that it needs is less than a tick, so none is as good as some, after
// two seconds.
func settle(pid int) {
	ticks, still := "", 0
	for {
		time.Sleep(100 * time.Millisecond)
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest) // from the third field on: utime and stime are the 14th and 15th
		if f[0] == "Z" {
			return
		}
		now := f[11] + "+" + f[12]
		user, err1 := strconv.Atoi(f[11])
		system, err2 := strconv.Atoi(f[12])
		if err1 != nil || err2 != nil || time.Duration(user+system)*10*time.Millisecond > 5*startup {
			return
		}
		if now != ticks || f[0] == "R" {
			ticks, still = now, 0
		} else if still++; still == 20 || still == 10 && user+system > 0 {
			return
		}
	}
}

// layoutFault is what happens to a layout that several use.
type layoutFault struct {
	name, why string
	run       func(t *testing.T, p *place)
}

func layoutFaults() []layoutFault {
	all := []layoutFault{
		{"ten-at-once-new", "ten runs into one new layout leave ten images", func(t *testing.T, p *place) { together(t, p, 10, nil) }},
		{"ten-at-once-existing", "and into one that is there", func(t *testing.T, p *place) {
			other := app("other=x")
			other.names = []string{"other"}
			must(os.Rename(layout(other).dir(p, "other"), p.path("out/layout")))
			together(t, p, 10, nil)
			checkStored(t, p.path("out/layout"), "other", other)
		}},
		{"failing-among-ten", "a run that fails takes nothing from the others", func(t *testing.T, p *place) {
			broken := plain()
			broken.layers = append(slices.Clone(broken.layers), of("x=y"))
			broken.diffIDs = []string{broken.layers[0].id(), broken.layers[1].id(), digest([]byte("another"))}
			together(t, p, 6, func(i int) command {
				return command{args: []string{"-q", "--base", "1", "-o", fmt.Sprintf("oci:out/layout:broken%d", i), p.file(fmt.Sprintf("broken%d.tar", i), archive(broken).tar())}}
			})
		}},
		{"interrupted-among-ten", "nor does one that is interrupted", func(t *testing.T, p *place) {
			disturbed(t, p, syscall.SIGINT)
		}},
		{"killed-among-ten", "nor one that is killed", func(t *testing.T, p *place) {
			disturbed(t, p, syscall.SIGKILL)
		}},
	}
	for _, which := range []string{"base", "layer", "config", "manifest"} {
		for _, how := range []string{"wrong", "short", "empty"} {
			for _, cache := range []bool{true, false} {
				name := fmt.Sprintf("blob-%s-%s", which, how)
				if !cache {
					name += "-no-cache"
				}
				all = append(all, layoutFault{name, "a blob that is there with other bytes is mended", func(t *testing.T, p *place) { mended(t, p, which, how, cache) }})
			}
		}
	}
	return all
}

func TestFaultLayout(t *testing.T) {
	for _, f := range layoutFaults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			f.run(t, newPlace(t))
		})
	}
}

// numberedImage is an image that shares its base with the others.
func numberedImage(i int) image { return app(fmt.Sprintf("srv/data=%d", i), ".wh.var") }

func into(p *place, i int) command {
	return command{args: []string{"-q", "--base", "1", "-o", fmt.Sprintf("oci:out/layout:n%d", i), p.file(fmt.Sprintf("image%d.tar", i), archive(numberedImage(i)).tar())}, waits: true}
}

// together starts n runs at once, and as many others that must do no harm.
func together(t *testing.T, p *place, n int, other func(i int) command) {
	t.Helper()
	var wg sync.WaitGroup
	results := make([]result, n)
	for i := range n {
		c := into(p, i)
		wg.Go(func() { results[i] = p.run(c) })
		if other != nil {
			c := other(i)
			c.waits = true
			wg.Go(func() { p.run(c) })
		}
	}
	wg.Wait()
	for i, r := range results {
		checkRun(t, r, into(p, i))
		if r.code != 0 {
			t.Errorf("run %d: exit code %d: %s", i, r.code, short(r.stderr))
			continue
		}
		checkStored(t, p.path("out/layout"), fmt.Sprint("n", i), numberedImage(i))
	}
	b, err := os.ReadFile(p.path("out/layout/index.json"))
	if err != nil {
		t.Error(err)
		return
	}
	if !json.Valid(b) {
		t.Errorf("index.json: %s", short(string(b)))
	}
	if entries, err := os.ReadDir(p.path("tmp")); err != nil || len(entries) > 0 {
		t.Errorf("left in TMPDIR: %v %v", entries, err)
	}
}

func disturbed(t *testing.T, p *place, signal syscall.Signal) {
	input := p.file("slow.tar.gz", slowArchive())
	r := rand.New(rand.NewPCG(seed, uint64(signal)))
	waits := many(6, func(int) time.Duration { return time.Duration(r.Float64() * float64(honest(t))) })
	together(t, p, 6, func(i int) command {
		return command{
			args:  []string{"-q", "--base", "1", "-o", fmt.Sprintf("oci:out/layout:slow%d", i), input},
			limit: 30 * time.Second,
			env:   []string{"TMPDIR=" + p.path("home")}, // where a killed run may leave its spool for the next
			started: func(process *os.Process) {
				time.Sleep(waits[i])
				_ = process.Signal(signal) // it may have ended
			},
		}
	})
}

// mended damages a blob of a layout that a run has written, and runs again.
func mended(t *testing.T, p *place, which, how string, cache bool) {
	c := into(p, 1)
	c.waits = false
	first := p.run(c)
	if first.code != 0 {
		t.Fatalf("exit code %d: %s", first.code, first.stderr)
	}
	root := p.path("out/layout")
	files, err := readFiles(root)
	if err != nil {
		t.Fatal(err)
	}
	hexes := digestsIn(files["index.json"])
	manifest := hexes[len(hexes)-1]
	parts := digestsIn(files["blobs/sha256/"+manifest])
	name := map[string]string{"manifest": manifest, "config": parts[0], "base": parts[1], "layer": parts[2]}[which]
	path := filepath.Join(root, "blobs/sha256", name)
	b := bytes.Clone(files["blobs/sha256/"+name])
	switch how {
	case "wrong":
		b[len(b)/2] ^= 1
	case "short":
		b = b[:len(b)/2]
	case "empty":
		b = nil
	}
	must(os.WriteFile(path, b, 0o644))
	if !cache {
		c.args = append([]string{"--no-cache"}, c.args...)
	}
	again := p.run(c)
	checkRun(t, again, c)
	if again.code != 0 {
		t.Errorf("exit code %d: %s", again.code, short(again.stderr))
		return
	}
	checkStored(t, root, "n1", numberedImage(1))
	checkNoLeftovers(t, root)
}
