package layer

import (
	"fmt"
	"strings"
)

// applier puts layers on a tree, one after another.
type applier struct {
	*tree
	layers []*Index
	starts []uint32 // starts[i] is the number of entries below layer i; one more at the end

	layer   int // being applied
	entry   uint32
	base    int // layers below this are the base's
	whites  []uint32
	opaques []uint32
	acls    map[uint32]string // default ACLs of directories that the layer has
	united  []uint32          // directories over ones that overlayfs shows something else for
	linked  bool              // the directory just walked to lies beyond a symbolic link

	inherited bool // a directory of an upper layer has a default ACL

	// changed holds what inodes have become by later entries of their layer.
	changed map[inodeKey]change
	// lost is told of every name that goes, before it goes.
	lost func(id uint32, deleted bool)
}

// inodeKey is an inode: the entry that made it. A link from an upper layer to a
// file of the base can't reach the base's inode: it makes a copy, a second
// inode from the same entry.
type inodeKey struct {
	entry uint32
	copy  bool
}

// change is an inode's state after links to it, or a directory's that its layer
// lists twice.
type change struct {
	uid, gid uint32
	mode     uint32
	mtime    int64
	nsec     uint32
	records  records
}

// at finds an entry by its number in the image.
func (a *applier) at(id uint32) (*Index, *entry) {
	l := a.layerOf(id)
	x := a.layers[l]
	return x, x.entries.at(int(id - a.starts[l]))
}

