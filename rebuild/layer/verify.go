package layer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// VerifyOptions are for NewVerifier.
type VerifyOptions struct {
	Content bool // compare contents by SHA-256; the layers must have been read with ReadOptions.Content
	First   int  // how many differences to keep; 0 means 10
	// Unpacked says that the layer to check is what an engine made of files that
	// it had unpacked: owner names are that engine's own then, and of the PAX
	// records only xattrs have ever been in a file system.
	Unpacked bool
	Windows  bool // but the records count in which Windows has a file's attributes and access rights
}

// windowsPrefix begins those records (hcsshim, internal/wclayer, and go-winio,
// backuptar).
const windowsPrefix = "MSWINDOWS."

// Verifier knows what an image shows, and checks a layer made to replace the
// image's upper ones. It has a plain model of its own for that (unpack a layer
// into an empty directory, lay the directory over the others) and shares with
// Merge only the reading of tars.
type Verifier struct {
	opt    VerifyOptions
	stack  *stack
	want   []cell // what all the layers show
	under  []cell // what the base shows
	upper  bool   // there are layers above the base
	root   rootCell
	diffs  []Difference
	ndiffs int
}

// NewVerifier works out what the image of the given layers shows, lowest first,
// of which the lowest base ones will be kept.
func NewVerifier(ctx context.Context, layers []*Index, base int, opt VerifyOptions) (*Verifier, error) {
	if opt.First == 0 {
		opt.First = 10
	}
	v := &Verifier{opt: opt, upper: base < len(layers)}
	s := newStack(ctx, layers, base)
	v.stack = s
	for i, x := range layers {
		if opt.Content && x.digests.n != x.entries.n {
			return nil, &Error{Op: "verify", Layer: i, Err: errNotHashed}
		}
		if i == base {
			v.under = slices.Clone(s.view)
		}
		if err := s.add("verify", i); err != nil {
			return nil, err
		}
	}
	if base == len(layers) {
		v.under = slices.Clone(s.view)
	}
	v.want, v.root = s.view, s.root
	return v, nil
}

var errNotHashed = errors.New("its contents were not hashed when it was read")

// add unpacks the layer of number i and lays it over what is there. op is what
// an error calls the work.
func (s *stack) add(op string, i int) error {
	x := s.layers[i]
	s.begin(i)
	for k := range x.entries.n {
		e := x.entries.at(k)
		at := x.attr(e)
		dir, base := x.split(e)
		it := item{id: s.starts[i] + uint32(k), dir: dir, base: base, kind: at.kind, mode: at.mode, slash: at.slash}
		it.attributes(x.records(e), i == 0)
		if at.kind == typeLink {
			it.link = x.link(e)
		}
		_, err := s.unpack(it)
		if err == nil {
			err = s.check()
		}
		if err != nil {
			if err == s.ctx.Err() {
				return err
			}
			return &Error{Op: op, Layer: i, Path: x.name(e), Err: err}
		}
	}
	if at := s.lay(); at != nowhere {
		return &Error{Op: op, Layer: i, Path: s.path(at), Err: ErrOverlay}
	}
	return nil
}

// Check reads the tar of a layer to its end and compares what it gives over the
// base with the image. What differs comes back as a *DifferenceError. A Verifier
// serves for one Check.
func (v *Verifier) Check(ctx context.Context, r io.Reader) error {
	err := v.check(ctx, r)
	if err != nil {
		drain(ctx, r) // whoever writes the layer mustn't get stuck
		return err
	}
	if v.ndiffs > 0 {
		return &DifferenceError{Count: v.ndiffs, First: v.diffs}
	}
	return nil
}

// drain reads the rest of r.
func drain(ctx context.Context, r io.Reader) {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	for ctx.Err() == nil {
		if _, err := r.Read(*b); err != nil {
			return
		}
	}
}

func (v *Verifier) check(ctx context.Context, r io.Reader) error {
	s := v.stack
	layer := len(s.layers)
	s.view = v.under
	for len(s.view) < len(s.places) {
		s.view = append(s.view, cell{})
	}
	s.begin(layer)
	s.root = rootCell{}
	first := s.starts[layer]
	next := first
	scan := scanner{ctx: ctx, layer: s.base, content: v.opt.Content, budget: new(Budget)}
	image := s.bytes
	s.ctx, s.steps = ctx, 0
	err := scan.scan(r, func(h *header) error {
		s.bytes = image + scan.read
		if err := s.check(); err != nil {
			if err == ctx.Err() {
				return err
			}
			return &Error{Op: "verify", Layer: layer, Path: strings.Clone(h.name), Err: err}
		}
		dir, base := splitName(h.name)
		it := item{id: next, dir: dir, base: base, kind: h.kind, mode: h.mode, slash: h.slash}
		it.attributes(h.records, s.base == 0)
		if h.kind == typeLink {
			it.link = h.link
		}
		next++
		at, err := s.unpack(it)
		if err != nil { // an engine would refuse the layer
			v.note(Difference{Path: "/" + h.name, What: err.Error()})
			return nil
		}
		v.entry(at, h)
		return nil
	})
	if err != nil {
		return err
	}
	for _, at := range s.idle() {
		v.differ(at, "whiteout of nothing", "", "")
	}
	if at := s.lay(); at != nowhere {
		v.differ(at, ErrOverlay.Error(), "", "")
	}
	v.compare(first)
	return nil
}

