package image

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Same tells whether old is what would be stored of images and index, nil for
// none, as far as that can be told without writing layers: it has the same
// config documents for the diff IDs that old has, the same manifests and index
// for the layers that old has, and its new layers are compressed as they would
// be. What a layer on top of the base holds is not compared.
func Same(ctx context.Context, images []NewImage, index *Index, old *Source, c Compression) (bool, error) {
	if len(old.Images) != len(images) || (old.Index == nil) != (index == nil) || c.Level != 0 { // a level is nowhere to be seen
		return false, nil
	}
	convert := convertsToOCI(images, c)
	var manifests []v1.Descriptor
	for i, n := range images {
		im := old.Images[i]
		same, err := n.equals(ctx, im, c, convert)
		if err != nil || !same {
			return false, err
		}
		if im.Manifest != nil {
			manifests = append(manifests, im.Manifest.Descriptor)
		}
	}
	if index == nil {
		return true, nil
	}
	_, root, err := index.rebuild(manifests, convert)
	return err == nil && root.Digest == old.Index.Descriptor.Digest, err
}

// equals compares one image, and its manifest where old has one.
func (n NewImage) equals(ctx context.Context, old *Image, c Compression, convert bool) (bool, error) {
	layers := n.Keep
	if n.Write != nil {
		layers++
	}
	if len(old.DiffIDs) != layers {
		return false, nil
	}
	config, err := n.Config(old.DiffIDs)
	if err != nil || !bytes.Equal(config, old.Config) {
		return false, err
	}
	if n.Write != nil {
		if kind, err := old.layers[n.Keep].compression(ctx); err != nil || kind != c.Kind {
			return false, err
		}
	}
	if old.Manifest == nil {
		return true, nil
	}
	raw, _, err := n.manifestOver(old, config, convert)
	return err == nil && bytes.Equal(raw, old.Manifest.Raw), err
}

// manifestOver is the manifest that n would get, did it have the layers that old has.
func (n NewImage) manifestOver(old *Image, config []byte, convert bool) ([]byte, v1.Descriptor, error) {
	made := &Made{New: n, Config: config, DiffIDs: old.DiffIDs}
	var list []*resultLayer
	for i, b := range old.layers {
		l := &resultLayer{desc: b.descriptor(), raw: b.raw}
		if i < n.Keep && i < len(n.From.layers) && n.From.layers[i] != nil && n.From.layers[i].raw != nil {
			base := n.From.layers[i]
			l.desc, l.raw = base.desc, base.raw
			if convert {
				l.desc.MediaType = ociType(l.desc.MediaType)
			}
		} else if i >= n.Keep && convert {
			l.raw = nil // a converted manifest has it from what is known of the layer
		}
		list = append(list, l)
	}
	if n.Write != nil {
		made.Layer = &MadeLayer{}
	}
	return made.manifest(list, convert)
}

// Root is the digest of the manifest that a store of manifests would have of an image
// that gets no new layer.
func (n NewImage) Root(c Compression) (v1.Hash, error) {
	config, err := n.Config(n.From.DiffIDs)
	if err != nil {
		return v1.Hash{}, err
	}
	_, d, err := n.manifestOver(n.From, config, convertsToOCI([]NewImage{n}, c))
	return d.Digest, err
}

// MarkPrefix begins the comment of every history entry that this program makes
// for a layer.
const MarkPrefix = "docker-flatten: "

// IsResult tells whether an image was made by this program, by its history.
func IsResult(im *Image) bool {
	var config struct {
		History []struct {
			Comment string `json:"comment"`
		} `json:"history"`
	}
	if json.Unmarshal(im.Config, &config) != nil {
		return false
	}
	for _, h := range config.History {
		if strings.HasPrefix(h.Comment, MarkPrefix) {
			return true
		}
	}
	return false
}

// NewFound returns an earlier result of images, which old has. Name gives it the
// names that it lacks; nil if it can't lack any.
func NewFound(old *Source, images []NewImage, name func(ctx context.Context) (seen bool, err error)) *Found {
	if name == nil {
		name = func(context.Context) (bool, error) { return true, nil }
	}
	var list []StoredImage
	for i, im := range old.Images {
		s := StoredImage{ConfigDigest: DigestOf(im.Config), DiffIDs: im.DiffIDs, Compressed: im.storedSize()}
		if im.Manifest != nil {
			s.Manifest = im.Manifest.Descriptor.Digest
		}
		if keep := images[i].Keep; images[i].Write != nil {
			s.DiffID = im.DiffIDs[keep]
			s.Layer = im.layers[keep].found()
		}
		list = append(list, s)
	}
	return &Found{Source: old, Stored: NewStored(old.ID, list, name, nil)}
}

// storedSize is the number of bytes of all layers as they are stored, 0 where
// that isn't known.
func (im *Image) storedSize() (n int64) {
	if im.Manifest != nil {
		return im.CompressedSize()
	}
	for _, l := range im.layers {
		if l == nil || l.file == nil {
			return 0
		}
		n += l.file.Size()
	}
	return n
}

// descriptor is the layer's, or the one that it would get for what is known of it.
func (l *Layer) descriptor() v1.Descriptor {
	if l.raw != nil {
		return l.desc
	}
	l.learnt.mu.Lock()
	known := l.learnt.known
	d := v1.Descriptor{MediaType: layerType(l.learnt.kind, true), Digest: l.learnt.digest, Size: l.learnt.size}
	l.learnt.mu.Unlock()
	if !known {
		return l.found()
	}
	return d
}

// found describes a layer of an earlier result, as far as can be told without
// reading it.
func (l *Layer) found() v1.Descriptor {
	switch {
	case l == nil:
		return v1.Descriptor{}
	case l.raw != nil || l.file == nil:
		return l.desc
	}
	d := v1.Descriptor{Size: l.file.Size()}
	if kind, err := l.compression(context.Background()); err == nil {
		d.MediaType = layerType(kind, true)
		if kind == Uncompressed {
			d.Digest = l.diffID
		}
	}
	return d
}
