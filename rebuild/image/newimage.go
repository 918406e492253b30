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

// NewImage is an image to store or to look for: the lowest layers of another
// one, at most one more, and a config document.
type NewImage struct {
	From *Image
	Keep int // the number of From's layers, from the lowest, that the image has

	// Write writes the layer above them: an uncompressed tar of Size bytes, the
	// same at every call. It is called once, and a second time only where an
	// engine refused an archive without the base. Nil = no layer. An image that is
	// only looked for needs no Size.
	Write func(ctx context.Context, w io.Writer) error
	Size  int64
	Guess int64 // about how many bytes gzip would make of it; 0 = unknown

	// Config returns the config document for an image of these layers.
	Config func(diffIDs []v1.Hash) ([]byte, error)

	// Annotations are for the manifest, besides From's own; an empty value takes
	// one of those away. Only OCI manifests are given any.
	Annotations map[string]string

	// Mark is the comment of the history entry by which an earlier result is
	// known; "" = the image is stored as it is.
	Mark string
}

// Base are the layers that the image keeps.
func (n NewImage) Base() []*Layer { return n.From.layers[:n.Keep] }

// KeptKind is how the layers that the image keeps are compressed, as From's Kind,
// "" where it keeps none.
func (n NewImage) KeptKind(ctx context.Context) (string, error) {
	if n.Keep == 0 {
		return "", nil
	}
	return n.From.Kind(ctx)
}

// Kind is how the image's layers are compressed: the lowest one's kind,
// Uncompressed for what layers aren't stored with, "" where there is no layer.
func (im *Image) Kind(ctx context.Context) (string, error) {
	if len(im.layers) == 0 {
		return "", nil
	}
	l := im.layers[0]
	if l == nil {
		return Uncompressed, nil // an engine's
	}
	kind, err := l.compression(ctx)
	if kind != Gzip && kind != Zstandard {
		kind = Uncompressed
	}
	return kind, err
}

// StoredImage is one platform's image in its new place.
type StoredImage struct {
	ConfigDigest v1.Hash
	Manifest     v1.Hash       // zero where the place has none
	Layer        v1.Descriptor // of the new layer as it is stored; zero without one
	DiffID       v1.Hash       // of the new layer; zero without one
	DiffIDs      []v1.Hash     // of all layers
	Compressed   int64         // of all its layers as stored; 0 where the place doesn't say
}

// Made is a NewImage whose layer has been written.
type Made struct {
	New     NewImage
	Layer   *MadeLayer // nil without one
	Config  []byte
	DiffIDs []v1.Hash // of all layers
}

// MadeLayer is a layer that has been written.
type MadeLayer struct {
	File   File   // its bytes as they are to be stored; nil where they went elsewhere
	Kind   string // of compression
	Digest v1.Hash
	Size   int64
	DiffID v1.Hash
}

// Stored is the account of the image. Layer is the new layer's descriptor where
// the place has one.
func (n *Made) Stored(layer v1.Descriptor, compressed int64) StoredImage {
	s := StoredImage{ConfigDigest: DigestOf(n.Config), Layer: layer, DiffIDs: n.DiffIDs, Compressed: compressed}
	if n.Layer != nil {
		s.DiffID = n.Layer.DiffID
		if layer.Digest == (v1.Hash{}) {
			s.Layer = v1.Descriptor{Digest: n.Layer.Digest, Size: n.Layer.Size, MediaType: layerType(n.Layer.Kind, true)}
		}
	}
	return s
}

// Make writes the image's layer, compressed, into a temporary file, and has the
// config document made.
func (n NewImage) Make(ctx context.Context, temp *Spools, c Compression) (*Made, error) {
	var layer *MadeLayer
	if n.Write != nil {
		f, err := temp.Create()
		if err != nil {
			return nil, err
		}
		if layer, err = n.compress(ctx, f, c); err != nil {
			return nil, err
		}
	}
	return n.Complete(layer)
}

// WriteTar has the layer's tar written to w, and returns an account of it as an
// uncompressed layer.
func (n NewImage) WriteTar(ctx context.Context, w io.Writer) (*MadeLayer, error) {
	t := &tarWriter{w: w, ctx: ctx, sum: sha256.New(), max: n.Size}
	if err := n.Write(ctx, t); err != nil {
		return nil, err
	}
	if t.n != n.Size {
		return nil, fmt.Errorf("write layer: it has %d bytes, not the %d announced", t.n, n.Size)
	}
	diffID := sumOf(t.sum)
	return &MadeLayer{Kind: Uncompressed, Digest: diffID, Size: n.Size, DiffID: diffID}, nil
}

// Complete has the config document made for the base and the layer, nil for
// none, and checks that it is of the image.
func (n NewImage) Complete(layer *MadeLayer) (*Made, error) {
	made := &Made{New: n, Layer: layer, DiffIDs: slices.Clone(n.From.DiffIDs[:n.Keep])}
	if layer != nil {
		made.DiffIDs = append(made.DiffIDs, layer.DiffID)
	}
	var err error
	if made.Config, err = n.Config(made.DiffIDs); err != nil {
		return nil, err
	}
	_, listed, err := ParseConfig(made.Config)
	if err != nil {
		return nil, fmt.Errorf("new %w", err)
	}
	if !slices.Equal(listed, made.DiffIDs) {
		return nil, errors.New("new config document: its diff_ids aren't those of the layers")
	}
	return made, nil
}

// compress writes the layer into f.
func (n NewImage) compress(ctx context.Context, f *os.File, c Compression) (*MadeLayer, error) {
	out := &counted{w: bufio.NewWriterSize(f, 1<<20), sum: sha256.New()}
	z, err := c.Writer(out)
	if err != nil {
		return nil, err
	}
	layer, err := n.WriteTar(ctx, z)
	if err != nil {
		_ = z.Close() // its goroutines end; the layer is lost anyway
		if hint := SpaceHint(err); hint != "" {
			return nil, &Error{Op: "write", Object: "the new layer", Err: err, Hint: hint}
		}
		return nil, err
	}
	if err := errors.Join(z.Close(), out.w.Flush()); err != nil {
		return nil, &Error{Op: "write", Object: "the new layer", Err: err, Hint: SpaceHint(err)}
	}
	layer.File, layer.Kind = io.NewSectionReader(f, 0, out.n), c.Kind
	layer.Digest, layer.Size = sumOf(out.sum), out.n
	return layer, nil
}

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
