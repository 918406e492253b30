package layer

import "strings"

// A directory's default ACL passes on to what is made in it (acl(5)): engines
// unpack into a file system, so that a file has an ACL for which no entry has a
// record. Their chmod comes last, and sets the owner's, the mask's and the others'
// permissions in it; what is kept here is an ACL before that.

const (
	accessACL  = xattrPrefix + "system.posix_acl_access"
	defaultACL = xattrPrefix + "system.posix_acl_default"

	aclVersion = "\x02\x00\x00\x00"
	// minimalACL is the length of an ACL that says no more than a mode does. The
	// kernel keeps no such access ACL.
	minimalACL = len(aclVersion) + 3*8
)

// hasACL is true for records with an ACL.
func (r records) hasACL() bool {
	return r != "" && strings.Contains(string(r), "system.posix_acl_")
}

// made gives the extended attributes of what an entry with these records makes in a
// directory with a default ACL, "" for none.
func (r records) made(parent string, dir bool) records {
	if parent == "" {
		return r.settled()
	}
	if _, own := r.get(accessACL); !own && len(parent) > minimalACL {
		r = r.with(accessACL, parent)
	}
	if _, own := r.get(defaultACL); !own && dir {
		r = r.with(defaultACL, parent)
	}
	return r.settled()
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
	return aclVersion + entry(0x01, 6) + entry(0x04, 3) + entry(0x20, 0)
}
