package rebuild

import (
	"maps"
	"slices"
	"strings"

	"docker-flatten/history"
)

// settleBuilders changes the plan where the builders of a written context
// differ, so that each of them makes the same image of it:
//
//   - the classic builder throws away what RUN deletes below a volume, so a
//     volume with deletions below it is declared after them;
//   - it fills the zero values of a HEALTHCHECK from the base's.
//
// What stands in the way in the base is cleared from it, and the base then
// comes along with the context.
func (j *job) settleBuilders() {
	base := &history.Image{}
	if j.replay.Base != nil {
		*base = *j.replay.Base
	}
	base.Config.Volumes = maps.Clone(base.Config.Volumes)
	j.replay.Base = base

	removals := j.merged.Removals()
	deletedBelow := func(volume string) bool {
		return slices.ContainsFunc(removals, func(p string) bool {
			return p == volume || strings.HasPrefix(p, strings.TrimSuffix(volume, "/")+"/")
		})
	}
	for _, v := range slices.Sorted(maps.Keys(base.Config.Volumes)) {
		late := history.Step{Entry: -1, Name: "VOLUME", Args: []string{v}, Why: "the base's, declared after the deletions below it"}
		if _, err := late.Dockerfile(); err == nil && deletedBelow(v) {
			delete(base.Config.Volumes, v)
			j.replay.Cleared = append(j.replay.Cleared, "VOLUME "+v)
			j.replay.After = append(j.replay.After, late)
		}
	}
	late := func(s history.Step) bool { return s.Name == "VOLUME" && slices.ContainsFunc(s.Args, deletedBelow) }
	var early []history.Step
	for _, s := range slices.Backward(j.replay.Before) {
		if late(s) {
			j.replay.After = append([]history.Step{s}, j.replay.After...)
		} else {
			early = append([]history.Step{s}, early...)
		}
	}
	j.replay.Before = early

	steps := slices.Concat(j.replay.Before, j.replay.After)
	if old := base.Config.Healthcheck; old != nil && slices.ContainsFunc(steps, func(s history.Step) bool {
		return s.Name == "HEALTHCHECK" && (s.Health.Interval == 0 && old.Interval != 0 || s.Health.Timeout == 0 && old.Timeout != 0 ||
			s.Health.StartPeriod == 0 && old.StartPeriod != 0 || s.Health.StartInterval == 0 && old.StartInterval != 0 ||
			s.Health.Retries == 0 && old.Retries != 0)
	}) {
		base.Config.Healthcheck = nil
		j.replay.Cleared = append(j.replay.Cleared, "HEALTHCHECK")
	}
}
