package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// blobStore is where what descriptors describe can be had: a layout, an archive of
// one, a repository of a registry. Digests are checked by the callers.
type blobStore interface {
	// name is what errors call the store.
	name() string
	// manifest returns a manifest or an index.
	manifest(ctx context.Context, d v1.Descriptor) ([]byte, error)
	// open returns a blob's bytes.
	open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	// file returns a blob's bytes where they lie in a file, else nil.
	file(d v1.Descriptor) (sizedReaderAt, error)
}

// deepestIndex is how deep indexes in indexes are followed.
const deepestIndex = 8

// opener collects the images that a descriptor leads to.
type opener struct {
	store  blobStore
	want   *v1.Platform // nil = every platform
	warn   func(format string, args ...any)
	images []*Image
	others []string // platforms that weren't wanted
}

// openDescriptor opens the image or index that d describes.
func (s *Source) openDescriptor(ctx context.Context, st blobStore, d v1.Descriptor, opt Options) error {
	o := &opener{store: st, warn: opt.warn}
	if opt.Platform != "" {
		p, err := ParsePlatform(opt.Platform)
		if err != nil {
			return err
		}
		o.want = &p
	}
	entry, err := o.follow(ctx, d, 0)
	if err != nil {
		return err
	}
	return s.take(o, entry, opt)
}

// take makes the collected images the source's.
func (s *Source) take(o *opener, entry indexEntry, opt Options) error {
	if len(o.images) == 0 {
		if o.want != nil && len(o.others) > 0 {
			return &Error{
				Op: "open", Object: s.Ref.String(), Err: detail(ErrNoImage, "no image for %s", opt.Platform),
				Hint: "there are images for " + strings.Join(o.others, ", "),
			}
		}
		return &Error{Op: "open", Object: s.Ref.String(), Err: detail(ErrNoImage, "the index holds no image")}
	}
	s.Images = o.images
	if o.want == nil {
		s.Index = entry.index
	} else if len(o.images) > 1 {
		var list []string
		for _, im := range o.images {
			list = append(list, im.Platform.String()+" "+im.ID)
		}
		if exact := o.exact(); exact != nil {
			s.Images = []*Image{exact}
			return nil
		}
		return &Error{Op: "open", Object: s.Ref.String(), Err: detail(ErrSeveral, "several images for %s: %s", opt.Platform, strings.Join(list, ", "))}
	}
	return nil
}

// exact is the only image whose platform is the wanted one without any leeway.
func (o *opener) exact() *Image {
	var found *Image
	for _, im := range o.images {
		if im.Platform.Variant == o.want.Variant && im.Platform.OSVersion == o.want.OSVersion {
			if found != nil {
				return nil
			}
			found = im
		}
	}
	return found
}

// document fetches what d describes and checks its digest.
func (o *opener) document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	raw, err := o.store.manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	if got := digestOfBytes(raw); d.Digest.Algorithm == "sha256" && got != d.Digest {
		return nil, &Error{Op: "read", Object: o.store.name(), Err: detail(ErrDigest, "digest mismatch: %s %s is %s", kindOf(d.MediaType), d.Digest, got)}
	}
	return raw, nil
}

// config fetches a config document and checks its digest.
func (o *opener) config(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	r, err := o.store.open(ctx, d)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, largestDocument))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, &Error{Op: "read", Object: o.store.name(), Err: fmt.Errorf("config %s: %w", d.Digest, err)}
	}
	if got := digestOfBytes(raw); got != d.Digest {
		return nil, &Error{Op: "read", Object: o.store.name(), Err: detail(ErrDigest, "digest mismatch: config %s is %s", d.Digest, got)}
	}
	return raw, nil
}

func kindOf(t types.MediaType) string {
	switch {
	case t.IsIndex():
		return "index"
	case t.IsImage():
		return "manifest"
	case t.IsConfig():
		return "config"
	}
	return "blob"
}

// follow opens the image, or all images of the index, that d describes.
func (o *opener) follow(ctx context.Context, d v1.Descriptor, depth int) (indexEntry, error) {
	if depth > deepestIndex {
		return indexEntry{}, &Error{Op: "read", Object: o.store.name(), Err: fmt.Errorf("more than %d indexes within each other", deepestIndex)}
	}
	raw, err := o.document(ctx, d)
	if err != nil {
		return indexEntry{}, err
	}
	d.MediaType = actualType(d.MediaType, raw)
	switch {
	case d.MediaType.IsSchema1():
		return indexEntry{}, &Error{Op: "read", Object: o.store.name(), Err: detail(ErrFormat, "the manifest has the schema 1 that registries gave up: unsupported format"), Hint: "docker pull and docker push the image to renew it"}
	case d.MediaType.IsIndex():
		index, err := o.index(ctx, d, raw, depth)
		return indexEntry{index: index}, err
	}
	im, err := o.image(ctx, d, raw)
	return indexEntry{image: im}, err
}