func (v *Verifier) differ(at uint32, what, want, have string) {
	path := ""
	if len(v.diffs) < v.opt.First {
		path = "/" + v.stack.path(at)
	}
	v.note(Difference{path, what, want, have})
}

func (v *Verifier) note(d Difference) {
	v.ndiffs++
	if len(v.diffs) < v.opt.First {
		d.Have = strings.Clone(d.Have) // may be part of a read buffer
		v.diffs = append(v.diffs, d)
	}
}

// entry compares a produced entry with what the image has at its path.
func (v *Verifier) entry(at uint32, h *header) {
	if at == nowhere {
		return // a whiteout
	}
	s := v.stack
	have := facts{
		kind: h.kind, mode: h.mode, uid: h.uid, gid: h.gid, major: h.major, minor: h.minor, size: h.size, hash: h.hash,
		mtime: h.mtime, nsec: h.nsec, link: h.link, uname: h.uname, gname: h.gname, records: h.records, digest: h.digest,
	}
	have.records = s.xattrs
	if at == 0 {
		switch {
		case v.root.id == nowhere:
			v.differ(0, "metadata of the root: not in the source", "", "")
		case v.root.applies != h.slash:
			v.differ(0, "metadata of the root", formWord(v.root.applies), formWord(h.slash))
		default:
			v.same(0, s.facts(v.root.id), have)
		}
		return
	}
	if s.again {
		v.differ(at, "listed twice", "", "")
	}
	if int(at) >= len(v.want) {
		v.differ(at, "not in the source", "", "")
		return
	}
	want := v.want[at]
	switch {
	case want.kind == cellNone:
		v.differ(at, "not in the source", "", "")
	case want.kind == cellMade:
		if h.kind != typeDir {
			v.differ(at, "type", "directory", kindWord(h.kind))
			return
		}
		// Nobody owns it; its time is that of the unpacking.
		v.same(at, facts{kind: typeDir, mode: want.madeMode(), mtime: h.mtime, nsec: h.nsec, uname: h.uname, gname: h.gname}, have)
	default:
		w := s.facts(want.inode)
		if h.kind == typeLink {
			// The file's own entry has been compared; the header of a link acts
			// on the inode.
			if w.kind == typeDir {
				v.differ(at, "type", "directory", "hard link")
				return
			}
			have.kind, have.size, have.hash, have.digest, have.link = w.kind, w.size, w.hash, w.digest, w.link
			have.major, have.minor = w.major, w.minor
		}
		v.same(at, w, have)
	}
}

func formWord(applies bool) string {
	if applies {
		return "applied"
	}
	return "passed over"
}

// compare goes over all paths once the produced layer lies over the base.
func (v *Verifier) compare(first uint32) {
	s := v.stack
	if v.upper && v.root.id != nowhere && s.root.id == nowhere {
		v.differ(0, "metadata of the root: missing", "", "")
	}
	type pair struct{ want, have, at uint32 }
	files := 0
	for _, c := range s.view {
		if c.kind == cellFile {
			files++
		}
	}
	pairs := make([]pair, 0, files)
	for at := 1; at < len(s.places); at++ {
		id := uint32(at)
		var want cell
		if at < len(v.want) {
			want = v.want[at]
		}
		have := s.view[at]
		switch {
		case want.kind == cellNone && have.kind == cellNone:
		case have.kind == cellNone:
			v.differ(id, "missing", "", "")
		case want.kind == cellNone:
			if have.inode < first || have.kind == cellMade {
				v.differ(id, "not deleted", "", "")
			}
		default:
			if want.kind == cellFile && have.kind == cellFile {
				pairs = append(pairs, pair{want.inode, have.inode, id})
			}
			if have.kind != cellMade && have.inode >= first {
				continue // compared as it was read
			}
			if want == have {
				continue
			}
			w, h := s.cellFacts(want), s.cellFacts(have)
			if want.kind == cellMade || have.kind == cellMade {
				w.mtime, w.nsec, w.uname, w.gname = h.mtime, h.nsec, h.uname, h.gname
			}
			v.same(id, w, h)
		}
	}
	// The link groups are the same if inodes correspond one to one.
	slices.SortFunc(pairs, func(a, b pair) int { return cmp3(a.want, b.want, a.have, b.have, a.at, b.at) })
	for i := 1; i < len(pairs); i++ {
		if pairs[i].want == pairs[i-1].want && pairs[i].have != pairs[i-1].have {
			v.differ(pairs[i].at, "not linked to /"+s.path(pairs[i-1].at), "", "")
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp3(a.have, b.have, a.want, b.want, a.at, b.at) })
	for i := 1; i < len(pairs); i++ {
		if pairs[i].have == pairs[i-1].have && pairs[i].want != pairs[i-1].want {
			v.differ(pairs[i].at, "wrongly linked to /"+s.path(pairs[i-1].at), "", "")
		}
	}
}

