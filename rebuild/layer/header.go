package layer

import (
	"math"
	"strconv"
	"strings"
)

const blockSize = 512

// outHeader is one entry to be written.
type outHeader struct {
	name         string // directories end in a slash
	link         string
	kind         byte
	mode         uint32
	uid, gid     uint32
	major, minor uint32
	size         int64
	mtime        int64
	nsec         uint32
	uname, gname string
	records      records
}

// formatter turns headers into tar blocks. One rule gives the bytes of a given
// header: a USTAR header if it can say everything, with a PAX header in front of
// it for what it can't. archive/tar's Writer refuses or rewrites some headers
// that engines take (its reader's range is wider), and allocates for each.
type formatter struct {
	out []byte
	pax []byte
}

// format gives the header's blocks; they are valid until the next call.
func (f *formatter) format(h *outHeader) []byte {
	f.out, f.pax = f.out[:0], f.pax[:0]
	// PAX records in the order of their keys, the header's own among them.
	own := [...]struct {
		key   string
		value func() string
		need  bool
	}{
		{"gid", func() string { return strconv.FormatUint(uint64(h.gid), 10) }, h.gid > 0o7777777},
		{"gname", func() string { return h.gname }, !fits(h.gname, 31)},
		{"linkpath", func() string { return h.link }, !fits(h.link, 100)},
		{"mtime", func() string { return paxTime(h.mtime, h.nsec) }, h.nsec != 0 || h.mtime < 0 || h.mtime > 0o77777777777},
		{"path", func() string { return h.name }, !fitsName(h.name)},
		{"size", func() string { return strconv.FormatInt(h.size, 10) }, h.size > 0o77777777777},
		{"uid", func() string { return strconv.FormatUint(uint64(h.uid), 10) }, h.uid > 0o7777777},
		{"uname", func() string { return h.uname }, !fits(h.uname, 31)},
	}
	rest := h.records
	for _, o := range own {
		if !o.need {
			continue
		}
		for rest != "" {
			k, v, more := rest.next()
			if k > o.key {
				break
			}
			f.record(k, v)
			rest = more
		}
		f.record(o.key, o.value())
	}
	for rest != "" {
		var k, v string
		k, v, rest = rest.next()
		f.record(k, v)
	}
	if len(f.pax) > 0 {
		f.block(&outHeader{name: "././@PaxHeader", kind: 'x', size: int64(len(f.pax))})
		f.out = append(f.out, f.pax...)
		f.out = append(f.out, zeros[:padding(int64(len(f.pax)))]...)
	}
	f.block(h)
	return f.out
}

var zeros [2 * blockSize]byte

// padding is what completes a body's last block.
func padding(n int64) int64 { return -n & (blockSize - 1) }

// record appends one PAX record: its length, which counts itself, a space, the
// key, "=", the value, a newline.
func (f *formatter) record(k, v string) {
	n := len(k) + len(v) + 3
	size := n + len(strconv.Itoa(n))
	if len(strconv.Itoa(size)) != size-n {
		size = n + len(strconv.Itoa(size))
	}
	f.pax = strconv.AppendInt(f.pax, int64(size), 10)
	f.pax = append(f.pax, ' ')
	f.pax = append(f.pax, k...)
	f.pax = append(f.pax, '=')
	f.pax = append(f.pax, v...)
	f.pax = append(f.pax, '\n')
}

// block appends one USTAR header block.
func (f *formatter) block(h *outHeader) {
	at := len(f.out)
	f.out = append(f.out, zeros[:blockSize]...)
	b := f.out[at:]
	if prefix, suffix, ok := splitUstar(h.name); ok {
		copy(b[345:500], prefix)
		copy(b[:100], suffix)
	} else {
		copy(b[:100], ascii(h.name, 100)) // the PAX header has it whole
	}
	number(b[100:108], uint64(h.mode))
	if h.uid <= 0o7777777 {
		number(b[108:116], uint64(h.uid))
	} else {
		number(b[108:116], 0)
	}
	if h.gid <= 0o7777777 {
		number(b[116:124], uint64(h.gid))
	} else {
		number(b[116:124], 0)
	}
	if h.size <= 0o77777777777 {
		number(b[124:136], uint64(h.size))
	} else {
		number(b[124:136], 0)
	}
	if h.mtime >= 0 && h.mtime <= 0o77777777777 {
		number(b[136:148], uint64(h.mtime))
	} else {
		number(b[136:148], 0)
	}
	b[156] = h.kind
	copy(b[157:257], ascii(h.link, 100))
	copy(b[257:265], "ustar\x0000")
	copy(b[265:296], ascii(h.uname, 31))
	copy(b[297:328], ascii(h.gname, 31))
	number(b[329:337], uint64(h.major))
	number(b[337:345], uint64(h.minor))
	sum := uint64(8 * ' ')
	for _, c := range b {
		sum += uint64(c)
	}
	octal(b[148:155], sum)
	b[155] = ' '
}

// number writes an octal field. What octal digits can't hold it writes in GNU's
// base-256 form; only mode and device numbers get that far.
func number(b []byte, v uint64) {
	if v>>(3*(len(b)-1)) == 0 {
		octal(b, v)
		return
	}
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte(v)
		v >>= 8
	}
	b[0] |= 0x80
}

// octal fills all but the last byte with digits; that one stays NUL.
func octal(b []byte, v uint64) {
	for i := len(b) - 2; i >= 0; i-- {
		b[i] = '0' + byte(v&7)
		v >>= 3
	}
}

// fits is true if a USTAR text field of n bytes holds s, which is then plain
// ASCII, so that every reader takes it for the same bytes.
func fits(s string, n int) bool {
	if len(s) > n {
		return false
	}
	for i := range len(s) {
		if s[i] >= 0x80 || s[i] == 0 {
			return false
		}
	}
	return true
}

func fitsName(name string) bool {
	_, _, ok := splitUstar(name)
	return ok
}

// splitUstar cuts a name for the fields prefix (155 bytes) and name (100).
func splitUstar(name string) (prefix, suffix string, ok bool) {
	if !fits(name, 256) {
		return "", "", false
	}
	if len(name) <= 100 {
		return "", name, true
	}
	i := strings.LastIndexByte(name[:min(len(name)-1, 156)], '/')
	if i <= 0 || len(name)-i-1 > 100 {
		return "", "", false
	}
	return name[:i], name[i+1:], true
}

// ascii is the part of a text that a field may show to readers without PAX.
func ascii(s string, n int) string {
	if fits(s, n) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < n; i++ {
		if s[i] > 0 && s[i] < 0x80 {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// paxTime writes seconds with as many decimals as it takes. PAX counts the
// fraction away from zero, time.Time towards the future.
func paxTime(sec int64, nsec uint32) string {
	if nsec == 0 {
		return strconv.FormatInt(sec, 10)
	}
	sign := ""
	if sec < 0 {
		sign = "-"
		sec, nsec = -(sec + 1), uint32(1e9)-nsec
	}
	digits := strconv.FormatUint(uint64(nsec)+1e9, 10)[1:]
	return sign + strconv.FormatUint(uint64(sec), 10) + "." + strings.TrimRight(digits, "0")
}

const maxBody = math.MaxInt64 - 2*blockSize
