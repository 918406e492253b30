package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/rebuild/image"
)

// Open asks the engine about the image. Its config document comes only with
// Read, unless the image can be read in place: the API gives it away in docker
// save alone.
func Open(ctx context.Context, ref image.Ref, opt image.Options) (*image.Source, error) {
	e, err := newEngine(ctx, opt)
	if err != nil {
		var known *image.Error
		if hint := pathHint(ref.Name); hint != "" && errors.Is(err, image.ErrNoEngine) && errors.As(err, &known) {
			known.Hint = hint
		}
		return nil, err
	}
	return e.open(ctx, ref, opt)
}

func (e *engine) open(ctx context.Context, ref image.Ref, opt image.Options) (*image.Source, error) {
	inspect, several, err := e.inspect(ctx, ref.Name, opt.Platform)
	if isNotFound(err) {
		return nil, e.notFound(ctx, ref.Name)
	}
	if err != nil {
		return nil, explain(e.Client, "open", ref.Name, err)
	}
	if inspect.ID == "" {
		return nil, &image.Error{Op: "open", Object: ref.Name, Err: errNoID}
	}
	im := image.Image{Ref: ref, ID: inspect.ID, Names: ownNames(inspect.RepoTags), Platform: inspectedPlatform(inspect)}
	if e.store == podmanStore {
		im.Platform.OSVersion = "" // podman puts Docker's version there
	}
	if err := image.CheckPlatform(opt.Platform, im.Platform, ref.Name); err != nil {
		return nil, err
	}
	if im.DiffIDs, err = inspectedLayers(inspect); err != nil {
		return nil, &image.Error{Op: "open", Object: ref.Name, Err: err}
	}
	saved := &savedImage{engine: e, id: inspect.ID, ref: ref, opt: opt, spools: &image.Spools{Dir: opt.TempDir}}
	if several {
		saved.platform = apiPlatform(im.Platform)
	}
	src := &image.Source{Ref: ref, ID: im.ID}
	src.OnClose(saved.spools)
	opened := image.Make(ctx, im, make([]*image.Layer, len(im.DiffIDs)), saved)
	if config, layers := e.findInPlace(im.ID, im.DiffIDs); layers != nil {
		im.Config = config
		opened = image.Make(ctx, im, layers, inPlace{saved})
	} else if stored := e.findStored(ctx, im.ID, &im.Platform, im.DiffIDs); stored != nil {
		src.OnClose(stored)
		if opened, err = stored.image(ctx, im, inPlace{saved}); err != nil {
			return nil, &image.Error{Op: "open", Object: ref.Name, Err: err}
		}
	}
	src.Images = []*image.Image{opened}
	return src, nil
}

// ownNames are an image's names without those that a run gave it for a while.
func ownNames(repoTags []string) []string {
	return slices.DeleteFunc(image.TagNames(repoTags), func(name string) bool { return runIn(ownName, name) != "" })
}

// inspect asks for an image, and for the platform of it that is wanted where
// the engine has images of several. The ID is that of the whole, which alone
// can be saved: asked for a platform, an engine tells that one's. Several tells
// whether one of them must be asked for.
func (e *engine) inspect(ctx context.Context, name, platform string) (_ dockerimage.InspectResponse, several bool, err error) {
	if e.store != containerdStore || !e.speaks("1.48") {
		whole, err := e.ImageInspect(ctx, name)
		return whole, false, err
	}
	whole, err := e.ImageInspect(ctx, name, client.ImageInspectWithManifests(true))
	if err != nil {
		return whole, false, err
	}
	images := 0
	for _, m := range whole.Manifests {
		if m.Kind == dockerimage.ManifestKindImage {
			images++
		}
	}
	if platform == "" || !e.speaks("1.49") {
		return whole, images > 1, nil
	}
	p, err := image.ParsePlatform(platform)
	if err != nil {
		return whole, false, err
	}
	one, err := e.ImageInspect(ctx, whole.ID, client.ImageInspectWithPlatform(apiPlatform(p)))
	if isNotFound(err) {
		return one, false, &image.Error{Op: "open", Object: name, Err: image.Detail(image.ErrNoImage, "the engine has no image of it for %s", platform)}
	}
	one.ID, one.RepoTags = whole.ID, whole.RepoTags
	return one, images > 1, err
}

// apiPlatform is p as the engine's API takes it.
func apiPlatform(p v1.Platform) *ocispec.Platform {
	return &ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion}
}

func inspectedPlatform(i dockerimage.InspectResponse) v1.Platform {
	return v1.Platform{OS: i.Os, Architecture: i.Architecture, Variant: i.Variant, OSVersion: i.OsVersion}
}

func inspectedLayers(i dockerimage.InspectResponse) ([]v1.Hash, error) {
	diffIDs := make([]v1.Hash, len(i.RootFS.Layers))
	for n, l := range i.RootFS.Layers {
		var err error
		if diffIDs[n], err = v1.NewHash(l); err != nil {
			return nil, fmt.Errorf("the engine's account of layer %d: %w", n+1, err)
		}
	}
	return diffIDs, nil
}
