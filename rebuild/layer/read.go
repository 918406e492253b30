package layer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// ReadOptions are for Read.
type ReadOptions struct {
	Layer   int  // the layer's index in the image, for errors
	Content bool // also keep a SHA-256 of every regular file, for VerifyOptions.Content
	// Budget is shared by the layers of an image; nil gives this one its own.
	Budget *Budget
}

const bufferSize = 1 << 20

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// Read indexes one layer's uncompressed tar. It reads r to its end, once, so
// that the caller may hash the same bytes. Errors in the tar are of type *Error;
// once ctx is done, Read soon returns ctx's error.
func Read(ctx context.Context, r io.Reader, opt ReadOptions) (*Index, error) {
	x := &Index{layer: opt.Layer}
	budget := opt.Budget
	if budget == nil {
		budget = new(Budget)
	}
	s := scanner{ctx: ctx, layer: opt.Layer, content: opt.Content, budget: budget, told: map[string]*told{}}
	names := newNameWriter(&x.text)
	interned := map[string]uint32{}
	var key, text []byte
	err := s.scan(r, func(h *header) error {
		key = h.appendAttr(key[:0])
		id, ok := interned[view(key)]
		held := 0
		if !ok {
			held = attrCost + len(h.uname) + len(h.gname)
			id = uint32(len(x.attrs))
			kept := string(key)
			interned[kept] = id
			a := h.attr
			owners := kept[len(kept)-len(a.uname)-len(a.gname):]
			a.uname, a.gname = owners[:len(a.uname)], owners[len(a.uname):]
			x.attrs = append(x.attrs, a)
		}
		text = names.add(text[:0], h.name)
		text = appendField(text, h.link)
		text = appendField(text, string(h.records))
		if err := budget.entry(held + len(text) + names.stored); err != nil {
			return s.fail(h.name, err)
		}
		e := h.entry
		e.attr = id
		e.text = x.text.add(text)
		x.entries.add(e)
		if opt.Content {
			x.digests.add(h.digest)
		}
		x.bytes += e.size
		return nil
	})
	if err != nil {
		return nil, err
	}
	x.length, x.told = s.read, s.told
	return x, nil
}

// attrCost is about what a new attr takes, its key included.
const attrCost = 320

// nameWriter stores the names of entries. Those of one directory stand close to
// each other in nearly every tar, and share its name.
type nameWriter struct {
	arena  *byteArena
	recent [256]uint64 // places of directories' names, by their hash
	buf    []byte
	stored int // bytes that the last add put into the arena
}

func newNameWriter(a *byteArena) *nameWriter {
	a.add([]byte{0}) // place 0 is the root's name
	return &nameWriter{arena: a}
}

// add stores a cleaned path's directory and appends to b what Index.split finds it by.
func (w *nameWriter) add(b []byte, name string) []byte {
	dir, base := splitName(name)
	at := uint64(0)
	w.stored = 0
	if dir != "" {
		at = w.place(dir)
	}
	b = binary.AppendUvarint(b, at)
	return appendField(b, base)
}

func (w *nameWriter) place(dir string) uint64 {
	recent := &w.recent[xxhash.Sum64String(dir)%uint64(len(w.recent))]
	if known, _ := field(w.arena.from(*recent)); known != dir {
		w.buf = appendField(w.buf[:0], dir)
		*recent = w.arena.add(w.buf)
		w.stored = len(w.buf)
	}
	return *recent
}

// header is one entry as the scanner presents it. Its strings are valid during one
// call.
type header struct {
	entry
	attr
	name    string
	link    string
	records records
	digest  [32]byte
}

func (h *header) appendAttr(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, h.mode)
	b = binary.LittleEndian.AppendUint32(b, h.uid)
	b = binary.LittleEndian.AppendUint32(b, h.gid)
	b = binary.LittleEndian.AppendUint32(b, h.major)
	b = binary.LittleEndian.AppendUint32(b, h.minor)
	slash := byte(0)
	if h.slash {
		slash = 1
	}
	b = append(b, h.kind, slash)
	b = appendField(b, h.uname)
	return append(b, h.gname...)
}

