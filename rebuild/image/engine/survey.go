package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"docker-flatten/rebuild/image"
)

// Survey is what an engine tells of an image and of those around it.
type Survey struct {
	Self    *Local   // nil where no image was asked for
	Parents []Parent // what the classic builder built it on, nearest first, as far as the engine still knows
	Locals  []Local  // the named images, in the order of their first names
}

// Parent is an image that another was built on by the classic builder.
type Parent struct {
	ID      string
	Names   []string
	DiffIDs []v1.Hash
}

// Local is an image of an engine.
type Local struct {
	ID      string
	Names   []string
	Digests []string // repository@digest: what registries, as far as the engine knows, call it
	// Image is its config document as far as the engine tells it without saving
	// the image: fields that Docker doesn't know are missing, and EmptyLayer is
	// set where an entry added no bytes, which may be wrong for layers without
	// contents.
	Image *dockerspec.DockerOCIImage
}

// Look asks the engine for its named images and, unless id is "", for the image
// of that ID or name.
func Look(ctx context.Context, cli *client.Client, id string) (*Survey, error) {
	s := &Survey{}
	var err error
	if s.Locals, err = locals(ctx, cli); err != nil || id == "" {
		return s, err
	}
	if s.Self, err = Inspect(ctx, cli, id); err != nil {
		return nil, err
	}
	s.Parents, err = parents(ctx, cli, s.Self.ID)
	return s, err
}

// localsAtOnce is how many requests locals has on their way.
const localsAtOnce = 8

// locals lists the engine's named images.
func locals(ctx context.Context, cli *client.Client) ([]Local, error) {
	list, err := cli.ImageList(ctx, dockerimage.ListOptions{})
	if err != nil {
		return nil, explain(cli, "list the images of", cli.DaemonHost(), err)
	}
	found := make([]*Local, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(localsAtOnce)
	for i, s := range list {
		names := image.TagNames(s.RepoTags)
		if len(names) == 0 {
			continue
		}
		g.Go(func() error {
			l, err := readLocal(ctx, cli, s.ID, names)
			if err != nil && (ctx.Err() != nil || client.IsErrConnectionFailed(err)) {
				return err
			}
			// An image that is damaged, or just being removed, is no evidence,
			// and no reason to give up another one.
			found[i] = l
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var locals []Local
	for _, l := range found {
		if l != nil {
			locals = append(locals, *l)
		}
	}
	slices.SortFunc(locals, func(a, b Local) int { return slices.Compare(a.Names, b.Names) })
	return locals, nil
}

// readLocal returns one image, nil if it is gone, or can't be read because an
// engine lists an index none of whose images it has.
func readLocal(ctx context.Context, cli *client.Client, id string, names []string) (*Local, error) {
	inspect, err := cli.ImageInspect(ctx, id)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, explain(cli, "open", names[0], err)
	}
	history, err := cli.ImageHistory(ctx, id)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, explain(cli, "read the history of", names[0], err)
	}
	im, err := localImage(inspect, history)
	if err != nil {
		return nil, &image.Error{Op: "open", Object: names[0], Err: err}
	}
	slices.Sort(names)
	return &Local{ID: inspect.ID, Names: names, Digests: inspect.RepoDigests, Image: im}, nil
}

func localImage(inspect dockerimage.InspectResponse, history []dockerimage.HistoryResponseItem) (*dockerspec.DockerOCIImage, error) {
	im := &dockerspec.DockerOCIImage{}
	im.Author, im.Architecture, im.OS, im.Variant, im.OSVersion = inspect.Author, inspect.Architecture, inspect.Os, inspect.Variant, inspect.OsVersion
	if t, err := time.Parse(time.RFC3339Nano, inspect.Created); err == nil {
		im.Created = &t
	}
	if inspect.Config != nil {
		// a copy that shares nothing with the API's types
		b, err := json.Marshal(inspect.Config)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &im.Config); err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
	}
	im.RootFS.Type = inspect.RootFS.Type
	for _, l := range inspect.RootFS.Layers {
		im.RootFS.DiffIDs = append(im.RootFS.DiffIDs, digest.Digest(l))
	}
	for _, h := range slices.Backward(history) { // the API lists the newest first
		created := time.Unix(h.Created, 0).UTC()
		im.History = append(im.History, ocispec.History{Created: &created, CreatedBy: h.CreatedBy, Comment: h.Comment, EmptyLayer: h.Size == 0})
	}
	return im, nil
}

// parents follows the chain of images that the classic builder left below one,
// until it is broken or at its end. An engine names them in the history of the
// image: the n-th entry is what the n-th parent had as its newest one.
func parents(ctx context.Context, cli *client.Client, id string) ([]Parent, error) {
	history, err := cli.ImageHistory(ctx, id)
	if err != nil {
		return nil, explain(cli, "read the history of", id, err)
	}
	var chain []Parent
	for _, h := range history[min(1, len(history)):] {
		if h.ID == "" || h.ID == noParent {
			break
		}
		inspect, err := cli.ImageInspect(ctx, h.ID)
		if isNotFound(err) {
			break
		}
		if err != nil {
			return nil, explain(cli, "open", h.ID, err)
		}
		diffIDs, err := inspectedLayers(inspect)
		if err != nil {
			return nil, &image.Error{Op: "open", Object: h.ID, Err: err}
		}
		chain = append(chain, Parent{ID: inspect.ID, Names: image.TagNames(inspect.RepoTags), DiffIDs: diffIDs})
	}
	return chain, nil
}

// errNoID says that an engine has told of an image, but not of which.
var errNoID = errors.New("the engine tells no ID of it")

// noParent is what engines call the image of a history entry that they don't
// have as an image.
const noParent = "<missing>"

// Inspect returns the engine's image that name, a name or an ID, finds, named
// or not.
func Inspect(ctx context.Context, cli *client.Client, name string) (*Local, error) {
	found, err := cli.ImageInspect(ctx, name)
	if isNotFound(err) {
		err = &image.Error{Op: "open", Object: name, Err: image.ErrNoImage}
	}
	if err != nil {
		return nil, explain(cli, "open", name, err)
	}
	if found.ID == "" {
		return nil, &image.Error{Op: "open", Object: name, Err: errNoID}
	}
	l, err := readLocal(ctx, cli, found.ID, append([]string{name}, found.RepoTags...))
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, &image.Error{Op: "open", Object: name, Err: image.ErrNoImage}
	}
	return l, nil
}
