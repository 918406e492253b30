package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"slices"

	dockerimage "github.com/docker/docker/api/types/image"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
	"docker-flatten/rebuild/image/oci"
)

// sendLevel is the gzip level of a layer for which the user names none. It takes a
// third of the time of gzip's default, which is most of a run's, and a tenth more
// bytes, which here go through a socket.
const sendLevel = 2

// layoutCompression is that of a new layer: what was asked for, or the source's. It
// depends on nothing else, so that the result doesn't either.
func layoutCompression(ctx context.Context, images []image.NewImage, opt image.Options) (image.Compression, error) {
	c := opt.Compression
	if c.Kind != "" {
		return c, nil
	}
	for _, n := range images {
		kind, err := n.From.Kind(ctx)
		if err != nil {
			return c, err
		}
		if c.Kind != "" && c.Kind != kind { // one platform's other than another's
			kind = image.Gzip
		}
		c.Kind = kind
	}
	if c = c.Or(image.Gzip); c.Kind == image.Gzip {
		c.Level = sendLevel
	}
	return c, nil
}

// storeLayout loads the image into an engine with containerd's image store: as
// an OCI layout, without the blobs that the engine has (it keeps what it
// unpacked them to, and misses nothing). This store keeps layers as it gets them,
// and pushes them so.
func (p *place) storeLayout(ctx context.Context, w image.Wanted) (stored *image.Stored, err error) {
	temp := &image.Spools{Dir: p.opt.TempDir}
	defer func() { err = errors.Join(err, temp.Close()) }()
	c, err := layoutCompression(ctx, w.Images, p.opt)
	if err != nil {
		return nil, err
	}
	opt := p.opt
	opt.Compression = c
	owner := NewOwner(p.opt.TempDir, p.Client)
	defer func() {
		if stored == nil {
			owner.Release()
		}
	}()
	l := &layoutLoad{place: p, owner: owner, Wanted: w, bundling: image.Bundling{Options: opt, Spools: temp}, ready: make([]*image.Made, len(w.Images)), omitted: map[*image.Image]bool{}}
	omits := false
	for i, n := range w.Images {
		if n.Write == nil || c.Kind != image.Uncompressed {
			if l.ready[i], err = n.Make(ctx, temp, c); err != nil {
				return nil, err
			}
		}
		has, err := p.hasBase(ctx, n.From, n.Keep)
		if err != nil {
			return nil, err
		}
		l.omitted[n.From] = has
		omits = omits || has && n.Keep > 0
	}
	stored, err = l.load(ctx)
	var refused *refusedError
	if omits && ctx.Err() == nil && (errors.As(err, &refused) || isNotFound(err)) {
		l.omitted = nil // it hasn't got them after all, or wants to see them
		return l.load(ctx)
	}
	return stored, err
}

// layoutLoad is an image on its way into containerd's store.
type layoutLoad struct {
	*place
	image.Wanted
	owner    *Owner
	bundling image.Bundling
	ready    []*image.Made         // nil for a layer that is written while it is sent
	omitted  map[*image.Image]bool // whose base's layers are left out: the engine has what is as it stores it
}

// load sends a layout in which uncompressed new layers come first, under names that
// tell nothing, so that they needn't be kept anywhere before. An engine knows blobs
// by the digests that it takes itself (containerd core/images/archive, ImportIndex);
// a name only marks a blob on its way, and no other run may use it.
func (l *layoutLoad) load(ctx context.Context) (*image.Stored, error) {
	made := slices.Clone(l.ready)
	var records []archive.Record
	for i, n := range l.Images {
		if made[i] != nil {
			continue
		}
		records = append(records, archive.Record{Name: "layer-" + rand.Text() + ".tar", Size: n.Size, Write: func(ctx context.Context, w io.Writer) error {
			layer, err := n.WriteTar(ctx, w)
			if err == nil {
				made[i], err = n.Complete(layer)
			}
			return err
		}})
	}
	var b *image.Bundle
	var bar *loadBar
	wasThere := false
	rest := func(ctx context.Context) (_ []archive.Record, err error) {
		if b, err = l.bundling.Of(ctx, made, l.Wanted); err != nil {
			return nil, err
		}
		if wasThere, err = l.has(ctx, b.Root.Digest.String()); err != nil {
			return nil, err
		}
		var names []string
		if !wasThere { // one that was there may have no name, and then goes with its passing one
			names = []string{l.owner.passingName()}
		}
		rest, err := oci.Records(b, names, func(it image.Item) bool { return l.omitted[it.From] || it.Elsewhere() })
		if err != nil {
			return nil, err
		}
		bar = newLoadBar(l.opt, l.what(), archive.Size(rest))
		bar.start()
		for i, r := range rest {
			rest[i] = bar.counts(r)
		}
		return rest, nil
	}
	sent, err := l.send(ctx, append(records, archive.Record{Then: rest}))
	if bar != nil {
		bar.done(err)
	}
	if b == nil {
		return nil, err
	}
	in := loadedImage{id: b.Root.Digest.String(), wasThere: wasThere, owner: l.owner}
	if err == nil {
		return l.loaded(ctx, in, b.Images)
	}
	if sent && !wasThere {
		l.undo(ctx, in)
	}
	return nil, err
}

// containerdCandidate opens an image if it is what would be stored, else it
// returns nil. Where only docker save brings the config and the manifest, all of
// it is read: it must have the mark first, or the very ID if there is no new layer.
func (p *place) containerdCandidate(ctx context.Context, id string, n image.NewImage) (*image.Source, error) {
	c, err := layoutCompression(ctx, []image.NewImage{n}, p.opt)
	if err != nil {
		return nil, err
	}
	if n.Write == nil {
		if root, err := n.Root(c); err != nil || root.String() != id {
			return nil, err
		}
	}
	history, err := p.ImageHistory(ctx, id)
	if err != nil || n.Mark != "" && !slices.ContainsFunc(history, func(h dockerimage.HistoryResponseItem) bool { return h.Comment == n.Mark }) {
		return nil, ctx.Err()
	}
	src, err := p.open(ctx, image.Ref{Transport: image.Daemon, Name: id}, image.Options{TempDir: p.opt.TempDir})
	if err != nil {
		return nil, err
	}
	if src.Images[0].Config == nil {
		src.Images[0], err = src.Images[0].Read(ctx, nil, func(_ int, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		})
	}
	if err == nil {
		src.Ref = p.ref
		var same bool
		if same, err = p.same(ctx, n, src, c); same {
			return src, nil
		}
	}
	return nil, errors.Join(err, src.Close())
}

// same tells whether an image is what would be stored. An index isn't, whatever it
// lists besides: the engine would name all of it.
func (p *place) same(ctx context.Context, n image.NewImage, src *image.Source, c image.Compression) (bool, error) {
	if p.opt.Compression.Level == 0 {
		c.Level = 0 // our own choice
	}
	if same, err := image.Same(ctx, []image.NewImage{n}, nil, src, c); err != nil || !same {
		return false, err
	}
	m := src.Images[0].Manifest
	return m == nil || m.Descriptor.Digest.String() == src.ID, nil
}
