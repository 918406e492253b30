package oci

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
)

// archivePlace is an OCI archive to be written.
type archivePlace struct {
	ref    image.Ref
	names  names
	opt    image.Options
	output *archive.Output
}

func prepareArchive(ctx context.Context, ref image.Ref, n names, opt image.Options) (image.Place, error) {
	p := &archivePlace{ref: ref, names: n, opt: opt}
	var err error
	if p.output, err = archive.PrepareOutput(ctx, ref.Path, opt, p.standing); err != nil {
		return nil, err
	}
	return p, nil
}

// standing looks at the file that is there.
func (p *archivePlace) standing(ctx context.Context, ix *archive.Tar) (archive.Standing, error) {
	old, index, err := p.open(ctx, ix)
	if err != nil {
		return archive.Standing{}, err
	}
	var listed v1.IndexManifest
	err = json.Unmarshal(index, &listed)
	return archive.Standing{Images: old.Images, Names: allNames(listed.Manifests), Get: p.names.all()}, err
}

// open opens the only image or index of the archive that is there, and returns
// its index.json, too.
func (p *archivePlace) open(ctx context.Context, ix *archive.Tar) (*image.Source, []byte, error) {
	old, err := OpenIn(ctx, ix, image.Ref{Transport: image.LayoutArchive, Path: p.ref.Path}, image.Options{})
	if err != nil {
		return nil, nil, err
	}
	index, err := ix.Document("index.json")
	return old, index, err
}

func (p *archivePlace) Ref() image.Ref  { return p.ref }
func (p *archivePlace) Names() []string { return p.names.all() }

// ReadsBase is true: an archive has all layers.
func (p *archivePlace) ReadsBase(_ context.Context, _ *image.Image, keep int) (bool, error) {
	return keep > 0, nil
}

// options are those of the place with the compression of a new layer that suits
// it: gzip, or in an archive that is compressed as a whole the base's.
func (p *archivePlace) options(ctx context.Context, images []image.NewImage) (image.Options, error) {
	opt := p.opt
	if !p.output.Compressed() {
		return opt, nil
	}
	kept, err := images[0].KeptKind(ctx)
	opt.Compression = opt.Compression.Or(p.output.Inner(kept))
	return opt, err
}

// Existing looks at the file that is there: an earlier result has the very same
// index.json.
func (p *archivePlace) Existing(ctx context.Context, w image.Wanted) (*image.Found, error) {
	old, err := p.output.Find(ctx, func(ix *archive.Tar) (*image.Source, bool, error) { return p.compare(ctx, ix, w) })
	if old == nil || err != nil {
		return nil, err
	}
	return image.NewFound(old, w.Images, nil), nil
}

// compare opens what the file holds, and tells whether it is what would be
// stored.
func (p *archivePlace) compare(ctx context.Context, ix *archive.Tar, w image.Wanted) (*image.Source, bool, error) {
	old, have, err := p.open(ctx, ix)
	if err != nil {
		return nil, false, ctx.Err() // with --force anything may be there
	}
	opt, err := p.options(ctx, w.Images)
	if err != nil {
		return nil, false, err
	}
	same, err := image.Same(ctx, w.Images, w.Index, old, opt.Compression.Or(image.Gzip))
	if err != nil || !same {
		return old, false, err
	}
	attestation, err := w.AttestFound(image.NewFound(old, w.Images, nil))
	if err != nil {
		return nil, false, err
	}
	get, err := indexJSON(nil, p.names.entries(old.Root(), attestation), nil)
	return old, bytes.Equal(have, get), err
}

// Store writes the archive.
func (p *archivePlace) Store(ctx context.Context, w image.Wanted) (*image.Stored, error) {
	if err := p.output.Refused(); err != nil {
		return nil, err
	}
	temp := &image.Spools{Dir: p.opt.TempDir}
	stored, err := p.store(ctx, w, temp)
	if err != nil {
		return nil, cmp.Or(ctx.Err(), errors.Join(err, temp.Close()))
	}
	return stored, nil
}

func (p *archivePlace) store(ctx context.Context, w image.Wanted, temp *image.Spools) (*image.Stored, error) {
	opt, err := p.options(ctx, w.Images)
	if err != nil {
		return nil, err
	}
	b, err := image.Bundling{Options: opt, Spools: temp}.Bundle(ctx, w)
	if err != nil {
		return nil, err
	}
	list, err := records(b, p.names.entries(b.Root, b.Attestation), nil)
	if err != nil {
		return nil, err
	}
	name, discard, err := p.output.Put(ctx, list, temp)
	if err != nil {
		return nil, err
	}
	return image.NewStored(b.Root.Digest.String(), b.Images, name, discard), nil
}
