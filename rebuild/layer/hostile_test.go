package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// hostileCase is an image that somebody made to break something.
type hostileCase struct {
	name   string
	why    string
	layers []io.Reader
	want   string // part of the error; "" if it is flattened like any other image
	// heavy: the case has a process of its own, whose memory is measured.
	heavy bool
}

// hostileMemory is what a hostile image may take, in KiB: less than an honest one
// of a million entries.
const hostileMemory = 330 << 10

// rolling is a layer of n entries, made as it is read.
type rolling struct {
	n, i int
	make func(i int) ent
	f    formatter
	b    []byte
}

func (r *rolling) Read(p []byte) (int, error) {
	for len(r.b) == 0 {
		if r.i > r.n {
			return 0, io.EOF
		}
		if r.b = zeros[:]; r.i < r.n {
			r.b = r.entry(r.make(r.i))
		}
		r.i++
	}
	k := copy(p, r.b)
	r.b = r.b[k:]
	return k, nil
}

func (r *rolling) entry(e ent) []byte {
	h := outHeader{name: e.name, link: e.link, kind: e.kind, mode: uint32(e.mode), uid: uint32(e.uid), gid: uint32(e.gid),
		size: int64(len(e.body)), mtime: 1e9, uname: e.uname, gname: e.gname, major: uint32(e.major), minor: uint32(e.minor)}
	if len(e.pax) > 0 {
		var keys []string
		h.records = records(appendRecords(nil, e.pax, &keys))
	}
	r.f.format(&h)
	r.f.out = append(append(r.f.out, e.body...), zeros[:padding(int64(len(e.body)))]...)
	return r.f.out
}

func each(n int, f func(i int) ent) io.Reader { return &rolling{n: n, make: f} }
func all(e ...ent) io.Reader                  { return each(len(e), func(i int) ent { return e[i] }) }
func then(r ...io.Reader) io.Reader           { return io.MultiReader(r...) }
func over(l ...io.Reader) []io.Reader {
	return append([]io.Reader{all(dirE("d"), file("d/f", "1"), file("g", "2"))}, l...)
}

// open is a layer without its end, for another to follow.
func open(e ...ent) io.Reader {
	var b bytes.Buffer
	io.Copy(&b, all(e...))
	return bytes.NewReader(b.Bytes()[:b.Len()-2*blockSize])
}

// head is an entry with some bytes of its header written over.
func head(e ent, at int, with string) io.Reader {
	b := bytes.Clone((&rolling{}).entry(e))
	copy(b[at:], with)
	return summed(b)
}

// summed is an entry with its header's checksum set right.
func summed(b []byte) io.Reader {
	copy(b[148:156], "        ")
	sum := uint64(0)
	for _, c := range b[:blockSize] {
		sum += uint64(c)
	}
	octal(b[148:155], sum)
	return bytes.NewReader(b)
}

// special is an entry of a type that is about the next one.
func special(kind byte, body string) ent { return ent{name: "special", kind: kind, body: body} }

func pax(records ...string) ent {
	var f formatter
	for _, r := range records {
		k, v, _ := strings.Cut(r, "=")
		f.record(k, v)
	}
	return special('x', string(f.pax))
}

// sparse10 is a sparse file in the form PAX 1.0 with a byte at its end.
func sparse10(name string, size int64) io.Reader {
	m := fmt.Sprintf("1\n%d\n1\n", size-1)
	return open(pax("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name="+name, fmt.Sprintf("GNU.sparse.realsize=%d", size)),
		file("GNUSparseFile.0/"+name, m+strings.Repeat("\x00", 512-len(m))+"x"))
}

func sparse00(size int64) io.Reader {
	return open(pax(fmt.Sprintf("GNU.sparse.size=%d", size), "GNU.sparse.numblocks=1", fmt.Sprintf("GNU.sparse.offset=%d", size-1), "GNU.sparse.numbytes=1"), file("s", "x"))
}

func sparse01(size int64) io.Reader {
	return open(pax(fmt.Sprintf("GNU.sparse.size=%d", size), "GNU.sparse.numblocks=1", fmt.Sprintf("GNU.sparse.map=%d,1", size-1)), file("s", "x"))
}

// oldSparse is a sparse file in the GNU format.
func oldSparse(size int64) io.Reader {
	field := func(v int64) string {
		b := make([]byte, 12)
		number(b, uint64(v))
		return string(b)
	}
	b := bytes.Clone((&rolling{}).entry(ent{name: "s", kind: 'S', body: "x"}))
	copy(b[257:], "ustar  \x00")
	copy(b[386:], field(size-1)+field(1))
	copy(b[483:], field(size))
	return summed(b)
}

func deep(n int) string { return strings.TrimSuffix(strings.Repeat("a/", n), "/") }

