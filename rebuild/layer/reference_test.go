package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// The reference: what an overlay engine shows for a stack of layers, written
// down as plainly as possible. A directory is a map. Each layer is unpacked into
// a tree of its own, then overlaid on what is there.

type inode struct {
	kind    byte
	mode    int64
	uid     int
	gid     int
	mtime   string
	link    string
	device  string
	body    string
	names   string // uname:gname
	records map[string]string
	made    bool // a directory that no entry lists
}

type tnode struct {
	*inode
	children map[string]*tnode
	opaque   bool
	whiteout bool
	strange  bool // overlayfs shows something else here
}

func newMade() *tnode {
	return &tnode{inode: &inode{kind: tar.TypeDir, mode: 0o755, made: true, records: map[string]string{}}, children: map[string]*tnode{}}
}

func (n *tnode) isDir() bool { return !n.whiteout && n.kind == tar.TypeDir }

// reference holds an image's tree while layers are put on it.
type reference struct {
	root   *tnode
	layers int // on the tree
	copies map[*inode]*inode
	ofBase map[*inode]bool
}

// unpackPlain unpacks one layer into an empty directory. lower is what is below
// it, for links that reach there.
func (ref *reference) unpackPlain(b []byte, copyInodes bool) (*tnode, error) {
	root := newMade()
	top := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := top.Next()
		if err == io.EOF {
			return root, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		body, err := io.ReadAll(top)
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeGNUSparse {
			h.Typeflag = tar.TypeReg
		}
		n := &inode{kind: h.Typeflag, mode: h.Mode & 0o7777, uid: int(uint32(h.Uid)), gid: int(uint32(h.Gid)), mtime: fmt.Sprint(h.ModTime.UnixNano()),
			body: string(body), names: h.Uname + ":" + h.Gname, records: map[string]string{}}
		for k, v := range h.PAXRecords {
			switch k {
			case "path", "linkpath", "size", "mtime", "uid", "gid", "uname", "gname":
			default:
				if !strings.HasPrefix(k, "GNU.sparse.") {
					n.records[k] = v
				}
			}
		}
		name := path.Clean("/" + h.Name)
		if name == "/" && n.kind != tar.TypeDir {
			continue
		}
		if name == "/" {
			if path.Clean(h.Name) != "." {
				n.inherit(root.inode)
				n.settle()
				root.inode = n
			}
			continue
		}
		base := path.Base(name)
		strange := false
		for k := range n.records {
			if strings.HasPrefix(base, ".wh.") {
				break
			}
			switch strings.TrimPrefix(k, "SCHILY.xattr.trusted.overlay.") {
			case "redirect":
				strange = strange || ref.layers > 0 && n.records["SCHILY.xattr.trusted.overlay.opaque"] != "y"
			case "metacopy":
				strange = strange || ref.layers > 0
			case "whiteout":
				strange = true
			}
		}
		if strange && copyInodes {
			return nil, errStrange
		}
		mark := base == ".wh..wh..opq"
		parent, err := walkPlain(root, strings.Split(path.Dir(name), "/"), true, mark, false)
		if err == errBelowWhiteout && strings.HasPrefix(base, ".wh.") {
			continue
		}
		if err == errBelowWhiteout { // engines refuse it
			parent, err = walkPlain(root, strings.Split(path.Dir(name), "/"), true, false, true)
		}
		if err != nil {
			return nil, err
		}
		if mark {
			if parent != nil {
				parent.opaque = true
			}
			continue
		}
		if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
			if hidden == "" || hidden == "." || hidden == ".." {
				return nil, errors.New("invalid whiteout")
			}
			if at := parent.children[hidden]; at == nil {
				parent.children[hidden] = &tnode{inode: &inode{}, whiteout: true}
			} else if at.isDir() {
				at.opaque = true
			}
			continue
		}
		old := parent.children[base]
		switch h.Typeflag {
		case tar.TypeDir:
			if old != nil && old.isDir() {
				n.inherit(old.inode)
				n.settle()
				old.inode = n
			} else {
				n.madeIn(parent.inode)
				parent.children[base] = &tnode{inode: n, children: map[string]*tnode{}}
			}
			parent.children[base].strange = parent.children[base].strange || strange
			if n.records["SCHILY.xattr.trusted.overlay.opaque"] == "y" {
				parent.children[base].opaque = true
			}
		case tar.TypeLink:
			target, err := ref.linked(root, h.Linkname, copyInodes)
			if err != nil {
				return nil, err
			}
			if target == nil {
				parent.children[base] = &tnode{inode: &inode{}, whiteout: true}
				continue
			}
			target.uid, target.gid = n.uid, n.gid
			there := lstatPlain(root, h.Linkname)
			if path.Clean("/"+h.Linkname) == "/"+h.Linkname {
				there = target.kind // of a lower layer perhaps, where no engine looks
			}
			switch {
			case target.kind == tar.TypeSymlink:
				if there != 0 && there != tar.TypeSymlink {
					return nil, errors.New("chmod follows the link")
				}
			case there != 0 && there != tar.TypeSymlink:
				target.mode, target.mtime = n.mode, n.mtime
				const access = "SCHILY.xattr.system.posix_acl_access"
				if acl, ok := target.records[access]; ok {
					target.records[access] = chmodPlain(acl, n.mode)
				}
			default:
				target.mode &^= 0o4000
				if target.mode&0o010 != 0 {
					target.mode &^= 0o2000
				}
			}
			delete(target.records, "SCHILY.xattr.security.capability")
			for k, v := range n.records {
				if strings.HasPrefix(k, "SCHILY.xattr.") {
					target.records[k] = v
				}
			}
			target.settle()
			parent.children[base] = &tnode{inode: target}
		case tar.TypeSymlink:
			n.link = h.Linkname
			parent.children[base] = &tnode{inode: n}
		case tar.TypeChar, tar.TypeBlock:
			n.device = fmt.Sprint(h.Devmajor, ":", h.Devminor)
			n.madeIn(parent.inode)
			parent.children[base] = &tnode{inode: n}
		default:
			n.madeIn(parent.inode)
			parent.children[base] = &tnode{inode: n}
		}
	}
}

