package plan

import (
	"fmt"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/history"
	"docker-flatten/templates"
)

// Stages is one Dockerfile for the images of several platforms: a stage each,
// which is named after the platform and adds a layer of its own name. Each stage
// has been read back as the Dockerfile of one image is.
func Stages(plans []*Plan) ([]byte, error) {
	var pages []templates.Dockerfile
	var replays []history.Replay
	names := stageNames(plans)
	for i, p := range plans {
		d := p.page
		d.Stage = names[i]
		if d.Add != "" {
			d.Add = stageLayer(d.Stage)
		}
		pages, replays = append(pages, d), append(replays, p.Replay)
	}
	return renderStages(pages, replays)
}

// renderStages writes one Dockerfile of several, and proves each stage against
// the replay that it was made of.
func renderStages(pages []templates.Dockerfile, replays []history.Replay) ([]byte, error) {
	text, stages, err := templates.RenderStages(pages)
	if err != nil {
		return nil, fmt.Errorf("generate dockerfile: %w", err)
	}
	for i, replay := range replays {
		if err := prove(stages[i], replay); err != nil {
			return nil, fmt.Errorf("stage %s: %w", pages[i].Stage, err)
		}
	}
	return text, nil
}

// stageLayer is the file of the layer that a stage adds.
func stageLayer(stage string) string { return "layer-" + stage + ".tar.gz" }

// stageNames are the names of the plans' stages. None is what a FROM names: that
// would take the stage.
func stageNames(plans []*Plan) []string {
	taken := map[string]bool{}
	for _, p := range plans {
		taken[p.From] = true
	}
	names := make([]string, len(plans))
	for i, p := range plans {
		names[i] = stageName(p.Source.Platform, taken)
	}
	return names
}

var notInStage = regexp.MustCompile(`[^a-z0-9._-]+`)

// stageName is the name for a platform's stage, and takes it: linux-arm-v7.
func stageName(platform v1.Platform, taken map[string]bool) string {
	plain := notInStage.ReplaceAllString(strings.ToLower(BuildPlatform(platform)), "-")
	if plain == "" || plain[0] < 'a' || plain[0] > 'z' {
		plain = strings.TrimRight("platform-"+strings.Trim(plain, "-._"), "-")
	}
	const most = 60
	plain = plain[:min(len(plain), most)]
	name := plain
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s-%d", plain, n)
	}
	taken[name] = true
	return name
}
