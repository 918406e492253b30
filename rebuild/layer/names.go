package layer

import (
	"path"
	"strings"
)

// Names with which a layer says what lower layers lose (OCI layer.md,
// "Whiteouts" and "Opaque Whiteout").
const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
)

type nameKind uint8

const (
	nameOrdinary nameKind = iota
	nameWhiteout
	nameOpaque
	nameInvalid // ".wh.", ".wh..", ".wh..."
)

// whiteoutName says what the last component of a path means, and for a
// whiteout, which name it hides.
func whiteoutName(base string) (kind nameKind, hidden string) {
	if !strings.HasPrefix(base, whiteoutPrefix) {
		return nameOrdinary, ""
	}
	if base == opaqueMarker {
		return nameOpaque, ""
	}
	switch hidden = base[len(whiteoutPrefix):]; hidden {
	case "", ".", "..":
		return nameInvalid, ""
	}
	return nameWhiteout, hidden
}

// cleanName gives an entry's path below the root, "" for the root itself.
// Engines unpack in a chroot, so ".." stops at the root instead of leaving it.
func cleanName(name string) string {
	if plainName(name) {
		return strings.TrimSuffix(name, "/")
	}
	return path.Clean("/" + name)[1:]
}

// plainName is true for the names that nearly all entries have, which need no
// cleaning but for a slash at their end.
func plainName(name string) bool {
	if name == "" || name[0] == '/' {
		return false
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		switch name[start:i] {
		case "", ".", "..":
			return i == len(name) && i == start && start > 0
		}
		start = i + 1
	}
	return true
}

// simpleName is true for the name of a link's target that the kernel follows to
// just where its cleaned form leads.
func simpleName(name string) bool {
	return plainName(name) && !strings.HasSuffix(name, "/")
}

// rootApplies tells the two ways to name the root apart: moby's Unpack passes over
// an entry whose cleaned name is ".", and applies any other ("/").
func rootApplies(name string) bool { return path.Clean(name) != "." }

// splitName cuts a cleaned path into its parent ("" for the root) and its last
// component.
func splitName(name string) (dir, base string) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}
