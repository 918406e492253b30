package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// resultLayer is a layer as the result stores it.
type resultLayer struct {
	desc   v1.Descriptor
	raw    json.RawMessage // the source's descriptor; nil = desc says all
	diffID v1.Hash
	blob   *blob         // unchanged from the source, or
	file   sizedReaderAt // made here
	from   *Image        // whose layer it was, nil for a new one
}

// item is something that a layout or registry has under its digest.
type item struct {
	desc  v1.Descriptor
	layer *resultLayer // a layer, or
	doc   []byte       // a config, a manifest or an index
}

// bundle is everything that the result consists of where manifests are kept.
type bundle struct {
	layers    []item // each digest once
	configs   []item
	manifests []item // images' manifests, then indexes, innermost first
	root      v1.Descriptor
	images    []StoredImage
}

// all lists the items so that each comes after those that it refers to.
func (b *bundle) all() []item {
	var all []item
	for _, part := range [][]item{b.layers, b.configs, b.manifests} {
		all = append(all, part...)
	}
	return all
}

// bundle makes the new images, their manifests and their index.
// compressPlain has layers compressed that the source has uncompressed and
// without descriptors: a registry keeps what it gets.
func (w *storing) bundle(ctx context.Context, images []NewImage, compressPlain bool) (*bundle, error) {
	c := w.compression.or(Gzip)
	convert := false
	if c.Kind == Zstandard {
		for _, n := range images {
			if n.From.isDocker() && n.Write != nil {
				convert = true
			}
		}
	}
	if convert {
		w.opt.warn("layers compressed with zstd need OCI media types: the manifest becomes an OCI one")
	}
	b := &bundle{}
	seen := map[v1.Hash]bool{}
	manifests := map[*Image]v1.Descriptor{}
	for _, n := range images {
		made, err := w.make(ctx, n, c)
		if err != nil {
			return nil, err
		}
		layers, err := w.storedLayers(ctx, made, c, convert, compressPlain)
		if err != nil {
			return nil, err
		}
		for _, l := range layers {
			if !seen[l.desc.Digest] {
				seen[l.desc.Digest] = true
				b.layers = append(b.layers, item{desc: l.desc, layer: l})
			}
		}
		raw, d, err := made.manifest(layers, convert)
		if err != nil {
			return nil, err
		}
		var parsed v1.Manifest
		if err := json.Unmarshal(raw, &parsed); err != nil {
			return nil, fmt.Errorf("make manifest: %w", err)
		}
		for _, part := range []struct {
			to   *[]item
			desc v1.Descriptor
			doc  []byte
		}{{&b.configs, parsed.Config, made.config}, {&b.manifests, d, raw}} {
			if !seen[part.desc.Digest] {
				seen[part.desc.Digest] = true
				*part.to = append(*part.to, item{desc: part.desc, doc: part.doc})
			}
		}
		var newest v1.Descriptor
		if made.layer != nil {
			newest = layers[len(layers)-1].desc
		}
		b.images = append(b.images, made.stored(d, newest))
		manifests[n.From] = d
		b.root = d
	}
	if w.src.Index == nil {
		if len(images) > 1 {
			return nil, errors.New("store: several images, but no index to list them")
		}
		return b, nil
	}
	docs, root, err := w.src.Index.rebuild(manifests, convert)
	if err != nil {
		return nil, err
	}
	for i, doc := range docs {
		d := root
		if i < len(docs)-1 {
			d = v1.Descriptor{MediaType: actualType("", doc), Digest: digestOfBytes(doc), Size: int64(len(doc))}
		}
		b.manifests = append(b.manifests, item{desc: d, doc: doc})
	}
	b.root = root
	return b, nil
}

// storedLayers are the layers of a new image, lowest first.
func (w *storing) storedLayers(ctx context.Context, n *newImage, c Compression, convert, compressPlain bool) ([]*resultLayer, error) {
	oci := convert || !n.From.isDocker()
	var layers []*resultLayer
	for i, b := range n.base() {
		l := &resultLayer{desc: b.desc, raw: b.raw, diffID: n.diffIDs[i], blob: b, from: n.From}
		var err error
		if b.raw != nil {
			if convert {
				l.desc.MediaType = ociType(l.desc.MediaType)
			}
		} else if l, err = w.described(ctx, b, c, compressPlain); err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	if n.layer != nil {
		layers = append(layers, &resultLayer{
			desc:   v1.Descriptor{MediaType: layerType(n.layer.kind, oci), Digest: n.layer.digest, Size: n.layer.size},
			diffID: n.layer.diffID, file: n.layer.file,
		})
	}
	return layers, nil
}

// described makes a descriptor for a layer that has none, and compresses it if
// it must be: because a registry would keep it uncompressed, or because no
// media type says how it is compressed.
func (w *storing) described(ctx context.Context, b *blob, c Compression, compressPlain bool) (*resultLayer, error) {
	if err := b.check(ctx); err != nil {
		return nil, err
	}
	switch {
	case b.kind == Gzip, b.kind == Zstandard, b.kind == Uncompressed && (!compressPlain || c.Kind == Uncompressed):
		return &resultLayer{
			desc:   v1.Descriptor{MediaType: layerType(b.kind, true), Digest: b.digest, Size: b.size},
			diffID: b.diffID, blob: b,
		}, nil
	}
	f, err := w.temp.create()
	if err != nil {
		return nil, err
	}
	size, err := b.tarSize(ctx)
	if err != nil {
		return nil, err
	}
	again := NewImage{Size: size, Write: func(ctx context.Context, out io.Writer) error {
		r, err := b.reader(ctx)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, r)
		return errors.Join(err, r.Close())
	}}
	made, err := again.compress(ctx, f, c.or(Gzip))
	if err != nil {
		return nil, err
	}
	return &resultLayer{
		desc:   v1.Descriptor{MediaType: layerType(made.kind, true), Digest: made.digest, Size: made.size},
		diffID: b.diffID, file: made.file,
	}, nil
}

// tarSize is the length of the layer's uncompressed tar.
func (b *blob) tarSize(ctx context.Context) (int64, error) {
	if b.checked && b.kind == Uncompressed {
		return b.size, nil
	}
	r, err := b.reader(ctx)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, r)
	return n, errors.Join(err, r.Close())
}

// writeTo writes the item's bytes, checking the digest of what comes from the
// source.
func (it item) writeTo(ctx context.Context, w io.Writer) error {
	switch {
	case it.layer == nil:
		_, err := w.Write(it.doc)
		return err
	case it.layer.file != nil:
		_, err := io.Copy(w, io.NewSectionReader(it.layer.file, 0, it.layer.file.Size()))
		return err
	}
	return it.layer.blob.copyTo(ctx, w, it.desc.Size)
}
