package history

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Nix: nixpkgs pkgs/build-support/docker, stream_layered_image.py writes
// entries with only the comment `store paths: [...]`.
func readNix(_ *reader, e ocispec.History) (Instruction, bool) {
	paths, ok := strings.CutPrefix(e.Comment, "store paths: ")
	return Instruction{Text: "nix store paths " + paths}, ok && e.CreatedBy == ""
}
