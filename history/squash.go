package history

import (
	"regexp"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Images squashed by `docker build --squash` (moby
// daemon/images/image_squash.go: comment `merge ID to BASE`, or `create new
// from ID` without a base; created_by empty) and by docker-squash
// (docker_squash/v2_image.py: comment as given, created_by empty). All former
// entries stay, flagged empty_layer.
var squashed = regexp.MustCompile(`^(merge (sha256:)?[0-9a-f]+ to (sha256:)?[0-9a-f]+|create new from (sha256:)?[0-9a-f]+)$`)

func readSquash(_ *reader, e ocispec.History) (Instruction, bool) {
	if e.CreatedBy != "" || !squashed.MatchString(e.Comment) {
		return Instruction{}, false
	}
	return Instruction{Text: "docker build --squash: " + shortIDs.ReplaceAllString(e.Comment, "$1")}, true
}

var shortIDs = regexp.MustCompile(`(?:sha256:)?([0-9a-f]{12})[0-9a-f]{52}`)
