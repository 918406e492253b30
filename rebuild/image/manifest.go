package image

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Manifest is an image's manifest as its source has it.
type Manifest struct {
	v1.Manifest               // parsed, its media type filled in
	Raw         []byte        // byte for byte
	Descriptor  v1.Descriptor // as its index has it

	layers []json.RawMessage // the layers' descriptors to the letter
}

// ParseManifest reads the manifest that d describes.
func ParseManifest(raw []byte, d v1.Descriptor) (*Manifest, error) {
	m := &Manifest{Raw: raw, Descriptor: d}
	var letters struct {
		Layers []json.RawMessage `json:"layers"`
	}
	for _, into := range []any{&m.Manifest, &letters} {
		if err := json.Unmarshal(raw, into); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
	}
	m.layers = letters.Layers
	m.MediaType = actualType(m.MediaType, raw)
	if d.MediaType == "" {
		m.Descriptor.MediaType = m.MediaType
	}
	return m, nil
}

// Describe gives layers, as many as the config document lists, their
// descriptors.
func (m *Manifest) Describe(layers []*Layer) error {
	if len(m.Layers) != len(layers) {
		return fmt.Errorf("manifest %s lists %d layers, its config has %d", m.Descriptor.Digest, len(m.Layers), len(layers))
	}
	for i, d := range m.Layers {
		if l := layers[i]; !l.learnt.known || l.learnt.digest == d.Digest { // else an equal layer was read, which is stored in another way
			l.Describe(d, m.layers[i])
		}
	}
	return nil
}

func (m *Manifest) layersSize() (n int64) {
	for _, l := range m.Layers {
		n += l.Size
	}
	return n
}

// NoImage tells why a manifest is that of an artefact, such as a signature or an
// attestation, "" for an image.
func (m *Manifest) NoImage() string {
	if t := m.Config.MediaType; !t.IsConfig() && t != "" {
		return fmt.Sprintf("a %s, not an image", t)
	}
	for i, l := range m.Layers {
		if t := string(l.MediaType); t != "" && (!strings.Contains(t, "tar") || strings.HasSuffix(t, "json")) {
			return fmt.Sprintf("layer %d is %s, no file system", i+1, t)
		}
	}
	return ""
}

// FindManifest returns the manifest that the index raw leads to, through other
// indexes, and whose config has the digest given; nil if there is none. A
// manifest that only restates what the config says is passed over: graphdriver
// engines make one up when they save, of uncompressed layers. Get returns the
// document with a digest, if there is one; it is called once for each.
func FindManifest(raw []byte, config v1.Hash, diffIDs []v1.Hash, get func(v1.Hash) ([]byte, bool, error)) (*Manifest, error) {
	f := finder{get: get, is: func(m *Manifest) bool { return m.Config.Digest == config && !m.Restates(diffIDs) }}
	err := f.index(raw, -1) // what index.json lists lies in no index
	return f.found, err
}

// SearchManifest returns the first manifest that root, the digest of an index or a
// manifest, leads to and that is the right one; nil if there is none. Get is as for
// FindManifest.
func SearchManifest(root v1.Hash, is func(*Manifest) bool, get func(v1.Hash) ([]byte, bool, error)) (*Manifest, error) {
	f := finder{get: get, is: is}
	err := f.entry(v1.Descriptor{Digest: root}, 0)
	return f.found, err
}

// finder looks for an image's manifest.
type finder struct {
	walk
	is    func(*Manifest) bool
	get   func(v1.Hash) ([]byte, bool, error)
	found *Manifest
}

// index looks for it in what an index lists.
func (f *finder) index(raw []byte, depth int) error {
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	for _, d := range index.Manifests {
		if f.found != nil {
			return nil
		}
		if err := f.entry(d, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// entry looks whether it is what d describes, or is in there.
func (f *finder) entry(d v1.Descriptor, depth int) error {
	if err := f.enter(context.Background(), depth); err != nil {
		return err
	}
	d.Platform = nil // it makes no difference here
	if !f.first(d) {
		return nil
	}
	doc, ok, err := f.get(d.Digest)
	if err != nil || !ok {
		return err
	}
	if got := DigestOf(doc); got != d.Digest {
		return Detail(ErrDigest, "digest mismatch: %s is %s", BlobPath(d.Digest), got)
	}
	if d.MediaType == "" {
		d.MediaType = actualType("", doc)
	}
	if d.MediaType.IsIndex() {
		return f.index(doc, depth)
	}
	if m, err := ParseManifest(doc, d); err == nil && f.is(m) {
		f.found = m
	}
	return nil
}

// Restates tells whether a manifest says nothing that the config doesn't.
func (m *Manifest) Restates(diffIDs []v1.Hash) bool {
	for i, l := range m.Layers {
		if i >= len(diffIDs) || l.Digest != diffIDs[i] || len(l.Annotations) > 0 {
			return false
		}
	}
	return len(m.Annotations) == 0
}

// BlobPath is where a layout has the blob of a digest.
func BlobPath(d v1.Hash) string { return "blobs/" + d.Algorithm + "/" + d.Hex }
