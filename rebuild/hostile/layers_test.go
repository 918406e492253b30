//go:build linux

package hostile

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mholt/archiver/v4"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func hex(b []byte) string    { return fmt.Sprintf("%x", sha256.Sum256(b)) }
func digest(b []byte) string { return "sha256:" + hex(b) }

func sha512Of(b []byte) string { return fmt.Sprintf("sha512:%x", sha512.Sum512(b)) }

// entry is one entry of a layer.
type entry struct {
	name, body, link string
	kind             byte // tar.TypeReg and so on; 0: by the name, as in at
	mode             int64
	uid, gid         int
	major, minor     int64
	uname            string
	xattrs           map[string]string
	pax              map[string]string
	time             int64
}

// at reads an entry's short form: "dir/", "file=body", "file", "a -> b" for a
// symbolic link, "a => b" for a hard link to b.
func at(s string) entry {
	if name, link, ok := strings.Cut(s, " => "); ok {
		return entry{name: name, link: link, kind: tar.TypeLink, mode: 0o644, time: 1}
	}
	if name, link, ok := strings.Cut(s, " -> "); ok {
		return entry{name: name, link: link, kind: tar.TypeSymlink, mode: 0o777, time: 1}
	}
	name, body, _ := strings.Cut(s, "=")
	if strings.HasSuffix(name, "/") {
		return entry{name: name, kind: tar.TypeDir, mode: 0o755, time: 1}
	}
	return entry{name: name, body: body, kind: tar.TypeReg, mode: 0o644, time: 1}
}

// layer is a layer of a test's image: entries, or bytes that aren't so well
// formed that entries could say them.
type layer struct {
	entries []entry
	raw     []byte // the uncompressed tar; made of the entries if nil
	stored  []byte // as it is stored; raw if nil
	diffID  string // of a layer that is never in memory uncompressed
}

func (l layer) id() string {
	if l.diffID != "" {
		return l.diffID
	}
	return digest(l.raw)
}

// streamed is a layer that is compressed while it is written, so that a bomb
// costs this process nothing.
func streamed(compress func(io.Writer) io.WriteCloser, write func(w *tar.Writer)) layer {
	return streamedAs(compress, func(w io.Writer) {
		tw := tar.NewWriter(w)
		write(tw)
		must(tw.Close())
	})
}

func streamedBytes(write func(w io.Writer)) layer { return streamedAs(gzipWriter, write) }

func streamedAs(compress func(io.Writer) io.WriteCloser, write func(w io.Writer)) layer {
	var out bytes.Buffer
	w := compress(&out)
	sum := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<20)
	write(buffered)
	must(buffered.Flush())
	must(w.Close())
	return layer{stored: out.Bytes(), diffID: fmt.Sprintf("sha256:%x", sum.Sum(nil))}
}

func gzipWriter(w io.Writer) io.WriteCloser {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	must(err)
	return z
}

func zstdWriter(w io.Writer) io.WriteCloser {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	must(err)
	return z
}

// of makes a layer of entries and their short forms.
func of(items ...any) layer {
	var l layer
	for _, it := range items {
		switch it := it.(type) {
		case string:
			l.entries = append(l.entries, at(it))
		case entry:
			l.entries = append(l.entries, it)
		case []entry:
			l.entries = append(l.entries, it...)
		default:
			panic(fmt.Sprintf("%T isn't an entry", it))
		}
	}
	l.raw = tarOf(l.entries)
	return l
}

// rawLayer is a layer of these bytes, which show the entries, if any.
func rawLayer(b []byte, shows ...any) layer {
	l := of(shows...)
	l.raw = b
	return l
}

// as is the layer, stored in another way.
func (l layer) as(compress func([]byte) []byte) layer {
	l.stored = compress(l.raw)
	return l
}

func (l layer) blob() []byte {
	if l.stored != nil {
		return l.stored
	}
	return l.raw
}

