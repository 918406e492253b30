package history

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Kaniko: pkg/executor/build.go, doBuild and saveLayerToImage. Author is
// `kaniko`, created_by the Dockerfile's own line; a single-snapshot or
// squashed build writes one entry.
func readKaniko(p *reader, e ocispec.History) (Instruction, bool) {
	if e.Author != "kaniko" {
		return Instruction{}, false
	}
	return p.dockerfileLine(e.CreatedBy), true
}