// wide is a path of exactly n bytes.
func wide(n int) string {
	var s strings.Builder
	for n > 255 {
		s.WriteString(strings.Repeat("w", 200) + "/")
		n -= 201
	}
	s.WriteString(strings.Repeat("w", n))
	return s.String()
}

func times(s string, n int) string { return strings.Repeat(s, n) }

const mega = 1 << 20

func hostileCases() []hostileCase {
	sealed := times("v", 1000*1000)
	return []hostileCase{
		// Names that no engine can unpack.
		{name: "path of 4,094 bytes", why: "the longest that Linux opens below a root", layers: over(all(file(wide(4094), "1")))},
		{name: "path of 4,095 bytes", why: "ENAMETOOLONG", layers: over(all(file(wide(4095), "1"))), want: "path of 4095 bytes, 4094 are possible: limit exceeded"},
		{name: "path of 2,047 components", why: "as deep as a path gets", layers: over(all(file(deep(2047), "1")))},
		{name: "path of 32,000 components", why: "each is a node", layers: over(all(file(deep(32000), "1"))), want: "path of 63999 bytes"},
		{name: "path of 500,000 bytes in a PAX record", why: "as long as a record may be", layers: over(all(file(times("a/", 250000)+"f", "1"))), want: "name of 500001 bytes, 65535 are read"},
		{name: "GNU long name of 10,000 bytes", why: "the other way to say it", layers: over(then(open(special('L', deep(5000)+"\x00")), all(file("short", "1")))), want: "path of 9999 bytes"},
		{name: "name of 60,000 bytes that is short when it is clean", why: "engines clean first", layers: over(all(file(times("x/../", 12000)+"f", "1")))},
		{name: "name of 70,000 bytes that is short when it is clean", why: "beyond all sense", layers: over(all(file(times("x/../", 14000)+"f", "1"))), want: "name of 70001 bytes, 65535 are read"},
		{name: "name of 255 bytes", why: "NAME_MAX", layers: over(all(file(times("n", 255), "1")))},
		{name: "name of 256 bytes", why: "beyond NAME_MAX", layers: over(all(file(times("n", 256), "1"))), want: "name of 256 bytes, 255 are possible"},
		{name: "directory of 256 bytes in the middle", why: "every component counts", layers: over(all(file("a/"+times("n", 256)+"/f", "1"))), want: "name of 256 bytes, 255 are possible"},
		{name: "whiteout of a name of 255 bytes", why: "the whiteout's own name never is in a file system", layers: over(all(gone(times("n", 255))))},
		{name: "whiteout of a name of 256 bytes", why: "no file has it", layers: over(all(gone(times("n", 256)))), want: "name of 256 bytes, 255 are possible"},
		{name: "whiteout of a path of 4,094 bytes", why: "the prefix doesn't count", layers: over(all(gone(wide(4094))))},
		{name: "whiteout of a path of 4,095 bytes", why: "ENAMETOOLONG", layers: over(all(gone(wide(4095)))), want: "path of 4095 bytes"},
		{name: "whiteout of 16,000 components", why: "its parents are nodes", layers: over(all(gone(deep(16000)))), want: "path of 31999 bytes"},
		{name: "opaque marker in a path of 4,094 bytes", why: "the marker's name doesn't count", layers: over(all(opaque(wide(4094))))},
		{name: "opaque marker in a path of 4,095 bytes", why: "ENAMETOOLONG", layers: over(all(opaque(wide(4095)))), want: "path of 4095 bytes"},
		{name: "symlink target of 4,095 bytes", why: "the longest that Linux takes", layers: over(all(symlink("l", wide(4095))))},
		{name: "symlink target of 4,096 bytes", why: "ENAMETOOLONG", layers: over(all(symlink("l", wide(4096)))), want: "link target of 4096 bytes, 4095 are possible"},
		{name: "GNU long link of 100,000 bytes", why: "the other way to say it", layers: over(then(open(special('K', times("t", 100000)+"\x00")), all(symlink("l", "t")))), want: "name of 100000 bytes, 65535 are read"},
		{name: "hard link target of 4,095 bytes", why: "ENAMETOOLONG", layers: over(all(link("l", wide(4095)))), want: "link target: path of 4095 bytes"},
		{name: "hard link target with a name of 256 bytes", why: "no file has it", layers: over(all(link("l", "d/"+times("n", 256)))), want: "link target: name of 256 bytes"},
		{name: "hard link target of 50,000 bytes that is short when it is clean", why: "engines clean first", layers: over(all(file("x", "1"), link("l", times("y/../", 10000)+"x")))},
		{name: "path of 5,000 bytes by way of a symlink", why: "Linux makes it, but no tar can name it", layers: over(all(file(wide(3000), "1"), symlink("l", "/"+wide(2999)[:2814]), file("l/"+wide(2100), "1"))), want: "beyond symbolic links, 4094 are possible"},

		// Symbolic links.
		{name: "40 links in a path", why: "MAXSYMLINKS", layers: over(all(chain(40)...))},
		{name: "41 links in a path", why: "ELOOP", layers: over(all(chain(41)...)), want: ErrLoop.Error()},
		{name: "link to itself", why: "never ends", layers: over(all(symlink("l", "l"), file("l/f", "1"))), want: ErrLoop.Error()},
		{name: "two links to each other", why: "never ends", layers: over(all(symlink("l", "m"), symlink("m", "l"), file("l/f", "1"))), want: ErrLoop.Error()},
		{name: "link into itself", why: "grows with each step", layers: over(all(symlink("l", "l/l/l"), file("l/f", "1"))), want: ErrLoop.Error()},
		{name: "links that double 60 times", why: "2 to the 60th steps", layers: over(then(open(dirE("l0")), open(made(60, func(i int) ent { return symlink(fmt.Sprint("l", i+1), fmt.Sprintf("l%d/../l%d", i, i)) })...), all(file("l60/f", "1")))), want: ErrLoop.Error()},
		{name: "opaque marker on a link to itself", why: "never ends", layers: over(all(symlink("l", "l"), opaque("l"))), want: ErrLoop.Error()},
		{name: "whiteout below a link to itself", why: "never ends", layers: over(all(symlink("l", "l"), gone("l/x"))), want: ErrLoop.Error()},
		{name: "hard link by way of a link to itself", why: "never ends", layers: over(all(symlink("l", "l"), link("h", "l/x"))), want: ErrLink.Error()},
		{name: "hard link by way of a link to itself in the layer below", why: "never ends", layers: over(all(symlink("l", "l")), all(link("h", "l/x"))), want: ErrLink.Error()},
		{name: "link to the root", why: "everything is below it", layers: over(all(symlink("l", "/"), file("l/f", "1")))},
		{name: "link with 1,300 steps up", why: "the root is the end", layers: over(all(symlink("l", times("../", 1300)+"d"), dirE("d"), file("l/n", "1")))},
		{name: "link out of the root", why: "written outside", layers: over(all(symlink("l", "../../../../tmp"), file("l/f", "1")))},
		{name: "absolute link out of a directory", why: "written outside", layers: over(all(dirE("d"), symlink("d/l", "/../../etc"), file("d/l/f", "1")))},
		{name: "1,000 entries by way of 40 links of 2,000 components", why: "80,000 steps each", layers: over(then(open(dirE("l0"), file(deep(2000)+"/x", "1")), open(made(40, func(i int) ent {
			return symlink(fmt.Sprint("l", i+1), times("./", 1990)+fmt.Sprint("l", i))
		})...), each(1000, func(i int) ent { return file(fmt.Sprint("l40/", i), "") }))), want: "steps: limit exceeded", heavy: true},
		{name: "1,000 hard links by way of 40 links of 2,000 components", why: "80,000 steps each", layers: over(then(open(dirE("l0"), file("l0/x", "1")), open(made(40, func(i int) ent {
			return symlink(fmt.Sprint("l", i+1), times("./", 1990)+fmt.Sprint("l", i))
		})...), each(1000, func(i int) ent { return link(fmt.Sprint("h", i), "l40/x") }))), want: "steps: limit exceeded", heavy: true},
		{name: "1,000 hard links by way of 40 links of the layer below", why: "80,000 steps each", layers: over(then(open(dirE("l0"), file("l0/x", "1")), all(made(40, func(i int) ent {
			return symlink(fmt.Sprint("l", i+1), times("./", 1990)+fmt.Sprint("l", i))
		})...)), each(1000, func(i int) ent { return link(fmt.Sprint("h", i), "l40/x") })), want: "steps: limit exceeded", heavy: true},
		{name: "a deep link, linked 4,000 times and gone through", why: "each makes 2,000 directories from two small entries", layers: over(then(open(symlink("l", deep(2000))), each(8000, func(i int) ent {
			if i%2 == 0 {
				return link(fmt.Sprintf("p%d/l", i), "l")
			}
			return file(fmt.Sprintf("p%d/l/f", i-1), "")
		}))), want: "limit exceeded", heavy: true},

		// Memory for each byte of the tar.
		{name: "1,000 paths of 32,000 components", why: "2.7 GB of nodes", layers: over(each(1000, func(i int) ent { return file(fmt.Sprint("x", i, "/", deep(32000)), "") })), want: "path of", heavy: true},
		{name: "20,000 paths of 2,000 components", why: "40 million nodes", layers: over(each(20000, func(i int) ent { return file(fmt.Sprint("x", i, "/", deep(2000)), "") })), want: "limit exceeded", heavy: true},
		{name: "20,000 whiteouts in 2,000 directories each", why: "40 million nodes", layers: over(each(20000, func(i int) ent { return gone(fmt.Sprint("x", i, "/", deep(2000))) })), want: "limit exceeded", heavy: true},
		{name: "20,000 opaque markers in 2,000 directories each", why: "40 million nodes", layers: over(each(20000, func(i int) ent { return opaque(fmt.Sprint("x", i, "/", deep(2000))) })), want: "limit exceeded", heavy: true},
		{name: "3,000 files with 1 MB of PAX records", why: "3 GB of records", layers: over(each(3000, func(i int) ent { return file(fmt.Sprint("p", i), "").record("comment", fmt.Sprint(i, sealed)) })), want: "names and PAX records of more than 2", heavy: true},
		{name: "3,000 owners of 1 MB", why: "each is kept", layers: over(each(3000, func(i int) ent { return file(fmt.Sprint("u", i), "").owned(fmt.Sprint(i, sealed), "") })), want: "names and PAX records of more than 2", heavy: true},
		{name: "3,000 groups of 1 MB", why: "each is kept", layers: over(each(3000, func(i int) ent { return file(fmt.Sprint("g", i), "").owned("", fmt.Sprint(i, sealed)) })), want: "names and PAX records of more than 2", heavy: true},
		{name: "10,000 xattrs of 64 KB", why: "640 MB of values", layers: over(each(10000, func(i int) ent { return file(fmt.Sprint("x", i), "").xattr("user.x", fmt.Sprint(i, sealed[:65000])) })), want: "names and PAX records of more than 2", heavy: true},
		{name: "300,000 files with ten xattrs of 100 bytes", why: "many small records are as much", layers: over(each(300000, func(i int) ent {
			e := file(fmt.Sprint("x", i), "")
			for k := range 10 {
				e = e.xattr(fmt.Sprint("user.", k), sealed[:100])
			}
			return e
		})), want: "names and PAX records of more than 2", heavy: true},
		{name: "100,000 symlinks to 4,000 bytes", why: "400 MB of targets", layers: over(each(100000, func(i int) ent { return symlink(fmt.Sprint("l", i), sealed[:4000]) })), want: "names and PAX records of more than 2", heavy: true},
		{name: "100,000 hard links to a path of 4,000 bytes", why: "400 MB of targets", layers: over(then(open(file(wide(4000), "1")), each(100000, func(i int) ent { return link(fmt.Sprint("l", i), wide(4000)) }))), want: "names and PAX records of more than 2", heavy: true},
		{name: "100,000 directories of 4,000 bytes", why: "400 MB of names", layers: over(each(100000, func(i int) ent { return file(wide(3900)+fmt.Sprintf("/%050d/f", i), "") })), want: "names and PAX records of more than 2", heavy: true},
		{name: "1,000,000 owners", why: "what many entries have in common is kept once for each owner", layers: over(each(2000000, func(i int) ent { return file("same", "").chown(i, i) })), want: "names and PAX records of more than 2", heavy: true},

		// Work for each byte of the tar.
		{name: "20,000 opaque markers over 20,000 files", why: "each sweeps all", layers: append(over(each(20000, func(i int) ent { return file(fmt.Sprint("d/", i), "") })), each(20000, func(int) ent { return opaque("d") })), want: "steps: limit exceeded", heavy: true},
		{name: "2,000 opaque directories within each other over 20,000 files", why: "each sweeps all below", layers: over(each(20000, func(i int) ent { return file(deep(1990)+fmt.Sprint("/", i), "") }), each(1990, func(i int) ent { return opaque(deep(i + 1)) })), heavy: true},
		{name: "10,000 hard links to a file with 1 MB of xattrs", why: "each copies all of them", layers: over(then(open(file("a", "1").record("comment", sealed)), each(10000, func(i int) ent { return link(fmt.Sprint("l", i), "a").chown(i, i) }))), want: "steps: limit exceeded", heavy: true},
		{name: "3,000 hard links that each add an xattr of 64 KB", why: "the inode grows with each", layers: over(then(open(file("a", "1")), each(3000, func(i int) ent { return link(fmt.Sprint("l", i), "a").xattr(fmt.Sprint("user.", i), sealed[:60000]) }))), want: "limit exceeded", heavy: true},
		{name: "100,000 hard links to one file", why: "looked up each time", layers: over(then(open(file("a", "1")), each(100000, func(i int) ent { return link(fmt.Sprint("l", i), "a") }))), heavy: true},
		{name: "a directory replaced by a file and back in 60 layers", why: "what is gone is passed by each time", layers: over(made(60, func(i int) io.Reader {
			if i%2 == 0 {
				return each(1000, func(k int) ent { return file(fmt.Sprint("d/", i, "-", k), "") })
			}
			return all(file("d", "x"))
		})...)},
		{name: "2,000 xattrs in one header", why: "looked through for each", layers: over(all(func() ent {
			e := file("a", "1")
			e.pax = map[string]string{}
			for i := range 2000 {
				e.pax[fmt.Sprint(xattrPrefix, "user.", i)] = "v"
			}
			return e
		}()))},
		{name: "200,000 empty directories in one", why: "looked through for each", layers: over(each(200000, func(i int) ent { return dirE(fmt.Sprint("e", i)) })), heavy: true},
		{name: "300,000 whiteouts of nothing", why: "each is a node", layers: over(each(300000, func(i int) ent { return gone(fmt.Sprint("e", i)) })), heavy: true},
		{name: "1 GB of zeros after the end", why: "has to be read, for its hash", layers: over(then(all(file("a", "1")), io.LimitReader(zeroReader{}, 1<<30))), heavy: true},

		// Sparse files.
		{name: "sparse file of 2 MB, PAX 1.0", why: "an honest one", layers: over(then(sparse10("s", 2*mega), all(file("a", "1"))))},
		{name: "sparse file of 1 MB, PAX 0.0", why: "an honest one", layers: over(then(sparse00(mega), all(file("a", "1"))))},
		{name: "sparse file of 1 MB, PAX 0.1", why: "an honest one", layers: over(then(sparse01(mega), all(file("a", "1"))))},
		{name: "sparse file of 1 MB, GNU", why: "an honest one", layers: over(then(oldSparse(mega), all(file("a", "1"))))},
		{name: "sparse file of 1 TiB, PAX 1.0", why: "hours from 1.5 KB", layers: over(then(sparse10("s", 1<<40), all())), want: "sparse files of more than 16 GiB: limit exceeded"},
		{name: "sparse file of 1 TiB, PAX 0.0", why: "hours from 1 KB", layers: over(then(sparse00(1<<40), all())), want: "sparse files of more than 16 GiB"},
		{name: "sparse file of 1 TiB, PAX 0.1", why: "hours from 1 KB", layers: over(then(sparse01(1<<40), all())), want: "sparse files of more than 16 GiB"},
		{name: "sparse file of 1 TiB, GNU", why: "hours from 1 KB", layers: over(then(oldSparse(1<<40), all())), want: "sparse files of more than 16 GiB"},
		{name: "sparse file of 8 EiB", why: "sizes overflow", layers: over(then(sparse10("s", 1<<63-1), all())), want: "sparse files of more than 16 GiB"},
		{name: "sparse files of 1 GiB in 20 layers", why: "each alone is allowed", layers: over(made(20, func(i int) io.Reader { return then(sparse10("s", 1<<30), all()) })...), want: "sparse files of more than 16 GiB", heavy: true},
		{name: "sparse file of a negative size", why: "sizes wrap", layers: over(then(open(pax("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=s", "GNU.sparse.realsize=-5"), file("s", "0\n"+times("\x00", 510))), all())), want: "invalid tar header"},
		{name: "sparse map whose ranges overlap", why: "data are read twice", layers: over(then(open(pax("GNU.sparse.size=100", "GNU.sparse.numblocks=2", "GNU.sparse.map=0,5,2,5"), file("s", "1234567890")), all())), want: "invalid tar header"},
		{name: "sparse map beyond the file's end", why: "written beyond it", layers: over(then(open(pax("GNU.sparse.size=4", "GNU.sparse.numblocks=1", "GNU.sparse.map=2,5"), file("s", "12345")), all())), want: "invalid tar header"},
		{name: "sparse map of a million ranges", why: "announced, not there", layers: over(then(open(pax("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=s", "GNU.sparse.realsize=5"), file("s", "1000000\n"+times("\x00", 504))), all())), want: "read layer 2"},

		// Tars that are none.
		{name: "body cut off", why: "a short file looks whole", layers: over(io.LimitReader(all(file("a", times("x", 2000))), 1500)), want: ErrTruncated.Error()},
		{name: "header cut off", why: "a short layer looks whole", layers: over(io.LimitReader(all(file("a", ""), file("b", "")), 700)), want: ErrTruncated.Error()},
		{name: "PAX header cut off", why: "a short layer looks whole", layers: over(io.LimitReader(all(file("a", "").record("comment", sealed[:3000])), 1500)), want: ErrTruncated.Error()},
		{name: "no tar", why: "anything may come", layers: over(strings.NewReader(times("no tar at all ", 100))), want: "invalid tar header"},
		{name: "nothing at all", why: "an empty layer is one", layers: over(strings.NewReader(""))},
		{name: "entries after the end", why: "other readers go on", layers: over(then(all(file("a", "1")), all(gone("g"))))},
		{name: "wrong checksum", why: "bits that fell over", layers: over(bytes.NewReader(func() []byte { b := bytes.Clone((&rolling{}).entry(file("a", ""))); b[0] ^= 1; return b }())), want: "invalid tar header"},
		{name: "file of 8 EiB", why: "sizes overflow", layers: over(then(head(file("a", ""), 124, "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"), all())), want: ErrTruncated.Error()},
		{name: "file of a negative size", why: "sizes wrap", layers: over(then(head(file("a", ""), 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), all())), want: "invalid tar header"},
		{name: "PAX header that says it is 2 MB", why: "memory before it is there", layers: over(then(head(special('x', ""), 124, "00007777777\x00"), all())), want: "read layer 2"},
		{name: "PAX record longer than its header", why: "read beyond it", layers: over(then(open(special('x', "99 path=x\n")), all(file("a", "")))), want: "invalid tar header"},
		{name: "PAX record without a length", why: "never ends", layers: over(then(open(special('x', "path=x\n")), all(file("a", "")))), want: "invalid tar header"},
		{name: "PAX size that isn't a number", why: "sizes wrap", layers: over(then(open(pax("size=1e9")), all(file("a", "")))), want: "invalid tar header"},
		{name: "negative PAX size", why: "sizes wrap", layers: over(then(open(pax("size=-512")), all(file("a", "")))), want: "invalid tar header"},
		{name: "PAX path with a NUL", why: "readers cut it in different places", layers: over(then(open(pax("path=a\x00b")), all(file("a", "")))), want: "invalid tar header"},
		{name: "empty PAX path", why: "the header's own name stands", layers: over(then(open(pax("path=")), all(file("a", ""))))},
		{name: "PAX header before a PAX header", why: "which one counts", layers: over(then(open(pax("path=x"), pax("uid=5")), all(file("a", ""))))},
		{name: "PAX header with nothing after it", why: "engines take it for the end", layers: over(then(open(pax("path=x"))))},
		{name: "global PAX header that renames all", why: "engines pass over it", layers: over(then(open(special('g', "10 path=x\n")), all(file("a", "1"))))},
		{name: "100 PAX records of one key", why: "the last one counts", layers: over(then(open(pax(made(100, func(i int) string { return fmt.Sprint("uid=", i) })...)), all(file("a", ""))))},
		{name: "unknown type", why: "engines refuse it", layers: over(all(ent{name: "a", kind: 'Z'})), want: ErrType.Error()},
		{name: "GNU directory listing", why: "engines refuse it", layers: over(all(ent{name: "a", kind: 'D'})), want: ErrType.Error()},
		{name: "continuation of a file on another volume", why: "engines refuse it", layers: over(all(ent{name: "a", kind: 'M'})), want: ErrType.Error()},
		{name: "time beyond every clock", why: "sizes overflow", layers: over(then(open(pax("mtime=99999999999999999999")), all(file("a", "")))), want: "invalid tar header"},

		// Paths that lead elsewhere.
		{name: "steps up in a name", why: "written outside", layers: over(all(file("../../etc/passwd", "1")))},
		{name: "absolute name", why: "written outside", layers: over(all(file("//etc//passwd", "1")))},
		{name: "steps up in a hard link's target", why: "reads outside", layers: over(all(link("h", "../../../etc/shadow"))), want: ErrLink.Error()},
		{name: "steps up in a whiteout", why: "deletes outside", layers: over(all(gone("../../d/f")))},
		{name: "a root that is a file", why: "EBUSY", layers: over(all(ent{name: "/", kind: tar.TypeReg})), want: "the root is not a directory"},
		{name: "a root that is a symlink", why: "EBUSY", layers: over(all(ent{name: "/", kind: tar.TypeSymlink, link: "tmp"})), want: "the root is not a directory"},
		{name: "control bytes in the path of an error", why: "reach a terminal", layers: over(all(link("a\x1b]0;x\x07\nb", "nowhere"))), want: `"a\x1b]0;x\a\nb": hard link target not found`},

		// Whiteouts and what overlayfs makes of things.
		{name: "whiteout of nothing", why: "engines refuse it", layers: over(all(file(".wh.", ""))), want: ErrWhiteout.Error()},
		{name: "whiteout of the own directory", why: "engines refuse it", layers: over(all(file("d/.wh..", ""))), want: ErrWhiteout.Error()},
		{name: "whiteout of the parent", why: "engines refuse it", layers: over(all(file("d/.wh...", ""))), want: ErrWhiteout.Error()},
		{name: "whiteout below a file", why: "ENOTDIR", layers: over(all(file("x", ""), gone("x/y"))), want: ErrNotDirectory.Error()},
		{name: "opaque marker below a file", why: "ENOTDIR", layers: over(all(file("x", ""), opaque("x/y"))), want: ErrNotDirectory.Error()},
		{name: "aufs's own file below a file", why: "ENOTDIR", layers: over(all(file("x", ""), file("x/.wh..wh.plnk", ""))), want: ErrNotDirectory.Error()},
		{name: "hard link to a whiteout's own name", why: "it never is in a file system", layers: over(all(gone("q"), link("h", ".wh.q"))), want: ErrLink.Error()},
		{name: "redirect", why: "the kernel shows another directory", layers: over(all(dirE("d").xattr("trusted.overlay.redirect", "/etc"))), want: ErrOverlay.Error()},
		{name: "redirect in the lowest layer", why: "nothing is below it", layers: []io.Reader{all(dirE("d").xattr("trusted.overlay.redirect", "/etc")), all(file("d/f", "1"))}},
		{name: "redirect of an opaque directory", why: "nothing comes through", layers: over(all(dirE("d").xattr("trusted.overlay.redirect", "/etc").xattr("trusted.overlay.opaque", "y")))},
		{name: "metacopy", why: "the kernel shows another file's content, or an error", layers: over(all(file("g", "").xattr("trusted.overlay.metacopy", ""))), want: ErrOverlay.Error()},
		{name: "metacopy by a hard link's header", why: "its xattrs are the inode's", layers: over(all(file("x", ""), link("y", "x").xattr("trusted.overlay.metacopy", ""))), want: ErrOverlay.Error()},
		{name: "whiteout by an xattr", why: "some kernels hide the file", layers: over(all(dirE("d").xattr("trusted.overlay.opaque", "x"), file("d/f", "").xattr("trusted.overlay.whiteout", "y"))), want: ErrOverlay.Error()},
		{name: "where an overlay's copy came from", why: "means nothing in a lower layer", layers: over(all(dirE("d").xattr("trusted.overlay.origin", "x").xattr("trusted.overlay.impure", "y")))},
	}
}

