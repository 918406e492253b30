package rebuild

import (
	"context"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/maker"
)

// builder makes the images of orders; engine is nil where this program does it
// alone.
type builder struct{ engine *maker.Engine }

func (o *Options) newBuilder(opt image.Options) (builder, error) {
	if o.Builder != Engine {
		return builder{}, nil
	}
	cli, err := o.Client()
	if err != nil {
		return builder{}, err
	}
	return builder{maker.NewEngine(cli, opt)}, nil
}

// build returns the images to store. The layer of one that this program makes
// is written, and verified, while it is stored. staysInEngine says that the
// results go into the engine.
func (b builder) build(ctx context.Context, orders []maker.Order, staysInEngine bool) ([]image.NewImage, error) {
	if b.engine == nil {
		return natives(orders), nil
	}
	var made []image.NewImage
	for _, o := range orders {
		im, err := b.engine.Build(ctx, o, staysInEngine)
		if err != nil {
			return nil, err
		}
		made = append(made, im)
	}
	return made, nil
}

// natives are the images of orders as this program makes them.
func natives(orders []maker.Order) []image.NewImage {
	var made []image.NewImage
	for _, o := range orders {
		made = append(made, maker.Native(o))
	}
	return made
}

// Close removes what the engine needed on the way.
func (b builder) Close() {
	if b.engine != nil {
		b.engine.Close()
	}
}
