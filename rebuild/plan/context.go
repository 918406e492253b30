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
	"docker-flatten/templates"
)

// BaseFile is the name of the file in a build context that carries a base
// which has no name of its own.
const BaseFile = "base.tar"

// Context is what a build context has for one image: every builder makes the
// same image of it. Its layer is the tree's portable one: the Dockerfile deletes
// by itself.
type Context struct {
	From      string // what FROM names
	Layer     string // the layer's file
	NeedsBase bool   // nobody else has the base that FROM names: it comes along as Base
	Base      string // the base's file

	config *Config
	replay history.Replay
	page   templates.Dockerfile
}

// BaseDocument is the config document of the base that comes along, of the
// layers of the given diff IDs.
func (x *Context) BaseDocument(diffIDs []v1.Hash) ([]byte, error) {
	return x.config.baseDocument(x.replay.Base, diffIDs)
}

// Contexts plans a build context for the images of one or several platforms: its
// Dockerfile, which has a stage for each of several, and what it has for each.
func Contexts(plans []*Plan) (dockerfile []byte, parts []*Context, err error) {
	var pages []templates.Dockerfile
	var replays []history.Replay
	names := stageNames(plans)
	for i, p := range plans {
		stage := ""
		if len(plans) > 1 {
			stage = names[i]
		}
		x, err := p.context(stage)
		if err != nil {
			return nil, nil, err
		}
		parts, pages, replays = append(parts, x), append(pages, x.page), append(replays, x.replay)
	}
	if len(plans) > 1 {
		dockerfile, err = renderStages(pages, replays)
		return dockerfile, parts, err
	}
	if dockerfile, err = pages[0].Render(); err != nil {
		return nil, nil, fmt.Errorf("generate dockerfile: %w", err)
	}
	return dockerfile, parts, prove(dockerfile, replays[0])
}

// context plans what a context has for one image, in a stage if that has a name.
// Builders differ in what they make of whiteouts in an archive that they ADD, so
// deletions are RUN instructions: it is an error if the base has no rm.
func (p *Plan) context(stage string) (*Context, error) {
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
	x := &Context{From: from, Layer: LayerFile, NeedsBase: p.needsBase(replay), Base: BaseFile, config: p.Config, replay: replay}
	if stage != "" {
		x.Layer, x.Base = stageLayer(stage), "base-"+stage+".tar"
		if x.NeedsBase {
			x.From += "-" + stage // the same layers and variables may be those of another platform, too
		}
	}
	x.page = p.dockerfile(p.Tree, replay, x.From)
	x.page.Stage = stage
	if x.page.Add != "" {
		x.page.Add = x.Layer
	}
	x.page.Build = true
	x.page.Removals = removals
	x.page.Before, x.page.After = asRoot(replay, removals)
	if mounts := mountsLeft(p.Tree); len(removals) > 0 && len(mounts) > 0 {
		x.page.Notes = append(x.page.Notes, fmt.Sprintf("BuildKit's RUN makes %s, which the image doesn't have.", strings.Join(mounts, ", ")))
	}
	if x.NeedsBase {
		x.page.Base.Archive = x.Base
	}
	return x, nil
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
