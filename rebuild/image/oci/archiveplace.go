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

// names are what a result in a layout is called.
type names struct {
	own   string   // by the destination's reference
	other []string // whole names
}

func newNames(ref image.Ref, given []string) names {
	all := image.AllNames(ref.Name, given)
	if ref.Name == "" {
		return names{other: all}
	}
	return names{own: ref.Name, other: all[1:]}
}

func (n names) all() []string {
	if n.own == "" {
		return n.other
	}
	return append([]string{n.own}, n.other...)
}

func (n names) entries(root v1.Descriptor) []v1.Descriptor { return entries(root, n.own, n.other) }

// archivePlace is an OCI archive to be written.
type archivePlace struct {
	ref     image.Ref
	names   names
	opt     image.Options
	output  *archive.Output
	refused error // what stands there may not be replaced, but may be found
}

// Prepare makes sure that a layout, or an archive of one, by the transport, can
// be put at the reference's path.
func Prepare(ctx context.Context, ref image.Ref, given []string, opt image.Options) (image.Place, error) {
	if ref.Transport == image.Layout {
		return prepareDir(ref, newNames(ref, given), opt)
	}
	output, err := archive.PrepareOutput(ref.Path, opt)
	if err != nil {
		return nil, err
	}
	p := &archivePlace{ref: ref, names: newNames(ref, given), opt: opt, output: output}
	if !output.Readable() || opt.Force {
		return p, nil
	}
	p.refused, err = p.standing(ctx)
	return p, err
}

// standing looks at the file that is there, as archive.Output.Standing judges.
func (p *archivePlace) standing(ctx context.Context) (refused, err error) {
	old, index, err := p.open(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, p.output.Refused(image.WhatStands(err))
	}
	defer old.Close()
	var listed v1.IndexManifest
	if err := json.Unmarshal(index, &listed); err != nil {
		return nil, err
	}
	return p.output.Standing(old.Images, allNames(listed.Manifests), p.names.all())
}

// open opens the only image or index of the archive that is there, and returns
// its index.json, too.
func (p *archivePlace) open(ctx context.Context) (*image.Source, []byte, error) {
	ix, err := archive.OpenTar(ctx, p.ref.Path, image.Options{TempDir: p.opt.TempDir})
	if err != nil {
		return nil, nil, err
	}
	if ix.Kind != p.output.Kind() {
		return nil, nil, errors.Join(errors.New("it is compressed in another way than its name says"), ix.Close())
	}
	old, err := OpenIn(ctx, ix, image.Ref{Transport: image.LayoutArchive, Path: p.ref.Path}, image.Options{})
	if err != nil {
		return nil, nil, errors.Join(err, ix.Close())
	}
	index, err := ix.Document("index.json")
	if err != nil {
		return nil, nil, errors.Join(err, old.Close())
	}
	return old, index, nil
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
func (p *archivePlace) Existing(ctx context.Context, images []image.NewImage, index *image.Index) (*image.Found, error) {
	if !p.output.Readable() {
		return nil, nil
	}
	old, have, err := p.open(ctx)
	if err != nil {
		return nil, p.refused // Store says more, if it is still wrong then
	}
	same := false
	if get, err := indexJSON(nil, p.names.entries(rootOf(old))); err == nil && bytes.Equal(have, get) {
		var opt image.Options
		if opt, err = p.options(ctx, images); err == nil {
			same, err = image.Same(ctx, images, index, old, opt.Compression.Or(image.Gzip))
		}
		if err != nil {
			return nil, errors.Join(err, old.Close())
		}
	}
	if !same {
		return nil, errors.Join(p.refused, old.Close())
	}
	return image.NewFound(old, images, nil), nil
}

// rootOf describes what a layout's entry led to.
func rootOf(src *image.Source) v1.Descriptor {
	if src.Index != nil {
		return src.Index.Descriptor
	}
	return src.Images[0].Manifest.Descriptor
}

// Store writes the archive.
func (p *archivePlace) Store(ctx context.Context, images []image.NewImage, index *image.Index) (*image.Stored, error) {
	if p.refused != nil {
		return nil, p.refused
	}
	temp := &image.Spools{Dir: p.opt.TempDir}
	stored, err := p.store(ctx, images, index, temp)
	if err != nil {
		return nil, cmp.Or(ctx.Err(), errors.Join(err, temp.Close()))
	}
	return stored, nil
}

func (p *archivePlace) store(ctx context.Context, images []image.NewImage, index *image.Index, temp *image.Spools) (*image.Stored, error) {
	opt, err := p.options(ctx, images)
	if err != nil {
		return nil, err
	}
	b, err := image.Bundling{Options: opt, Spools: temp}.Bundle(ctx, images, index)
	if err != nil {
		return nil, err
	}
	list, err := records(b, p.names.entries(b.Root), nil)
	if err != nil {
		return nil, err
	}
	name, discard, err := p.output.Put(ctx, list, temp)
	if err != nil {
		return nil, err
	}
	return image.NewStored(b.Root.Digest.String(), b.Images, name, discard), nil
}
