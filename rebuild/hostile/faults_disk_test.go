//go:build linux

package hostile

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is a place that can't take what a run wants to write.
type disk struct {
	name, why string
	kind      string // full, limit, read-only, missing
	where     string // out or tmp
	room      int64
	args      []string
}

func diskCases() []disk {
	var all []disk
	for _, d := range []struct {
		name string
		args []string
	}{
		{"archive", []string{"-o", "out/image.tar"}},
		{"oci-archive", []string{"-o", "oci-archive:out/image.tar"}},
		{"layout", []string{"-o", "oci:out/layout:flat"}},
		{"context", []string{"--base", "scratch", "--context", "out/context", "-o", "home/image.tar"}},
		{"report", []string{"-o", "home/image.tar", "--report", "out/page.html"}},
	} {
		for _, room := range []int64{8 << 10, 1 << 20, 5 << 20} {
			for _, where := range []string{"out", "tmp"} {
				all = append(all, disk{fmt.Sprintf("full-%s-%s-%dk", where, d.name, room>>10), "a disk that gets full", "full", where, room, d.args})
			}
			all = append(all, disk{fmt.Sprintf("limit-%s-%dk", d.name, room>>10), "a limit on the size of files", "limit", "out", room, d.args})
		}
		all = append(all, disk{"read-only-" + d.name, "a disk that can't be written to", "read-only", "out", 1 << 20, d.args})
		all = append(all, disk{"read-only-tmp-" + d.name, "a TMPDIR that can't", "read-only", "tmp", 1 << 20, d.args})
		all = append(all, disk{"no-tmp-" + d.name, "a TMPDIR that isn't there", "missing", "tmp", 0, d.args})
	}
	return all
}

func TestFaultDisk(t *testing.T) {
	for i, d := range diskCases() {
		t.Run(d.name, func(t *testing.T) {
			if testing.Short() && i%5 != 0 {
				t.Skip("left out by -short")
			}
			t.Parallel()
			p := newPlace(t)
			input := p.file("image.tar.gz", slowArchive())
			c := command{args: append(append([]string{"-q", "--base", "1"}, d.args...), input), limit: 30 * time.Second}
			switch d.kind {
			case "full", "read-only":
				flags := uintptr(0)
				if d.kind == "read-only" {
					flags = unix.MS_RDONLY
				}
				if err := unix.Mount("tmpfs", p.path(d.where), "tmpfs", flags, fmt.Sprintf("size=%d", d.room)); err != nil {
					t.Skipf("a small disk can't be mounted here (it takes root): %v", err)
				}
				t.Cleanup(func() { must(unix.Unmount(p.path(d.where), unix.MNT_DETACH)) })
			case "limit":
				c.file = uint64(d.room)
			case "missing":
				c.env = []string{"TMPDIR=" + p.path("tmp/missing")}
			}
			before := p.listing()
			r := p.run(c)
			checkRun(t, r, c)
			if r.code > 1 {
				t.Errorf("exit code %d: %s", r.code, short(r.stderr))
			}
			if r.code == 1 {
				after := p.listing()
				if strings.Contains(d.name, "report") {
					// The image has its name by then; the page isn't half there.
					delete(after, "home/image.tar")
				}
				checkUnchanged(t, before, after)
			}
		})
	}
}

// stream is a standard stream that isn't as usual.
type stream struct {
	name, why string
	redirect  string
	args      []string
	input     func() []byte
	code      int  // -1 = 0 or 1
	product   bool // may be there although the run failed: stdout fails once the image has its name
	before    string
}