// scanner reads a tar from its start to its end.
type scanner struct {
	ctx     context.Context
	layer   int
	content bool
	budget  *Budget
	read    int64 // bytes of the tar so far
	asked   uint8
	told    map[string]*told // what files say about the system, by path; nil to take in none

	buf  []byte
	sum  *xxhash.Digest
	deep hash.Hash // nil without content
}

func (s *scanner) fail(path string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrTruncated
	}
	return &Error{Op: "read", Layer: s.layer, Path: strings.Clone(path), Err: err}
}

// scan calls visit for every entry, its body hashed. It takes headers of the
// common forms apart itself; archive/tar reads the rest from the first other one on.
func (s *scanner) scan(r io.Reader, visit func(*header) error) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	s.buf, s.sum = *buf, xxhash.New()
	if s.content {
		s.deep = sha256.New()
	}
	p := &plainReader{r: bufio.NewReaderSize(r, 1<<17)}
	var h header
	for {
		ok, err := p.next(&h)
		if err == io.EOF {
			return s.drain(p)
		}
		if err != nil {
			return s.fail("", err)
		}
		if !ok {
			return s.scanAny(p, visit)
		}
		s.reach(p.at)
		if err := s.entry(&h, p, visit); err != nil {
			return err
		}
		if err := p.skip(padding(h.size)); err != nil {
			return s.fail(h.name, err)
		}
	}
}

// reach notes how far the tar has been read.
func (s *scanner) reach(at int64) {
	s.budget.read.Add(at - s.read)
	s.read = at
}

// drain reads what follows the archive.
func (s *scanner) drain(p *plainReader) error {
	for s.ctx.Err() == nil {
		n, err := p.r.Read(s.buf)
		p.at += int64(n)
		if err == io.EOF {
			s.reach(p.at)
			return nil
		}
		if err != nil {
			return s.fail("", err)
		}
	}
	return s.ctx.Err()
}

// counter counts the bytes that the tar reader has taken. Right after a header
// their number is the place of the body.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// scanAny reads the rest of a tar with archive/tar.
func (s *scanner) scanAny(p *plainReader, visit func(*header) error) error {
	in := &counter{r: io.MultiReader(bytes.NewReader(p.raw), p.r), n: p.at - int64(len(p.raw))}
	tr := tar.NewReader(in)
	var h header
	var keys []string
	var packed []byte
	for {
		t, err := tr.Next()
		if err == io.EOF {
			p.at = in.n
			return s.drain(p)
		}
		if err != nil {
			return s.fail("", err)
		}
		if t.Typeflag == tar.TypeXGlobalHeader {
			continue // engines ignore it
		}
		h = header{name: t.Name, link: t.Linkname}
		if h.kind, err = entryKind(t.Typeflag, t.Name); err != nil {
			return s.fail(t.Name, err)
		}
		// Engines hand owners to the kernel, which takes 32 bits of them.
		h.mode, h.uid, h.gid = uint32(t.Mode), uint32(t.Uid), uint32(t.Gid)
		h.uname, h.gname = t.Uname, t.Gname
		h.mtime, h.nsec = t.ModTime.Unix(), uint32(t.ModTime.Nanosecond())
		h.major, h.minor = uint32(t.Devmajor), uint32(t.Devminor)
		gnuTimes(t)
		if len(t.PAXRecords) > 0 {
			packed = appendRecords(packed[:0], t.PAXRecords, &keys)
			h.records = records(packed)
		}
		s.reach(in.n)
		h.size, h.body = t.Size, in.n
		if t.Typeflag == tar.TypeGNUSparse || isSparse(t) {
			h.body = -1
			if err := s.budget.sparse(h.size); err != nil {
				return s.fail(cleanName(t.Name), err)
			}
		}
		if err := s.entry(&h, tr, visit); err != nil {
			return err
		}
	}
}

