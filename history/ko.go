package history

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ko: ko-build/ko, pkg/build/gobuild.go. The binary's layer is `ko build
// ko://import/path` (formerly `ko publish`), the static files' one says so in
// its comment; author is `ko`.
func readKo(_ *reader, e ocispec.History) (Instruction, bool) {
	ok := e.Author == "ko" && !nop.MatchString(e.CreatedBy) || strings.HasPrefix(e.CreatedBy, "ko build ") || strings.HasPrefix(e.CreatedBy, "ko publish ")
	return Instruction{Text: e.CreatedBy}, ok
}
