package history

import (
	"regexp"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The official busybox image: docker-library/busybox, .template-helper's
// meta-scripts; created_by is a description such as `BusyBox 1.37.0 (glibc),
// Debian 12`.
var busyBox = regexp.MustCompile(`^BusyBox \d\S* \(\w+\)`)

func readBusyBox(_ *reader, e ocispec.History) (Instruction, bool) {
	return Instruction{Text: e.CreatedBy}, busyBox.MatchString(e.CreatedBy)
}
