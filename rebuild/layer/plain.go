package layer

import (
	"bufio"
	"bytes"
	"io"
	"math"
	"slices"
)

// plainReader reads the headers that nearly all layers consist of: USTAR ones
// with octal numbers, with or without a PAX header in front. It allocates nothing
// for them, which is most of the cost of a layer of many small files. It leaves
// every other header to archive/tar, and reads none in another way than
// archive/tar does.
type plainReader struct {
	r     *bufio.Reader
	at    int64
	raw   []byte // the headers of the current entry; the strings of a header are parts of it
	pairs []pair
	pack  []byte
}

type pair struct{ key, value []byte }

// maxPax is archive/tar's limit for a PAX header.
const maxPax = 1 << 20

func (p *plainReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.at += int64(n)
	return n, err
}

func (p *plainReader) skip(n int64) error {
	if n == 0 {
		return nil
	}
	k, err := p.r.Discard(int(n))
	p.at += int64(k)
	if err == io.EOF {
		// archive/tar lets the padding of the last body be missing if nothing
		// follows.
		return nil
	}
	return err
}

// take moves n more bytes to p.raw.
func (p *plainReader) take(n int) error {
	at := len(p.raw)
	p.raw = slices.Grow(p.raw, n)[:at+n]
	k, err := io.ReadFull(p.r, p.raw[at:])
	p.at += int64(k)
	p.raw = p.raw[:at+k]
	return err
}

// next reads the next header. ok is false if it is none of the plain ones; p.raw
// then holds what has been read of it.
func (p *plainReader) next(h *header) (ok bool, err error) {
	p.raw = p.raw[:0]
	if err := p.take(blockSize); err != nil {
		return false, err // io.EOF between entries ends the archive
	}
	if !plainBlock(p.raw) {
		return false, nil // the end of the archive, too
	}
	*h = header{}
	pax := 0
	if p.raw[156] == 'x' {
		n, ok := plainNumbers(p.raw)
		size := n[3]
		if !ok || size > maxPax {
			return false, nil
		}
		pax = int(size)
		if err := p.take(pax + int(padding(size)) + blockSize); err != nil {
			return false, nil
		}
		if !plainBlock(p.raw[len(p.raw)-blockSize:]) {
			return false, nil
		}
	}
	b := p.raw[len(p.raw)-blockSize:]
	if !p.fields(h, b) {
		return false, nil
	}
	if pax > 0 && !p.records(h, p.raw[blockSize:blockSize+pax]) {
		return false, nil
	}
	h.body = p.at
	return true, nil
}

// plainBlock is true for a USTAR block with a right checksum.
func plainBlock(b []byte) bool {
	if string(b[257:265]) != "ustar\x0000" || string(b[508:512]) == "tar\x00" {
		return false
	}
	want, ok := plainOctal(b[148:156])
	if !ok {
		return false
	}
	var sum int64 = 8 * ' '
	for _, c := range b[:148] {
		sum += int64(c)
	}
	for _, c := range b[156:512] {
		sum += int64(c)
	}
	return sum == want
}

// plainOctal reads an octal field: digits, then NULs or spaces.
func plainOctal(b []byte) (v int64, ok bool) {
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '7'; i++ {
		v = v<<3 | int64(b[i]-'0')
	}
	for _, c := range b[i:] {
		if c != 0 && c != ' ' {
			return 0, false
		}
	}
	return v, true
}

func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return view(b)
}

// plainNumbers reads a USTAR block's numbers: mode, uid, gid, size, mtime, and the
// two of a device. archive/tar wants all of them right, whatever the entry is.
func plainNumbers(b []byte) (n [7]int64, ok bool) {
	for i, f := range [...][]byte{b[100:108], b[108:116], b[116:124], b[124:136], b[136:148], b[329:337], b[337:345]} {
		if n[i], ok = plainOctal(f); !ok {
			return n, false
		}
	}
	return n, true
}

