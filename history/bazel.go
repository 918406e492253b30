package history

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bazel: rules_docker container/go/pkg/compat (author `Bazel`, created_by
// `bazel build ...`) and rules_oci (oci/private/image.sh.tpl, the same names).
//
// The base's metadata lines have the author too, in the classic notation.
func readBazel(_ *reader, e ocispec.History) (Instruction, bool) {
	return Instruction{Text: titled(e.CreatedBy, e.Comment)}, strings.HasPrefix(e.CreatedBy, "bazel build")
}
