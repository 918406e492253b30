package image

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// File is the contents of a file, or a stretch of a file.
type File interface {
	io.ReaderAt
	Size() int64
}

// Layer is one layer as its source stores it.
type Layer struct {
	object string          // what errors call it
	desc   v1.Descriptor   // Digest is zero where the source has no manifest
	raw    json.RawMessage // the descriptor to the letter, nil where there is none
	diffID v1.Hash
	place  string // where the stored bytes are; "" where that isn't known
	passed bool   // an image's reading passes over it

	open   func(ctx context.Context) (io.ReadCloser, error) // returns the stored bytes, from their start
	file   File                                             // the stored bytes where they lie in a file, else nil
	files  func() (Files, error)                            // opens what an engine has unpacked the layer to, else nil
	learnt *learnt
}

// learnt is what a whole reading with the right digests tells of the stored
// bytes, wherever copies of them lie.
type learnt struct {
	mu     sync.Mutex
	known  bool
	kind   string // of compression
	diffID v1.Hash
	digest v1.Hash
	size   int64
}

// NewLayer returns a layer that errors call object. The diff ID is zero where
// only a reading tells it. Open returns the stored bytes, from their start.
func NewLayer(object string, diffID v1.Hash, open func(ctx context.Context) (io.ReadCloser, error)) *Layer {
	return &Layer{object: object, diffID: diffID, open: open, learnt: &learnt{}}
}

// InFile is the same layer with its stored bytes in a file.
func (l *Layer) InFile(f File) *Layer {
	in := *l
	in.file = f
	in.open = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(f, 0, f.Size())), nil
	}
	return &in
}

// At is the same layer, said to have its stored bytes at a place: two layers of one
// place are the same bytes.
func (l *Layer) At(place string) *Layer {
	at := *l
	at.place = place
	return &at
}

// Unpacked is the same layer, with the directory to which an engine has unpacked
// it; open opens that.
func (l *Layer) Unpacked(open func() (Files, error)) *Layer {
	in := *l
	in.files = open
	return &in
}

// Learn takes over what a reading of other has told: both have the same stored
// bytes.
func (l *Layer) Learn(other *Layer) { l.learnt = other.learnt }

// Describe gives the layer the descriptor that its source has for it. Raw is
// the descriptor to the letter, nil where the source has but a digest.
func (l *Layer) Describe(d v1.Descriptor, raw json.RawMessage) { l.desc, l.raw = d, raw }

// String is what errors call the layer.
func (l *Layer) String() string { return l.object }

// DiffID is the digest of the layer's tar, zero where it isn't known yet.
func (l *Layer) DiffID() v1.Hash {
	l.learnt.mu.Lock()
	defer l.learnt.mu.Unlock()
	if l.learnt.known {
		return l.learnt.diffID
	}
	return l.diffID
}

// Kind is how the layer is compressed, "" where it isn't known yet.
func (l *Layer) Kind() string {
	l.learnt.mu.Lock()
	defer l.learnt.mu.Unlock()
	return l.learnt.kind
}

// Reader returns the layer's uncompressed tar. At its end the digests of what
// was read are known to be right; if they aren't, the error says so in the
// place of io.EOF.
func (l *Layer) Reader(ctx context.Context) (io.ReadCloser, error) {
	if l.file != nil && l.desc.Size != 0 && l.file.Size() != l.desc.Size {
		// The digest would tell as well, but only at the end of what may be long.
		return nil, &Error{Op: "read", Object: l.object, Err: Detail(ErrDigest, "it has %d bytes, its descriptor says %d", l.file.Size(), l.desc.Size)}
	}
	raw, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	return l.Verify(ctx, raw)
}

// Stored returns the layer's bytes as its source stores them, unchecked.
func (l *Layer) Stored(ctx context.Context) (io.ReadCloser, error) { return l.open(ctx) }

// Verify is Reader for stored bytes that come from somewhere else, such as an
// engine's stream.
func (l *Layer) Verify(ctx context.Context, raw io.ReadCloser) (io.ReadCloser, error) {
	counted := &hashed{r: raw, ctx: ctx, sum: sha256.New()}
	plain, kind, err := Decompress(counted)
	if err != nil {
		return nil, errors.Join(&Error{Op: "read", Object: l.object, Err: err}, raw.Close())
	}
	r := &layerReader{layer: l, raw: raw, stored: counted, plain: plain, kind: kind}
	if kind != Uncompressed {
		r.sum = sha256.New()
	}
	return r, nil
}