func cmp3(v ...uint32) int {
	for i := 0; i < len(v); i += 2 {
		if v[i] != v[i+1] {
			if v[i] < v[i+1] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// same compares everything that two paths of one name can differ in.
func (v *Verifier) same(at uint32, want, have facts) {
	sameFacts(want, have, v.opt, func(what, want, have string) { v.differ(at, what, want, have) })
}

// sameFacts compares two inodes and hands on what differs.
func sameFacts(want, have facts, opt VerifyOptions, differ func(what, want, have string)) {
	if want.kind != have.kind {
		differ("type", kindWord(want.kind), kindWord(have.kind))
		return
	}
	if want.kind != typeSymlink && want.mode&0o7777 != have.mode&0o7777 {
		differ("mode", fmt.Sprintf("%04o", want.mode&0o7777), fmt.Sprintf("%04o", have.mode&0o7777))
	}
	if want.uid != have.uid || want.gid != have.gid {
		differ("owner", fmt.Sprintf("%d:%d", want.uid, want.gid), fmt.Sprintf("%d:%d", have.uid, have.gid))
	}
	if !opt.Unpacked && (want.uname != have.uname || want.gname != have.gname) {
		differ("owner name", want.uname+":"+want.gname, have.uname+":"+have.gname)
	}
	if want.mtime != have.mtime || want.nsec != have.nsec {
		differ("mtime", secs(want), secs(have))
	}
	if want.link != have.link && want.kind == typeSymlink {
		differ("link target", want.link, have.link)
	}
	if want.major != have.major || want.minor != have.minor {
		differ("device", fmt.Sprintf("%d:%d", want.major, want.minor), fmt.Sprintf("%d:%d", have.major, have.minor))
	}
	if want.kind == typeFile {
		switch {
		case want.size != have.size:
			differ("size", strconv.FormatInt(want.size, 10), strconv.FormatInt(have.size, 10))
		case opt.Content && want.digest != have.digest:
			differ("content", short(want.digest), short(have.digest))
		case want.hash != have.hash:
			differ("content", fmt.Sprintf("%016x", want.hash), fmt.Sprintf("%016x", have.hash))
		}
	}
	if want.records != have.records {
		sameRecords(want.records, have.records, opt, differ)
	}
}

func sameRecords(want, have records, opt VerifyOptions, differ func(what, want, have string)) {
	for want != "" || have != "" {
		// Both are sorted by key.
		k, w, wantRest := want.next()
		l, h, haveRest := have.next()
		inWant := want != "" && (have == "" || k <= l)
		inHave := have != "" && (want == "" || l <= k)
		if inWant {
			want = wantRest
		}
		if inHave {
			have, k = haveRest, l
		}
		if inWant && inHave && w == h {
			continue
		}
		what := "PAX record " + k
		if x, ok := strings.CutPrefix(k, xattrPrefix); ok {
			what = "xattr " + x
		} else if opt.Unpacked && !(opt.Windows && strings.HasPrefix(k, windowsPrefix)) {
			continue
		}
		differ(what, quoted(w, inWant), quoted(h, inHave))
	}
}

// attributes takes in what an entry's xattrs mean to overlayfs (the kernel's
// Documentation/filesystems/overlayfs.rst): an opaque directory has nothing of the
// layers below; a redirect leads to another directory of them, and a metacopy to
// another file; an xattr whiteout hides its name.
func (it *item) attributes(r records, lowest bool) {
	it.records = r
	redirect := false
	for r != "" {
		var key, value string
		key, value, r = r.next()
		switch key {
		case "SCHILY.xattr.trusted.overlay.opaque":
			it.opaque = value == "y"
		case "SCHILY.xattr.trusted.overlay.redirect":
			redirect = !lowest
		case "SCHILY.xattr.trusted.overlay.metacopy":
			it.strange = it.strange || !lowest
		case "SCHILY.xattr.trusted.overlay.whiteout":
			it.strange = true
		}
	}
	it.strange = it.strange || redirect && !it.opaque
}

func quoted(value string, there bool) string {
	if !there {
		return "absent"
	}
	if len(value) > 40 {
		// What differs may come later.
		return fmt.Sprintf("%s… (%d bytes, SHA-256 %s)", strconv.Quote(value[:40]), len(value), short(sha256.Sum256([]byte(value))))
	}
	return strconv.Quote(value)
}

func short(digest [32]byte) string { return fmt.Sprintf("%x", digest[:8]) }

func secs(f facts) string { return paxTime(f.mtime, f.nsec) }

func kindWord(kind byte) string {
	switch kind {
	case typeFile:
		return "file"
	case typeLink:
		return "hard link"
	case typeSymlink:
		return "symlink"
	case typeChar:
		return "character device"
	case typeBlock:
		return "block device"
	case typeDir:
		return "directory"
	case typeFifo:
		return "fifo"
	}
	return "nothing"
}