// madeIn gives a new file what a default ACL of its directory passes on.
func (n *inode) madeIn(dir *inode) {
	const access, others = "SCHILY.xattr.system.posix_acl_access", "SCHILY.xattr.system.posix_acl_default"
	if acl, ok := dir.records[others]; ok {
		if _, own := n.records[access]; !own {
			n.records[access] = chmodPlain(acl, n.mode)
		}
		if _, own := n.records[others]; !own && n.kind == tar.TypeDir {
			n.records[others] = acl
		}
	}
	n.settle()
}

// chmodPlain sets the mode's permissions in an ACL, those of its group in the mask.
func chmodPlain(acl string, mode int64) string {
	group := byte(0x04)
	if strings.Contains(acl, "\x10\x00") {
		group = 0x10
	}
	out := acl[:4]
	for acl = acl[4:]; len(acl) >= 8; acl = acl[8:] {
		perm := acl[2]
		switch acl[0] {
		case 0x01:
			perm = byte(mode >> 6 & 7)
		case group:
			perm = byte(mode >> 3 & 7)
		case 0x20:
			perm = byte(mode & 7)
		}
		out += acl[:2] + string([]byte{perm}) + acl[3:8]
	}
	return out
}

// settle drops the ACLs that say nothing: three entries are a mode.
func (n *inode) settle() {
	const access, others = "SCHILY.xattr.system.posix_acl_access", "SCHILY.xattr.system.posix_acl_default"
	if l := len(n.records[access]); l == 4 || l == 4+3*8 {
		delete(n.records, access)
	}
	if len(n.records[others]) == 4 {
		delete(n.records, others)
	}
}

