package history

import (
	"strings"

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

// readPlain takes a line that is a Dockerfile's, without a sign of its
// builder: exports that were normalised, and smaller tools.
func readPlain(p *reader, e ocispec.History) (Instruction, bool) {
	if _, _, ok := cutKeyword(e.CreatedBy); !ok {
		return Instruction{}, false
	}
	return p.dockerfileLine(e.CreatedBy), true
}

func (p *reader) dockerfileLine(line string) Instruction {
	name, rest, ok := cutKeyword(line)
	if !ok {
		return Instruction{Text: line}
	}
	if name == "RUN" {
		args, command := p.cutBuildArgs(strings.TrimSpace(rest))
		bare, _ := p.cutShell(command)
		return runInstruction(bare, args)
	}
	return p.instruction(name, rest, original)
}
