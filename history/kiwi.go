package history

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// KIWI, which builds the openSUSE and SUSE bases: OSInside/kiwi,
// kiwi/oci_tools/base.py, created_by `KIWI version`.
func readKiwi(_ *reader, e ocispec.History) (Instruction, bool) {
	return Instruction{Text: e.CreatedBy}, strings.HasPrefix(e.CreatedBy, "KIWI ")
}
