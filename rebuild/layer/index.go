package layer

import "encoding/binary"

// Entry types, by their tar letters.
const (
	typeFile    = '0'
	typeLink    = '1'
	typeSymlink = '2'
	typeChar    = '3'
	typeBlock   = '4'
	typeDir     = '5'
	typeFifo    = '6'
)

// Index is what Read keeps of one layer: every entry's header, where its body
// lies, and its body's hash; about 48 bytes an entry and the length of its last
// component. An Index never changes once Read has returned it, and may be used by
// several goroutines.
type Index struct {
	layer   int
	entries list[entry]
	text    byteArena
	attrs   []attr
	digests list[[32]byte] // with ReadOptions.Content, one an entry
	bytes   int64          // of regular files
	length  int64          // of the tar stream
	told    map[string]*told
}

// entry is one tar entry without pointers.
type entry struct {
	text  uint64 // in Index.text: place of the directory's name (0: the root), last component, link name, PAX records
	size  int64  // of a regular file
	body  int64  // where the body starts in the tar stream; -1 when it isn't one range
	hash  uint64 // xxhash64 of a regular file's content
	mtime int64  // seconds
	nsec  uint32
	attr  uint32
}

// attr is what many entries of a layer have in common.
type attr struct {
	mode         uint32 // as in the header; the low 12 bits count
	uid, gid     uint32
	major, minor uint32
	kind         byte // a type letter
	slash        bool // the root entry in a form that engines apply: "/"
	uname, gname string
}

// Len is the number of entries.
func (x *Index) Len() int { return x.entries.n }

// Bytes is the total size of the regular files.
func (x *Index) Bytes() int64 { return x.bytes }

func (x *Index) attr(e *entry) *attr { return &x.attrs[e.attr] }

// split gives an entry's cleaned path as splitName does.
func (x *Index) split(e *entry) (dir, base string) {
	at, rest := uvarint(x.text.from(e.text))
	dir, _ = field(x.text.from(at))
	base, _ = field(rest)
	return dir, base
}

// name gives an entry's cleaned path.
func (x *Index) name(e *entry) string {
	dir, base := x.split(e)
	if dir == "" {
		return base
	}
	return dir + "/" + base
}

// link gives an entry's link name as the tar has it.
func (x *Index) link(e *entry) string {
	_, rest := uvarint(x.text.from(e.text))
	_, rest = field(rest)
	s, _ := field(rest)
	return s
}

// records gives an entry's remaining PAX records.
func (x *Index) records(e *entry) records {
	_, rest := uvarint(x.text.from(e.text))
	_, rest = field(rest)
	_, rest = field(rest)
	s, _ := field(rest)
	return records(s)
}

// field cuts one string with its length in front off b.
func field(b []byte) (string, []byte) {
	n, b := uvarint(b)
	return view(b[:n]), b[n:]
}

func uvarint(b []byte) (uint64, []byte) {
	n, k := binary.Uvarint(b)
	return n, b[k:]
}

func appendField(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// records are PAX records that no field of entry or attr holds (xattrs, atime,
// a comment, …), sorted by key, in the form: length, key, length, value.
type records string

// next cuts the first record off.
func (r records) next() (key, value string, rest records) {
	if r == "" {
		return "", "", ""
	}
	b := viewBytes(string(r))
	key, b = field(b)
	value, b = field(b)
	return key, value, records(view(b))
}

// get looks a key up.
func (r records) get(want string) (string, bool) {
	for r != "" {
		var key, value string
		if key, value, r = r.next(); key == want {
			return value, true
		}
	}
	return "", false
}
