package templates

import (
	"bytes"
	"fmt"

	"docker-flatten/history"
)

// RenderStages returns the text of one Dockerfile for several platforms, each a
// stage of its own under its Stage, and the text of each stage, which by itself
// is a Dockerfile, too. There is at least one.
func RenderStages(dockerfiles []Dockerfile) (text []byte, stages [][]byte, err error) {
	var b bytes.Buffer
	b.WriteString(commentf("Flattened from %s by docker-flatten: %s, a stage each. To build one:", dockerfiles[0].Image, history.Count(len(dockerfiles), "platform")))
	for _, d := range dockerfiles {
		stage, command, err := d.render()
		if err != nil {
			return nil, nil, fmt.Errorf("stage %s: %w", d.Stage, err)
		}
		b.WriteString(commentf("  %s", command))
		stages = append(stages, stage)
	}
	for _, s := range stages {
		b.WriteByte('\n')
		b.Write(s)
	}
	return b.Bytes(), stages, nil
}
