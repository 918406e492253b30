package plan

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
)

// LayerFile is the merged layer's name in a build context, and AddLayer how it
// stands in the Dockerfile and in the history.
const (
	LayerFile = "layer.tar.gz"
	AddLayer  = "ADD " + LayerFile + " /"
)

// newHistory is the history of the result: the base's entries as they were,
// the metadata that stood before the first merged layer, one entry for the
// merged layer, and the metadata that came after. Metadata whose own entry
// says the right thing keeps that entry, its time and its author. What is
// added has the time created.
func (c *Config) newHistory(old []json.RawMessage, created *time.Time) ([]json.RawMessage, error) {
	entries := slices.Clone(c.baseHistory)
	addSteps := func(steps []history.Step) error {
		for _, s := range steps {
			e, err := c.stepEntry(old, s, created)
			if err != nil {
				return err
			}
			entries = append(entries, e)
		}
		return nil
	}
	if err := addSteps(c.Replay.Before); err != nil {
		return nil, err
	}
	add, err := encode(ocispec.History{Created: created, CreatedBy: AddLayer, Comment: c.Mark})
	if err != nil {
		return nil, err
	}
	entries = append(entries, add)
	return entries, addSteps(c.Replay.After)
}

// mark is the comment on the merged layer's entry, for an image of so many
// layers and a base of so many of them. It names all that decides the result,
// so that a later run finds the result by it, and it is the same wherever the
// image came from. The engine writes a layer's tar in its own way: that is
// another result.
func mark(layers, base int, configDigest string, byEngine bool) string {
	m := fmt.Sprintf("%s%d layers above %d of %s", image.MarkPrefix, layers-base, base, configDigest)
	if byEngine {
		m += " by the engine"
	}
	return m
}

// historyOfBase is the base's part of the history. Where its count of layers is
// not that of the base it is put right, because engines refuse, or misread, a
// history that doesn't fit the layers.
func (c *Config) historyOfBase(old []json.RawMessage) ([]json.RawMessage, error) {
	entries := slices.Clone(old[:c.Base.Entries])
	full, assigned := 0, 0
	for i := range entries {
		if !c.config.History[i].EmptyLayer {
			full++
		}
		if l := c.instructions[i].Layer; l >= 0 && l < c.Base.Layers {
			assigned++
		}
	}
	if full == c.Base.Layers {
		return entries, nil
	}
	for i := range entries {
		l := c.instructions[i].Layer
		var err error
		if entries[i], err = setEmpty(entries[i], assigned != c.Base.Layers || l < 0); err != nil {
			return nil, err
		}
	}
	if assigned == c.Base.Layers {
		return entries, nil
	}
	for i := range c.Base.Layers {
		e, err := encode(ocispec.History{CreatedBy: fmt.Sprintf("layer %d of the base", i+1), Comment: image.MarkPrefix + "the history doesn't say what made it"})
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// stepEntry is the history entry of a metadata instruction.
func (c *Config) stepEntry(old []json.RawMessage, s history.Step, created *time.Time) (json.RawMessage, error) {
	if s.Entry >= 0 && s.Why == "" && sameStep(c.instructions[s.Entry].Set, s) {
		return setEmpty(old[s.Entry], true)
	}
	text, err := s.Dockerfile()
	if err != nil {
		return nil, err
	}
	if s.Entry >= 0 && c.config.History[s.Entry].Created != nil {
		created = c.config.History[s.Entry].Created
	}
	return encode(ocispec.History{Created: created, CreatedBy: text, Comment: "docker-flatten", EmptyLayer: true})
}

// sameStep tells whether an entry sets just what the step sets.
func sameStep(set *history.Step, s history.Step) bool {
	return set != nil && set.Name == s.Name &&
		reflect.DeepEqual(set.Pairs, s.Pairs) && reflect.DeepEqual(set.Args, s.Args) && reflect.DeepEqual(set.Health, s.Health)
}

// setEmpty returns a history entry with its empty_layer set, and the rest of
// it as it was.
func setEmpty(entry json.RawMessage, empty bool) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(entry, &fields); err != nil {
		return nil, fmt.Errorf("read history entry: %w", err)
	}
	if string(fields["empty_layer"]) == strconv.FormatBool(empty) || (!empty && fields["empty_layer"] == nil) {
		return entry, nil
	}
	delete(fields, "empty_layer")
	if empty {
		fields["empty_layer"] = json.RawMessage("true")
	}
	return encode(fields)
}
