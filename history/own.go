package history

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Entries of images that docker-flatten made (package rebuild, newhistory.go):
// the merged layer's comment starts with `docker-flatten:`; the comment of
// metadata that had no entry of its own is `docker-flatten`, and its text that
// of the generated Dockerfile, folded lines included.
func readOwn(p *reader, e ocispec.History) (Instruction, bool) {
	if e.Comment != "docker-flatten" && !strings.HasPrefix(e.Comment, "docker-flatten:") {
		return Instruction{}, false
	}
	if _, set := p.vars["NL"]; !set {
		p.vars["NL"] = "\n" // the generated Dockerfile's argument for a line break
	}
	line := strings.ReplaceAll(strings.TrimSuffix(e.CreatedBy, buildKitSuffix), "\\\n", "")
	if name, rest, ok := cutKeyword(line); ok {
		return p.instruction(name, rest, original), true
	}
	return Instruction{Text: line}, true
}
