package maker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/build"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/layer"
	"docker-flatten/rebuild/plan"
)

// Engine is a Docker Engine that builds. It keeps what a build leaves there
// until Close, since the results consist of it.
type Engine struct {
	client *client.Client
	owner  *engine.Owner // of what comes and goes, from the first build on
	builds int
	opt    image.Options // for the images that come and go during a build; Warn is set
	remove []string      // images and names that were not there before
	open   []*image.Source
}

// NewEngine returns the engine of a client as a builder. opt, whose Warn must be
// set, is for opening and loading images there.
func NewEngine(cli *client.Client, opt image.Options) *Engine {
	opt.Platform, opt.Compression = "", image.Compression{}
	return &Engine{client: cli, opt: opt}
}

// Build has the engine build the plan's Dockerfile with its classic builder,
// which makes deletions of the whiteouts in the layer that it ADDs. What it
// built is verified as it lies in the engine; its config document is then
// replaced by the exact one, since a builder writes times, and a history, of its
// own. stays says that the result stays in this engine: it is then what the
// engine built. Elsewhere the base stays as the image's source stores it, under
// the manifest that it has there.
func (e *Engine) Build(ctx context.Context, o Order, stays bool) (image.NewImage, error) {
	p := o.Plan
	if losses := p.Report.Losses; len(losses) > 0 {
		return image.NewImage{}, &image.Error{Op: "build with the engine", Object: o.Image.Ref.String(),
			Err: fmt.Errorf("ADD cannot keep %s", losses[0]), Hint: "--builder native keeps everything"}
	}
	if p.Unchanged() || p.Tree.Paths() == 0 {
		return Native(o), nil // nothing that ADD could unpack
	}
	listed, err := p.Tree.Listed(ctx)
	if err != nil {
		return image.NewImage{}, err
	}
	if e.owner == nil {
		engine.ClearAway(ctx, e.client, e.opt, false)
		e.owner = engine.NewOwner(e.opt.TempDir, e.client)
	}
	dockerfile := p.Dockerfile
	if p.NeedsBase() {
		name := p.From + "-" + e.owner.Run // another run with the same base has another one
		if err := e.loadBase(ctx, o, name); err != nil {
			return image.NewImage{}, err
		}
		dockerfile = bytes.Replace(dockerfile, []byte("\nFROM "+p.From+"\n"), []byte("\nFROM "+name+"\n"), 1)
	}
	built, err := e.buildContext(ctx, o, dockerfile, listed)
	var refused *build.RefusedError
	if errors.As(err, &refused) {
		// What the other instructions do, the config document says.
		before, _ := fromLine(dockerfile)
		if built, err = e.buildContext(ctx, o, append(before, plan.AddLayer+"\n"...), listed); err == nil {
			e.opt.Warn("of the Dockerfile the engine built FROM and ADD; the rest it can't: " + refused.Message)
		}
	}
	if err != nil {
		return image.NewImage{}, err
	}
	built, size, err := readBuilt(ctx, o, built, stays)
	if err != nil {
		return image.NewImage{}, err
	}
	made := o.result()
	if stays {
		made.From, made.Keep, made.Size = built, len(built.DiffIDs), 0
		return made, nil
	}
	made.Size = size
	made.Write = func(_ context.Context, w io.Writer) error {
		r, err := built.Layer(p.Base.Layers).Open()
		if err != nil {
			return err
		}
		_, err = io.Copy(w, r)
		return errors.Join(err, r.Close())
	}
	return made, nil
}

// readBuilt reads what the engine built, has its layer verified, and returns it
// with the length of that layer's tar.
func readBuilt(ctx context.Context, o Order, built *image.Image, stays bool) (*image.Image, int64, error) {
	top := o.Plan.Base.Layers
	size := int64(0)
	built, err := built.Read(ctx, func(i int) bool { return !stays && i == top }, func(i int, r io.Reader) error {
		if i < top {
			_, err := io.Copy(io.Discard, r)
			return err
		}
		size = 0 // another reading may have failed
		return o.Check(ctx, io.TeeReader(r, lengthOf{&size}), true)
	})
	return built, size, err
}

// lengthOf counts what is written to it.
type lengthOf struct{ n *int64 }

func (l lengthOf) Write(p []byte) (int, error) {
	*l.n += int64(len(p))
	return len(p), nil
}

