package history

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// crane flatten: go-containerregistry, cmd/crane/cmd/flatten.go. One entry;
// its comment holds the old history as JSON.
func readCrane(_ *reader, e ocispec.History) (Instruction, bool) {
	ref, ok := strings.CutPrefix(e.CreatedBy, "crane flatten ")
	if !ok {
		return Instruction{}, false
	}
	return Instruction{Text: "crane flatten " + ref}, true
}
