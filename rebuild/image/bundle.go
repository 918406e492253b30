package image

import (
	"context"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Item is something that a layout or registry has under its digest: a layer, or
// a config, a manifest, an index.
type Item struct {
	Descriptor v1.Descriptor
	Document   []byte // nil for a layer
	From       *Image // whose base's layer it is, as that image's source stores it; else nil

	layer *resultLayer
}

// Bundle is everything that a result consists of where manifests are kept.
type Bundle struct {
	Layers    []Item // each digest once
	Configs   []Item
	Manifests []Item // images' manifests, then indexes, innermost first
	Root      v1.Descriptor
	Images    []StoredImage

	Attestation *Attestation // nil without one
}

// All lists the items so that each comes after those that it refers to.
func (b *Bundle) All() []Item {
	var all []Item
	for _, part := range [][]Item{b.Layers, b.Configs, b.Manifests} {
		all = append(all, part...)
	}
	if b.Attestation != nil {
		all = append(all, b.Attestation.Items()...)
	}
	return all
}

// Bundling says how a Bundle is made.
type Bundling struct {
	Options Options // its Compression, and Warn
	Spools  *Spools // for layers that are compressed
	// CompressPlain has layers compressed that the source has uncompressed and
	// without descriptors: a registry keeps what it gets.
	CompressPlain bool
}

// Bundle makes the wanted images, their manifests, their index and the attestation.
func (w Bundling) Bundle(ctx context.Context, want Wanted) (*Bundle, error) {
	var made []*Made
	for _, n := range want.Images {
		m, err := n.Make(ctx, w.Spools, w.Options.Compression.Or(Gzip))
		if err != nil {
			return nil, err
		}
		made = append(made, m)
	}
	return w.Of(ctx, made, want)
}

// Of is Bundle with the wanted images' layers written already. Where these went
// elsewhere, nothing can be read of them here.
func (w Bundling) Of(ctx context.Context, images []*Made, want Wanted) (*Bundle, error) {
	if want.Index == nil && len(want.Images) != 1 {
		return nil, errors.New("store: several images, but no index to list them")
	}
	c := w.Options.Compression.Or(Gzip)
	convert := convertsToOCI(want.Images, c)
	if convert {
		w.Options.Warnf("layers compressed with zstd need OCI media types: the manifest becomes an OCI one")
	}
	b := &Bundle{}
	seen := map[v1.Hash]bool{}
	add := func(to *[]Item, it Item) {
		if !seen[it.Descriptor.Digest] {
			seen[it.Descriptor.Digest] = true
			*to = append(*to, it)
		}
	}
	var manifests []v1.Descriptor
	for _, made := range images {
		layers, err := w.layers(ctx, made, c, convert)
		if err != nil {
			return nil, err
		}
		compressed := int64(0)
		for _, l := range layers {
			compressed += l.desc.Size
			add(&b.Layers, Item{Descriptor: l.desc, From: l.from, layer: l})
		}
		raw, d, err := made.manifest(layers, convert)
		if err != nil {
			return nil, err
		}
		m, err := ParseManifest(raw, d)
		if err != nil {
			return nil, err
		}
		add(&b.Configs, Item{Descriptor: m.Config, Document: made.Config})
		add(&b.Manifests, Item{Descriptor: d, Document: raw})
		var newest v1.Descriptor
		if made.Layer != nil {
			newest = layers[len(layers)-1].desc
		}
		stored := made.Stored(newest, compressed)
		stored.Manifest = d.Digest
		b.Images = append(b.Images, stored)
		manifests, b.Root = append(manifests, d), d
	}
	if want.Index != nil {
		docs, root, err := want.Index.rebuild(manifests, convert)
		if err != nil {
			return nil, err
		}
		for i, doc := range docs {
			d := root
			if i < len(docs)-1 {
				d = v1.Descriptor{MediaType: actualType("", doc), Digest: DigestOf(doc), Size: int64(len(doc))}
			}
			b.Manifests = append(b.Manifests, Item{Descriptor: d, Document: doc})
		}
		b.Root = root
	}
	var err error
	b.Attestation, err = want.attestation(b.Root, b.Images)
	return b, err
}

// convertsToOCI tells whether manifests of Docker's own format must become OCI
// ones: a new layer is compressed in a way for which Docker has no media type.
func convertsToOCI(images []NewImage, c Compression) bool {
	for _, n := range images {
		if c.Kind == Zstandard && n.Write != nil && n.From.isDocker() {
			return true
		}
	}
	return false
}

// layers are the layers of a new image, lowest first.
func (w Bundling) layers(ctx context.Context, n *Made, c Compression, convert bool) ([]*resultLayer, error) {
	oci := convert || !n.New.From.isDocker()
	var layers []*resultLayer
	for _, b := range n.New.Base() {
		l := &resultLayer{desc: b.desc, raw: b.raw, layer: b, from: n.New.From}
		if b.raw == nil {
			var err error
			if l, err = w.described(ctx, n.New.From, b, c); err != nil {
				return nil, err
			}
		} else if convert {
			l.desc.MediaType = ociType(l.desc.MediaType)
		}
		layers = append(layers, l)
	}
	if n.Layer != nil {
		layers = append(layers, &resultLayer{
			desc: v1.Descriptor{MediaType: layerType(n.Layer.Kind, oci), Digest: n.Layer.Digest, Size: n.Layer.Size},
			file: n.Layer.File,
		})
	}
	return layers, nil
}

// described makes a descriptor for a layer of from that has none, and compresses it if
// it must be: because a registry would keep it uncompressed, or because no
// media type says how it is compressed.
func (w Bundling) described(ctx context.Context, from *Image, b *Layer, c Compression) (*resultLayer, error) {
	if err := b.Check(ctx); err != nil {
		return nil, err
	}
	switch kind := b.learnt.kind; {
	case kind == Gzip, kind == Zstandard, kind == Uncompressed && (!w.CompressPlain || c.Kind == Uncompressed):
		return &resultLayer{
			desc:  v1.Descriptor{MediaType: layerType(kind, true), Digest: b.learnt.digest, Size: b.learnt.size},
			layer: b, from: from,
		}, nil
	}
	f, err := w.Spools.Create()
	if err != nil {
		return nil, err
	}
	size, err := b.tarSize(ctx)
	if err != nil {
		return nil, err
	}
	again := NewImage{Size: size, Write: func(ctx context.Context, out io.Writer) error {
		r, err := b.Reader(ctx)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, r)
		return errors.Join(err, r.Close())
	}}
	made, err := again.compress(ctx, f, c)
	if err != nil {
		return nil, err
	}
	return &resultLayer{
		desc: v1.Descriptor{MediaType: layerType(made.Kind, true), Digest: made.Digest, Size: made.Size},
		file: made.File,
	}, nil
}

// tarSize is the length of the layer's uncompressed tar; the layer has been
// checked.
func (l *Layer) tarSize(ctx context.Context) (int64, error) {
	if l.learnt.kind == Uncompressed {
		return l.learnt.size, nil
	}
	r, err := l.Reader(ctx)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, r)
	return n, errors.Join(err, r.Close())
}

// Elsewhere tells whether the item is a new layer that was written elsewhere.
func (it Item) Elsewhere() bool {
	return it.layer != nil && it.layer.layer == nil && it.layer.file == nil
}

// WriteTo writes the item's bytes, checking the digest of what comes from the
// source.
func (it Item) WriteTo(ctx context.Context, w io.Writer) error {
	switch {
	case it.layer == nil:
		_, err := w.Write(it.Document)
		return err
	case it.layer.file != nil:
		_, err := io.Copy(w, io.NewSectionReader(it.layer.file, 0, it.layer.file.Size()))
		return err
	}
	return it.layer.layer.CopyTo(ctx, w, it.Descriptor.Size)
}