// buildContext builds a Dockerfile with the layer beside it and opens the
// result. One of other layers than the base's and the new one is refused, too:
// WORKDIR makes a directory that isn't there.
func (e *Engine) buildContext(ctx context.Context, o Order, dockerfile []byte, listed *layer.Merged) (*image.Image, error) {
	// It marks what one build makes until its end, so that it can be found if the
	// build doesn't get there. The result has it not: its config document is the
	// exact one.
	e.builds++
	label := fmt.Sprintf("%s=%s.%d", engine.RunLabel, e.owner.Run, e.builds)
	id, err := build.Engine(ctx, e.client, build.EngineOptions{
		Dockerfile: labelled(dockerfile, label),
		Files: []build.ContextFile{{
			Name: plan.LayerFile, Size: listed.Size(),
			Write: func(ctx context.Context, w io.Writer) error { return listed.Write(ctx, w, o.sources()) },
		}},
		Platform: plan.BuildPlatform(o.Image.Platform),
		Stall:    e.opt.Timeout,
	})
	if err != nil {
		e.sweep(ctx, label)
		return nil, err
	}
	e.remove = append(e.remove, id)
	src, err := place.Open(ctx, image.Ref{Transport: image.Daemon, Name: id}, e.opt)
	if err != nil {
		return nil, err
	}
	e.open = append(e.open, src)
	base := o.Plan.Base.Layers
	if have := src.Images[0].DiffIDs; len(have) != base+1 || !slices.Equal(have[:base], o.Image.DiffIDs[:base]) {
		return nil, &build.RefusedError{Message: fmt.Sprintf("it makes %d layers, not the base's %d and one", len(have), base)}
	}
	return src.Images[0], nil
}

// loadBase loads the base for the time of the build, under a name of this
// run's own: another run with the same base removes only its own.
func (e *Engine) loadBase(ctx context.Context, o Order, name string) error {
	to, err := place.Prepare(ctx, image.Ref{Transport: image.Daemon, Name: name}, nil, e.opt)
	if err != nil {
		return err
	}
	e.remove = append(e.remove, name)
	base := o.base(func(diffIDs []v1.Hash) ([]byte, error) {
		document, err := o.Plan.BaseDocument(diffIDs)
		if err != nil {
			return nil, err
		}
		return withComment(document, name)
	})
	stored, err := to.Store(ctx, image.Wanted{Images: []image.NewImage{base}})
	if err != nil {
		return err
	}
	if err := stored.Name(ctx); err != nil {
		return errors.Join(err, stored.Discard())
	}
	return nil
}

// withComment returns a config document with a comment. Of one image that two
// runs load and remove, one run would miss it: the comment makes two of it.
func withComment(document []byte, comment string) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(document, &fields); err != nil {
		return nil, err
	}
	var err error
	if fields["comment"], err = json.Marshal(comment); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// labelled is the Dockerfile with a label set first of all.
func labelled(dockerfile []byte, label string) []byte {
	from, rest := fromLine(dockerfile)
	return slices.Concat(from, []byte("LABEL "+label+"\n"), rest)
}

// fromLine cuts the Dockerfile after its FROM.
func fromLine(dockerfile []byte) (from, rest []byte) {
	at := bytes.Index(dockerfile, []byte("\nFROM ")) + 1
	at += bytes.IndexByte(dockerfile[at:], '\n') + 1
	return slices.Clone(dockerfile[:at]), dockerfile[at:]
}

// sweepFor is how long sweep may take: a second interrupt doesn't wait.
const sweepFor = 30 * time.Second

// sweep removes what is left of a build that failed: the classic builder keeps
// an image an instruction. The build has ended.
func (e *Engine) sweep(ctx context.Context, label string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepFor)
	defer cancel()
	mark := filters.NewArgs(filters.Arg("label", label))
	for ctx.Err() == nil {
		list, err := e.client.ImageList(ctx, dockerimage.ListOptions{All: true, Filters: mark})
		if err != nil || len(list) == 0 {
			return
		}
		slices.SortFunc(list, func(a, b dockerimage.Summary) int { return cmp.Compare(b.Created, a.Created) }) // children first
		for _, im := range list {
			_, _ = e.client.ImageRemove(ctx, im.ID, dockerimage.RemoveOptions{PruneChildren: true}) // one with children goes with them, or next time
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// Close removes what the builds needed on the way, also after an interrupt. The
// results' layers stay, since the results have them by then.
func (e *Engine) Close() {
	for _, src := range e.open {
		if err := src.Close(); err != nil {
			e.opt.Warn(err.Error())
		}
	}
	for _, name := range slices.Backward(e.remove) {
		_, err := e.client.ImageRemove(context.Background(), name, dockerimage.RemoveOptions{PruneChildren: true}) // a build leaves an image an instruction
		if err != nil && !errdefs.IsNotFound(err) {
			e.opt.Warn("remove " + name + ": " + err.Error())
			if e.owner != nil {
				e.owner.Leave()
			}
		}
	}
	if e.owner != nil {
		engine.ClearAway(context.Background(), e.client, e.opt, true)
		e.owner.Release()
	}
}
