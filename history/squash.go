package history

import (
	"regexp"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// docker build --squash: moby daemon/images/image_squash.go. All former entries
// stay, flagged empty_layer; one more, with the comment `merge ID to BASE` or,
// without a base, `create new from ID`, has the layer. (docker-squash drops the
// entries that it merges and adds one that says nothing.)
var squashed = regexp.MustCompile(`^(merge (sha256:)?[0-9a-f]+ to (sha256:)?[0-9a-f]+|create new from (sha256:)?[0-9a-f]+)$`)

func readSquash(_ *reader, e ocispec.History) (Instruction, bool) {
	if e.CreatedBy != "" || !squashed.MatchString(e.Comment) {
		return Instruction{}, false
	}
	return Instruction{Text: "docker build --squash: " + shortIDs.ReplaceAllString(e.Comment, "$1")}, true
}

var shortIDs = regexp.MustCompile(`(?:sha256:)?([0-9a-f]{12})[0-9a-f]{52}`)
