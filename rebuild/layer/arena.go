package layer

import "unsafe"

// byteArena holds many short byte strings in chunks that never move: growing
// costs no copy, and the collector has nothing to look at inside.
type byteArena struct {
	chunks [][]byte
}

const (
	chunkBits = 18
	chunkSize = 1 << chunkBits
)

// add stores b contiguously and gives its place. A string longer than a chunk has
// one of its own.
func (a *byteArena) add(b []byte) uint64 {
	n := len(a.chunks)
	if n == 0 || len(a.chunks[n-1])+len(b) > cap(a.chunks[n-1]) {
		size := chunkSize
		if n == 0 && len(b) < 4096 {
			size = 4096 // most layers are small
		}
		a.chunks = append(a.chunks, make([]byte, 0, max(size, len(b))))
		n++
	}
	c := &a.chunks[n-1]
	at := len(*c)
	*c = append(*c, b...)
	return uint64(n-1)<<chunkBits | uint64(at)
}

// from gives the bytes from a place to the end of its chunk.
func (a *byteArena) from(at uint64) []byte {
	return a.chunks[at>>chunkBits][at&(chunkSize-1):]
}

// addName stores a short string whose place takes four bytes. It fails when the
// arena is full.
func (a *byteArena) addName(s string) (at uint32, ok bool) {
	if len(s) > maxName {
		return 0, false
	}
	p := a.add(viewBytes(s))
	return uint32(p), p>>32 == 0
}

// nameAt gives a string that addName has stored.
func (a *byteArena) nameAt(at uint32, length uint16) string {
	return view(a.from(uint64(at))[:length])
}

// view gives bytes that never change as a string, without a copy.
func view(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// viewBytes is view's inverse; the result must not be written to.
func viewBytes(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// list is an append-only sequence in chunks, for the same reasons.
type list[T any] struct {
	chunks [][]T
	n      int
}

const (
	listBits = 12
	listSize = 1 << listBits
)

func (l *list[T]) add(v T) {
	if l.n>>listBits == len(l.chunks) {
		size := listSize
		if len(l.chunks) == 0 {
			size = 64
		}
		l.chunks = append(l.chunks, make([]T, 0, size))
	}
	c := &l.chunks[l.n>>listBits]
	*c = append(*c, v)
	l.n++
}

func (l *list[T]) at(i int) *T { return &l.chunks[i>>listBits][i&(listSize-1)] }
