package engine

import (
	"context"
	"errors"
	"io"
	"slices"

	dockerimage "github.com/docker/docker/api/types/image"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
	"docker-flatten/rebuild/image/oci"
)

// storeLayout loads the image into an engine with containerd's image store: as
// an OCI layout, without the blobs that the engine has (it keeps what it
// unpacked them to, and misses nothing). This store keeps compressed layers as
// it gets them and pushes them so; therefore the new one is compressed.
func (p *place) storeLayout(ctx context.Context, w image.Wanted) (stored *image.Stored, err error) {
	temp := &image.Spools{Dir: p.opt.TempDir}
	defer func() { err = errors.Join(err, temp.Close()) }()
	b, err := image.Bundling{Options: p.opt, Spools: temp}.Bundle(ctx, w)
	if err != nil {
		return nil, err
	}
	omitted := map[*image.Image]bool{}
	for _, n := range w.Images {
		has, err := p.hasBase(ctx, n.From, n.Keep)
		if err != nil {
			return nil, err
		}
		omitted[n.From] = has
	}
	id := b.Root.Digest.String()
	wasThere, err := p.has(ctx, id)
	if err != nil {
		return nil, err
	}
	inEngine := func(it image.Item) bool { return omitted[it.From] } // it has what is as it stores it
	load := func(omit func(image.Item) bool) (*image.Stored, error) {
		records, err := oci.Records(b, omit)
		if err != nil {
			return nil, err
		}
		bar := newLoadBar(p.opt, p.what(), archive.Size(records))
		bar.start()
		for i, r := range records {
			records[i] = bar.counts(r)
		}
		sent, err := p.send(ctx, records)
		bar.done(err)
		if err == nil {
			return p.loaded(ctx, loadedImage{id: id, wasThere: wasThere}, b.Images)
		}
		if sent && !wasThere {
			p.undo(ctx, loadedImage{id: id})
		}
		return nil, err
	}
	stored, err = load(inEngine)
	var refused *refusedError
	if slices.ContainsFunc(b.Layers, inEngine) && ctx.Err() == nil && (errors.As(err, &refused) || isNotFound(err)) {
		return load(nil)
	}
	return stored, err
}

// containerdCandidate opens an image if it is what would be stored, else it
// returns nil. Where only docker save brings the config and the manifest, all of
// it is read: it must have the mark first.
func (p *place) containerdCandidate(ctx context.Context, id string, n image.NewImage) (*image.Source, error) {
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
		same, sameErr := image.Same(ctx, []image.NewImage{n}, nil, src, p.opt.Compression.Or(image.Gzip))
		if same {
			return src, nil
		}
		err = sameErr
	}
	return nil, errors.Join(err, src.Close())
}