// fields takes a USTAR block apart.
func (p *plainReader) fields(h *header, b []byte) bool {
	switch h.kind = b[156]; h.kind {
	case typeFile, typeLink, typeSymlink, typeChar, typeBlock, typeDir, typeFifo:
	default:
		return false
	}
	n, ok := plainNumbers(b)
	if !ok {
		return false
	}
	h.mode, h.uid, h.gid, h.size, h.mtime = uint32(n[0]), uint32(n[1]), uint32(n[2]), n[3], n[4]
	if h.kind == typeChar || h.kind == typeBlock {
		h.major, h.minor = uint32(n[5]), uint32(n[6])
	}
	h.name, h.link = text(b[:100]), text(b[157:257])
	h.uname, h.gname = text(b[265:297]), text(b[297:329])
	if b[345] != 0 {
		prefix := text(b[345:500])
		p.pack = append(append(append(p.pack[:0], prefix...), '/'), h.name...)
		h.name = string(p.pack)
	}
	if h.kind != typeFile {
		h.size = 0
	}
	return true
}

// records applies a PAX header.
func (p *plainReader) records(h *header, b []byte) bool {
	p.pairs = p.pairs[:0]
	for len(b) > 0 {
		key, value, rest, ok := cutRecord(b)
		if !ok || bytes.HasPrefix(key, []byte(sparsePrefix)) {
			return false
		}
		b = rest
		switch string(key) {
		case "path", "linkpath", "uname", "gname":
			if bytes.IndexByte(value, 0) >= 0 {
				return false
			}
		default:
			if bytes.IndexByte(key, 0) >= 0 {
				return false
			}
		}
		i := slices.IndexFunc(p.pairs, func(q pair) bool { return bytes.Equal(q.key, key) })
		if i < 0 {
			p.pairs = append(p.pairs, pair{key, value})
		} else {
			p.pairs[i].value = value
		}
		if len(p.pairs) > 64 {
			return false // many are slow to look through
		}
	}
	slices.SortFunc(p.pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	p.pack = p.pack[:0]
	for _, q := range p.pairs {
		if !headerKey(view(q.key)) {
			p.pack = appendField(p.pack, view(q.key))
			p.pack = appendField(p.pack, view(q.value))
			if len(q.value) == 0 {
				continue
			}
			if k := string(q.key); k == "atime" || k == "ctime" {
				if _, _, ok := plainTime(q.value); !ok {
					return false
				}
			}
			continue
		}
		if len(q.value) == 0 {
			continue // the block's own value stands
		}
		v := view(q.value)
		ok := true
		var n int64
		switch string(q.key) {
		case "path":
			h.name = v
		case "linkpath":
			h.link = v
		case "uname":
			h.uname = v
		case "gname":
			h.gname = v
		case "uid":
			n, ok = plainDecimal(q.value)
			h.uid = uint32(n)
		case "gid":
			n, ok = plainDecimal(q.value)
			h.gid = uint32(n)
		case "size":
			n, ok = plainDecimal(q.value)
			if h.kind == typeFile {
				h.size = n
			}
		case "mtime":
			h.mtime, h.nsec, ok = plainTime(q.value)
		}
		if !ok {
			return false
		}
	}
	h.records = records(view(p.pack))
	return true
}

// cutRecord cuts one PAX record off: its length in decimal, a space, key=value
// and a newline.
func cutRecord(b []byte) (key, value, rest []byte, ok bool) {
	space := bytes.IndexByte(b, ' ')
	if space <= 0 {
		return nil, nil, nil, false
	}
	n, ok := plainDecimal(b[:space])
	if !ok || n < int64(space)+3 || n > int64(len(b)) || b[n-1] != '\n' {
		return nil, nil, nil, false
	}
	key, value, ok = bytes.Cut(b[space+1:n-1], []byte("="))
	return key, value, b[n:], ok && len(key) > 0
}

// plainDecimal reads digits.
func plainDecimal(b []byte) (v int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int64(c-'0')
	}
	return v, true
}

// plainTime reads seconds with a fraction, of which nine digits count, as
// archive/tar does.
func plainTime(b []byte) (sec int64, nsec uint32, ok bool) {
	negative := b[0] == '-'
	if negative {
		b = b[1:]
	}
	whole, fraction, _ := bytes.Cut(b, []byte("."))
	if sec, ok = plainDecimal(whole); !ok || sec > math.MaxInt64/4 {
		return 0, 0, false
	}
	digits := 0
	for _, c := range fraction {
		if c < '0' || c > '9' {
			return 0, 0, false
		}
		if digits < 9 {
			nsec = nsec*10 + uint32(c-'0')
			digits++
		}
	}
	for ; digits < 9; digits++ {
		nsec *= 10
	}
	if negative {
		sec = -sec
		if nsec > 0 {
			sec, nsec = sec-1, 1e9-nsec
		}
	}
	return sec, nsec, true
}
