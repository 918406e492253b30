package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// LayerSource is a layer that can be read as often as one likes: Open returns
// its uncompressed tar. One whose tar lies uncompressed in a file is an
// io.ReaderAt too, and one that an engine here has unpacked an *UnpackedLayer.
type LayerSource interface {
	Open() (io.ReadCloser, error)
}

// sizedReaderAt is the contents of a file, or a stretch of a file.
type sizedReaderAt interface {
	io.ReaderAt
	Size() int64
}

// blob is one layer as its source stores it.
type blob struct {
	object string          // what errors call it
	desc   v1.Descriptor   // Digest is zero where the source has no manifest
	raw    json.RawMessage // the descriptor to the letter, nil where there is none
	diffID v1.Hash

	// open returns the stored bytes, from their start.
	open func(ctx context.Context) (io.ReadCloser, error)
	// file is the stored bytes where they lie in a file, else nil.
	file sizedReaderAt
	// dir is the directory to which an engine has unpacked the layer, or "".
	dir string

	mu      sync.Mutex
	checked bool // a whole reading had the right digests; then these are known:
	kind    string
	digest  v1.Hash // of the stored bytes
	size    int64   // of the stored bytes
}

// reader returns the layer's uncompressed tar. At its end the digests of what
// was read are known to be right; if they aren't, the error says so in the
// place of io.EOF.
func (b *blob) reader(ctx context.Context) (io.ReadCloser, error) {
	raw, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	return b.verify(ctx, raw)
}

// verify is reader for stored bytes that come from somewhere else, such as an
// engine's stream.
func (b *blob) verify(ctx context.Context, raw io.ReadCloser) (*layerReader, error) {
	counted := &hashed{r: raw, ctx: ctx, sum: sha256.New()}
	plain, kind, err := decompress(counted)
	if err != nil {
		return nil, errors.Join(&Error{Op: "read", Object: b.object, Err: err}, raw.Close())
	}
	r := &layerReader{blob: b, raw: raw, stored: counted, plain: plain, kind: kind}
	if kind != Uncompressed {
		r.sum = sha256.New()
	}
	return r, nil
}

// check reads the layer through once, unless that was done before, so that the
// digest and size of its stored bytes are known.
func (b *blob) check(ctx context.Context) error {
	b.mu.Lock()
	done := b.checked
	b.mu.Unlock()
	if done {
		return nil
	}
	r, err := b.reader(ctx)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// layerReader reads a layer's uncompressed tar and checks its digests.
type layerReader struct {
	blob   *blob
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
		r.err = &Error{Op: "read", Object: r.blob.object, Err: noEOF(err), Hint: spaceHint(err)}
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
	if r.blob.desc.Digest == (v1.Hash{}) {
		return failed
	}
	_, err := io.Copy(io.Discard, r.stored)
	if err != nil && r.stored.n < r.blob.desc.Size {
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
	if _, err := io.Copy(io.Discard, r.stored); err != nil { // what may follow the compressed data
		return &Error{Op: "read", Object: r.blob.object, Err: noEOF(err)}
	}
	if err := r.checkStored(); err != nil {
		return err
	}
	diffID := r.stored.digest()
	if r.sum != nil {
		diffID = digestOf(r.sum)
	}
	if want := r.blob.diffID; want != (v1.Hash{}) && diffID != want {
		return &Error{Op: "read", Object: r.blob.object, Err: detail(ErrDigest, "digest mismatch: the uncompressed layer is %s, the config says %s", diffID, want)}
	}
	b := r.blob
	b.mu.Lock()
	defer b.mu.Unlock()
	b.checked, b.kind, b.diffID = true, r.kind, diffID
	b.digest, b.size = r.stored.digest(), r.stored.n
	return io.EOF
}

func (r *layerReader) checkStored() error {
	got, want := r.stored.digest(), r.blob.desc.Digest
	if want != (v1.Hash{}) && got != want {
		return &Error{Op: "read", Object: r.blob.object, Err: detail(ErrDigest, "digest mismatch: the stored bytes are %s", got)}
	}
	return nil
}

func (r *layerReader) Close() error {
	return errors.Join(r.plain.Close(), r.raw.Close())
}

// hashed reads r, hashing what is read; it ends when ctx does.
type hashed struct {
	r   io.Reader
	ctx context.Context
	sum hash.Hash
	n   int64
}

func (h *hashed) Read(p []byte) (int, error) {
	if err := h.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := h.r.Read(p)
	h.sum.Write(p[:n])
	h.n += int64(n)
	return n, err
}

func (h *hashed) digest() v1.Hash { return digestOf(h.sum) }

func digestOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

func digestOfBytes(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// source returns the layer as something that can be read again.
func (b *blob) source(ctx context.Context) LayerSource {
	b.mu.Lock()
	checked, plain := b.checked, b.checked && b.kind == Uncompressed
	b.mu.Unlock()
	if checked && b.dir != "" {
		return &UnpackedLayer{storedLayer: storedLayer{b, ctx}}
	}
	if plain && b.file != nil {
		return plainLayer{b.file}
	}
	return &storedLayer{b, ctx}
}

// plainLayer is a layer whose tar lies in a file as it is.
type plainLayer struct{ sizedReaderAt }

func (l plainLayer) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(l, 0, l.Size())), nil
}

// storedLayer is a layer that is read through its source each time.
type storedLayer struct {
	blob *blob
	ctx  context.Context
}

func (l *storedLayer) Open() (io.ReadCloser, error) { return l.blob.reader(l.ctx) }

// section returns a blob's open for bytes that lie in a file.
func section(f sizedReaderAt) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(f, 0, f.Size())), nil
	}
}

// layerName is what errors call the i-th layer of n.
func layerName(i, n int, d v1.Hash) string {
	return fmt.Sprintf("layer %d of %d (%s)", i+1, n, d)
}
