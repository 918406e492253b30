package history

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// docker import: moby daemon/containerd/image_import.go and
// daemon/images/image_import.go, client default message `Imported from
// SOURCE`; podman import: libimage/import.go, the same comment. created_by is
// empty unless changed.
func readImport(_ *reader, e ocispec.History) (Instruction, bool) {
	src, ok := strings.CutPrefix(e.Comment, "Imported from ")
	if !ok {
		src, ok = strings.CutPrefix(e.Comment, "imported from ")
	}
	return Instruction{Text: "docker import " + src}, ok && e.CreatedBy == ""
}
