package engine

import (
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

// what is what the display calls the load.
func (p *place) what() string { return append(slices.Clone(p.names), p.DaemonHost())[0] }

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
		return p.storesBase(ctx, im, keep) // it needs the very blobs
	}
	has := false
	err := p.eachImage(ctx, anyImage, func(_ string, have []v1.Hash) (bool, error) {
		has = len(have) >= keep && slices.Equal(have[:keep], im.DiffIDs[:keep])
		return has, nil
	})
	return has, err
}

func anyImage(dockerimage.Summary) bool { return true }

// eachImage calls f with every image that the engine has, named or not, and that
// may be a wanted one, and its diff IDs, until it is done. Of each image the engine
// is asked once: an ID's layers stay the same.
func (e *engine) eachImage(ctx context.Context, may func(dockerimage.Summary) bool, f func(id string, diffIDs []v1.Hash) (done bool, err error)) error {
	list, err := e.ImageList(ctx, dockerimage.ListOptions{})
	if err != nil {
		return explain(e.Client, "list images of", e.DaemonHost(), err)
	}
	for _, s := range list {
		if !may(s) {
			continue
		}
		have, known := e.layersOf[s.ID]
		if known {
			if done, err := f(s.ID, have); done || err != nil {
				return err
			}
			continue
		}
		inspect, err := e.ImageInspect(ctx, s.ID)
		if isNotFound(err) {
			continue // removed meanwhile
		}
		if err != nil {
			return explain(e.Client, "open", s.ID, err)
		}
		if have, err = inspectedLayers(inspect); err != nil {
			continue
		}
		e.layersOf[s.ID] = have
		if done, err := f(s.ID, have); done || err != nil {
			return err
		}
	}
	return nil
}

// loadedImage is an image that has been loaded, or is just being loaded.
type loadedImage struct {
	id       string
	wasThere bool   // before: it stays in any case
	owner    *Owner // whose passing name it has unless it was there
}

// loaded is the account of an image that has been loaded, once confirmed.
func (p *place) loaded(ctx context.Context, in loadedImage, images []image.StoredImage) (*image.Stored, error) {
	discard := func() (err error) {
		defer in.owner.Release()
		if !in.wasThere {
			// also when the user interrupts just here
			_, err = p.remove(context.WithoutCancel(ctx), in)
		}
		return err
	}
	name := func(ctx context.Context) (seen bool, err error) {
		if seen, err = p.tag(ctx, in.id); !seen {
			return false, err
		}
		defer in.owner.Release()
		if !in.wasThere {
			if _, err := p.remove(context.WithoutCancel(ctx), in); err != nil {
				p.opt.Warnf("remove the name %s: %v", in.owner.passingName(), err)
			}
		}
		return true, err
	}
	stored := image.NewStored(in.id, images, name, discard)
	if err := p.confirm(ctx, in.id, images); err != nil {
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
	ClearAway(ctx, p.Client, p.opt, true) // also what an engine was still at when this run began
	return true, nil
}

// has tells whether the engine has an image of that ID.
func (e *engine) has(ctx context.Context, id string) (bool, error) {
	_, err := e.ImageInspect(ctx, id)
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, explain(e.Client, "open", id, err)
	}
	return true, nil
}

// remove removes an image that has just been loaded, and says whether it was
// there. One that has another name by now is another run's, and stays.
func (e *engine) remove(ctx context.Context, in loadedImage) (there bool, err error) {
	_, err = e.ImageRemove(ctx, in.owner.passingName(), dockerimage.RemoveOptions{})
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		in.owner.Leave()
	}
	return true, err
}
