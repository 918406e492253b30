package rebuild

import (
	"context"
	"fmt"
	"io"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/layer"
	"docker-flatten/rebuild/maker"
	"docker-flatten/rebuild/plan"
	"docker-flatten/rebuild/progress"
)

// order reads one platform's image, each layer once, and plans its result: after
// it nothing is left to do but to write.
func (o *Options) order(ctx context.Context, src *image.Source, im *image.Image, to image.Place, opt image.Options) (maker.Order, error) {
	evidence, told, err := o.gather(ctx, src, im, opt)
	if err != nil {
		return maker.Order{}, err
	}
	settings := plan.Settings{Base: o.Base, Created: o.SourceDate, ByEngine: o.Builder == Engine, Gates: o.Gates}

	// Where the base ends decides which layers are kept for a second reading. An
	// engine that saves an image sends the config document last; what it tells
	// before serves for that. Should the document say otherwise, layers are read
	// once more than they need be, and nothing else.
	var config *plan.Config
	var base history.Base
	if im.Config != nil {
		if config, err = thought(ctx, func() (*plan.Config, error) { return plan.NewConfig(im, settings, evidence) }); err != nil {
			return maker.Order{}, err
		}
		base = config.Base
	} else if base, err = thought(ctx, func() (history.Base, error) {
		return plan.FindBase(told, history.Parse(told), nil, settings.Base, evidence)
	}); err != nil {
		return maker.Order{}, err
	}
	keepFrom, err := o.keepFrom(ctx, im, base, to)
	if err != nil {
		return maker.Order{}, err
	}
	if err := o.checkRoom(im.Room(keepFrom), opt); err != nil {
		return maker.Order{}, err
	}
	im, indexes, shares, err := o.read(ctx, im, keepFrom, opt.Display)
	if err != nil {
		return maker.Order{}, err
	}
	if config == nil {
		if config, err = thought(ctx, func() (*plan.Config, error) { return plan.NewConfig(im, settings, evidence) }); err != nil {
			return maker.Order{}, err
		}
	}

	bar := opt.Display.Start(progress.Merging, im.Ref.String(), 0)
	tree, err := layer.Merge(ctx, indexes[:config.Base.Layers], indexes[config.Base.Layers:])
	bar.Done(err)
	if err != nil {
		return maker.Order{}, err // it says that it comes of merging, and where
	}
	if dir, n := tree.Doubtful(); n > 0 {
		what := layer.Display(dir)
		if n > 1 {
			what += fmt.Sprintf(" and %d more", n-1)
		}
		opt.Warnf("engines disagree about %s: one layer sets mode, owner or xattrs, and a higher one has it without listing it; as with a graph driver, the result has 0755 and 0:0, where containerd shows what is set", what)
	}
	p, err := thought(ctx, func() (*plan.Plan, error) { return config.With(tree, shares) })
	if err != nil {
		return maker.Order{}, err
	}
	return maker.Order{Plan: p, Image: im, Indexes: indexes, Verify: o.Verify, Display: opt.Display}, nil
}

// thought returns what a pure function makes of an image's texts. Of large ones
// that takes seconds, in parsers that know no context: when ctx ends it is left
// to itself, since nothing comes of it but its result.
func thought[T any](ctx context.Context, pure func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := pure()
		done <- outcome{value, err}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// keepFrom is the lowest layer that is read a second time: the first above the
// base, or the lowest of all where the result carries the base's bytes.
func (o *Options) keepFrom(ctx context.Context, im *image.Image, base history.Base, to image.Place) (int, error) {
	if to == nil && o.Context == "" {
		return len(im.DiffIDs), nil // nothing is written
	}
	if o.Context != "" && base.Name == "" {
		return 0, nil // the base comes along
	}
	if to != nil {
		reads, err := to.ReadsBase(ctx, im, base.Layers)
		if err != nil {
			return 0, fmt.Errorf("look for the base: %w", err)
		}
		if reads {
			return 0, nil
		}
	}
	return base.Layers, nil
}

// read reads every layer once and returns the image, with all that the reading
// told of it, the layers' indexes, and about what compression would leave of each.
func (o *Options) read(ctx context.Context, im *image.Image, keepFrom int, display progress.Display) (*image.Image, []*layer.Index, []float64, error) {
	indexes, shares := make([]*layer.Index, len(im.DiffIDs)), make([]float64, len(im.DiffIDs))
	budget := new(layer.Budget)
	bar := display.Start(progress.Reading, im.Ref.String(), 0)
	look := func(i int, r io.Reader) (settle func(i int), err error) {
		var sample layer.Sample
		ix, err := layer.Read(ctx, io.TeeReader(r, io.MultiWriter(progress.Counter{Bar: bar}, &sample)), layer.ReadOptions{Layer: i, Content: o.Verify == maker.Content, Budget: budget})
		if err != nil {
			return nil, err
		}
		share := sample.Share() // now: until then a sample holds a compressor, and many may wait to be settled
		return func(i int) { indexes[i], shares[i] = ix, share }, nil
	}
	// An error ahead is told again by the visit, which knows the layer.
	im = im.ReadingAhead(func(r io.Reader) (func(i int), error) { return look(0, r) })
	read, err := im.Read(ctx, func(i int) bool { return i >= keepFrom }, func(i int, r io.Reader) error {
		settle, err := look(i, r)
		if err == nil {
			settle(i)
		}
		return err
	})
	bar.Done(err)
	return read, indexes, shares, err
}