func made[T any](n int, f func(i int) T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

// TestHostile has every hostile image end as it should: flattened as the reference
// shows it, or with one line that says why not.
func TestHostile(t *testing.T) {
	if os.Getenv("DOCKER_FLATTEN_HOSTILE") == "engine" {
		t.Skip("DOCKER_FLATTEN_HOSTILE is engine, and no case here takes one: .ci/run has run them before")
	}
	child := os.Getenv("DOCKER_FLATTEN_HOSTILE_CHILD")
	for i, c := range hostileCases() {
		if child != "" {
			if child == strconv.Itoa(i) {
				debug.SetGCPercent(10) // as the command does
				c.run(t)
				t.Log(highWater())
			}
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			switch {
			case !c.heavy:
				c.run(t)
			case testing.Short():
				t.Skip("reads up to a gigabyte")
			default:
				measured(t, hostileMemory, "DOCKER_FLATTEN_HOSTILE_CHILD="+strconv.Itoa(i))
			}
		})
	}
}

func (c *hostileCase) run(t *testing.T) {
	err := c.flatten(t)
	switch {
	case err == nil && c.want != "":
		t.Errorf("no error; it should be refused: %s", c.why)
	case err != nil && c.want == "":
		t.Errorf("%v; it should be flattened: %s", err, c.why)
	case err != nil && !strings.Contains(err.Error(), c.want):
		t.Errorf("%v, want %s", err, c.want)
	case err != nil && (strings.ContainsAny(err.Error(), "\n\x1b\x00") || len(err.Error()) > 300):
		t.Errorf("%q isn't one short line", err)
	}
}

