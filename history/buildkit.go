package history

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// BuildKit's Dockerfile frontend: frontend/dockerfile/dockerfile2llb,
// convert.go (commitToHistory and its callers), convert_copy.go,
// convert_expose.go. The comment is buildkit.dockerfile.v0; entries that come
// from an LLB operation end in ` # buildkit` (RUN, COPY, ADD; not WORKDIR).
// ONBUILD leaves no line. Layers of a plain LLB build, without a Dockerfile,
// are described by the exporter (comment buildkit.exporter.image.v0).

const buildKitSuffix = " # buildkit"

func readBuildKit(p *reader, e ocispec.History) (Instruction, bool) {
	line, suffixed := strings.CutSuffix(e.CreatedBy, buildKitSuffix)
	switch {
	case e.Comment == "buildkit.dockerfile.v0" || suffixed:
	case strings.HasPrefix(e.Comment, "buildkit."):
		return Instruction{Text: line}, true
	default:
		return Instruction{}, false
	}
	name, rest, ok := cutKeyword(line)
	if !ok {
		return Instruction{Text: line}, true
	}
	if name == "RUN" {
		args, command := p.cutBuildArgs(rest)
		bare, _ := p.cutShell(command)
		return runInstruction(bare, args), true
	}
	return p.instruction(name, rest, goPrinted), true
}
