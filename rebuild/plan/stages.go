package plan

import (
	"fmt"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/templates"
)

// Stages is one Dockerfile for the images of several platforms: a stage each,
// which is named after the platform and adds a layer of its own name. Each stage
// has been read back as the Dockerfile of one image is.
func Stages(plans []*Plan) ([]byte, error) {
	taken := map[string]bool{}
	for _, p := range plans {
		taken[p.From] = true // FROM would take the stage of that name
	}
	pages := make([]templates.Dockerfile, len(plans))
	for i, p := range plans {
		d := p.page
		d.Stage = stageName(p.Source.Platform, taken)
		if d.Add != "" {
			d.Add = "layer-" + d.Stage + ".tar.gz"
		}
		pages[i] = d
	}
	text, stages, err := templates.RenderStages(pages)
	if err != nil {
		return nil, fmt.Errorf("generate dockerfile: %w", err)
	}
	for i, p := range plans {
		if err := prove(stages[i], p.Replay); err != nil {
			return nil, fmt.Errorf("stage %s: %w", pages[i].Stage, err)
		}
	}
	return text, nil
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
