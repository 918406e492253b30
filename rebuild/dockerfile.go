package rebuild

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"docker-flatten/history"
	"docker-flatten/rebuild/build"
	"docker-flatten/templates"
)

// ConfigError says that a generated Dockerfile gives another config than the
// image has.
type ConfigError struct{ Diff []string }

func (e *ConfigError) Error() string {
	return "the generated Dockerfile gives another config: " + strings.Join(e.Diff, "; ")
}

// renderDockerfile writes the Dockerfile. The portable one goes with a layer
// without whiteouts: it deletes with RUN what the merged layers delete from the
// base, because a builder may not know whiteouts in an archive that it ADDs.
func (j *job) renderDockerfile(portable bool) ([]byte, error) {
	d := templates.Dockerfile{
		Image: j.im.Ref.String(),
		ID:    configDigest(j.im.RawConfig),
		Base: templates.Base{
			Name: j.base.Name, Layers: j.base.Layers, Evidence: j.base.Evidence,
		},
		Notes:         j.notes(portable),
		Losses:        j.losses(),
		Disagreements: j.replay.Disagreements,
		From:          j.baseRef(),
		Before:        j.replay.Before,
		Add:           "layer.tar.gz",
		After:         j.replay.After,
	}
	if j.merged.Paths() == 0 {
		d.Add = "" // the classic builder would add an empty archive as a file
	}
	if j.replay.Base != nil {
		for _, v := range j.replay.Base.Config.Env {
			name, _, _ := strings.Cut(v, "=")
			d.BaseEnv = append(d.BaseEnv, name)
		}
	}
	usage := j.merged.Usage()
	for i := j.base.Layers; i < len(usage); i++ {
		d.Merged = append(d.Merged, templates.Layer{Instruction: j.madeBy(i), Size: usage[i].Bytes})
	}
	for _, deletion := range j.merged.Deletions() {
		d.Deleted = append(d.Deleted, "/"+deletion.Path)
	}
	if portable {
		d.Platform = enginePlatform(j.im)
		d.Removals = j.merged.Removals()
		d.Before, d.After = asRoot(d, j.effectiveUser())
		if j.needsBaseArchive() {
			d.Base.Archive = "base.tar"
		}
	}
	text, err := d.Render()
	if err != nil {
		return nil, fmt.Errorf("generate dockerfile: %w", err)
	}
	return text, nil
}

// effectiveUser is the user in force where the layer is added.
func (j *job) effectiveUser() string {
	user := ""
	if j.replay.Base != nil {
		user = j.replay.Base.Config.User
	}
	for _, s := range j.replay.Before {
		if s.Name == "USER" {
			user = s.Args[0]
		}
	}
	return user
}

// asRoot returns the metadata around the layer such that the deletions in the
// base run as root: another user may not be allowed to make them.
func asRoot(d templates.Dockerfile, user string) (before, after []history.Step) {
	if len(d.Removals) == 0 || user == "" {
		return d.Before, d.After
	}
	set := func(user, why string) history.Step {
		return history.Step{Entry: -1, Name: "USER", Args: []string{user}, Why: why}
	}
	before = append(slices.Clone(d.Before), set("0", "to delete from the base"))
	return before, append([]history.Step{set(user, "as it was")}, d.After...)
}

// notes are the lines for the Dockerfile's reader that no instruction says.
func (j *job) notes(portable bool) []string {
	var notes []string
	if j.needsBaseArchive() && !portable {
		notes = append(notes, "FROM names the base by its content; --context DIR writes it beside this file.")
	}
	if len(j.replay.Cleared) > 0 {
		notes = append(notes, "No Dockerfile can undo what the base sets, so it is built on the base without: "+strings.Join(j.replay.Cleared, ", "))
	}
	for _, s := range j.replay.Inexpressible {
		notes = append(notes, "Not expressible in a Dockerfile, kept in the image: "+s)
	}
	for _, s := range slices.Concat(j.replay.Before, j.replay.After) {
		if s.Name == "WORKDIR" && j.merged.Lacks(path.Join("/", s.Args[0])[1:]) {
			notes = append(notes, fmt.Sprintf("A builder makes the directory of WORKDIR %s, which the image doesn't have.", s.Args[0]))
		}
	}
	if portable && len(j.merged.Removals()) > 0 {
		var mounts []string // that BuildKit's RUN leaves the directories of
		for _, dir := range []string{"dev", "proc", "sys"} {
			if j.merged.Lacks(dir) {
				mounts = append(mounts, "/"+dir)
			}
		}
		if len(mounts) > 0 {
			notes = append(notes, fmt.Sprintf("BuildKit's RUN makes %s, which the image doesn't have.", strings.Join(mounts, ", ")))
		}
	}
	return notes
}

// losses are what an ADD of the layer cannot keep, a line a kind of loss.
func (j *job) losses() []string {
	byWhat := map[string][]string{}
	var order []string
	for _, l := range j.merged.Losses() {
		if byWhat[l.What] == nil {
			order = append(order, l.What)
		}
		byWhat[l.What] = append(byWhat[l.What], l.Path)
	}
	var out []string
	for _, what := range order {
		paths := byWhat[what]
		line := fmt.Sprintf("%s of %s", what, paths[0])
		if len(paths) > 1 {
			line += fmt.Sprintf(" and %d more", len(paths)-1)
		}
		out = append(out, line)
	}
	return out
}

// baseRef is what FROM names. A base without a name, or one that the
// Dockerfile needs without some of its fields, gets a name that its content
// decides.
func (j *job) baseRef() string {
	switch {
	case j.base.Layers == 0:
		return "scratch"
	case j.base.Name != "" && len(j.replay.Cleared) == 0:
		return j.base.Name
	}
	return "docker-flatten/base:" + shortHash(j.im.DiffIDs[:j.base.Layers], j.replay.Base)
}

// needsBaseArchive tells whether a written context must carry the base, since
// baseRef is a name that nobody else knows.
func (j *job) needsBaseArchive() bool {
	return strings.HasPrefix(j.baseRef(), "docker-flatten/base:")
}

// madeBy is the instruction that made layer i, as far as the history says.
func (j *job) madeBy(i int) string {
	for _, ins := range j.instructions {
		if ins.Layer == i {
			return ins.Text
		}
	}
	return fmt.Sprintf("layer %d, which the history doesn't explain", i+1)
}

// proveConfig interprets a generated Dockerfile the way a builder does, and
// requires the image's own config to come out.
func (j *job) proveConfig(dockerfile []byte) error {
	made, err := build.Interpret(dockerfile, j.replay.Base)
	if err != nil {
		return fmt.Errorf("read back the generated Dockerfile: %w", err)
	}
	diff := history.Diff(j.replay.Result(), made)
	if len(diff) > 0 {
		return &ConfigError{diff}
	}
	return nil
}
