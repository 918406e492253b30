package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"

	dockerimage "github.com/docker/docker/api/types/image"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
)

// place is an engine that gets an image.
type place struct {
	*engine
	ref   image.Ref
	names []string
	opt   image.Options
}

// Prepare finds out whether the engine answers.
func Prepare(ctx context.Context, ref image.Ref, names []string, opt image.Options) (image.Place, error) {
	e, err := newEngine(ctx, opt)
	if err != nil {
		return nil, err
	}
	return &place{engine: e, ref: ref, names: image.AllNames(ref.Name, names), opt: opt}, nil
}

func (p *place) Ref() image.Ref  { return p.ref }
func (p *place) Names() []string { return p.names }

// ReadsBase is false where the engine has the base.
func (p *place) ReadsBase(ctx context.Context, im *image.Image, keep int) (bool, error) {
	has, err := p.hasBase(ctx, im, keep)
	return keep > 0 && !has, err
}

// hasBase tells whether the engine has the lowest keep layers of im, so that they
// needn't be sent. A graphdriver store knows layers by their chain of diff IDs,
// whoever brought them.
func (p *place) hasBase(ctx context.Context, im *image.Image, keep int) (bool, error) {
	if keep == 0 || p.store == podmanStore {
		return false, nil
	}
	if r, ok := im.Reader().(interface{ from() *engine }); ok {
		if e := r.from(); e.id != "" && e.id == p.id || e.DaemonHost() == p.DaemonHost() {
			return true, nil
		}
	}
	if p.store == containerdStore {
		return false, nil // it needs the very blobs
	}
	has := false
	err := p.eachImage(ctx, func(_ string, have []v1.Hash) (bool, error) {
		has = len(have) >= keep && slices.Equal(have[:keep], im.DiffIDs[:keep])
		return has, nil
	})
	return has, err
}

// eachImage calls f with every image that the engine has, named or not, and its
// diff IDs, until it is done.
func (e *engine) eachImage(ctx context.Context, f func(id string, diffIDs []v1.Hash) (done bool, err error)) error {
	list, err := e.ImageList(ctx, dockerimage.ListOptions{})
	if err != nil {
		return explain(e.Client, "list images of", e.DaemonHost(), err)
	}
	for _, s := range list {
		inspect, err := e.ImageInspect(ctx, s.ID)
		if isNotFound(err) {
			continue // removed meanwhile
		}
		if err != nil {
			return explain(e.Client, "open", s.ID, err)
		}
		have, err := inspectedLayers(inspect)
		if err != nil {
			continue
		}
		if done, err := f(s.ID, have); done || err != nil {
			return err
		}
	}
	return nil
}

// Existing looks among all images of the engine.
func (p *place) Existing(ctx context.Context, images []image.NewImage, index *image.Index) (*image.Found, error) {
	if len(images) != 1 || index != nil {
		return nil, nil // what an engine tells of an index isn't enough to know it by
	}
	n := images[0]
	want := n.Keep
	if n.Write != nil {
		want++
	}
	var found *image.Found
	err := p.eachImage(ctx, func(id string, have []v1.Hash) (bool, error) {
		if len(have) != want || !slices.Equal(have[:n.Keep], n.From.DiffIDs[:n.Keep]) {
			return false, nil
		}
		src, err := p.candidate(ctx, id, have, n)
		if src != nil {
			found = image.NewFound(src, images, func(ctx context.Context) (bool, error) { return p.tag(ctx, id) })
		}
		return src != nil, err
	})
	return found, err
}

// candidate opens an image if it is what would be stored, else it returns nil. A
// graphdriver store tells by the image's ID, which is its config's digest.
func (p *place) candidate(ctx context.Context, id string, diffIDs []v1.Hash, n image.NewImage) (*image.Source, error) {
	if p.store == containerdStore {
		return p.containerdCandidate(ctx, id, n)
	}
	config, err := n.Config(diffIDs)
	if err != nil {
		return nil, err
	}
	if !sameID(id, image.DigestOf(config)) {
		return nil, nil
	}
	src, err := p.open(ctx, image.Ref{Transport: image.Daemon, Name: id}, image.Options{TempDir: p.opt.TempDir})
	if err != nil {
		return nil, err
	}
	src.Ref, src.Images[0] = p.ref, src.Images[0].WithConfig(config)
	return src, nil
}

// Store loads the image into the engine without a name, and makes sure that it
// has become what was meant.
func (p *place) Store(ctx context.Context, images []image.NewImage, index *image.Index) (*image.Stored, error) {
	var stored *image.Stored
	var err error
	if p.store == containerdStore {
		stored, err = p.storeLayout(ctx, images, index)
	} else {
		stored, err = p.storeArchive(ctx, images)
	}
	if err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	return stored, nil
}

// loaded is the account of an image that has been loaded, once confirmed. An
// image that was there before stays in any case.
func (p *place) loaded(ctx context.Context, id string, images []image.StoredImage, wasThere bool) (*image.Stored, error) {
	discard := func() error {
		// also when the user interrupts just here
		_, err := p.remove(context.WithoutCancel(ctx), id)
		return err
	}
	if wasThere {
		discard = nil
	}
	stored := image.NewStored(id, images, func(ctx context.Context) (bool, error) { return p.tag(ctx, id) }, discard)
	if err := p.confirm(ctx, id, images); err != nil {
		return nil, errors.Join(err, stored.Discard())
	}
	return stored, nil
}

// confirm makes sure that the loaded image has the layers that it should have.
func (p *place) confirm(ctx context.Context, id string, images []image.StoredImage) error {
	inspect, err := p.ImageInspect(ctx, id)
	if err != nil {
		return explain(p.Client, "open the loaded image", id, err)
	}
	have, err := inspectedLayers(inspect)
	if err == nil && !slices.ContainsFunc(images, func(s image.StoredImage) bool { return slices.Equal(s.DiffIDs, have) }) {
		err = image.Detail(image.ErrDiffers, "the engine made %d layers of the %d that it was given, or others", len(have), len(images[0].DiffIDs))
	}
	if err != nil {
		return &image.Error{Op: "load", Object: id, Err: err}
	}
	return nil
}

// tag gives the image its names, and tells whether it got any.
func (p *place) tag(ctx context.Context, id string) (seen bool, err error) {
	for i, name := range p.names {
		if err := p.ImageTag(ctx, id, name); err != nil {
			return i > 0, &image.Error{Op: "tag", Object: name, Err: err}
		}
	}
	return true, nil
}