func (a *applier) layerOf(id uint32) int {
	lo, hi := 0, len(a.layers)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; a.starts[mid] <= id {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// here is true for a path that the layer being applied has itself.
func (a *applier) here(id uint32) bool {
	n := &a.nodes[id]
	return n.kind != absent && int(n.layer) == a.layer && (n.entry != none || id == 0)
}

// apply puts layer i, the next one, on the tree.
func (a *applier) apply(i int) error {
	x := a.layers[i]
	a.layer = i
	a.whites, a.opaques, a.united = a.whites[:0], a.opaques[:0], a.united[:0]
	clear(a.acls)
	root := &a.nodes[0]
	root.layer = uint16(i)
	root.flags = root.flags&^rootForm | implied
	for k := range x.entries.n {
		a.entry = a.starts[i] + uint32(k)
		e := x.entries.at(k)
		err := a.add(x, e)
		if err == nil {
			err = a.check()
		}
		if err != nil {
			return a.fail(x.name(e), err)
		}
	}
	for _, id := range a.opaques {
		if n := &a.nodes[id]; n.kind == directory {
			a.sweep(id)
		}
		if err := a.check(); err != nil {
			return a.fail("", err)
		}
	}
	for _, id := range a.united {
		if a.nodes[id].flags&strange != 0 && a.layer >= a.base {
			return a.fail(a.path(id), ErrOverlay)
		}
	}
	for _, id := range a.whites {
		n := &a.nodes[id]
		if n.flags&pending == 0 {
			continue
		}
		n.flags &^= pending
		a.remove(id, true)
		if err := a.check(); err != nil {
			return a.fail("", err)
		}
	}
	return nil
}

// fail says where applying a layer ends; a context's error stays what it is.
func (a *applier) fail(path string, err error) error {
	if err == a.ctx.Err() {
		return err
	}
	return &Error{Op: "merge", Layer: a.layer, Path: path, Err: err}
}

// add applies one entry.
func (a *applier) add(x *Index, e *entry) error {
	at := x.attr(e)
	dir, base := x.split(e)
	if base == "" {
		if at.kind != typeDir {
			return nil // engines pass over "./" of any kind
		}
		root := &a.nodes[0]
		if root.flags&rootForm != 0 && !at.slash {
			return nil // the layer has set the root's metadata
		}
		if root.flags&rootForm != 0 {
			a.relist(root.entry, x, e)
		}
		root.entry, root.inode = a.entry, a.entry
		if at.slash {
			root.flags = root.flags&^implied | rootForm
			a.make(0, x, e, "")
		}
		return nil
	}
	kind, hidden := whiteoutName(base)
	if kind == nameInvalid {
		return ErrWhiteout
	}
	odd := kind == nameOrdinary && overlaysOwn(x.records(e), a.layer == 0)
	if odd && a.layer >= a.base {
		return ErrOverlay
	}
	parent, err := a.directory(dir, kind)
	if err != nil {
		return err
	}
	switch kind {
	case nameOpaque:
		if parent != none {
			a.mark(parent)
		}
		return nil
	case nameWhiteout:
		if parent == none {
			return nil
		}
		base = hidden
	}
	if a.linked {
		n := a.pathLength(parent)
		if a.memory += int64(n); n+1+len(base) > maxPath {
			return fmt.Errorf("path of %d bytes beyond symbolic links, %d are possible: %w", n+1+len(base), maxPath, ErrLimit)
		}
	}
	inode, hides, reached := a.entry, kind == nameWhiteout, false
	if at.kind == typeLink && !hides {
		if inode, hides, err = a.target(x.link(e)); err != nil {
			return err
		}
		reached = a.reached(x.link(e))
	}
	id, err := a.addChild(parent, base)
	if err != nil {
		return err
	}
	if kind == nameWhiteout {
		a.whiteout(id)
		return nil
	}
	if hides {
		// A link to a whiteout is a whiteout, and takes what its layer has there.
		if a.here(id) {
			a.remove(id, true)
		}
		a.whiteout(id)
		return nil
	}
	if at.kind == typeLink {
		if err := a.relink(inode, x, e, reached); err != nil {
			return err
		}
	}
	if at.kind == typeDir {
		inherits := a.acls[parent]
		a.touch(id)
		if n := &a.nodes[id]; n.kind != directory {
			if int(n.layer) == a.layer && n.flags&overDir != 0 {
				// A lower directory would show again, but the tree has forgotten it:
				// the first of the two entries has hidden it.
				return ErrTwice
			}
			a.remove(id, false)
		} else {
			if n.flags&strange != 0 {
				a.united = append(a.united, id)
			}
			if a.lost != nil {
				a.lost(id, false)
			}
			if a.here(id) {
				inherits = "" // it is there already
				if n.flags&implied == 0 {
					a.relist(n.entry, x, e)
				}
			}
		}
		a.set(id, directory, a.entry)
		a.make(id, x, e, inherits)
		a.flag(id, strange, odd || a.nodes[id].flags&strange != 0)
		a.flag(id, dressed, a.layer < a.base && unlikeMade(x, e))
		a.flag(id, doubtful, false)
		if v, ok := x.records(e).get(overlayOpaque); ok && v == "y" {
			a.mark(id)
		}
		return nil
	}
	a.touch(id)
	a.remove(id, false)
	a.set(id, other, inode)
	if at.kind != typeLink && at.kind != typeSymlink {
		a.make(id, x, e, a.acls[parent])
	}
	a.flag(id, strange, odd)
	return nil
}

// whiteout notes a whiteout. It hides something only at the layer's end: an entry
// of the layer's own may take the path yet, which makes the whiteout void. In the
// orders that engines refuse, it hides what lower layers have below a directory
// of the layer's own.
func (a *applier) whiteout(id uint32) {
	n := &a.nodes[id]
	switch {
	case a.here(id) && n.kind == directory:
		a.mark(id)
	case !a.here(id) && n.flags&pending == 0:
		n.flags |= pending
		a.whites = append(a.whites, id)
	}
}

// mark notes an opaque directory. The root can't be one.
func (a *applier) mark(id uint32) {
	if id != 0 {
		a.opaques = append(a.opaques, id)
	}
}

func (a *applier) flag(id uint32, f uint16, on bool) {
	a.nodes[id].flags &^= f
	if on {
		a.nodes[id].flags |= f
	}
}

// touch notes what lower layers have at a path, before the layer puts something
// there.
func (a *applier) touch(id uint32) {
	if n := &a.nodes[id]; int(n.layer) != a.layer {
		a.flag(id, overDir, n.kind == directory)
	}
}

func (a *applier) set(id uint32, kind nodeKind, inode uint32) {
	n := &a.nodes[id]
	n.kind, n.entry, n.inode, n.layer = kind, a.entry, inode, uint16(a.layer)
	n.flags &^= pending | implied
}

// directory finds a directory by its path, following links that this layer
// made, and makes it part of this layer. For an opaque marker it gives none if
// this layer has something else there, and for a marker or a whiteout if it is
// below a whiteout of this layer: they change nothing then.
func (a *applier) directory(path string, purpose nameKind) (uint32, error) {
	from, hops := uint32(0), 0
	a.linked = false
	for path != "" {
		var part string
		part, path, _ = strings.Cut(path, "/")
		a.steps++
		switch part {
		case "", ".":
			continue
		case "..": // only a link's target has it
			if from != 0 {
				from = a.nodes[from].parent
			}
			continue
		}
		id, err := a.addChild(from, part)
		if err != nil {
			return none, err
		}
		n := &a.nodes[id]
		switch {
		case purpose != nameOrdinary && !a.here(id) && n.flags&pending != 0:
			return none, nil
		case !a.here(id):
			a.touch(id)
			if n.kind != directory {
				a.remove(id, false)
			} else {
				if n.flags&strange != 0 {
					a.united = append(a.united, id)
				}
				if a.lost != nil {
					a.lost(id, false)
				}
				if n.flags&implied == 0 && int(n.layer) >= a.base {
					x, e := a.at(n.entry)
					a.flag(id, doubtful, unlikeMade(x, e))
				}
			}
			if n.flags&pending != 0 {
				a.mark(id)
			}
			if a.acls[from] != "" {
				return none, ErrACL
			}
			n.kind, n.entry, n.inode, n.layer = directory, a.entry, none, uint16(a.layer)
			n.flags = n.flags&^(setgid|pending) | implied
			if a.setgid(from) {
				n.flags |= setgid
			}
		case n.kind == other:
			target, ok := a.symlink(n.inode)
			if !ok {
				if purpose == nameOpaque && path == "" {
					return none, nil
				}
				return none, ErrNotDirectory
			}
			if hops++; hops > maxLinks {
				return none, ErrLoop
			}
			a.linked = true
			if strings.HasPrefix(target, "/") {
				from = 0
			}
			path = target + "/" + path
			continue
		}
		from = id
	}
	return from, nil
}

// unlikeMade is true for a directory's entry with other metadata than engines give
// a directory that they make.
func unlikeMade(x *Index, e *entry) bool {
	at, records := x.attr(e), x.records(e)
	return at.mode&0o7777 != 0o755 || at.uid != 0 || at.gid != 0 || records != "" && records.xattrs() != ""
}

// setgid is true for a directory of this layer that has the bit so far: what is
// made in it inherits the bit (inode_init_owner in the kernel), and moby's
// MkdirAllAndChownNew leaves it there.
func (a *applier) setgid(id uint32) bool {
	n := &a.nodes[id]
	if n.flags&implied != 0 {
		return n.flags&setgid != 0
	}
	x, e := a.at(n.entry)
	return x.attr(e).mode&0o2000 != 0
}

// symlink gives a symbolic link's target.
func (a *applier) symlink(inode uint32) (string, bool) {
	x, e := a.at(inode)
	if x.attr(e).kind != typeSymlink {
		return "", false
	}
	return x.link(e), true
}

// target finds the inode that a hard link of this layer means: the layer's own
// file of that name or else, where engines give up, that of a lower layer. The
// target may also be a whiteout of this layer.
func (a *applier) target(name string) (inode uint32, whiteout bool, err error) {
	name = cleanName(name)
	for _, own := range []bool{true, false} {
		id := a.find(name, own)
		if id == none {
			continue
		}
		if own && !a.here(id) {
			return none, true, nil
		}
		if !own && a.here(id) {
			break // not what lower layers have there; that is forgotten
		}
		if a.nodes[id].kind == other {
			return a.nodes[id].inode, false, nil
		}
	}
	return none, false, ErrLink
}

// find looks a path up, following links in its parents. If own is set it sees
// only what this layer has, a whiteout at the path included.
func (a *applier) find(path string, own bool) uint32 {
	from, hops := uint32(0), 0
	for path != "" {
		var part string
		part, path, _ = strings.Cut(path, "/")
		a.steps++
		switch part {
		case "", ".":
			continue
		case "..":
			if from != 0 {
				from = a.nodes[from].parent
			}
			continue
		}
		id := a.child(from, part)
		if id == none {
			return none
		}
		if own && path == "" && a.nodes[id].flags&pending != 0 {
			return id
		}
		if a.nodes[id].kind == absent || own && !a.here(id) {
			return none
		}
		if path != "" && a.nodes[id].kind == other {
			if !own && a.here(id) {
				return none // not what lower layers have there; that is forgotten
			}
			target, ok := a.symlink(a.nodes[id].inode)
			if hops++; !ok || hops > maxLinks {
				return none
			}
			if strings.HasPrefix(target, "/") {
				from = 0
			}
			path = target + "/" + path
			continue
		}
		from = id
	}
	return from
}

// reached is true if the name of a link's target leads to something other than a
// symbolic link when the kernel follows it. Engines link the cleaned name, but take
// mode and times from a link's header only where the name as it stands is found:
// not "x/" for a file.
func (a *applier) reached(name string) bool {
	if simpleName(name) {
		return true
	}
	if strings.HasSuffix(name, "/") {
		name += "."
	}
	id := a.find(name, true)
	if id == none {
		return false
	}
	if n := &a.nodes[id]; n.kind == other && n.flags&pending == 0 {
		_, link := a.symlink(n.inode)
		return !link
	}
	return true
}

// relink notes what a link's header does to the inode.
func (a *applier) relink(inode uint32, x *Index, e *entry, reached bool) error {
	key := a.key(inode, a.entry)
	ix, ie := a.at(inode)
	kind := ix.attr(ie).kind
	if kind == typeSymlink && reached && !simpleName(x.link(e)) {
		return ErrLink // engines change what the symbolic link leads to
	}
	was, by := a.stateOf(key), changeOf(x, e)
	if was.records != by.records {
		a.steps += int64(len(was.records) + len(by.records))
	}
	a.note(key, was, was.afterLink(by, kind, reached))
	return nil
}

// relist notes what a second listing of a directory by its layer leaves of the
// first: the extended attributes that it doesn't set itself.
func (a *applier) relist(first uint32, x *Index, e *entry) {
	was := a.stateOf(inodeKey{entry: first})
	now := changeOf(x, e)
	a.steps += int64(len(was.records) + len(now.records))
	now.records = unite(was.records, now.records)
	a.note(inodeKey{entry: a.entry}, changeOf(x, e), now)
}

// make notes the ACLs of what the layer being applied makes in a directory with a
// default ACL, "" for none. What the base makes is of no consequence: its layers
// stay as they are.
func (a *applier) make(id uint32, x *Index, e *entry, inherits string) {
	if a.layer < a.base || inherits == "" && len(a.acls) == 0 && !x.records(e).hasACL() {
		return
	}
	dir := x.attr(e).kind == typeDir
	key := inodeKey{entry: a.entry}
	was := a.stateOf(key)
	now := was
	now.records = was.records.made(inherits, was.mode, dir)
	a.note(key, was, now)
	delete(a.acls, id)
	if acl, ok := now.records.get(defaultACL); ok && dir {
		if a.acls == nil {
			a.acls = map[uint32]string{}
		}
		a.acls[id] = acl
		a.inherited = true
	}
}

// note keeps what has become of an inode.
func (a *applier) note(key inodeKey, was, now change) {
	if now == was {
		return
	}
	if a.changed == nil {
		a.changed = map[inodeKey]change{}
	}
	a.changed[key] = now
}

// stateOf gives what has become of an inode so far.
func (a *applier) stateOf(key inodeKey) change {
	if c, ok := a.become(key); ok {
		return c
	}
	x, e := a.at(key.entry)
	return changeOf(x, e)
}

// become gives what later entries have made of an inode, if they have. A copy begins
// as what the base's own have made of its inode.
func (a *applier) become(key inodeKey) (change, bool) {
	if c, ok := a.changed[key]; ok || !key.copy {
		return c, ok
	}
	c, ok := a.changed[inodeKey{entry: key.entry}]
	return c, ok
}

// changeOf is what an entry itself says.
func changeOf(x *Index, e *entry) change {
	at := x.attr(e)
	return change{uid: at.uid, gid: at.gid, mode: at.mode, mtime: e.mtime, nsec: e.nsec, records: x.records(e)}
}

// afterLink is an inode's state after a link with a header of its own.
func (c change) afterLink(link change, kind byte, reached bool) change {
	c.uid, c.gid = link.uid, link.gid
	if !c.records.sameXattrs(link.records) {
		c.records = afterLink(c.records, link.records)
	}
	switch {
	case kind == typeSymlink:
	case reached:
		c.mode, c.mtime, c.nsec = link.mode, link.mtime, link.nsec
		c.records = c.records.chmod(link.records, c.mode)
	default:
		c.mode = afterChown(c.mode)
	}
	return c
}

// key tells an inode of the base from the copy that a name made by entry by has.
func (a *applier) key(inode, by uint32) inodeKey {
	edge := a.starts[a.base]
	return inodeKey{inode, inode < edge && by >= edge}
}

// remove takes a path and everything below it away.
func (a *applier) remove(id uint32, deleted bool) {
	n := &a.nodes[id]
	if n.kind == absent {
		return
	}
	if n.kind == directory {
		a.below(id, func(id uint32) bool { return a.drop(id, deleted) })
	}
	a.drop(id, deleted)
}

func (a *applier) drop(id uint32, deleted bool) bool {
	n := &a.nodes[id]
	if n.kind == absent {
		n.flags &^= pending // a whiteout of the layer goes with its directory
		return false        // what is below went with it
	}
	if a.lost != nil {
		a.lost(id, deleted)
	}
	dir := n.kind == directory
	n.kind = absent
	n.flags = n.flags&^(pending|implied|dressed|doubtful|strange) | cut
	return dir
}

// sweep takes away what lower layers have below a directory.
func (a *applier) sweep(id uint32) {
	a.nodes[id].flags = a.nodes[id].flags&^strange | cut
	a.below(id, func(id uint32) bool {
		n := &a.nodes[id]
		if n.kind == absent {
			return false
		}
		if a.here(id) {
			n.flags |= cut
			return n.kind == directory
		}
		a.remove(id, true)
		return false
	})
}
