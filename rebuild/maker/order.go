// Package maker makes what a plan describes: the image, by itself or with the
// Docker Engine's classic builder, and the build context that people build by
// themselves.
package maker

import (
	"context"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/layer"
	"docker-flatten/rebuild/plan"
	"docker-flatten/rebuild/progress"
)

// Order is what a builder works from.
type Order struct {
	Plan    *plan.Plan
	Image   *image.Image   // the source's image, read: the layers that the merge needs can be read again
	Indexes []*layer.Index // of all its layers, lowest first
	Verify  Verify
	Display progress.Display
}

// start begins a stage on the display.
func (o Order) start(stage string, total int64) progress.Bar {
	return o.Display.Start(stage, o.Image.Ref.String(), total)
}

// result is the image in its new form, without the layer's bytes.
func (o Order) result() image.NewImage {
	p := o.Plan
	if p.Unchanged() {
		return image.NewImage{From: o.Image, Keep: len(o.Image.DiffIDs), Config: p.Document}
	}
	return image.NewImage{From: o.Image, Keep: p.Base.Layers, Size: p.Tree.Size(), Guess: p.Report.Merged.Estimate, Config: p.Document, Annotations: p.Annotations, Mark: p.Mark}
}

// base is the base alone, with the config document that the Dockerfile needs.
func (o Order) base(document func(diffIDs []v1.Hash) ([]byte, error)) image.NewImage {
	return image.NewImage{From: o.Image, Keep: o.Plan.Base.Layers, Config: document}
}

// sources are the image's layers for a second reading, as far as the merge
// needs them.
func (o Order) sources() []layer.Source {
	var sources []layer.Source
	for i := range o.Indexes {
		var s layer.Source
		if from := o.Image.Layer(i); from != nil && o.Plan.Tree.Needs(i) {
			s = from
		}
		sources = append(sources, s)
	}
	return sources
}

// Check reads the tar of a layer that lies above the base, and compares what it
// gives with the image: a *layer.DifferenceError says what differs. unpacked
// says that an engine made the tar of files that it had unpacked.
func (o Order) Check(ctx context.Context, r io.Reader, unpacked bool) error {
	if o.Verify == Off {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	verifier, err := layer.NewVerifier(ctx, o.Indexes, o.Plan.Base.Layers, layer.VerifyOptions{Content: o.Verify == Content, Unpacked: unpacked})
	if err != nil {
		return err
	}
	return verifier.Check(ctx, r)
}

// writeChecked writes the merged layer's tar to w while the verifier reads what
// is written and holds it against the original layers.
func (o Order) writeChecked(ctx context.Context, w io.Writer) error {
	bar := o.start(progress.Writing, o.Plan.Tree.Size())
	w = io.MultiWriter(w, progress.Counter{Bar: bar})
	err := o.writeBoth(ctx, w)
	bar.Done(err)
	return err
}

func (o Order) writeBoth(ctx context.Context, w io.Writer) error {
	if o.Verify == Off {
		return o.Plan.Tree.Write(ctx, w, o.sources())
	}
	pr, pw := io.Pipe()
	checked := make(chan error, 1)
	go func() {
		err := o.Check(ctx, pr, false)
		pr.CloseWithError(err)
		checked <- err
	}()
	err := o.Plan.Tree.Write(ctx, io.MultiWriter(w, pw), o.sources())
	pw.CloseWithError(err)
	if differs := <-checked; err == nil {
		err = differs
	}
	return err
}