// index opens what an index lists.
func (o *opener) index(ctx context.Context, d v1.Descriptor, raw []byte, depth int) (*IndexInfo, error) {
	var parsed struct {
		Manifests   []json.RawMessage `json:"manifests"`
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(raw, &parsed); err != nil {
		return nil, &Error{Op: "read", Object: o.store.name(), Err: fmt.Errorf("index %s: %w", d.Digest, err)}
	}
	info := &IndexInfo{MediaType: d.MediaType, Annotations: parsed.Annotations, Raw: raw, descriptor: d}
	for _, rawEntry := range parsed.Manifests {
		var child v1.Descriptor
		if err := json.Unmarshal(rawEntry, &child); err != nil {
			return nil, &Error{Op: "read", Object: o.store.name(), Err: fmt.Errorf("index %s: %w", d.Digest, err)}
		}
		if skip := o.skip(child); skip {
			continue
		}
		entry, err := o.follow(ctx, child, depth+1)
		if err != nil {
			return nil, err
		}
		if entry.image == nil && entry.index == nil || entry.index != nil && len(entry.index.entries) == 0 {
			continue
		}
		entry.raw = rawEntry
		info.entries = append(info.entries, entry)
	}
	return info, nil
}

// skip tells whether an index's entry is left out: an attestation, or an image
// for a platform that wasn't asked for.
func (o *opener) skip(d v1.Descriptor) bool {
	p := d.Platform
	if kind := d.Annotations["vnd.docker.reference.type"]; kind != "" || p != nil && p.OS == "unknown" && p.Architecture == "unknown" {
		if kind == "" {
			kind = "manifest for unknown/unknown"
		}
		of := d.Annotations["vnd.docker.reference.digest"]
		if of != "" {
			of = " of " + shortDigest(of)
		}
		o.warn("dropped %s %s%s: it describes the image before flattening", kind, shortDigest(d.Digest.String()), of)
		return true
	}
	if o.want != nil && p != nil && p.OS != "" && !platformMatches(*o.want, *p) {
		o.others = append(o.others, p.String())
		return true
	}
	return false
}

func shortDigest(d string) string {
	_, hex, _ := strings.Cut(d, ":")
	return hex[:min(12, len(hex))]
}

// image opens the image of a manifest; nil if it isn't wanted.
func (o *opener) image(ctx context.Context, d v1.Descriptor, raw []byte) (*Image, error) {
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, &Error{Op: "read", Object: o.store.name(), Err: fmt.Errorf("manifest %s: %w", d.Digest, err)}
	}
	if m.Config.Digest == (v1.Hash{}) {
		return nil, &Error{Op: "read", Object: o.store.name(), Err: detail(ErrFormat, "manifest %s has no config: unsupported format", d.Digest)}
	}
	if !m.Config.MediaType.IsConfig() && m.Config.MediaType != "" {
		o.warn("dropped %s: a %s, not an image", shortDigest(d.Digest.String()), m.Config.MediaType)
		return nil, nil
	}
	config, err := o.config(ctx, m.Config)
	if err != nil {
		return nil, err
	}
	platform, diffIDs, err := parseConfig(config)
	if err != nil {
		return nil, &Error{Op: "read", Object: o.store.name(), Err: err}
	}
	if d.Platform != nil && d.Platform.OS != "" && d.Platform.Architecture != "" {
		platform = *d.Platform
	}
	if o.want != nil && !platformMatches(*o.want, platform) {
		o.others = append(o.others, platform.String())
		return nil, nil
	}
	im := &Image{ID: d.Digest.String(), Platform: platform, DiffIDs: diffIDs, RawConfig: config}
	for i, l := range m.Layers {
		b := &blob{object: "blob " + l.Digest.String()}
		if i < len(diffIDs) {
			b.object = layerName(i, len(diffIDs), l.Digest)
			b.diffID = diffIDs[i]
		}
		if b.file, err = o.store.file(l); err != nil {
			return nil, err
		}
		b.open = func(ctx context.Context) (io.ReadCloser, error) { return o.store.open(ctx, l) }
		im.layers = append(im.layers, b)
	}
	if err := im.setManifest(raw, d); err != nil {
		return nil, &Error{Op: "read", Object: o.store.name(), Err: err}
	}
	o.images = append(o.images, im)
	return im, nil
}

// setManifest gives the image its manifest, and its layers their descriptors.
func (im *Image) setManifest(raw []byte, d v1.Descriptor) error {
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	var letters struct {
		Layers []json.RawMessage `json:"layers"`
	}
	if err := json.Unmarshal(raw, &letters); err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if len(m.Layers) != len(im.DiffIDs) {
		return fmt.Errorf("manifest %s lists %d layers, its config has %d", d.Digest, len(m.Layers), len(im.DiffIDs))
	}
	m.MediaType = actualType(m.MediaType, raw)
	if d.MediaType == "" {
		d.MediaType = m.MediaType
	}
	im.Manifest, im.rawManifest, im.Descriptor = &m, raw, d
	for i, l := range m.Layers {
		if i >= len(im.layers) || im.layers[i] == nil {
			continue
		}
		b := im.layers[i]
		if b.checked && b.digest != l.Digest {
			continue // an equal layer was read, which is stored in another way
		}
		b.desc, b.raw = l, letters.Layers[i]
	}
	return nil
}

// actualType is a manifest's media type: as the document says, else as its
// descriptor does, else by what is in it (the OCI image spec leaves the field
// out of documents before 1.1).
func actualType(described types.MediaType, raw []byte) types.MediaType {
	var m struct {
		MediaType types.MediaType   `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
		Version   int               `json:"schemaVersion"`
		Config    struct {
			MediaType types.MediaType `json:"mediaType"`
		} `json:"config"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return described
	}
	switch {
	case m.MediaType != "":
		return m.MediaType
	case m.Version == 1:
		return types.DockerManifestSchema1
	case described.IsIndex(), described.IsImage():
		return described
	case m.Manifests != nil:
		return types.OCIImageIndex
	case m.Config.MediaType == types.DockerConfigJSON:
		return types.DockerManifestSchema2
	}
	return types.OCIManifestSchema1
}
