// Package plan decides what a flattened image is: from the config, the history
// and the evidence where its base ends and what its config document says; from
// the merged layers besides, its Dockerfile and the report. It is pure: it
// reads no file and asks no engine, and what it returns never changes.
package plan

import (
	"encoding/json"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
)

// Settings are what the user decides about the result.
type Settings struct {
	Base     Base
	Created  *time.Time // dates what is added to the history; nil = the image's own time
	ByEngine bool       // the engine writes the new layer's tar, in a way of its own
	Gates    []Gate     // limits on the source
}

// Config is what an image's config, its history and the evidence tell of the
// result.
type Config struct {
	Source      *image.Image
	Base        history.Base
	Replay      history.Replay
	Annotations map[string]string // for the manifest, besides the source's; "" takes one of those away
	Mark        string            // the comment of the merged layer's history entry, see mark

	config       *history.Image
	instructions []history.Instruction
	others       []history.Base // see otherBases
	madeBy       []string       // the instruction that made a layer, by layer
	digest       string         // of the source's config document
	gates        []Gate
	baseHistory  []json.RawMessage // the base's part of the history
	history      []json.RawMessage // the result's
}

// NewConfig plans the result for an image whose config document is known.
func NewConfig(im *image.Image, settings Settings, evidence Evidence) (*Config, error) {
	c := &Config{Source: im, config: &history.Image{}, digest: Digest(im.Config), gates: settings.Gates}
	if err := json.Unmarshal(im.Config, c.config); err != nil {
		return nil, fmt.Errorf("read config document: %w", err)
	}
	c.instructions = history.Parse(c.config)
	c.madeBy = madeBy(c.instructions, len(im.DiffIDs))
	var err error
	if c.Base, err = FindBase(c.config, c.instructions, annotationsOf(im), settings.Base, evidence); err != nil {
		return nil, err
	}
	c.others = otherBases(c.config, c.instructions, c.Base, evidence)
	if c.Replay, err = history.Plan(c.config, c.instructions, c.Base); err != nil {
		return nil, fmt.Errorf("replay history: %w", err)
	}
	c.Annotations = annotations(c.Base, evidence)
	c.Mark = mark(len(im.DiffIDs), c.Base.Layers, c.digest, settings.ByEngine)
	var old struct{ History []json.RawMessage }
	if err := json.Unmarshal(im.Config, &old); err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	if c.baseHistory, err = c.historyOfBase(old.History); err != nil {
		return nil, err
	}
	created := settings.Created
	if created == nil {
		created = c.config.Created
	}
	if c.history, err = c.newHistory(old.History, created); err != nil {
		return nil, err
	}
	return c, nil
}

func annotationsOf(im *image.Image) map[string]string {
	if im.Manifest == nil {
		return nil
	}
	if at := im.Manifest.Descriptor.Annotations; im.Manifest.Annotations[ocispec.AnnotationBaseImageName] == "" && at[ocispec.AnnotationBaseImageName] != "" {
		return at // the index's entry says it
	}
	return im.Manifest.Annotations
}

// Unchanged tells whether there is nothing to flatten: the result is the
// source itself.
func (c *Config) Unchanged() bool { return len(c.Source.DiffIDs)-c.Base.Layers < 2 }

// Document is the result's config document: the source's own, with the layers
// of the given diff IDs and the new history.
func (c *Config) Document(diffIDs []v1.Hash) ([]byte, error) {
	if c.Unchanged() {
		return c.Source.Config, nil
	}
	return document(c.Source.Config, diffIDs, c.history)
}