// flatten goes the whole way over the lowest layer.
func (c *hostileCase) flatten(t *testing.T) error {
	var tars [][]byte
	var idx []*Index
	budget := new(Budget)
	for i, r := range c.layers {
		var kept bytes.Buffer
		from := r
		if !c.heavy {
			from = io.TeeReader(r, &kept)
		}
		x, err := Read(t.Context(), from, ReadOptions{Layer: i, Content: !c.heavy, Budget: budget})
		if err != nil {
			return err
		}
		tars, idx = append(tars, kept.Bytes()), append(idx, x)
	}
	_, mergeErr := Merge(t.Context(), idx[:1], idx[1:])
	_, verifyErr := NewVerifier(t.Context(), idx, 1, VerifyOptions{})
	if cause, other := cause(mergeErr), cause(verifyErr); cause != other && !errors.Is(mergeErr, ErrLimit) {
		t.Errorf("merge: %v, verify: %v", mergeErr, verifyErr)
	}
	if mergeErr != nil || c.heavy {
		return errors.Join(mergeErr)
	}
	for base := range 2 {
		if !checkBase(t, tars, base) {
			return errors.New("another tree than the reference's")
		}
	}
	return nil
}

// cause is what an error of either model comes down to.
func cause(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// TestEntryLimit has an image with too many entries refused, however its layers
// share them.
func TestEntryLimit(t *testing.T) {
	var b Budget
	b.entries.Store(maxEntries - 1)
	_, err := Read(t.Context(), all(file("a", ""), file("b", "")), ReadOptions{Budget: &b})
	if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "b: more than 10000000 entries in an image") {
		t.Error(err)
	}
}