var errBelowWhiteout = errors.New("below a whiteout")

// walkPlain goes to a directory through symbolic links of the same tree. To mark
// what is there it gives nil for anything but a directory. It makes a directory in
// place of a whiteout only if told to unhide.
func walkPlain(root *tnode, parts []string, create, mark, unhide bool) (*tnode, error) {
	trail := []*tnode{root}
	for links := 0; len(parts) > 0; {
		part := parts[0]
		parts = parts[1:]
		at := trail[len(trail)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(trail) > 1 {
				trail = trail[:len(trail)-1]
			}
			continue
		}
		next := at.children[part]
		mark := mark && len(parts) == 0
		switch {
		case create && next != nil && next.whiteout && !unhide:
			return nil, errBelowWhiteout
		case next == nil || next.whiteout:
			if !create {
				return nil, errors.New("not found")
			}
			if at.records["SCHILY.xattr.system.posix_acl_default"] != "" {
				return nil, errors.New("takes a default ACL")
			}
			dir := newMade()
			dir.mode |= at.mode & 0o2000
			dir.opaque = next != nil
			at.children[part] = dir
			next = dir
		case next.kind == tar.TypeSymlink:
			if links++; links > 40 {
				return nil, errors.New("loop")
			}
			if strings.HasPrefix(next.link, "/") {
				trail = trail[:1]
			}
			parts = append(strings.Split(strings.TrimRight(next.link, "/"), "/"), parts...)
			continue
		case mark && !next.isDir():
			return nil, nil
		case !next.isDir():
			return nil, errors.New("not a directory")
		}
		trail = append(trail, next)
	}
	return trail[len(trail)-1], nil
}

// inherit leaves a directory that is listed again the xattrs that it has.
func (n *inode) inherit(first *inode) {
	for k, v := range first.records {
		if _, set := n.records[k]; !set && strings.HasPrefix(k, "SCHILY.xattr.") {
			n.records[k] = v
		}
	}
}

// lstatPlain is the type of what a path of a layer leads to as it stands; 0 for
// nothing.
func lstatPlain(root *tnode, name string) byte {
	parts := strings.Split(name, "/")
	last := parts[len(parts)-1]
	dir, err := walkPlain(root, parts[:len(parts)-1], false, false, false)
	if err != nil {
		return 0
	}
	if last == "" || last == "." || last == ".." {
		return tar.TypeDir
	}
	switch at := dir.children[last]; {
	case at == nil:
		return 0
	case at.whiteout:
		return tar.TypeChar
	default:
		return at.kind
	}
}

// linked gives the inode that a hard link means, nil for a whiteout.
func (ref *reference) linked(own *tnode, name string, copyInodes bool) (*inode, error) {
	name = path.Clean("/" + name)
	for i, root := range []*tnode{own, ref.root} {
		dir, err := walkPlain(root, strings.Split(path.Dir(name), "/"), false, false, false)
		if err != nil {
			continue
		}
		at := dir.children[path.Base(name)]
		if i == 0 && at != nil && at.whiteout {
			return nil, nil
		}
		if at == nil || at.whiteout || at.isDir() {
			continue
		}
		if i == 0 || !copyInodes {
			return at.inode, nil
		}
		if !ref.ofBase[at.inode] {
			return at.inode, nil
		}
		if c := ref.copies[at.inode]; c != nil {
			return c, nil
		}
		c := *at.inode
		c.records = maps.Clone(c.records)
		ref.copies[at.inode] = &c
		return &c, nil
	}
	return nil, errors.New("link target not found")
}

var errStrange = errors.New("overlayfs shows something else")

