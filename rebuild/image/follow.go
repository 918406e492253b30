package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// BlobStore is where what descriptors describe can be had: a layout, an archive of
// one, a repository of a registry. Digests are checked by the caller.
type BlobStore interface {
	// Object is what errors call the store.
	Object() string
	// Document returns a manifest or an index.
	Document(ctx context.Context, d v1.Descriptor) ([]byte, error)
	// Open returns a blob's bytes.
	Open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	// File returns a blob's bytes where they lie in a file, else nil.
	File(d v1.Descriptor) (File, error)
}

// Limits of what a reference may lead to. No image comes near them.
const (
	deepestIndex = 8    // indexes within each other
	mostEntries  = 4096 // manifests and indexes that all of them list, together
)

// walk keeps count of the manifests and indexes that something leads to.
type walk struct {
	entries int
	seen    map[string]bool // what has been visited
}

// enter counts one that lies depth indexes deep. It is an error where a limit is
// passed.
func (w *walk) enter(ctx context.Context, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > deepestIndex {
		return Detail(ErrFormat, "more than %d indexes within each other", deepestIndex)
	}
	if w.entries++; w.entries > mostEntries {
		return Detail(ErrFormat, "indexes list more than %d manifests", mostEntries)
	}
	return nil
}

// first tells whether a digest is visited for the first time, on behalf of a
// platform or of none.
func (w *walk) first(d v1.Descriptor) bool {
	key := d.Digest.String()
	if d.Platform != nil && !d.MediaType.IsIndex() {
		key += " " + d.Platform.String()
	}
	if w.seen == nil {
		w.seen = map[string]bool{}
	}
	first := !w.seen[key]
	w.seen[key] = true
	return first
}

// Opening opens what descriptors lead to.
type Opening struct {
	Ref     Ref
	Names   []string // of every image
	Store   BlobStore
	Reader  Reader // of every image
	Options Options
}

// Descriptor opens the image or index that d describes.
func (o Opening) Descriptor(ctx context.Context, d v1.Descriptor) (*Source, error) {
	f, err := o.follower()
	if err != nil {
		return nil, err
	}
	entry, err := f.follow(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	return f.source(entry)
}

// NoImage tells why d, which one of several entries has, describes no image, ""
// for an image, and for what only opening it tells.
func (o Opening) NoImage(ctx context.Context, d v1.Descriptor) string {
	if kind := d.Annotations[attestationAnnotation]; kind != "" {
		return "an " + kind
	}
	f := &follower{Opening: o}
	raw, err := f.document(ctx, d)
	if err != nil || !actualType(d.MediaType, raw).IsImage() {
		return ""
	}
	m, err := ParseManifest(raw, d)
	if err != nil {
		return ""
	}
	return m.NoImage()
}

// attestationAnnotation marks what BuildKit puts into an index besides images.
const attestationAnnotation = "vnd.docker.reference.type"

// Index opens an index that no descriptor leads to.
func (o Opening) Index(ctx context.Context, d v1.Descriptor, raw []byte) (*Source, error) {
	f, err := o.follower()
	if err != nil {
		return nil, err
	}
	index, err := f.index(ctx, d, raw, 0)
	if err != nil {
		return nil, err
	}
	return f.source(indexEntry{index: index})
}

// follower collects the images that a descriptor leads to.
type follower struct {
	Opening
	want *v1.Platform // nil = every platform
	walk
	images  []*Image
	others  []string // platforms that weren't wanted
	dropped []string // what is no image
}

func (o Opening) follower() (*follower, error) {
	f := &follower{Opening: o}
	if o.Options.Platform == "" {
		return f, nil
	}
	p, err := ParsePlatform(o.Options.Platform)
	f.want = &p
	return f, err
}

// source makes a source of the collected images.
func (o *follower) source(entry indexEntry) (*Source, error) {
	fail := func(err error, hint string) (*Source, error) {
		return nil, &Error{Op: "open", Object: o.Ref.String(), Err: err, Hint: hint}
	}
	images := o.images
	if len(images) == 0 {
		if o.want != nil && len(o.others) > 0 {
			return fail(Detail(ErrNoImage, "no image for %s", o.Options.Platform), "there are images for "+few(o.others))
		}
		if len(o.dropped) > 0 {
			return fail(Detail(ErrNoImage, "no image: %s", few(o.dropped)), "")
		}
		return fail(Detail(ErrNoImage, "the index holds no image"), "")
	}
	if o.want != nil && len(images) > 1 {
		exact := o.exact()
		if exact == nil {
			var list []string
			for _, im := range images {
				list = append(list, im.Platform.String()+" "+im.ID)
			}
			return fail(Detail(ErrSeveral, "several images for %s: %s", o.Options.Platform, few(list)), "")
		}
		images = []*Image{exact}
	}
	s := &Source{Ref: o.Ref, ID: images[0].ID, Images: images}
	if o.want == nil && entry.index != nil {
		s.Index, s.ID = entry.index, entry.index.Descriptor.Digest.String()
	}
	return s, nil
}

// exact is the only image whose platform is the wanted one without any leeway.
func (o *follower) exact() *Image {
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
func (o *follower) document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	raw, err := o.Store.Document(ctx, d)
	if err != nil {
		return nil, err
	}
	if got := digestLike(d.Digest, raw); d.Digest != (v1.Hash{}) && got != d.Digest {
		return nil, &Error{Op: "read", Object: o.Store.Object(), Err: Detail(ErrDigest, "digest mismatch: %s %s is %s", KindOfType(d.MediaType), d.Digest, got)}
	}
	return raw, nil
}

// config fetches a config document and checks its digest.
func (o *follower) config(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	r, err := o.Store.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, LargestDocument))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, &Error{Op: "read", Object: o.Store.Object(), Err: fmt.Errorf("config %s: %w", d.Digest, err)}
	}
	if got := DigestOf(raw); got != d.Digest {
		return nil, &Error{Op: "read", Object: o.Store.Object(), Err: Detail(ErrDigest, "digest mismatch: config %s is %s", d.Digest, got)}
	}
	return raw, nil
}

