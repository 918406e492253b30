//go:build amd64

package hostile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// changeFault is an input that changes while it is read: at a certain read of the
// run, which waits for it.
type changeFault struct {
	input, how string
	at         int // which read, from 1
}

func (f changeFault) String() string { return fmt.Sprintf("%s-%s-at-%d", f.input, f.how, f.at) }

func changeFaults() []changeFault {
	var all []changeFault
	for _, input := range []string{"archive", "archive-gz", "layout", "oci-archive"} {
		for _, how := range []string{"shrinks", "empties", "grows", "changes", "goes", "is-replaced", "is-directory"} {
			moments := []int{1, 4, 9, 14}
			if input == "archive-gz" {
				moments = []int{1, 2} // it is read once, and soon
			}
			for _, at := range moments {
				all = append(all, changeFault{input, how, at})
			}
		}
	}
	return all
}

// TestFaultChange: the image is flattened as it was, or the run fails and leaves
// nothing.
func TestFaultChange(t *testing.T) {
	for _, f := range changeFaults() {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			f.run(t)
		})
	}
}

func (f changeFault) run(t *testing.T) {
	p := newPlace(t)
	im := plain()
	var input string
	switch f.input {
	case "archive":
		input = p.file("image.tar", archive(im).tar())
	case "archive-gz":
		input = p.file("image.tar.gz", gzipped(archive(im).tar()))
	case "oci-archive":
		input = p.file("image.tar", layout(im).tar())
	case "layout":
		input = layout(im).dir(p, "image")
	}
	// all is every file of the input.
	all := func(do func(path string)) {
		must(filepath.WalkDir(input, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				do(path)
			}
			return nil // what has gone is changed enough
		}))
	}
	w := newWatcher(p)
	w.at = f.at
	w.only = func(h happened) bool { return reads(h) && strings.HasPrefix(h.path, "in/") }
	w.act = func() {
		all(func(path string) {
			b, err := os.ReadFile(path)
			must(err)
			switch f.how {
			case "shrinks":
				must(os.Truncate(path, int64(len(b)/2)))
			case "empties":
				must(os.Truncate(path, 0))
			case "grows":
				must(os.WriteFile(path, append(b, long("more ", 1<<16)...), 0o644))
			case "changes":
				for i := range b {
					b[i] ^= 0x20
				}
				must(os.WriteFile(path, b, 0o644))
			case "goes":
				must(os.Remove(path))
			case "is-replaced":
				must(os.Remove(path))
				must(os.WriteFile(path, []byte(long("other bytes ", len(b))), 0o644))
			case "is-directory":
				must(os.Remove(path))
				must(os.Mkdir(path, 0o755))
			}
		})
	}
	before := p.listing("in")
	c := command{args: []string{"-q", "--base", "1", "-o", "oci:out/layout:flat", input}, watch: w}
	r := p.run(c)
	if r.code == 99 {
		t.Skipf("the kernel lets nobody watch system calls here: %s", r.stderr)
	}
	checkRun(t, r, c)
	if os.Getenv("HOSTILE_SHOW") != "" {
		t.Logf("%s: %d: %s", w.hit.path, r.code, short(strings.TrimSpace(r.stderr)))
	}
	switch r.code {
	case 0:
		checkStored(t, p.path("out/layout"), "flat", im)
	case 1:
		checkUnchanged(t, before, p.listing("in"))
	default:
		t.Errorf("exit code %d: %s", r.code, short(r.stderr))
	}
}
