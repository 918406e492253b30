package history

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Entries of images that docker-flatten made: their comment starts with
// `docker-flatten:`, the instructions are as BuildKit prints them.
func readOwn(p *reader, e ocispec.History) (Instruction, bool) {
	if !strings.HasPrefix(e.Comment, "docker-flatten:") {
		return Instruction{}, false
	}
	line := strings.TrimSuffix(e.CreatedBy, buildKitSuffix)
	if name, rest, ok := cutKeyword(line); ok {
		return p.instruction(name, rest, goPrinted), true
	}
	return Instruction{Text: line}, true
}
