package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"docker-flatten/history"
	"docker-flatten/rebuild/build"
	"docker-flatten/rebuild/layer"
	"docker-flatten/templates"
)

// ConfigError says that a generated Dockerfile gives another config than the
// image has.
type ConfigError struct{ Diff []string }

func (e *ConfigError) Error() string {
	return "the generated Dockerfile gives another config: " + strings.Join(e.Diff, "; ")
}

// prove interprets a generated Dockerfile the way a builder does, and requires
// the config to come out that the replay leads to.
func prove(dockerfile []byte, replay history.Replay) error {
	made, err := build.Interpret(dockerfile, replay.Base)
	if err != nil {
		return fmt.Errorf("read back the generated Dockerfile: %w", err)
	}
	if diff := history.Diff(replay.Result(), made); len(diff) > 0 {
		return &ConfigError{diff}
	}
	return nil
}

// dockerfile is what the Dockerfile of a replay says, be it the image's own or
// a written context's.
func (c *Config) dockerfile(tree *layer.Merged, replay history.Replay, from string) templates.Dockerfile {
	d := templates.Dockerfile{
		Image:         c.Source.Ref.String(),
		Platform:      BuildPlatform(c.Source.Platform),
		ID:            c.digest,
		Base:          c.describeBase(tree, replay.Base),
		Notes:         notes(tree, replay),
		Losses:        losses(tree),
		Disagreements: replay.Disagreements,
		From:          from,
		Before:        replay.Before,
		Add:           LayerFile,
		After:         replay.After,
	}
	if tree.Paths() == 0 {
		d.Add = "" // the classic builder would add an empty archive as a file
	}
	for _, v := range replay.Base.Config.Env {
		name, _, _ := strings.Cut(v, "=")
		d.BaseEnv = append(d.BaseEnv, name)
	}
	d.Merged = c.rows(tree, replay)
	for _, deletion := range tree.Deletions() {
		switch path := "/" + deletion.Path; deletion.How {
		case layer.Deleted:
			d.Deleted = append(d.Deleted, path)
		case layer.Emptied:
			d.Replaced = append(d.Replaced, path+"/ by a new directory")
		case layer.Replaced:
			if deletion.Dir {
				path += "/ by what is no directory"
			} else {
				path += " by a directory"
			}
			d.Replaced = append(d.Replaced, path)
		}
	}
	return d
}

// notes are the lines for the Dockerfile's reader that no instruction says.
func notes(tree *layer.Merged, replay history.Replay) []string {
	var notes []string
	if len(replay.Cleared) > 0 {
		notes = append(notes, "No Dockerfile can undo what the base sets, so it is built on the base without: "+strings.Join(replay.Cleared, ", "))
	}
	for _, s := range replay.Inexpressible {
		notes = append(notes, "Not expressible in a Dockerfile, kept in the image: "+s)
	}
	for _, s := range slices.Concat(replay.Before, replay.After) {
		if s.Name == "WORKDIR" && tree.Lacks(path.Join("/", s.Args[0])[1:]) {
			notes = append(notes, fmt.Sprintf("A builder makes the directory of WORKDIR %s, which the image doesn't have.", s.Args[0]))
		}
	}
	return notes
}

// losses are what an ADD of the merged layer can't keep, a line a kind of loss.
func losses(tree *layer.Merged) []string {
	byWhat := map[string][]string{}
	var order []string
	for _, l := range tree.Losses() {
		if byWhat[l.What] == nil {
			order = append(order, l.What)
		}
		byWhat[l.What] = append(byWhat[l.What], l.Path)
	}
	var out []string
	for _, what := range order {
		paths := byWhat[what]
		line := fmt.Sprintf("%s of %s", strings.TrimSuffix(what, " of the root"), paths[0])
		if len(paths) > 1 {
			line += fmt.Sprintf(" and %d more", len(paths)-1)
		}
		out = append(out, line)
	}
	return out
}

// from is what FROM names. A base without a name, or one that the Dockerfile
// needs without some of its fields, gets a name that its layers and its config
// decide.
func (c *Config) from(replay history.Replay) (string, error) {
	switch {
	case c.Base.Layers == 0:
		return "scratch", nil
	case !c.needsBase(replay):
		return c.Base.Name, nil
	}
	content, err := encode([]any{c.Source.DiffIDs[:c.Base.Layers], replay.Base})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return baseNames + ":" + hex.EncodeToString(sum[:6]), nil
}

// needsBase tells whether FROM names a base that nobody else has.
func (c *Config) needsBase(replay history.Replay) bool {
	return c.Base.Layers > 0 && (c.Base.Name == "" || len(replay.Cleared) > 0)
}

// madeBy says for each layer which instruction made it, as far as the history
// knows.
func madeBy(instructions []history.Instruction, layers int) []string {
	made := make([]string, layers)
	for i := range made {
		made[i] = fmt.Sprintf("layer %d, which the history doesn't explain", i+1)
	}
	for _, ins := range slices.Backward(instructions) { // of several the first counts
		if ins.Layer >= 0 && ins.Layer < layers {
			made[ins.Layer] = ins.Text
		}
	}
	return made
}