// Check reads the layer through once, unless that was done before, so that the
// diff ID, and the digest and size of its stored bytes are known.
func (l *Layer) Check(ctx context.Context) error {
	l.learnt.mu.Lock()
	done := l.learnt.known
	l.learnt.mu.Unlock()
	if done {
		return nil
	}
	r, err := l.Reader(ctx)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// Files are the files of a layer that an engine has unpacked.
type Files interface {
	// Get opens the file that the layer has at a path without a leading slash,
	// and none outside the layer.
	Get(name string) (io.ReadCloser, error)
	io.Closer
}

// layerReader reads a layer's uncompressed tar and checks its digests.
type layerReader struct {
	layer  *Layer
	raw    io.Closer
	stored *hashed
	plain  io.ReadCloser
	kind   string
	sum    hash.Hash // of the tar; nil where the stored bytes are the tar
	err    error
}

func (r *layerReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.plain.Read(p)
	if r.sum != nil {
		r.sum.Write(p[:n])
	}
	switch {
	case err == io.EOF:
		r.err = r.finish()
	case err != nil:
		r.err = &Error{Op: "read", Object: r.layer.object, Err: noEOF(err), Hint: SpaceHint(err)}
		if r.sum != nil && !errors.Is(err, context.Canceled) {
			r.err = r.damaged(r.err)
		}
	default:
		return n, nil
	}
	if n > 0 {
		return n, nil // the end comes with the next call
	}
	return 0, r.err
}

// damaged explains a failed decompression by a wrong digest, if that is the
// case: the digest is the better news.
func (r *layerReader) damaged(failed error) error {
	if r.layer.desc.Digest == (v1.Hash{}) {
		return failed
	}
	_, err := io.Copy(io.Discard, r.stored)
	if err != nil && r.stored.n < r.layer.desc.Size {
		return failed
	}
	if err := r.checkStored(); err != nil {
		return err
	}
	return failed
}

// finish checks the digests once the tar has ended, and returns io.EOF if they
// are right.
func (r *layerReader) finish() error {
	_, err := io.Copy(io.Discard, r.stored) // what may follow the compressed data
	if err == nil || r.stored.n >= r.layer.desc.Size {
		// A store that checks by itself says it in its own words.
		if err := r.checkStored(); err != nil {
			return err
		}
	}
	if err != nil {
		return &Error{Op: "read", Object: r.layer.object, Err: noEOF(err)}
	}
	diffID := r.stored.digest()
	if r.sum != nil {
		diffID = sumOf(r.sum)
	}
	if want := r.layer.diffID; want != (v1.Hash{}) && diffID != want {
		return &Error{Op: "read", Object: r.layer.object, Err: Detail(ErrDigest, "digest mismatch: the uncompressed layer is %s, the config says %s", diffID, want)}
	}
	known := r.layer.learnt
	known.mu.Lock()
	defer known.mu.Unlock()
	known.known, known.kind, known.diffID = true, r.kind, diffID
	known.digest, known.size = r.stored.digest(), r.stored.n
	return io.EOF
}

func (r *layerReader) checkStored() error {
	got, want := r.stored.digest(), r.layer.desc.Digest
	if want != (v1.Hash{}) && got != want {
		return &Error{Op: "read", Object: r.layer.object, Err: Detail(ErrDigest, "digest mismatch: the stored bytes are %s", got)}
	}
	return nil
}

func (r *layerReader) Close() error {
	return errors.Join(r.plain.Close(), r.raw.Close())
}

// StoredSize is the number of bytes that the source stores the layer in.
func (l *Layer) StoredSize(ctx context.Context) (int64, error) {
	if n := l.knownSize(); n > 0 {
		return n, nil
	}
	err := l.Check(ctx)
	return l.knownSize(), err
}

// knownSize is StoredSize, 0 where only reading the layer would tell.
func (l *Layer) knownSize() int64 {
	switch {
	case l.desc.Size > 0:
		return l.desc.Size
	case l.file != nil:
		return l.file.Size()
	}
	l.learnt.mu.Lock()
	defer l.learnt.mu.Unlock()
	return l.learnt.size
}

// Digest is that of the layer's stored bytes, zero where the source has no manifest.
func (l *Layer) Digest() v1.Hash { return l.desc.Digest }

// CopyTo copies the stored bytes to w, size of them, and checks their digest.
func (l *Layer) CopyTo(ctx context.Context, w io.Writer, size int64) error {
	r, err := l.open(ctx)
	if err != nil {
		return err
	}
	in := &hashed{r: r, ctx: ctx, sum: sha256.New()}
	n, err := io.Copy(w, in)
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", l.object, err)
	}
	want := l.desc.Digest
	l.learnt.mu.Lock()
	if l.learnt.known {
		want = l.learnt.digest
	}
	l.learnt.mu.Unlock()
	got := in.digest()
	if n != size || want != (v1.Hash{}) && got != want {
		return &Error{Op: "read", Object: l.object, Err: Detail(ErrDigest, "digest mismatch: the stored bytes are %s", got)}
	}
	return nil
}

// compression is how the stored bytes are compressed, found out from their
// first bytes where no reading has told.
func (l *Layer) compression(ctx context.Context) (string, error) {
	if kind := l.Kind(); kind != "" {
		return kind, nil
	}
	r, err := l.open(ctx)
	if err != nil {
		return "", err
	}
	head := make([]byte, HeadSize)
	n, err := io.ReadFull(r, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return KindOf(head[:n]), errors.Join(err, r.Close())
}

// LayerName is what errors call the i-th layer of n.
func LayerName(i, n int, d v1.Hash) string {
	return fmt.Sprintf("layer %d of %d (%s)", i+1, n, d)
}
