package archive

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
)

// place is a docker-archive to be written.
type place struct {
	ref    image.Ref
	names  []string
	opt    image.Options
	output *Output
}

// Prepare makes sure that a docker-archive can be put at the reference's path.
func Prepare(ctx context.Context, ref image.Ref, names []string, opt image.Options) (image.Place, error) {
	p := &place{ref: ref, names: image.AllNames(ref.Name, names), opt: opt}
	p.ref.Transport = image.Archive
	var err error
	if p.output, err = PrepareOutput(ctx, ref.Path, opt, p.standing); err != nil {
		return nil, err
	}
	return p, nil
}

// standing looks at the file that is there.
func (p *place) standing(ctx context.Context, ix *Tar) (Standing, error) {
	old, err := p.open(ctx, ix)
	if err != nil {
		return Standing{}, err
	}
	return Standing{Images: old.Images, Names: old.Images[0].Names, Get: p.names}, nil
}

// open opens the only image in the file that is there.
func (p *place) open(ctx context.Context, ix *Tar) (*image.Source, error) {
	return OpenIn(ctx, ix, image.Ref{Transport: image.Archive, Path: p.ref.Path}, image.Options{})
}

func (p *place) Ref() image.Ref  { return p.ref }
func (p *place) Names() []string { return p.names }

// ReadsBase is true: an archive has all layers.
func (p *place) ReadsBase(_ context.Context, _ *image.Image, keep int) (bool, error) {
	return keep > 0, nil
}

// Store writes the file that docker save would write: the layers, the config
// document and manifest.json.
func (p *place) Store(ctx context.Context, w image.Wanted) (*image.Stored, error) {
	if err := p.output.Refused(); err != nil {
		return nil, err
	}
	if err := image.OnePlatform(p.ref, w.Images, "a docker-archive"); err != nil {
		return nil, err
	}
	c, err := p.compression(ctx, w.Images[0])
	if err != nil {
		return nil, err
	}
	temp := &image.Spools{Dir: p.opt.TempDir}
	stored, err := p.store(ctx, w.Images[0], c, temp)
	if err != nil {
		err = errors.Join(err, temp.Close())
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return stored, nil
}

// Existing looks at the file that is there.
func (p *place) Existing(ctx context.Context, w image.Wanted) (*image.Found, error) {
	old, err := p.output.Find(ctx, func(ix *Tar) (*image.Source, bool, error) { return p.compare(ctx, ix, w.Images) })
	if old == nil || err != nil {
		return nil, err
	}
	return image.NewFound(old, w.Images, nil), nil
}

// compare opens what the file holds, and tells whether it is what would be
// stored.
func (p *place) compare(ctx context.Context, ix *Tar, images []image.NewImage) (*image.Source, bool, error) {
	old, err := p.open(ctx, ix)
	if err != nil || len(images) != 1 || !slices.Equal(old.Images[0].Names, image.TagNames(p.names)) {
		return nil, false, ctx.Err() // with --force anything may be there
	}
	kept, err := images[0].KeptKind(ctx)
	if err != nil {
		return nil, false, err
	}
	same, err := image.Same(ctx, images, nil, old, p.opt.Compression.Or(p.output.Inner(kept)))
	return old, same, err
}

// compression is that of a new layer: what was asked for, or the base's.
func (p *place) compression(ctx context.Context, n image.NewImage) (image.Compression, error) {
	kept, err := n.KeptKind(ctx)
	if err != nil {
		return image.Compression{}, err
	}
	c := p.opt.Compression.Or(p.output.Inner(kept))
	if c.Kind == image.Zstandard || kept == image.Zstandard {
		p.opt.Warnf("layers compressed with zstd can't be loaded by Docker older than 23.0")
	} else if n.Keep > 0 && n.Write != nil && c.Kind != kept {
		p.opt.Warnf("layers compressed in different ways can't be read by every tool: --compression %s is the base's", kept)
	}
	return c, nil
}

func (p *place) store(ctx context.Context, n image.NewImage, c image.Compression, temp *image.Spools) (*image.Stored, error) {
	made, err := n.Make(ctx, temp, c)
	if err != nil {
		return nil, err
	}
	records, size, err := p.records(ctx, made)
	if err != nil {
		return nil, err
	}
	name, discard, err := p.output.Put(ctx, records, temp)
	if err != nil {
		return nil, err
	}
	id := image.DigestOf(made.Config).String()
	return image.NewStored(id, []image.StoredImage{made.Stored(v1.Descriptor{}, size)}, name, discard), nil
}

// records are the archive's files, with the layers under their diff IDs, as
// skopeo has them: equal ones are one file. Compressed is the size of all layers.
func (p *place) records(ctx context.Context, n *image.Made) (records []Record, compressed int64, err error) {
	id := image.DigestOf(n.Config)
	saved := SavedImage{Config: id.Hex + ".json", RepoTags: image.TagNames(p.names), Layers: []string{}}
	for i, d := range n.DiffIDs {
		r := Record{Name: d.Hex + ".tar"}
		if i < n.New.Keep {
			if r, err = LayerRecord(ctx, r.Name, n.New.Base()[i]); err != nil {
				return nil, 0, err
			}
		} else {
			r.Size = n.Layer.Size
			r.Write = func(_ context.Context, w io.Writer) error {
				_, err := io.Copy(w, io.NewSectionReader(n.Layer.File, 0, n.Layer.Size))
				return err
			}
		}
		if !slices.Contains(saved.Layers, r.Name) {
			records = append(records, r)
		}
		saved.Layers = append(saved.Layers, r.Name)
		compressed += r.Size
	}
	manifest, err := json.Marshal([]SavedImage{saved})
	if err != nil {
		return nil, 0, err
	}
	return append(records, Doc(saved.Config, n.Config), Doc("manifest.json", append(manifest, '\n'))), compressed, nil
}

// LayerRecord is a record of a layer's stored bytes.
func LayerRecord(ctx context.Context, name string, l *image.Layer) (Record, error) {
	size, err := l.StoredSize(ctx)
	return Record{Name: name, Size: size, Write: func(ctx context.Context, w io.Writer) error { return l.CopyTo(ctx, w, size) }}, err
}
