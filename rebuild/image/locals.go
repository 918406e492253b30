package image

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Local is a named image of an engine.
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

// localsAtOnce is how many requests Locals has on their way.
const localsAtOnce = 8

// Locals lists the engine's named images, in the order of their first names.
func Locals(ctx context.Context, cli *client.Client) ([]Local, error) {
	list, err := cli.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return nil, engineError(cli, "list the images of", cli.DaemonHost(), err)
	}
	found := make([]*Local, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(localsAtOnce)
	for i, s := range list {
		names := tagNames(s.RepoTags)
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
		return nil, engineError(cli, "open", names[0], err)
	}
	history, err := cli.ImageHistory(ctx, id)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, engineError(cli, "read the history of", names[0], err)
	}
	im, err := localImage(inspect, history)
	if err != nil {
		return nil, &Error{Op: "open", Object: names[0], Err: err}
	}
	slices.Sort(names)
	return &Local{ID: inspect.ID, Names: names, Digests: inspect.RepoDigests, Image: im}, nil
}

func localImage(inspect image.InspectResponse, history []image.HistoryResponseItem) (*dockerspec.DockerOCIImage, error) {
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
