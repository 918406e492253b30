package history

import (
	"regexp"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Microsoft's Windows base images: one layer `Apply image VERSION`, one
// `Install update VERSION`, in plain words.
var windowsBase = regexp.MustCompile(`^(Apply image|Install update) \S+$`)

func readWindowsBase(_ *reader, e ocispec.History) (Instruction, bool) {
	return Instruction{Text: e.CreatedBy}, windowsBase.MatchString(e.CreatedBy)
}
