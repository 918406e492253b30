package plan

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/layer"
)

// BaseFile is the name of the file in a build context that carries a base
// which has no name of its own.
const BaseFile = "base.tar"

// Context is a build context that every builder makes the same image of. Its
// layer is the tree's portable one: the Dockerfile deletes by itself.
type Context struct {
	Dockerfile []byte
	From       string // what FROM names
	NeedsBase  bool   // nobody else has the base that FROM names: it comes along as BaseFile

	config *Config
	base   *history.Image
}

// BaseDocument is the config document of the base that comes along, of the
// layers of the given diff IDs.
func (x *Context) BaseDocument(diffIDs []v1.Hash) ([]byte, error) {
	return x.config.baseDocument(x.base, diffIDs)
}

// Context plans the build context. Builders differ in what they make of
// whiteouts in an archive that they ADD, so deletions are RUN instructions: it
// is an error if the base has no rm.
func (p *Plan) Context() (*Context, error) {
	removals := p.Tree.Removals()
	replay := settle(p.Replay, removals)
	if len(removals) > 0 && !hasRm(p.Tree, replay.Base) {
		return nil, &image.Error{Op: "write context", Object: p.Source.Ref.String(),
			Err:  fmt.Errorf("the image deletes %s of its base, which has no rm that a Dockerfile could run", history.Count(len(removals), "path")),
			Hint: "use --base scratch, which has nothing to delete"}
	}
	from, err := p.from(replay)
	if err != nil {
		return nil, err
	}
	d := p.dockerfile(p.Tree, replay, from)
	d.Build = true
	d.Removals = removals
	d.Before, d.After = asRoot(replay, removals)
	if mounts := mountsLeft(p.Tree); len(removals) > 0 && len(mounts) > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("BuildKit's RUN makes %s, which the image doesn't have.", strings.Join(mounts, ", ")))
	}
	needsBase := p.needsBase(replay)
	if needsBase {
		d.Base.Archive = BaseFile
	}
	text, err := d.Render()
	if err != nil {
		return nil, fmt.Errorf("generate dockerfile: %w", err)
	}
	if err := prove(text, replay); err != nil {
		return nil, err
	}
	return &Context{Dockerfile: text, From: from, NeedsBase: needsBase, config: p.Config, base: replay.Base}, nil
}

// settle changes a replay where builders differ, so that each of them makes the
// same image of it:
//
//   - the classic builder throws away what RUN deletes below a volume, so a
//     volume with deletions below it is declared after them;
//   - it fills the zero values of a HEALTHCHECK from the base's.
//
// What stands in the way in the base is cleared from it, and the base then
// comes along with the context.
func settle(replay history.Replay, removals []string) history.Replay {
	base := *replay.Base
	base.Config.Volumes = maps.Clone(base.Config.Volumes)
	replay.Base = &base
	replay.Cleared = slices.Clone(replay.Cleared)
	replay.After = slices.Clone(replay.After)

	removals = slices.Sorted(slices.Values(removals))
	deletedBelow := func(volume string) bool {
		if _, itself := slices.BinarySearch(removals, volume); itself {
			return true
		}
		dir := strings.TrimSuffix(volume, "/") + "/"
		i, _ := slices.BinarySearch(removals, dir)
		return i < len(removals) && strings.HasPrefix(removals[i], dir)
	}
	for _, v := range slices.Sorted(maps.Keys(base.Config.Volumes)) {
		declared := history.Step{Entry: -1, Name: "VOLUME", Args: []string{v}, Why: "the base's, declared after the deletions below it"}
		if _, err := declared.Dockerfile(); err == nil && deletedBelow(v) {
			delete(base.Config.Volumes, v)
			replay.Cleared = append(replay.Cleared, "VOLUME "+v)
			replay.After = append(replay.After, declared)
		}
	}
	var early, late []history.Step
	for _, s := range replay.Before {
		if s.Name == "VOLUME" && slices.ContainsFunc(s.Args, deletedBelow) {
			late = append(late, s)
		} else {
			early = append(early, s)
		}
	}
	replay.Before, replay.After = early, append(late, replay.After...)

	if old := base.Config.Healthcheck; old != nil && slices.ContainsFunc(slices.Concat(replay.Before, replay.After), func(s history.Step) bool {
		return s.Name == "HEALTHCHECK" && (s.Health.Interval == 0 && old.Interval != 0 || s.Health.Timeout == 0 && old.Timeout != 0 ||
			s.Health.StartPeriod == 0 && old.StartPeriod != 0 || s.Health.StartInterval == 0 && old.StartInterval != 0 ||
			s.Health.Retries == 0 && old.Retries != 0)
	}) {
		base.Config.Healthcheck = nil
		replay.Cleared = append(replay.Cleared, "HEALTHCHECK")
	}
	return replay
}

// asRoot returns the metadata around the layer such that the deletions in the
// base run as root: another user may not be allowed to make them.
func asRoot(replay history.Replay, removals []string) (before, after []history.Step) {
	user := replay.Base.Config.User
	for _, s := range replay.Before {
		if s.Name == "USER" {
			user = s.Args[0]
		}
	}
	if len(removals) == 0 || user == "" {
		return replay.Before, replay.After
	}
	set := func(user, why string) history.Step {
		return history.Step{Entry: -1, Name: "USER", Args: []string{user}, Why: why}
	}
	before = append(slices.Clone(replay.Before), set("0", "to delete from the base"))
	return before, append([]history.Step{set(user, "as it was")}, replay.After...)
}

// mountsLeft are the directories that BuildKit mounts something on for a RUN,
// and leaves in an image that lacks them.
func mountsLeft(tree *layer.Merged) []string {
	var left []string
	for _, dir := range []string{"dev", "proc", "sys"} {
		if tree.Lacks(dir) {
			left = append(left, "/"+dir)
		}
	}
	return left
}

// hasRm tells whether RUN ["rm", …] finds a program on the base.
func hasRm(tree *layer.Merged, base *history.Image) bool {
	search := history.DefaultPath
	for _, v := range base.Config.Env {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			search = value
		}
	}
	return slices.ContainsFunc(strings.Split(search, ":"), func(dir string) bool {
		return tree.BaseHas(strings.TrimPrefix(path.Join("/", dir, "rm"), "/"))
	})
}

// BuildPlatform is a platform as builders take it: without a version of the
// system, and "" where the image doesn't say it.
func BuildPlatform(p v1.Platform) string {
	if p.OS == "" || p.Architecture == "" {
		return ""
	}
	p.OSVersion = ""
	return p.String()
}
