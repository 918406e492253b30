// Package image is the model of container images: references, images, indexes,
// layers, manifests, and what it takes to make a new image of an old one. It
// knows no place where images are; packages engine, archive, oci and registry
// do, and package place picks the one that a reference means. Layers and configs
// pass through byte for byte, and every digest is checked on reading.
package image

import (
	"context"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Image is one image for one platform. It doesn't change once it is handed on.
type Image struct {
	Ref      Ref
	Names    []string // repo:tag names that the source gives it
	ID       string   // what the source calls it: engine image ID, manifest digest, or config digest
	Platform v1.Platform
	DiffIDs  []v1.Hash // of its layers, lowest first
	Config   []byte    // the config document byte for byte; nil for an engine's image whose document docker save brings: the image that Read returns has it
	Manifest *Manifest // nil where the source has none

	reader Reader
	layers []*Layer        // as many as DiffIDs; nil ones come with Read
	ahead  Ahead           // nil where no reading is ahead
	ctx    context.Context // of Open: for readings that no call's context covers
}

// Reader delivers the layers of an image, as Image.Read says. A place has one
// for each way in which images can be read there.
type Reader interface {
	Read(ctx context.Context, im *Image, keep func(i int) bool, visit func(i int, r io.Reader) error) (*Image, error)
}

// Make returns im with its layers, lowest first, and the reader that delivers
// them. Layers that only a reading brings are nil. ctx ends later readings of
// single layers.
func Make(ctx context.Context, im Image, layers []*Layer, r Reader) *Image {
	im.ctx, im.layers, im.reader = ctx, layers, r
	return &im
}

// Read delivers the uncompressed tar of every layer exactly once, in the order
// and with the parallelism that the source allows: visit is called from several
// goroutines at a time, and reads to EOF. keep nil means that none is kept. The
// digests of blobs and tars are checked; a mismatch is an ErrDigest that names
// the layer. Layers for which keep is true can be read again, through Layer of
// the image that Read returns, cheaply; where the source can only be read in one
// stream, or over a network, they are spooled for that.
//
// The image that it returns is complete: it has the config document, the
// manifest and the layers. Where all of that was known before, it may be im.
func (im *Image) Read(ctx context.Context, keep func(i int) bool, visit func(i int, r io.Reader) error) (*Image, error) {
	if keep == nil {
		keep = func(int) bool { return false }
	}
	return im.reader.Read(ctx, im, keep, visit)
}

// PassingOver is an image whose reading passes over layers that a reading of others
// delivers, or that it has delivered itself: those with the same diff ID, stored at
// the same place. Some places deliver them all the same.
func (im *Image) PassingOver(others ...*Image) *Image {
	type stored struct {
		place  string
		diffID v1.Hash
	}
	seen := map[stored]bool{}
	for _, other := range others {
		for _, l := range other.layers {
			if l != nil {
				seen[stored{l.place, l.diffID}] = true
			}
		}
	}
	passing := *im
	passing.layers = slices.Clone(im.layers)
	for i, l := range im.layers {
		if l == nil || l.place == "" || l.diffID == (v1.Hash{}) {
			continue
		}
		key := stored{l.place, l.diffID}
		if seen[key] {
			passed := *l
			passed.passed = true
			passing.layers[i] = &passed
		}
		seen[key] = true
	}
	return &passing
}

// Ahead reads the uncompressed tar of a layer to EOF before it is known which of
// an image's layers it is. What it returns gets the index once that is known.
type Ahead func(r io.Reader) (settle func(i int), err error)

// ReadingAhead is an image whose Read may give a layer to ahead in the place of
// visit, from several goroutines at a time: an engine with containerd's image store
// sends layers for seconds before it tells which they are. A layer at which ahead
// fails is visited later. It may also be given what is no layer of the image, and
// then settle isn't called.
func (im *Image) ReadingAhead(ahead Ahead) *Image {
	reading := *im
	reading.ahead = ahead
	return &reading
}

// Ahead is what ReadingAhead was told, nil otherwise.
func (im *Image) Ahead() Ahead { return im.ahead }

// Reader is what delivers the image's layers: it tells a place its own images.
func (im *Image) Reader() Reader { return im.reader }

// Layer returns the i-th layer for another reading, nil if that is impossible.
// Of an engine's image, a layer that Read wasn't told to keep costs another
// docker save, which happens at its first Open.
func (im *Image) Layer(i int) LayerSource {
	if i < 0 || i >= len(im.layers) || im.layers[i] == nil {
		return nil
	}
	return im.layers[i].source(im.ctx)
}

// CompressedSize is the number of bytes of the layers as the manifest lists
// them, 0 where there is no manifest.
func (im *Image) CompressedSize() int64 {
	if im.Manifest == nil {
		return 0
	}
	return im.Manifest.layersSize()
}

// WithConfig is the image with its config document, which the source hasn't
// told.
func (im *Image) WithConfig(config []byte) *Image {
	known := *im
	known.Config = config
	return &known
}