// TestLayerLimit has an image with too many layers refused.
func TestLayerLimit(t *testing.T) {
	x, err := Read(t.Context(), all(), ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	idx := make([]*Index, maxLayers+1)
	for i := range idx {
		idx[i] = x
	}
	if _, err := Merge(t.Context(), nil, idx); !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
}

// endless is a tar without end, whose reading somebody cancels after a while.
type endless struct {
	r      io.Reader
	left   int
	cancel func()
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left--; e.left == 0 {
		e.cancel()
	}
	return e.r.Read(p)
}

// TestCancel has everything that goes through what others made end once its
// context is done. Without that these would never end, or not for minutes.
func TestCancel(t *testing.T) {
	files := func(n int) []*Index {
		x, err := Read(t.Context(), each(n, func(i int) ent { return file(fmt.Sprint("d/", i), "x") }), ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return []*Index{x}
	}
	some := files(5000)
	done, stop := context.WithCancel(t.Context())
	stop()
	for _, c := range []struct {
		name string
		f    func(ctx context.Context, cancel func()) error
	}{
		{"reading entries", func(ctx context.Context, cancel func()) error {
			return second(Read(ctx, &endless{each(1<<40, func(int) ent { return file("a", "") }), 50, cancel}, ReadOptions{}))
		}},
		{"reading entries of another format", func(ctx context.Context, cancel func()) error {
			return second(Read(ctx, &endless{then(open(special('g', "10 path=x\n")), each(1<<40, func(int) ent { return file("a", "") })), 50, cancel}, ReadOptions{}))
		}},
		{"reading a body", func(ctx context.Context, cancel func()) error {
			return second(Read(ctx, &endless{then(bytes.NewReader(bytes.Clone(new(formatter).format(&outHeader{name: "a", kind: typeFile, size: 1 << 60}))), zeroReader{}), 50, cancel}, ReadOptions{}))
		}},
		{"reading what follows the end", func(ctx context.Context, cancel func()) error {
			return second(Read(ctx, &endless{zeroReader{}, 50, cancel}, ReadOptions{}))
		}},
		{"reading holes", func(ctx context.Context, cancel func()) error {
			return second(Read(ctx, then(readerFunc(cancel), sparse10("s", 16<<30), all()), ReadOptions{}))
		}},
		{"merging", func(context.Context, func()) error { return second(Merge(done, nil, some)) }},
		{"a model for verifying", func(context.Context, func()) error { return second(NewVerifier(done, some, 0, VerifyOptions{})) }},
		{"verifying", func(ctx context.Context, cancel func()) error {
			v, err := NewVerifier(ctx, some, 0, VerifyOptions{})
			if err != nil {
				return err
			}
			return v.Check(ctx, &endless{each(1<<40, func(int) ent { return file("a", "") }), 50, cancel})
		}},
		{"reading on after what isn't a tar", func(ctx context.Context, cancel func()) error {
			v, err := NewVerifier(ctx, some, 0, VerifyOptions{})
			if err != nil {
				return err
			}
			v.Check(ctx, &endless{then(strings.NewReader(times("no tar ", 100)), zeroReader{}), 50, cancel})
			return ctx.Err()
		}},
		{"a portable form", func(context.Context, func()) error {
			m, err := Merge(t.Context(), nil, some)
			if err != nil {
				return err
			}
			return second(m.Portable(done))
		}},
		{"writing", func(context.Context, func()) error {
			m, err := Merge(t.Context(), nil, some)
			if err != nil {
				return err
			}
			return m.Write(done, io.Discard, []Source{stream(nil)})
		}},
		{"going to a body", func(ctx context.Context, cancel func()) error {
			b := streamBodies{ctx: ctx, r: &endless{zeroReader{}, 50, cancel}}
			return b.start(0, &entry{body: 1 << 60})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if err := c.f(ctx, cancel); !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want %v", err, context.Canceled)
			}
		})
	}
}

// readerFunc is an empty reader that calls a function.
type readerFunc func()

func (f readerFunc) Read([]byte) (int, error) { f(); return 0, io.EOF }
