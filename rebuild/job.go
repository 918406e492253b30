package rebuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/layer"
	"docker-flatten/rebuild/progress"
	"docker-flatten/templates"
)

// job is one platform's image on its way from source to result.
type job struct {
	*Options
	src *image.Source
	im  *image.Image

	candidates   []history.Candidate // images that could be the base
	locals       []image.Local       // the engine's images, if the image is the engine's
	itself       *image.Local        // what the engine tells of the image, if it is the engine's
	baseDigest   string              // of the manifest of the image that --base names, "" where it isn't known
	config       *history.Image
	instructions []history.Instruction
	indexes      []*layer.Index // one a layer, lowest first
	base         history.Base
	merged       *layer.Merged
	replay       history.Replay
	dockerfile   []byte
	engineMade   *engineBuilt // what the engine builder made, nil for the native one

	report *templates.ImageReport
}

// plan finds out what the image is made of and what will be made of it: after
// it, nothing is left to do but to write.
func (j *job) plan(ctx context.Context) error {
	if err := j.read(ctx); err != nil {
		return err
	}
	j.instructions = history.Parse(j.config)
	var err error
	if j.base, err = j.findBase(j.config, j.instructions); err != nil {
		return err
	}

	bar := j.start(progress.Merging, 0)
	j.merged, err = layer.Merge(ctx, j.indexes[:j.base.Layers], j.indexes[j.base.Layers:])
	bar.Done(err)
	if err != nil {
		return err // it says that it comes of merging, and where
	}

	if j.replay, err = history.Plan(j.config, j.instructions, j.base); err != nil {
		return fmt.Errorf("replay history: %w", err)
	}
	if j.Context != "" {
		j.settleBuilders()
	}
	j.setAsideInexpressible()
	if j.dockerfile, err = j.renderDockerfile(false); err != nil {
		return err
	}
	if err := j.proveConfig(j.dockerfile); err != nil {
		return err
	}
	return j.describe()
}

// read takes in the config and every layer's index, in one reading of the
// image. Layers above the base stay readable for the merge, and the base's too
// where the result must carry them.
func (j *job) read(ctx context.Context) error {
	keepFrom := 0
	if j.DryRun && j.Context == "" {
		keepFrom = len(j.im.DiffIDs) // nothing will be written
	} else if !j.carriesBase() {
		early, err := j.earlyBase()
		if err != nil {
			return err
		}
		keepFrom = early.Layers
	}
	j.indexes = make([]*layer.Index, len(j.im.DiffIDs))
	bar := j.start(progress.Reading, 0)
	budget := new(layer.Budget)
	err := j.im.Read(ctx, func(i int) bool { return i >= keepFrom }, func(i int, r io.Reader) error {
		ix, err := layer.Read(ctx, counted{r, bar}, layer.ReadOptions{Layer: i, Content: j.verify() == "content", Budget: budget})
		if err != nil {
			return err
		}
		j.indexes[i] = ix
		return nil
	})
	bar.Done(err)
	if err != nil {
		return err
	}
	j.config = &history.Image{}
	if err := json.Unmarshal(j.im.RawConfig, j.config); err != nil {
		return fmt.Errorf("read config document: %w", err)
	}
	return nil
}

// build returns the image to store. With the native builder its layer is
// written, and verified, while it is stored.
func (j *job) build(ctx context.Context) (image.NewImage, error) {
	if j.report.Unchanged {
		return j.unchangedImage(), nil
	}
	if j.builder() == "engine" {
		return j.buildInEngine(ctx)
	}
	return j.nativeImage(), nil
}

// unchangedImage is the source itself.
func (j *job) unchangedImage() image.NewImage {
	return image.NewImage{
		From: j.im, Keep: len(j.im.DiffIDs),
		Config: func([]v1.Hash) ([]byte, error) { return j.im.RawConfig, nil },
	}
}

// nativeImage is the base, the merged layer as it is written, and the exact
// config document.
func (j *job) nativeImage() image.NewImage {
	made := image.NewImage{
		From: j.im, Keep: j.base.Layers,
		Write:       j.writeLayer,
		Config:      j.document,
		Annotations: j.annotations(),
	}
	if j.merged != nil { // there is none to foresee
		made.Size = j.merged.Size()
	}
	return made
}

// document is the new image's config document: the source's own, with the
// new layers and the new history.
func (j *job) document(diffIDs []v1.Hash) ([]byte, error) {
	entries, err := j.newHistory()
	if err != nil {
		return nil, err
	}
	return document(j.im.RawConfig, diffIDs, entries)
}

// sources are the image's layers for a second reading, as far as the merge
// needs them.
func (j *job) sources() []layer.Source {
	sources := make([]layer.Source, len(j.indexes))
	for i := range sources {
		if !j.merged.Needs(i) {
			continue
		}
		if s := j.im.Layer(i); s != nil {
			sources[i] = s
		}
	}
	return sources
}

// writeLayer writes the merged layer's tar to w while the verifier reads what
// is written and holds it against the original layers.
func (j *job) writeLayer(ctx context.Context, w io.Writer) error {
	sources := j.sources()
	bar := j.start(progress.Writing, j.merged.Size())
	w = io.MultiWriter(w, counter{bar})
	if j.verify() == "off" {
		err := j.merged.Write(ctx, w, sources)
		bar.Done(err)
		return err
	}
	verifier, err := layer.NewVerifier(ctx, j.indexes, j.base.Layers, j.verifyOptions())
	if err != nil {
		bar.Done(err)
		return err
	}
	pr, pw := io.Pipe()
	verified := make(chan error, 1)
	go func() {
		err := verifier.Check(ctx, pr)
		pr.CloseWithError(err)
		verified <- err
	}()
	err = j.merged.Write(ctx, io.MultiWriter(w, pw), sources)
	pw.CloseWithError(err)
	if differs := <-verified; err == nil {
		err = differs
	}
	bar.Done(err)
	return err
}

func (j *job) verifyOptions() layer.VerifyOptions {
	return layer.VerifyOptions{Content: j.verify() == "content"}
}

// setAsideInexpressible takes out of the Dockerfile what no Dockerfile can
// write; the config document carries it all the same.
func (j *job) setAsideInexpressible() {
	keep := func(steps []history.Step) (out []history.Step) {
		for _, s := range steps {
			if _, err := templates.Instruction(s); errors.Is(err, templates.ErrInexpressible) {
				j.replay.Inexpressible = append(j.replay.Inexpressible, err.Error())
			} else {
				out = append(out, s)
			}
		}
		return out
	}
	j.replay.Before, j.replay.After = keep(j.replay.Before), keep(j.replay.After)
}
