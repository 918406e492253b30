package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// daemonImage is an image of an engine: what is needed to have it saved.
type daemonImage struct {
	engine   *engine
	id       string
	platform *ocispec.Platform // to save of an index; nil where an image has but one
	inPlace  bool              // the layers are read where the engine has them, not by docker save

	mu    sync.Mutex
	again *Image // what a second docker save brought, nil before one
}

// openDaemon asks the engine about the image. Its config document comes only
// with Read, unless it can be read in place: the API gives it away in docker
// save alone.
func (s *Source) openDaemon(ctx context.Context, opt Options) error {
	e, err := newEngine(ctx, opt)
	if err != nil {
		return err
	}
	inspect, err := e.inspect(ctx, s.Ref.Name, opt.Platform)
	if isNotFound(err) {
		return e.notFound(ctx, s.Ref.Name)
	}
	if err != nil {
		return engineError(e.Client, "open", s.Ref.Name, err)
	}
	im := &Image{
		ID: inspect.ID, Names: tagNames(inspect.RepoTags), Platform: inspectedPlatform(inspect),
		daemon: &daemonImage{engine: e, id: inspect.ID},
	}
	if e.store == podmanStore {
		im.Platform.OSVersion = "" // podman puts Docker's version there
	}
	if err := checkPlatform(opt.Platform, im.Platform, s.Ref.Name); err != nil {
		return err
	}
	if im.DiffIDs, err = inspectedLayers(inspect); err != nil {
		return &Error{Op: "open", Object: s.Ref.Name, Err: err}
	}
	if e.store == containerdStore && e.speaks("1.48") {
		im.daemon.platform = apiPlatform(im.Platform)
	}
	//lint:ignore SA1019 only the classic builder's images have one, and for them it is the best evidence of the base
	if im.Parents, err = e.parents(ctx, inspect.Parent); err != nil {
		return err
	}
	im.layers = make([]*blob, len(im.DiffIDs))
	im.openInPlace()
	s.Images = []*Image{im}
	return nil
}

// inspect asks for an image, and for the platform of it that is wanted where
// the engine has images of several. The ID is that of the whole, which alone
// can be saved: asked for a platform, an engine tells that one's.
func (e *engine) inspect(ctx context.Context, name, platform string) (image.InspectResponse, error) {
	whole, err := e.ImageInspect(ctx, name)
	if err != nil || platform == "" || e.store != containerdStore || !e.speaks("1.49") {
		return whole, err
	}
	p, err := ParsePlatform(platform)
	if err != nil {
		return image.InspectResponse{}, err
	}
	one, err := e.ImageInspect(ctx, whole.ID, client.ImageInspectWithPlatform(apiPlatform(p)))
	if isNotFound(err) {
		return one, &Error{Op: "open", Object: name, Err: detail(ErrNoImage, "the engine has no image of it for %s", platform)}
	}
	one.ID, one.RepoTags = whole.ID, whole.RepoTags
	return one, err
}

// apiPlatform is p as the engine's API takes it.
func apiPlatform(p v1.Platform) *ocispec.Platform {
	return &ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion}
}

func inspectedPlatform(i image.InspectResponse) v1.Platform {
	return v1.Platform{OS: i.Os, Architecture: i.Architecture, Variant: i.Variant, OSVersion: i.OsVersion}
}

func inspectedLayers(i image.InspectResponse) ([]v1.Hash, error) {
	diffIDs := make([]v1.Hash, len(i.RootFS.Layers))
	for n, l := range i.RootFS.Layers {
		var err error
		if diffIDs[n], err = v1.NewHash(l); err != nil {
			return nil, fmt.Errorf("the engine's account of layer %d: %w", n+1, err)
		}
	}
	return diffIDs, nil
}

// parents follows the chain of images that the classic builder left, until it
// is broken or at its end.
func (e *engine) parents(ctx context.Context, id string) ([]Parent, error) {
	var chain []Parent
	seen := map[string]bool{}
	for id != "" && !seen[id] {
		seen[id] = true
		inspect, err := e.ImageInspect(ctx, id)
		if isNotFound(err) {
			break
		}
		if err != nil {
			return nil, engineError(e.Client, "open", id, err)
		}
		diffIDs, err := inspectedLayers(inspect)
		if err != nil {
			return nil, &Error{Op: "open", Object: id, Err: err}
		}
		chain = append(chain, Parent{ID: inspect.ID, Names: tagNames(inspect.RepoTags), DiffIDs: diffIDs})
		//lint:ignore SA1019 as in openDaemon
		id = inspect.Parent
	}
	return chain, nil
}

// configDigest is the digest of the image's config document as far as its ID
// tells it.
func (d *daemonImage) configDigest() string {
	if d.engine.store == containerdStore {
		return ""
	}
	if d.engine.store == podmanStore {
		return "sha256:" + strings.TrimPrefix(d.id, "sha256:")
	}
	return d.id
}

// saveAgain returns the stored bytes of a layer that wasn't kept: the engine
// saves the image once more, and then every such layer is spooled.
func (d *daemonImage) saveAgain(ctx context.Context, im *Image, i int) (io.ReadCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.again == nil {
		again := &Image{
			ID: im.ID, Platform: im.Platform, DiffIDs: im.DiffIDs, temp: im.temp,
			daemon: &daemonImage{engine: d.engine, id: d.id, platform: d.platform}, layers: make([]*blob, len(im.DiffIDs)),
		}
		missing := func(j int) bool { return im.layers[j].file == nil }
		err := again.daemon.read(ctx, again, missing, func(_ int, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		})
		if err != nil {
			return nil, err
		}
		d.again = again
	}
	f := d.again.layers[i].file
	if f == nil {
		return nil, errors.New("layer was kept, but isn't there")
	}
	return section(f)(ctx)
}
