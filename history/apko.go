package history

import ocispec "github.com/opencontainers/image-spec/specs-go/v1"

// apko: chainguard-dev/apko, pkg/build/oci/image.go. Author and created_by
// are `apko`, the comment is the layer's description.
func readApko(_ *reader, e ocispec.History) (Instruction, bool) {
	return Instruction{Text: titled(e.CreatedBy, e.Comment)}, e.CreatedBy == "apko"
}

// titled joins a tool's name and what it says of its layer.
func titled(tool, comment string) string {
	if comment == "" {
		return tool
	}
	return tool + ": " + comment
}