// overlay lays one tree over another. Above the base it panics with errStrange at a
// directory over one that overlayfs shows something else for.
func overlay(lower, upper *tnode, above bool) *tnode {
	out := &tnode{inode: upper.inode, children: map[string]*tnode{}, strange: upper.strange}
	if lower != nil && lower.isDir() && !upper.opaque {
		if lower.strange && above {
			panic(errStrange)
		}
		out.strange = out.strange || lower.strange
		maps.Copy(out.children, lower.children)
	}
	for name, up := range upper.children {
		low := out.children[name]
		switch {
		case up.whiteout:
			delete(out.children, name)
		case up.isDir():
			out.children[name] = overlay(low, up, above)
		default:
			out.children[name] = up
		}
	}
	return out
}

// apply puts a layer on the tree.
func (ref *reference) apply(b []byte, copyInodes bool) (err error) {
	defer func() {
		if r := recover(); r == errStrange {
			err = errStrange
		} else if r != nil {
			panic(r)
		}
	}()
	up, err := ref.unpackPlain(b, copyInodes)
	if err != nil {
		return err
	}
	up.opaque = false // overlayfs unites the roots
	ref.root = overlay(ref.root, up, copyInodes)
	ref.layers++
	return nil
}

// boundary ends the base: links from above can't reach its inodes.
func (ref *reference) boundary() {
	ref.ofBase = map[*inode]bool{}
	ref.copies = map[*inode]*inode{}
	var walk func(n *tnode)
	walk = func(n *tnode) {
		ref.ofBase[n.inode] = true
		for _, c := range n.children {
			walk(c)
		}
	}
	walk(ref.root)
}

// applyAll applies a whole stack, of which the lowest base layers are the base.
func applyAll(tars [][]byte, base int) (*reference, error) {
	ref := &reference{root: newMade()}
	for i, b := range tars {
		if i == base {
			ref.boundary()
		}
		if err := ref.apply(b, i >= base); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return ref, nil
}

// dump describes a tree, one line a path.
func (ref *reference) dump() []string {
	first := map[*inode]string{}
	var lines []string
	var walk func(name string, n *tnode)
	walk = func(name string, n *tnode) {
		what := fmt.Sprintf("%q %c %o %d:%d %s link=%q dev=%s body=%q", name, n.kind, n.mode, n.uid, n.gid, n.names, n.link, n.device, n.body)
		if n.made {
			what = fmt.Sprintf("%q %c %o %d:%d : link=\"\" dev= body=\"\" time=?", name, n.kind, n.mode, n.uid, n.gid)
		} else {
			what += " time=" + n.mtime
		}
		for _, k := range slices.Sorted(maps.Keys(n.records)) {
			what += fmt.Sprintf(" %q=%q", k, n.records[k])
		}
		if !n.isDir() {
			if f, ok := first[n.inode]; ok {
				what += " = " + f
			} else {
				first[n.inode] = name
			}
		}
		lines = append(lines, what)
		for _, k := range slices.Sorted(maps.Keys(n.children)) {
			walk(name+"/"+k, n.children[k])
		}
	}
	walk("", ref.root)
	return lines
}

// sameTree fails if two dumps differ; a directory that one side has made without
// an entry may have any time on the other.
func sameTree(t testing.TB, want, have []string) bool {
	t.Helper()
	norm := func(lines, other []string) []string {
		loose := map[string]bool{}
		for _, l := range append(slices.Clone(lines), other...) {
			if head, ok := strings.CutSuffix(l, " time=?"); ok {
				loose[head] = true
			}
		}
		out := slices.Clone(lines)
		for i, l := range out {
			if head, _, ok := strings.Cut(l, " time="); ok && loose[head] {
				out[i] = head + " time=?"
			}
		}
		return out
	}
	w, h := norm(want, have), norm(have, want)
	if slices.Equal(w, h) {
		return true
	}
	for _, l := range w {
		if !slices.Contains(h, l) {
			t.Errorf("want %s", l)
		}
	}
	for _, l := range h {
		if !slices.Contains(w, l) {
			t.Errorf("have %s", l)
		}
	}
	return false
}
