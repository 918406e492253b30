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
