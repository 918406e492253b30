package layer

import "sort"

// facts is everything about an inode that a layer says.
type facts struct {
	kind         byte
	mode         uint32
	uid, gid     uint32
	major, minor uint32
	size         int64
	hash         uint64
	digest       [32]byte
	mtime        int64
	nsec         uint32
	link         string
	uname, gname string
	records      records
}

// facts gives what the layers say about an inode, links to it included.
func (s *stack) facts(id uint32) facts {
	if f, ok := s.linked[id]; ok {
		return f
	}
	if id >= copyBit {
		return s.facts(s.copied[id-copyBit])
	}
	return s.entryFacts(id)
}

// entryFacts gives what one entry says.
func (s *stack) entryFacts(id uint32) facts {
	l := sort.Search(len(s.layers), func(i int) bool { return s.starts[i+1] > id })
	if l == len(s.layers) {
		return facts{kind: typeLink} // of the layer being checked: its entries aren't kept
	}
	x := s.layers[l]
	i := int(id - s.starts[l])
	e := x.entries.at(i)
	at := x.attr(e)
	f := facts{
		kind: at.kind, mode: at.mode, uid: at.uid, gid: at.gid, major: at.major, minor: at.minor,
		size: e.size, hash: e.hash, mtime: e.mtime, nsec: e.nsec, link: x.link(e),
		uname: at.uname, gname: at.gname, records: x.records(e),
	}
	if x.digests.n > 0 {
		f.digest = *x.digests.at(i)
	}
	return f
}

// madeMode is what an engine gives a directory that no entry lists.
func (c cell) madeMode() uint32 {
	if c.setgid {
		return 0o2755
	}
	return 0o755
}

func (s *stack) cellFacts(c cell) facts {
	if c.kind == cellMade {
		return facts{kind: typeDir, mode: c.madeMode()}
	}
	return s.facts(c.inode)
}

// afterLink applies a link's header to the inode: moby's createTarFile sets
// owner, xattrs, mode and times of the new name, which are the inode's. A
// symbolic link only takes the owner and the xattrs. So does any file if an lstat
// of the target, by its name as the link's header has it, finds a symbolic link or
// nothing. Setting the owner makes the kernel drop the capability and setuid.
func (s *stack) afterLink(inode, link uint32, target string) error {
	if s.layer >= len(s.layers) {
		return nil // the layer being checked: each header must say what the image shows
	}
	was, by := s.facts(inode), s.entryFacts(link)
	s.steps += int64(len(was.records) + len(by.records))
	now := was
	now.uid, now.gid = by.uid, by.gid
	now.records = afterLink(was.records, by.records)
	there, symlink := true, was.kind == typeSymlink
	if !simpleName(target) {
		there, symlink = s.lstat(target)
	}
	switch {
	case there && !symlink && was.kind == typeSymlink:
		return ErrLink // chmod would follow the link
	case there && !symlink:
		now.mode, now.mtime, now.nsec = by.mode, by.mtime, by.nsec
		now.records = now.records.chmod(by.records, by.mode)
	case was.kind != typeSymlink:
		now.mode = afterChown(was.mode)
	}
	s.become(inode, was, now)
	return nil
}

// afterListing is for a directory that its layer lists a second time: what it got
// by the first listing it keeps, unless the second sets it.
func (s *stack) afterListing(first, second uint32) {
	if s.layer >= len(s.layers) {
		return // the layer being checked lists nothing twice
	}
	was, now := s.facts(first), s.entryFacts(second)
	s.steps += int64(len(was.records) + len(now.records))
	said := now
	now.records = unite(was.records, now.records)
	s.become(second, said, now)
}

// become notes what an inode is from now on.
func (s *stack) become(inode uint32, was, now facts) {
	if now == was {
		return
	}
	if s.linked == nil {
		s.linked = map[uint32]facts{}
	}
	s.linked[inode] = now
}
