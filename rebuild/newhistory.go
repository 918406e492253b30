package rebuild

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/history"
)

// addInstruction is how the merged layer stands in the Dockerfile and in the
// history.
const addInstruction = "ADD layer.tar.gz /"

// newHistory is the history of the result: the base's entries as they were,
// the metadata that stood before the first merged layer, one entry for the
// merged layer, and the metadata that came after. Metadata whose own entry
// says the right thing keeps that entry, its time and its author.
func (j *job) newHistory() ([]json.RawMessage, error) {
	var old struct{ History []json.RawMessage }
	if err := json.Unmarshal(j.im.RawConfig, &old); err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	entries, err := j.baseHistory(old.History)
	if err != nil {
		return nil, err
	}
	created, err := j.createdForAdditions()
	if err != nil {
		return nil, err
	}
	addStep := func(s history.Step) error {
		e, err := j.stepEntry(old.History, s, created)
		entries = append(entries, e)
		return err
	}
	for _, s := range j.replay.Before {
		if err := addStep(s); err != nil {
			return nil, err
		}
	}
	add, err := encode(ocispec.History{Created: created, CreatedBy: addInstruction, Comment: j.mark()})
	if err != nil {
		return nil, err
	}
	entries = append(entries, add)
	for _, s := range j.replay.After {
		if err := addStep(s); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// mark is the comment on the merged layer's entry. It names all that decides
// the result, so that a later run finds the result by it, and it is the same
// wherever the image came from.
func (j *job) mark() string {
	return j.markOf(configDigest(j.im.RawConfig), j.base.Layers)
}

// markOf is the mark for a source of that config digest, and a base of so many
// layers. The engine writes a layer's tar in its own way: that is another result.
func (j *job) markOf(source string, base int) string {
	m := fmt.Sprintf("docker-flatten: %d layers above %d of %s", len(j.im.DiffIDs)-base, base, source)
	if j.builder() == "engine" {
		m += " by the engine"
	}
	return m
}

// baseHistory is the base's part of the history. Where its count of layers is
// not that of the base it is put right, because engines refuse, or misread, a
// history that doesn't fit the layers.
func (j *job) baseHistory(old []json.RawMessage) ([]json.RawMessage, error) {
	entries := append([]json.RawMessage(nil), old[:j.base.Entries]...)
	full, assigned := 0, 0
	for i := range entries {
		if !j.config.History[i].EmptyLayer {
			full++
		}
		if l := j.instructions[i].Layer; l >= 0 && l < j.base.Layers {
			assigned++
		}
	}
	if full == j.base.Layers {
		return entries, nil
	}
	for i := range entries {
		l := j.instructions[i].Layer
		var err error
		if entries[i], err = setEmpty(entries[i], assigned != j.base.Layers || l < 0); err != nil {
			return nil, err
		}
	}
	if assigned == j.base.Layers {
		return entries, nil
	}
	for i := 0; i < j.base.Layers; i++ {
		e, err := encode(ocispec.History{CreatedBy: fmt.Sprintf("layer %d of the base", i+1), Comment: "docker-flatten: the history doesn't say what made it"})
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// stepEntry is the history entry of a metadata instruction.
func (j *job) stepEntry(old []json.RawMessage, s history.Step, created *time.Time) (json.RawMessage, error) {
	if s.Entry >= 0 && s.Why == "" && sameStep(j.instructions[s.Entry].Set, s) {
		return setEmpty(old[s.Entry], true)
	}
	text, err := s.Dockerfile()
	if err != nil {
		return nil, err
	}
	if s.Entry >= 0 && j.config.History[s.Entry].Created != nil {
		created = j.config.History[s.Entry].Created
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

// createdForAdditions is the time of what this program adds to the history:
// SOURCE_DATE_EPOCH (reproducible-builds.org), or else the image's own time, so
// that the same image gives the same result whenever it is flattened.
func (j *job) createdForAdditions() (*time.Time, error) {
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read SOURCE_DATE_EPOCH %q: not a number of seconds", epoch)
		}
		t := time.Unix(seconds, 0).UTC()
		return &t, nil
	}
	return j.config.Created, nil
}