// entry completes a header, hashes the body and hands both on.
func (s *scanner) entry(h *header, body io.Reader, visit func(*header) error) error {
	if s.asked++; s.asked == 0 && s.ctx.Err() != nil {
		return s.ctx.Err()
	}
	raw := h.name
	h.name = cleanName(raw)
	if h.kind != typeLink && h.kind != typeSymlink {
		h.link = ""
	}
	if err := h.checkNames(raw); err != nil {
		return s.fail(h.name, err)
	}
	if h.name == "" {
		h.slash = rootApplies(raw)
		if h.kind != typeDir && h.slash {
			return s.fail("/", errors.New("the root is not a directory"))
		}
	}
	if h.kind != typeChar && h.kind != typeBlock {
		h.major, h.minor = 0, 0
	}
	if h.kind != typeFile {
		h.size, h.body = 0, -1
		return visit(h)
	}
	s.sum.Reset()
	if s.deep != nil {
		s.deep.Reset()
	}
	listener := s.listen(h)
	for left := h.size; left > 0; {
		if left < h.size && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		b := s.buf[:min(left, int64(len(s.buf)))]
		if _, err := io.ReadFull(body, b); err != nil {
			if err == io.EOF {
				err = ErrTruncated
			}
			return s.fail(h.name, err)
		}
		s.sum.Write(b)
		if s.deep != nil {
			s.deep.Write(b)
		}
		if listener != nil {
			listener.hear(b)
		}
		left -= int64(len(b))
	}
	h.hash = s.sum.Sum64()
	if s.deep != nil {
		s.deep.Sum(h.digest[:0])
	}
	return visit(h)
}

// checkNames checks the name and the link target against what engines can unpack.
func (h *header) checkNames(raw string) error {
	if n := max(len(raw), len(h.link)); n > maxName {
		return fmt.Errorf("name of %d bytes, %d are read: %w", n, maxName, ErrLimit)
	}
	if h.kind == typeSymlink && len(h.link) > maxTarget {
		return fmt.Errorf("link target of %d bytes, %d are possible: %w", len(h.link), maxTarget, ErrLimit)
	}
	if h.kind == typeLink && len(h.link) > maxComponent {
		if err := checkPath(cleanName(h.link)); err != nil {
			return fmt.Errorf("link target: %w", err)
		}
	}
	return checkPath(h.name)
}

// entryKind maps a header's type to the kinds that layers hold. Engines refuse
// the others, but for names at which they don't look at the type.
func entryKind(flag byte, name string) (byte, error) {
	switch flag {
	case tar.TypeReg, '\x00', tar.TypeCont, tar.TypeGNUSparse:
		return typeFile, nil
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
		return flag, nil
	}
	_, base := splitName(cleanName(name))
	if kind, _ := whiteoutName(base); kind != nameOrdinary || base == "" && !rootApplies(name) {
		return typeFile, nil
	}
	return 0, fmt.Errorf("%w %q", ErrType, flag)
}

func isSparse(t *tar.Header) bool {
	for k := range t.PAXRecords {
		if strings.HasPrefix(k, sparsePrefix) {
			return true
		}
	}
	return false
}

// gnuTimes keeps the access and change times that the GNU format has in the
// header itself as the PAX records that say the same.
func gnuTimes(t *tar.Header) {
	if t.Format != tar.FormatGNU {
		return
	}
	for _, v := range []struct {
		key  string
		time time.Time
	}{{"atime", t.AccessTime}, {"ctime", t.ChangeTime}} {
		if !v.time.IsZero() {
			if t.PAXRecords == nil {
				t.PAXRecords = map[string]string{}
			}
			t.PAXRecords[v.key] = strconv.FormatInt(v.time.Unix(), 10)
		}
	}
}
