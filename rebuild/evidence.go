package rebuild

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/distribution/reference"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
)

// gatherEvidence finds the images whose layers may turn out to be the base's:
// the one that the user names, or else what the engine that holds the image
// knows.
func (j *job) gatherEvidence(ctx context.Context) error {
	if j.im.Ref.Transport == image.Daemon {
		cli, err := j.Client()
		if err != nil {
			return err
		}
		if j.locals, err = image.Locals(ctx, cli); err != nil {
			return err
		}
		if j.itself, err = image.Inspect(ctx, cli, j.im.ID); err != nil {
			return err
		}
	}
	if j.Base == "scratch" {
		return nil
	}
	if _, err := strconv.Atoi(j.Base); err == nil {
		return nil
	}
	if j.Base != "auto" {
		c, err := j.userBase(ctx)
		j.candidates = []history.Candidate{c}
		return err
	}
	// An archive gives the same result wherever it is flattened, so what an
	// engine nearby happens to hold doesn't count for it.
	documents := map[string]*history.Image{}
	for _, l := range j.locals {
		if l.Names = slices.DeleteFunc(slices.Clone(l.Names), isPassing); len(l.Names) == 0 {
			continue
		}
		documents[l.ID] = l.Image
		if l.ID != j.im.ID {
			j.candidates = append(j.candidates, history.Candidate{Name: l.Names[0], Names: l.Names, Kind: "local", Image: l.Image})
		}
	}
	for _, p := range j.im.Parents {
		if len(p.Names) > 0 && documents[p.ID] != nil {
			j.candidates = append(j.candidates, history.Candidate{Name: p.Names[0], Names: p.Names, Kind: "parent", Image: documents[p.ID]})
		}
	}
	return nil
}

// findBase finds where the base ends by all the evidence there is.
func (j *job) findBase(config *history.Image, instructions []history.Instruction) (history.Base, error) {
	var annotations map[string]string
	if j.im.Manifest != nil {
		annotations = j.im.Manifest.Annotations
	}
	base, err := history.FindBase(config, instructions, j.Base, j.candidates, annotations)
	if ref, refErr := image.ParseRef(base.Name); base.Kind == "user" && base.Name == j.Base && refErr == nil && ref.Transport != image.Daemon {
		base.Name = ""
		if names := j.candidates[0].Names; len(names) > 0 {
			base.Name = names[0]
		}
	}
	return base, err
}

// earlyBase is the base as far as it is known before the layers are read. Of an
// engine's image the config document isn't known then, only what the engine
// tells of it; should the document say otherwise, layers are read once more
// than they need be, and nothing else.
func (j *job) earlyBase() (history.Base, error) {
	config := &history.Image{}
	if j.im.RawConfig == nil {
		config = j.itself.Image
	} else if err := json.Unmarshal(j.im.RawConfig, config); err != nil {
		return history.Base{}, fmt.Errorf("read config document: %w", err)
	}
	return j.findBase(config, history.Parse(config))
}

// userBase reads the image that --base names, in any of the forms of IMAGE.
func (j *job) userBase(ctx context.Context) (history.Candidate, error) {
	ref, err := image.ParseRef(j.Base)
	if err != nil {
		return history.Candidate{}, fmt.Errorf("--base: %w", err)
	}
	if ref.Transport == image.Daemon {
		cli, err := j.Client()
		if err != nil {
			return history.Candidate{}, err
		}
		local, err := image.Inspect(ctx, cli, ref.Name)
		if err != nil {
			return history.Candidate{}, fmt.Errorf("--base: %w", err)
		}
		if named, err := reference.ParseNormalizedNamed(j.Base); err == nil {
			j.baseDigest = registryDigest(named, *local)
		}
		return history.Candidate{Name: j.Base, Names: local.Names, Kind: "user", Image: local.Image}, nil
	}
	options := j.imageOptions(nil)
	options.Platform = j.im.Platform.String()
	src, err := image.Open(ctx, ref, options)
	if err != nil {
		return history.Candidate{}, fmt.Errorf("--base: %w", err)
	}
	defer src.Close()
	config := &history.Image{}
	if err := json.Unmarshal(src.Images[0].RawConfig, config); err != nil {
		return history.Candidate{}, fmt.Errorf("--base: read config document: %w", err)
	}
	if src.Ref.Transport != image.Archive { // an archive's manifest, if there is one, is its own
		j.baseDigest = src.Images[0].Descriptor.Digest.String()
	}
	// What FROM names is the image's own name; a file's path is none.
	names := src.Images[0].Names
	if ref.Transport == image.Registry {
		names = []string{ref.Name}
	}
	return history.Candidate{Name: j.Base, Names: names, Kind: "user", Image: config}, nil
}