func tarOf(entries []entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{
			Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: e.mode, Uid: e.uid, Gid: e.gid, Uname: e.uname, Size: int64(len(e.body)),
			Devmajor: e.major, Devminor: e.minor, ModTime: time.Unix(e.time, 0), PAXRecords: maps.Clone(e.pax), Format: tar.FormatPAX,
		}
		for k, v := range e.xattrs {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+k] = v
		}
		must(w.WriteHeader(h))
		_, err := io.WriteString(w, e.body)
		must(err)
	}
	must(w.Close())
	return b.Bytes()
}

// block is a tar header with fields that no decent writer would write. Texts
// are put into the fields as they are.
type block struct {
	name, link, prefix string
	kind               byte
	size, mode, uid    string // the field's bytes; "" = the octal number that fits
	mtime              string
	magic              string // "" = ustar
	body               string // follows in blocks of 512 bytes
	short              bool   // no padding after the body
	sum                string // "" = the right checksum
}

// blocks is a tar made of them, with an end if whole.
func blocks(whole bool, list ...block) []byte {
	var out bytes.Buffer
	for _, h := range list {
		b := make([]byte, 512)
		field := func(from, to int, s, otherwise string) {
			if s == "" {
				s = otherwise
			}
			copy(b[from:to], s)
		}
		field(0, 100, h.name, "")
		field(100, 108, h.mode, "0000644\x00")
		field(108, 116, h.uid, "0000000\x00")
		field(116, 124, "0000000\x00", "")
		field(124, 136, h.size, fmt.Sprintf("%011o\x00", len(h.body)))
		field(136, 148, h.mtime, "00000000001\x00")
		b[156] = h.kind
		field(157, 257, h.link, "")
		field(257, 265, h.magic, "ustar\x0000")
		field(345, 500, h.prefix, "")
		if h.sum == "" {
			copy(b[148:156], "        ")
			sum := 0
			for _, c := range b {
				sum += int(c)
			}
			h.sum = fmt.Sprintf("%06o\x00 ", sum)
		}
		field(148, 156, h.sum, "")
		out.Write(b)
		out.WriteString(h.body)
		if !h.short {
			out.Write(make([]byte, -len(h.body)&511))
		}
	}
	if whole {
		out.Write(make([]byte, 1024))
	}
	return out.Bytes()
}

// pax is the block of a PAX header of keys and values in turn.
func pax(kind byte, kv ...string) block {
	var b strings.Builder
	for i := 0; i < len(kv); i += 2 {
		n := len(kv[i]) + len(kv[i+1]) + 3
		size := n + len(fmt.Sprint(n))
		if len(fmt.Sprint(size)) != size-n {
			size++
		}
		fmt.Fprintf(&b, "%d %s=%s\n", size, kv[i], kv[i+1])
	}
	return block{name: "PaxHeaders/x", kind: kind, body: b.String()}
}

// base256 is a tar number in GNU's binary form.
func base256(n int64, width int) string {
	b := make([]byte, width)
	for i := width - 1; i >= 0; i-- {
		b[i] = byte(n)
		n >>= 8
	}
	b[0] |= 0x80
	return string(b)
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	must(err)
	_, err = w.Write(b)
	must(err)
	must(w.Close())
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	must(err)
	return w.EncodeAll(b, nil)
}

func compressed(c archiver.Compression) func([]byte) []byte {
	return func(b []byte) []byte {
		var out bytes.Buffer
		w, err := c.OpenWriter(&out)
		must(err)
		_, err = w.Write(b)
		must(err)
		must(w.Close())
		return out.Bytes()
	}
}

var (
	xzed   = compressed(archiver.Xz{})
	bzip2d = compressed(archiver.Bz2{CompressionLevel: 9})
)

// skippable is a zstd frame that holds nothing of the contents.
func skippable(n int) []byte {
	return slices.Concat([]byte{0x50, 0x2a, 0x4d, 0x18, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}, make([]byte, n))
}

// zeros is a file of n zero bytes.
func zeros(n int64) func(*tar.Writer) {
	return func(w *tar.Writer) {
		must(w.WriteHeader(&tar.Header{Name: "zeros", Mode: 0o644, Size: n, Typeflag: tar.TypeReg}))
		_, err := io.CopyN(w, zeroReader{}, n)
		must(err)
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
