package image

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// newImage is a NewImage whose parts are there, ready to be stored.
type newImage struct {
	NewImage
	layer   *newLayer // nil without one
	config  []byte
	diffIDs []v1.Hash // of all layers
}

// newLayer is the layer that is being added, compressed, in a file.
type newLayer struct {
	file   sizedReaderAt // nil where it was written elsewhere
	kind   string        // of compression
	digest v1.Hash
	size   int64
	diffID v1.Hash
}

// base are the layers that the image keeps.
func (n *newImage) base() []*blob { return n.From.layers[:n.Keep] }

// tarWriter counts and hashes the tar that NewImage.Write writes.
type tarWriter struct {
	w   io.Writer
	ctx context.Context
	sum hash.Hash
	n   int64
	max int64
}

func (t *tarWriter) Write(p []byte) (int, error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	if t.n+int64(len(p)) > t.max {
		return 0, fmt.Errorf("write layer: it is longer than the %d bytes announced", t.max)
	}
	n, err := t.w.Write(p)
	t.sum.Write(p[:n])
	t.n += int64(n)
	return n, err
}

// writeTar has the layer's tar written to w and returns its diff ID.
func (n NewImage) writeTar(ctx context.Context, w io.Writer) (v1.Hash, error) {
	t := &tarWriter{w: w, ctx: ctx, sum: sha256.New(), max: n.Size}
	if err := n.Write(ctx, t); err != nil {
		return v1.Hash{}, err
	}
	if t.n != n.Size {
		return v1.Hash{}, fmt.Errorf("write layer: it has %d bytes, not the %d announced", t.n, n.Size)
	}
	return digestOf(t.sum), nil
}

// make writes the image's layer, compressed, into a temporary file, and has the
// config document made.
func (w *storing) make(ctx context.Context, n NewImage, c Compression) (*newImage, error) {
	made := &newImage{NewImage: n}
	diffIDs := slices.Clone(n.From.DiffIDs[:n.Keep])
	if n.Write != nil {
		f, err := w.temp.create()
		if err != nil {
			return nil, err
		}
		if made.layer, err = n.compress(ctx, f, c); err != nil {
			return nil, err
		}
		diffIDs = append(diffIDs, made.layer.diffID)
	}
	return made, made.configure(diffIDs)
}

// configure has the config document made, and checks that it is of the image.
func (n *newImage) configure(diffIDs []v1.Hash) error {
	n.diffIDs = diffIDs
	var err error
	if n.config, err = n.Config(diffIDs); err != nil {
		return err
	}
	_, listed, err := parseConfig(n.config)
	if err != nil {
		return fmt.Errorf("new %w", err)
	}
	if !slices.Equal(listed, diffIDs) {
		return errors.New("new config document: its diff_ids aren't those of the layers")
	}
	return nil
}

// compress writes the layer into f.
func (n NewImage) compress(ctx context.Context, f *os.File, c Compression) (*newLayer, error) {
	out := &counted{w: bufio.NewWriterSize(f, 1<<20), sum: sha256.New()}
	z, err := c.writer(out)
	if err != nil {
		return nil, err
	}
	diffID, err := n.writeTar(ctx, z)
	if err != nil {
		_ = z.Close() // its goroutines end; the layer is lost anyway
		return nil, err
	}
	if err := errors.Join(z.Close(), out.w.Flush()); err != nil {
		return nil, &Error{Op: "write", Object: "the new layer", Err: err, Hint: spaceHint(err)}
	}
	return &newLayer{
		file: io.NewSectionReader(f, 0, out.n), kind: c.Kind, digest: digestOf(out.sum), size: out.n, diffID: diffID,
	}, nil
}

// counted writes to w, counting and hashing.
type counted struct {
	w   *bufio.Writer
	sum hash.Hash
	n   int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.sum.Write(p[:n])
	c.n += int64(n)
	return n, err
}

// storedSize is the number of bytes that the source stores the layer in.
func (b *blob) storedSize(ctx context.Context) (int64, error) {
	switch {
	case b.desc.Size > 0:
		return b.desc.Size, nil
	case b.file != nil:
		return b.file.Size(), nil
	}
	if err := b.check(ctx); err != nil {
		return 0, err
	}
	return b.size, nil
}

// copyTo copies the stored bytes to w, size of them, and checks their digest.
func (b *blob) copyTo(ctx context.Context, w io.Writer, size int64) error {
	r, err := b.open(ctx)
	if err != nil {
		return err
	}
	in := &hashed{r: r, ctx: ctx, sum: sha256.New()}
	n, err := io.Copy(w, in)
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", b.object, err)
	}
	b.mu.Lock()
	want, known := b.desc.Digest, b.checked
	if known {
		want = b.digest
	}
	b.mu.Unlock()
	got := in.digest()
	if n != size || want != (v1.Hash{}) && got != want {
		return &Error{Op: "read", Object: b.object, Err: detail(ErrDigest, "digest mismatch: the stored bytes are %s", got)}
	}
	return nil
}
