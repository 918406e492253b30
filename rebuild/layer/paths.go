package layer

import "strings"

// BaseHas tells whether the base shows something other than a directory at
// path, which is written without a leading slash; symbolic links among its
// parents are not followed.
func (m *Merged) BaseHas(path string) bool {
	id := uint32(0)
	for _, name := range strings.Split(path, "/") {
		if id = m.a.child(id, name); id == none {
			return false
		}
	}
	flags := m.a.nodes[id].flags
	return flags&inBase != 0 && flags&baseDir == 0
}

// Lacks tells whether the image shows nothing at path, which is written without
// a leading slash. It doesn't know what lies beyond a symbolic link.
func (m *Merged) Lacks(path string) bool {
	if path == "" {
		return false
	}
	id := uint32(0)
	for _, name := range strings.Split(path, "/") {
		if m.a.nodes[id].kind == other {
			return false
		}
		if id = m.a.child(id, name); id == none || m.a.nodes[id].kind == absent {
			return true
		}
	}
	return false
}

// Doubtful are the directories that no merged layer shows on every engine as the
// layers do: an upper layer lists one with metadata of its own, and a later one has
// it without listing it. Then engines with a graph driver show it as 0755 and 0:0,
// and so does the merged layer, and containerd as it is listed. First is one of them,
// with a leading slash, the same in every run.
func (m *Merged) Doubtful() (first string, n int) {
	for id := range m.a.nodes {
		d := &m.a.nodes[id]
		if d.kind != directory || d.flags&(implied|doubtful) != implied|doubtful {
			continue
		}
		if n++; n == 1 {
			first = "/" + m.a.path(uint32(id))
		}
	}
	return first, n
}
