package layer

import "strings"

// A directory's default ACL passes on to what is made in it (acl(5)): engines
// unpack into a file system, so that a file has an ACL for which no entry has a
// record. chmod sets the owner's, the mask's and the others' permissions in it. It
// comes last with moby, and before the ACL with podman; so an ACL that no record has
// is spelled out as chmod leaves it.

const (
	accessACL  = xattrPrefix + "system.posix_acl_access"
	defaultACL = xattrPrefix + "system.posix_acl_default"

	aclVersion = "\x02\x00\x00\x00"
	// minimalACL is the length of an ACL that says no more than a mode does. The
	// kernel keeps no such access ACL.
	minimalACL = len(aclVersion) + 3*8

	// Entries are a tag, permissions and an ID, of 2, 2 and 4 bytes.
	aclOwner, aclGroup, aclMask, aclOthers = 0x01, 0x04, 0x10, 0x20
)

// hasACL is true for records with an ACL.
func (r records) hasACL() bool {
	return r != "" && strings.Contains(string(r), "system.posix_acl_")
}

// made gives the extended attributes of what an entry with these records makes in a
// directory with a default ACL, "" for none.
func (r records) made(parent string, mode uint32, dir bool) records {
	if parent == "" {
		return r.settled()
	}
	if _, own := r.get(accessACL); !own && len(parent) > minimalACL {
		r = r.with(accessACL, chmodACL(parent, mode))
	}
	if _, own := r.get(defaultACL); !own && dir {
		r = r.with(defaultACL, parent)
	}
	return r.settled()
}

// chmod gives the records after a link's header, with records of its own, has set
// the mode.
func (r records) chmod(link records, mode uint32) records {
	if !r.hasACL() {
		return r
	}
	acl, there := r.get(accessACL)
	if _, own := link.get(accessACL); own || !there {
		return r
	}
	return r.with(accessACL, chmodACL(acl, mode))
}

// chmodACL is what chmod makes of an access ACL.
func chmodACL(acl string, mode uint32) string {
	b := []byte(acl)
	group := -1 // where the group's permissions in the mode are: the mask, if there is one
	for i := len(aclVersion); i+8 <= len(b); i += 8 {
		switch b[i] {
		case aclOwner:
			b[i+2] = byte(mode >> 6 & 7)
		case aclGroup:
			if group < 0 {
				group = i
			}
		case aclMask:
			group = i
		case aclOthers:
			b[i+2] = byte(mode & 7)
		}
	}
	if group >= 0 {
		b[group+2] = byte(mode >> 3 & 7)
	}
	return string(b)
}

// settled leaves out the ACLs that the kernel takes for none.
func (r records) settled() records {
	if !r.hasACL() {
		return r
	}
	if acl, _ := r.get(accessACL); len(acl) == minimalACL || acl == aclVersion {
		r = r.without(accessACL)
	}
	if acl, _ := r.get(defaultACL); acl == aclVersion {
		r = r.without(defaultACL)
	}
	return r
}

// unmade gives the records with which an entry makes something of just these
// attributes in a directory with a default ACL.
func (r records) unmade(parent string, mode uint32, dir bool) records {
	if parent == "" {
		return r
	}
	if _, own := r.get(accessACL); !own && len(parent) > minimalACL {
		r = r.with(accessACL, modeACL(mode))
	}
	if _, own := r.get(defaultACL); !own && dir {
		r = r.with(defaultACL, aclVersion)
	}
	return r
}

// modeACL is the ACL that says what a mode says.
func modeACL(mode uint32) string {
	entry := func(tag byte, shift int) string {
		return string([]byte{tag, 0, byte(mode >> shift & 7), 0, 0xff, 0xff, 0xff, 0xff})
	}
	return aclVersion + entry(aclOwner, 6) + entry(aclGroup, 3) + entry(aclOthers, 0)
}
