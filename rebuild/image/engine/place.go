package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	dockerimage "github.com/docker/docker/api/types/image"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
)

// Prepare finds out whether the engine answers.
func Prepare(ctx context.Context, ref image.Ref, names []string, opt image.Options) (image.Place, error) {
	e, err := newEngine(ctx, opt)
	if err != nil {
		return nil, err
	}
	ClearAway(ctx, e.Client, opt, false)
	return &place{engine: e, ref: ref, names: image.AllNames(ref.Name, names), opt: opt}, nil
}

func (p *place) Ref() image.Ref  { return p.ref }
func (p *place) Names() []string { return p.names }

// ReadsBase is false where the engine has the base.
func (p *place) ReadsBase(ctx context.Context, im *image.Image, keep int) (bool, error) {
	has, err := p.hasBase(ctx, im, keep)
	return keep > 0 && !has, err
}

// Existing looks among all images of the engine. An engine may have thousands:
// only those of the right date are asked for their layers.
func (p *place) Existing(ctx context.Context, w image.Wanted) (*image.Found, error) {
	if len(w.Images) != 1 || w.Index != nil {
		return nil, nil // what an engine tells of an index isn't enough to know it by
	}
	n := w.Images[0]
	want := n.Keep
	if n.Write != nil {
		want++
	}
	var found *image.Found
	err := p.eachImage(ctx, datedAs(n), func(id string, have []v1.Hash) (bool, error) {
		if len(have) != want || !slices.Equal(have[:n.Keep], n.From.DiffIDs[:n.Keep]) {
			return false, nil
		}
		src, err := p.candidate(ctx, id, have, n)
		if err != nil && ctx.Err() == nil {
			// One that can't be read is no result, and no reason to do without one.
			return false, nil
		}
		if src != nil {
			found = image.NewFound(src, w.Images, func(ctx context.Context) (bool, error) { return p.tag(ctx, id) })
		}
		return src != nil, err
	})
	return found, err
}

// datedAs tells of an image whether it may have the config document of n, which
// tells when it was created, in an engine's list in whole seconds.
func datedAs(n image.NewImage) func(dockerimage.Summary) bool {
	diffIDs := slices.Clone(n.From.DiffIDs[:n.Keep])
	if n.Write != nil {
		diffIDs = append(diffIDs, v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}) // the date doesn't depend on it
	}
	var document struct{ Created time.Time }
	config, err := n.Config(diffIDs)
	if err != nil || json.Unmarshal(config, &document) != nil || document.Created.Unix() <= 0 {
		return anyImage
	}
	return func(s dockerimage.Summary) bool { return s.Created <= 0 || s.Created == document.Created.Unix() }
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
func (p *place) Store(ctx context.Context, w image.Wanted) (*image.Stored, error) {
	var stored *image.Stored
	var err error
	if p.store == containerdStore {
		stored, err = p.storeLayout(ctx, w)
	} else {
		stored, err = p.storeArchive(ctx, w.Images)
	}
	if err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	return stored, nil
}
