package layer

import (
	"bytes"
	"strings"
)

// Some small files and databases say what system an image holds. Read takes in
// what they say while it passes over them, since a layer may not be there to be
// read again.

const (
	// mostKept bounds a file whose contents are kept, in bytes.
	mostKept = 64 << 10
	// mostCounted bounds a database whose packages are counted, in bytes.
	mostCounted = 256 << 20
	// longestLine is how much of a database's line is looked at.
	longestLine = 64
)

// releaseFiles have a system's name and version (os-release(5)), the one that
// counts first.
var releaseFiles = []string{"etc/os-release", "usr/lib/os-release"}

// databases are the package managers' lists of what is installed, that are text.
var databases = []string{"var/lib/dpkg/status", "lib/apk/db/installed", "usr/lib/apk/db/installed"}

// packageDir has a file for each package of an image without dpkg itself
// (distroless), and one more with its checksums.
const packageDir = "var/lib/dpkg/status.d"

// System is what an image's files say about the system that they make up.
type System struct {
	Release  string // the contents of os-release; "" where there is none, or none that can be told
	Packages int    // installed ones, as dpkg or apk count; 0 where neither does
}

// told is what one file of a layer says.
type told struct {
	release  []byte
	packages packageCounter
}

// listen gives the place for what a file says, nil for one that isn't listened to.
func (s *scanner) listen(h *header) *told {
	if s.told == nil {
		return nil
	}
	var database packageCounter
	switch h.name {
	case "etc/os-release", "usr/lib/os-release":
		if h.size > mostKept || s.budget.text.Add(h.size) > freeText {
			return s.keep(h.name, nil)
		}
	case "var/lib/dpkg/status":
		database.dpkg = true
	case "lib/apk/db/installed", "usr/lib/apk/db/installed":
		database.apk = true
	default:
		return nil
	}
	if h.size > mostCounted {
		return s.keep(h.name, nil)
	}
	return s.keep(h.name, &told{packages: database})
}

// keep notes what the file of a name says. The last entry of a name counts.
func (s *scanner) keep(name string, t *told) *told {
	s.told[strings.Clone(name)] = t
	return t
}

// hear takes in a part of the file.
func (t *told) hear(b []byte) {
	if t.packages.dpkg || t.packages.apk {
		t.packages.add(b)
	} else {
		t.release = append(t.release, b...)
	}
}

// packageCounter counts the packages in a database that comes in parts.
type packageCounter struct {
	dpkg, apk        bool
	line             []byte // the beginning of the line at hand
	named, installed bool   // what the paragraph at hand says
	packages         int
}

func (c *packageCounter) add(b []byte) {
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		part := b
		if end >= 0 {
			part = b[:end]
		}
		c.line = append(c.line, part[:min(len(part), longestLine-len(c.line))]...)
		if end < 0 {
			return
		}
		c.endLine()
		b = b[end+1:]
	}
}

func (c *packageCounter) endLine() {
	switch {
	case c.apk:
		if bytes.HasPrefix(c.line, []byte("P:")) {
			c.packages++
		}
	case len(c.line) == 0:
		c.endParagraph()
	case bytes.HasPrefix(c.line, []byte("Package:")):
		c.named = true
	case bytes.HasPrefix(c.line, []byte("Status:")):
		c.installed = bytes.HasSuffix(bytes.TrimRight(c.line, " \r"), []byte(" ok installed"))
	}
	c.line = c.line[:0]
}

func (c *packageCounter) endParagraph() {
	if c.named && c.installed {
		c.packages++
	}
	c.named, c.installed = false, false
}

// count is the number of packages once all of the database has come.
func (c packageCounter) count() int {
	c.endLine()
	c.endParagraph()
	return c.packages
}

// System tells what system the base holds; without a base, what the image holds.
func (m *Merged) System() System {
	var s System
	for _, name := range releaseFiles {
		if t := m.told(name); t != nil {
			s.Release = string(t.release)
			break
		}
	}
	for _, name := range databases {
		if t := m.told(name); t != nil {
			s.Packages += t.packages.count()
		}
	}
	if s.Packages == 0 {
		s.Packages = m.files(packageDir, func(name string) bool { return !strings.HasSuffix(name, ".md5sums") })
	}
	return s
}

// find looks a path up; none where no layer has it.
func (m *Merged) find(path string) uint32 {
	id := uint32(0)
	for _, name := range strings.Split(path, "/") {
		if id = m.a.child(id, name); id == none {
			return none
		}
	}
	return id
}

// systemFile gives the entry of a path that the base, or the image without one,
// shows as something else than a directory; none otherwise.
func (m *Merged) systemFile(id uint32) uint32 {
	switch n := &m.a.nodes[id]; {
	case m.a.base == 0 && n.kind == other:
		return n.inode
	case m.a.base > 0 && n.flags&(inBase|baseDir) == inBase:
		return m.was[id]
	}
	return none
}

// told gives what the file at a path says.
func (m *Merged) told(path string) *told {
	id := m.find(path)
	if id == none {
		return nil
	}
	entry := m.systemFile(id)
	if entry == none {
		return nil
	}
	x, e := m.a.at(entry)
	if x.attr(e).kind != typeFile || x.name(e) != path {
		return nil
	}
	return x.told[path]
}

// files counts the files in a directory that are meant.
func (m *Merged) files(dir string, meant func(name string) bool) int {
	n := 0
	id := m.find(dir)
	if id == none {
		return 0
	}
	for c := m.a.nodes[id].first; c != none; c = m.a.nodes[c].next {
		if m.systemFile(c) != none && meant(m.a.component(&m.a.nodes[c])) {
			n++
		}
	}
	return n
}