func streamCases() []stream {
	good := func() []byte { return archive(plain()).tar() }
	bad := func() []byte { return []byte("no archive") }
	to := []string{"--base", "1", "-o", "out/image.tar"}
	all := []stream{
		{"stderr-closed", "nobody hears what is said", "2>&-", to, good, 0, false, ""},
		{"stderr-closed-loud", "when much is said", "2>&-", append([]string{"--progress", "plain"}, to...), good, 0, false, ""},
		{"stderr-closed-error", "an error that nobody hears is one still", "2>&-", to, bad, 1, false, ""},
		{"stderr-full", "a full disk behind it", "2>/dev/full", append([]string{"--progress", "plain"}, to...), good, 0, false, ""},
		{"stderr-full-error", "and an error", "2>/dev/full", to, bad, 1, false, ""},
		{"stdin-closed", "no stdin", "<&-", to, good, 0, false, ""},
		{"stdin-closed-read", "an image from no stdin", "<&-", []string{"-o", "out/image.tar", "-"}, nil, 1, false, ""},
		{"stdin-null", "from an empty one", "</dev/null", []string{"-o", "out/image.tar", "-"}, nil, 1, false, ""},
		{"stdin-directory", "from a directory", "</", []string{"-o", "out/image.tar", "-"}, nil, 1, false, ""},
		{"stdin-text", "from a text", "</etc/passwd", []string{"-o", "out/image.tar", "-"}, nil, 1, false, ""},
		{"stdout-closed", "nobody takes the ID", ">&-", to, good, -1, true, ""},
		{"stdout-full", "nor does the disk", ">/dev/full", to, good, 1, true, ""},
		{"stdout-full-archive", "an archive to a full disk", ">/dev/full", []string{"--base", "1", "-o", "-"}, good, 1, false, ""},
		{"stdout-closed-archive", "or to nowhere: Go's runtime opens /dev/null there", ">&-", []string{"--base", "1", "-o", "-"}, good, -1, false, ""},
		{"stdout-full-context", "a context to a full disk", ">/dev/full", []string{"--base", "1", "--context", "-"}, good, 1, false, ""},
		{"stdout-full-dry", "a Dockerfile", ">/dev/full", []string{"--base", "1", "--dry-run"}, good, 1, false, ""},
		{"stdout-closed-dry", "or to nowhere", ">&-", []string{"--base", "1", "--dry-run"}, good, -1, false, ""},
		{"stdout-full-json", "JSON", ">/dev/full", append([]string{"--json"}, to...), good, 1, true, ""},
		{"stdout-full-help", "the help", ">/dev/full", []string{"--help"}, nil, -1, false, ""},
		{"stdout-full-version", "the version", ">/dev/full", []string{"--version"}, nil, -1, false, ""},
		{"stdout-broken-pipe", "a reader that goes away", "| true", []string{"--base", "1", "-o", "-"}, good, -1, false, ""},
		{"all-closed", "nothing at all", "<&- >&- 2>&-", to, good, -1, true, ""},
		{"output-dev-full", "an output that is a full device", "", []string{"--base", "1", "-o", "/dev/full"}, good, 1, false, ""},
		{"output-dev-full-archive", "named as an archive", "", []string{"--base", "1", "-o", "docker-archive:/dev/full"}, good, 1, false, ""},
		{"output-dev-null", "an output that takes everything", "", []string{"--base", "1", "-o", "docker-archive:/dev/null"}, good, 0, false, ""},
	}
	// Too few descriptors: the run says so, or does with them.
	for _, n := range []int{8, 9, 10, 11, 12, 14, 16, 24} {
		for _, d := range []struct {
			name string
			args []string
		}{{"archive", to}, {"layout", []string{"--base", "1", "-o", "oci:out/image.tar:flat"}}} {
			all = append(all, stream{fmt.Sprintf("descriptors-%d-%s", n, d.name), "too few open files are allowed", "", append([]string{"-q"}, d.args...), good, -1, false, fmt.Sprint("ulimit -n ", n)})
		}
	}
	return all
}

func TestFaultStream(t *testing.T) {
	for _, s := range streamCases() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			args := append([]string{}, s.args...)
			if s.input != nil {
				args = append(args, p.file("image.tar", s.input()))
			}
			before := p.listing()
			c := command{args: args, closed: s.redirect, before: s.before, limit: 20 * time.Second}
			r := p.run(c)
			checkRun(t, r, c)
			if s.code >= 0 && r.code != s.code || r.code > 2 {
				t.Errorf("exit code %d, want %d: %s", r.code, s.code, short(r.stderr))
			}
			after := p.listing()
			if s.product || r.code == 0 {
				maps.DeleteFunc(after, func(name, _ string) bool {
					return name == "out/image.tar" || strings.HasPrefix(name, "out/image.tar/")
				})
			}
			checkUnchanged(t, before, after)
		})
	}
}

// linkCase is an output that is a symbolic link.
func TestOutputThroughLink(t *testing.T) {
	for name, prepare := range map[string]func(p *place){
		"dangling":    func(*place) {},
		"to-a-file":   func(p *place) { must(os.WriteFile(p.path("home/real.tar"), []byte("old"), 0o644)) },
		"to-nowhere":  func(p *place) { must(os.Remove(p.path("home"))) },
		"to-a-device": func(p *place) { must(os.Symlink("/dev/null", p.path("home/real.tar"))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			prepare(p)
			must(os.Symlink("../home/real.tar", p.path("out/image.tar")))
			c := command{args: []string{"-q", "--base", "1", "-o", "out/image.tar", p.file("image.tar", archive(plain()).tar())}}
			r := p.run(c)
			checkRun(t, r, c)
			// It is written through, or refused, but not replaced.
			if to, err := os.Readlink(p.path("out/image.tar")); err != nil || to != "../home/real.tar" {
				t.Errorf("the link became %q: %v", to, err)
			}
			if entries, err := filepath.Glob(p.path("out/.*")); err != nil || len(entries) > 0 {
				t.Errorf("left behind: %v %v", entries, err)
			}
			if r.code == 0 && name != "to-a-device" {
				checkStored(t, p.path("home/real.tar"), "", plain())
			}
		})
	}
}