// follow opens the image, or all images of the index, that d describes. The
// entry lacks the descriptor to the letter.
func (o *follower) follow(ctx context.Context, d v1.Descriptor, depth int) (indexEntry, error) {
	raw, err := o.document(ctx, d)
	if err != nil {
		return indexEntry{}, err
	}
	d.MediaType = actualType(d.MediaType, raw)
	switch {
	case d.MediaType.IsSchema1():
		return indexEntry{}, &Error{Op: "read", Object: o.Store.Object(), Err: Detail(ErrFormat, "the manifest has the schema 1 that registries gave up: unsupported format"), Hint: "docker pull and docker push the image to renew it"}
	case d.MediaType.IsIndex():
		index, err := o.index(ctx, d, raw, depth)
		return indexEntry{index: index}, err
	}
	return indexEntry{}, o.image(ctx, d, raw)
}

// index opens what an index lists.
func (o *follower) index(ctx context.Context, d v1.Descriptor, raw []byte, depth int) (*Index, error) {
	fail := func(err error) (*Index, error) {
		return nil, &Error{Op: "read", Object: o.Store.Object(), Err: fmt.Errorf("index %s: %w", d.Digest, err)}
	}
	var parsed struct {
		Manifests   []json.RawMessage `json:"manifests"`
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(raw, &parsed); err != nil {
		return fail(err)
	}
	ix := &Index{MediaType: d.MediaType, Annotations: parsed.Annotations, Raw: raw, Descriptor: d}
	for _, rawEntry := range parsed.Manifests {
		var child v1.Descriptor
		if err := json.Unmarshal(rawEntry, &child); err != nil {
			return fail(err)
		}
		if err := o.enter(ctx, depth+1); err != nil {
			return nil, &Error{Op: "read", Object: o.Store.Object(), Err: err}
		}
		if o.skip(child) || !o.first(child) {
			continue
		}
		before := len(o.images)
		entry, err := o.follow(ctx, child, depth+1)
		if err != nil {
			return nil, err
		}
		if len(o.images) > before { // else it leads to nothing that is wanted
			entry.raw = rawEntry
			ix.entries = append(ix.entries, entry)
		}
	}
	return ix, nil
}

// skip tells whether an index's entry is left out: an attestation, or an image
// for a platform that wasn't asked for.
func (o *follower) skip(d v1.Descriptor) bool {
	p := d.Platform
	if kind := d.Annotations[attestationAnnotation]; kind != "" || p != nil && p.OS == "unknown" && p.Architecture == "unknown" {
		if kind == "" {
			kind = "manifest for unknown/unknown"
		}
		of := d.Annotations["vnd.docker.reference.digest"]
		if of != "" {
			of = " of " + shortDigest(of)
		}
		o.Options.Warnf("left out %s %s%s: it describes the image that it came with", kind, shortDigest(d.Digest.String()), of)
		return true
	}
	if o.want != nil && p != nil && p.OS != "" && !PlatformMatches(*o.want, *p) {
		o.others = append(o.others, p.String())
		return true
	}
	return false
}

func shortDigest(d string) string {
	_, hex, _ := strings.Cut(d, ":")
	return hex[:min(12, len(hex))]
}

// image opens the image of a manifest, if it is wanted.
func (o *follower) image(ctx context.Context, d v1.Descriptor, raw []byte) error {
	fail := func(err error) error { return &Error{Op: "read", Object: o.Store.Object(), Err: err} }
	m, err := ParseManifest(raw, d)
	if err != nil {
		return fail(err)
	}
	if m.Config.Digest == (v1.Hash{}) {
		return fail(Detail(ErrFormat, "manifest %s has no config: unsupported format", d.Digest))
	}
	if why := m.NoImage(); why != "" {
		why = shortDigest(d.Digest.String()) + ": " + why
		o.dropped = append(o.dropped, why)
		o.Options.Warnf("left out %s", why)
		return nil
	}
	config, err := o.config(ctx, m.Config)
	if err != nil {
		return err
	}
	platform, diffIDs, err := ParseConfig(config)
	if err != nil {
		return fail(err)
	}
	if d.Platform != nil && d.Platform.OS != "" && d.Platform.Architecture != "" {
		platform = *d.Platform
	}
	if o.want != nil && !PlatformMatches(*o.want, platform) {
		o.others = append(o.others, platform.String())
		return nil
	}
	if len(m.Layers) != len(diffIDs) {
		return fail(fmt.Errorf("manifest %s lists %d layers, its config has %d", d.Digest, len(m.Layers), len(diffIDs)))
	}
	var layers []*Layer
	for i, d := range m.Layers {
		l := NewLayer(LayerName(i, len(diffIDs), d.Digest), diffIDs[i], func(ctx context.Context) (io.ReadCloser, error) { return o.Store.Open(ctx, d) })
		if l.file, err = o.Store.File(d); err != nil {
			return err
		}
		layers = append(layers, l.At(o.Ref.keeper()+"@"+d.Digest.String()))
	}
	if err := m.Describe(layers); err != nil {
		return fail(err)
	}
	o.images = append(o.images, Make(ctx, Image{
		Ref: o.Ref, Names: o.Names, ID: d.Digest.String(), Platform: platform, DiffIDs: diffIDs, Config: config, Manifest: m,
	}, layers, o.Reader))
	return nil
}
