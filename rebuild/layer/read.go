package layer

import (
	"archive/tar"
	"bufio"
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
}

// maxName bounds one name. Kernels stop at 4 KiB; tars may go on.
const maxName = 1 << 16

const bufferSize = 1 << 20

var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// Read indexes one layer's uncompressed tar. It reads r to its end, once, so
// that the caller may hash the same bytes. Errors in the tar are of type *Error.
func Read(r io.Reader, opt ReadOptions) (*Index, error) {
	x := &Index{layer: opt.Layer}
	s := scanner{layer: opt.Layer, content: opt.Content}
	interned := map[string]uint32{}
	var key, text []byte
	err := s.scan(r, func(h *header) error {
		key = h.appendAttr(key[:0])
		id, ok := interned[view(key)]
		if !ok {
			id = uint32(len(x.attrs))
			interned[string(key)] = id
			x.attrs = append(x.attrs, h.attr)
		}
		text = appendField(text[:0], h.name)
		text = appendField(text, h.link)
		text = appendField(text, string(h.records))
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
	x.length = s.length
	return x, nil
}

// header is one entry as the scanner presents it; it is valid during one call.
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
	layer   int
	content bool
	length  int64
}

// counter counts what the tar reader has taken: right after a header that is
// where the body starts.
type counter struct {
	r *bufio.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (s *scanner) fail(path string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrTruncated
	}
	return &Error{Op: "read", Layer: s.layer, Path: path, Err: err}
}

// scan calls visit for every entry, its body hashed.
func (s *scanner) scan(r io.Reader, visit func(*header) error) error {
	in := &counter{r: bufio.NewReaderSize(r, 1<<17)}
	tr := tar.NewReader(in)
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	sum := xxhash.New()
	var deep hash.Hash
	if s.content {
		deep = sha256.New()
	}
	var h header
	var keys []string
	var packed []byte
	for {
		t, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return s.fail("", err)
		}
		if t.Typeflag == tar.TypeXGlobalHeader {
			continue // engines ignore it
		}
		h = header{name: cleanName(t.Name), link: t.Linkname}
		if len(t.Name) > maxName || len(t.Linkname) > maxName {
			return s.fail(h.name[:min(len(h.name), 64)]+"…", fmt.Errorf("name of %d bytes: %w", max(len(t.Name), len(t.Linkname)), ErrLimit))
		}
		if h.kind, err = entryKind(t.Typeflag); err != nil {
			return s.fail(h.name, err)
		}
		if h.name == "" {
			if h.kind != typeDir {
				return s.fail("/", errors.New("the root is not a directory"))
			}
			h.slash = rootApplies(t.Name)
		}
		// Engines hand owners to the kernel, which takes 32 bits of them.
		h.mode, h.uid, h.gid = uint32(t.Mode), uint32(t.Uid), uint32(t.Gid)
		h.uname, h.gname = t.Uname, t.Gname
		h.mtime, h.nsec = t.ModTime.Unix(), uint32(t.ModTime.Nanosecond())
		switch h.kind {
		case typeChar, typeBlock:
			h.major, h.minor = uint32(t.Devmajor), uint32(t.Devminor)
		case typeDir, typeFifo, typeFile:
			h.link = ""
		}
		gnuTimes(t)
		if len(t.PAXRecords) > 0 {
			packed = appendRecords(packed[:0], t.PAXRecords, &keys)
			h.records = records(packed)
		}
		h.body = -1
		if h.kind == typeFile {
			h.size, h.body = t.Size, in.n
			if t.Typeflag == tar.TypeGNUSparse || isSparse(t) {
				h.body = -1
			}
			sum.Reset()
			if deep != nil {
				deep.Reset()
			}
			var n int64
			for n < t.Size {
				k, err := tr.Read(*buf)
				sum.Write((*buf)[:k])
				if deep != nil {
					deep.Write((*buf)[:k])
				}
				n += int64(k)
				if err == io.EOF {
					break
				}
				if err != nil {
					return s.fail(h.name, err)
				}
			}
			if n != t.Size {
				return s.fail(h.name, ErrTruncated)
			}
			h.hash = sum.Sum64()
			if deep != nil {
				deep.Sum(h.digest[:0])
			}
		}
		if err := visit(&h); err != nil {
			return err
		}
	}
	for {
		n, err := in.Read(*buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			return s.fail("", err)
		}
		_ = n
	}
	s.length = in.n
	return nil
}

// entryKind maps a header's type to the kinds that layers hold. Engines refuse
// the others.
func entryKind(flag byte) (byte, error) {
	switch flag {
	case tar.TypeReg, '\x00', tar.TypeCont, tar.TypeGNUSparse:
		return typeFile, nil
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
		return flag, nil
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
