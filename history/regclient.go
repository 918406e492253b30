package history

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// regclient's placeholder images and `regctl image mod`: scheme/reg/tag.go,
// created_by `# regclient`.
func readRegclient(_ *reader, e ocispec.History) (Instruction, bool) {
	return Instruction{Text: "regclient"}, strings.HasPrefix(e.CreatedBy, "# regclient")
}
