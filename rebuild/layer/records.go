package layer

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
)

const (
	xattrPrefix   = "SCHILY.xattr."
	capability    = xattrPrefix + "security.capability"
	overlayPrefix = xattrPrefix + "trusted.overlay."
	overlayOpaque = overlayPrefix + "opaque"
	sparsePrefix  = "GNU.sparse."
)

// headerKey is true for the PAX keys whose values are fields of entry or attr.
func headerKey(key string) bool {
	switch key {
	case "path", "linkpath", "size", "uid", "gid", "uname", "gname", "mtime":
		return true
	}
	return strings.HasPrefix(key, sparsePrefix)
}

// overlaysOwn is true for records with which overlayfs shows something else than
// the layer has. Below the lowest layer there is nothing else to show, but a
// whiteout hides itself there, too.
func overlaysOwn(r records, lowest bool) bool {
	opaque, redirect := false, false
	for r != "" {
		var k, v string
		k, v, r = r.next()
		if k, ok := strings.CutPrefix(k, overlayPrefix); ok {
			switch k {
			case "opaque":
				opaque = v == "y"
			case "redirect":
				redirect = !lowest
			case "metacopy":
				if !lowest {
					return true
				}
			case "whiteout":
				return true
			}
		}
	}
	return redirect && !opaque
}

// appendRecords appends a map's records, without those that the header holds.
func appendRecords(b []byte, m map[string]string, scratch *[]string) []byte {
	keys := (*scratch)[:0]
	for k := range m {
		if !headerKey(k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		b = appendField(b, k)
		b = appendField(b, m[k])
	}
	*scratch = keys
	return b
}

// afterLink gives the records of an inode once a link with records of its own
// has been made to it: the owner is set again, at which the kernel drops the
// capability, and then the link's xattrs are set.
func afterLink(inode, link records) records {
	merged := map[string]string{}
	for r := inode; r != ""; {
		var k, v string
		if k, v, r = r.next(); k != capability {
			merged[k] = v
		}
	}
	for r := link; r != ""; {
		var k, v string
		if k, v, r = r.next(); strings.HasPrefix(k, xattrPrefix) {
			merged[k] = v
		}
	}
	var scratch []string
	return records(appendRecords(nil, merged, &scratch)).settled()
}

// with gives the records with one set.
func (r records) with(key, value string) records {
	m := r.all()
	m[key] = value
	var scratch []string
	return records(appendRecords(nil, m, &scratch))
}

// without gives the records but for one.
func (r records) without(key string) records {
	m := r.all()
	delete(m, key)
	var scratch []string
	return records(appendRecords(nil, m, &scratch))
}

func (r records) all() map[string]string {
	m := map[string]string{}
	for r != "" {
		var k, v string
		k, v, r = r.next()
		m[k] = v
	}
	return m
}

// unite gives the records of a directory that its layer lists twice: engines make
// it once, and set the extended attributes of both listings.
func unite(first, second records) records {
	kept := first.xattrs()
	if kept == "" || kept == second.xattrs() {
		return second.settled()
	}
	merged := kept.all()
	maps.Copy(merged, second.all())
	var scratch []string
	return records(appendRecords(nil, merged, &scratch)).settled()
}

// afterChown is a mode once the owner has been set: the kernel drops setuid and, of
// a program, setgid.
func afterChown(mode uint32) uint32 {
	mode &^= 0o4000
	if mode&0o010 != 0 {
		mode &^= 0o2000
	}
	return mode
}

// sameXattrs compares the extended attributes and nothing else.
func (r records) sameXattrs(o records) bool {
	if r == o {
		return true
	}
	a, b := r.xattrs(), o.xattrs()
	return a == b
}

// xattrs gives the records that are extended attributes.
func (r records) xattrs() records {
	var b []byte
	for r != "" {
		var k, v string
		if k, v, r = r.next(); strings.HasPrefix(k, xattrPrefix) {
			b = binary.AppendUvarint(b, uint64(len(k)))
			b = append(b, k...)
			b = appendField(b, v)
		}
	}
	return records(b)
}
