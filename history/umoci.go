package history

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// umoci: cmd/umoci, each command's default for --history.created_by is its
// own name (`umoci config`, `umoci insert`, `umoci repack`, `umoci raw
// add-layer`); oci/casext's new images have none.
func readUmoci(_ *reader, e ocispec.History) (Instruction, bool) {
	return Instruction{Text: e.CreatedBy}, e.CreatedBy == "umoci" || strings.HasPrefix(e.CreatedBy, "umoci ")
}
