package image

import (
	"context"
	"errors"
	"io"
)

// toContainerd loads the image into an engine with containerd's image store: as
// an OCI layout, without the blobs that the engine has (it keeps what it
// unpacked them to, and misses nothing). This store keeps compressed layers as
// it gets them and pushes them so; therefore the new one is compressed.
func (w *storing) toContainerd(ctx context.Context, images []NewImage) (*Stored, error) {
	b, err := w.bundle(ctx, images, false)
	if err != nil {
		return nil, err
	}
	omitted := make([]bool, len(images))
	same := map[*Image]bool{}
	for i, n := range images {
		has, err := w.hasBase(ctx, n)
		if err != nil {
			return nil, err
		}
		// without descriptors of its own the base isn't what the engine has
		omitted[i] = has && n.From.Manifest != nil
		same[n.From] = omitted[i]
	}
	id := b.root.Digest.String()
	wasThere, err := w.has(ctx, id)
	if err != nil {
		return nil, err
	}
	unnamed := *w
	unnamed.names, unnamed.Dest = nil, &Dest{Ref: Ref{Transport: Daemon}, opt: w.opt, engine: w.engine}
	anyOmitted := false
	for _, o := range omitted {
		anyOmitted = anyOmitted || o
	}
	load := func(omit func(*resultLayer) bool) error {
		sent, err := w.load(ctx, func(ctx context.Context, out io.Writer) error { return unnamed.writeLayout(ctx, out, b, omit) })
		if err == nil {
			return w.confirm(ctx, id, b.images, wasThere)
		}
		if sent && !wasThere {
			w.undo(ctx, id)
		}
		return err
	}
	err = load(func(l *resultLayer) bool { return l.from != nil && same[l.from] })
	var refused *refusedError
	if anyOmitted && ctx.Err() == nil && (errors.As(err, &refused) || isNotFound(err)) {
		for i := range omitted {
			omitted[i] = false
		}
		err = load(nil)
	}
	if err != nil {
		return nil, err
	}
	for i := range b.images {
		b.images[i].BaseOmitted = omitted[i]
	}
	return &Stored{ID: id, Names: w.names, Images: b.images}, nil
}
