package history

import (
	"regexp"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// docker commit: moby daemon/commit.go; created_by is the container's command
// line, comment and author are the user's. buildah commit writes /bin/sh. Only a
// lone shell is telling.
var loneShell = regexp.MustCompile(`^((/usr)?/bin/)?(ba|da|a|z|k)?sh( -l| -i| -il)?$`)

func readCommit(_ *reader, e ocispec.History) (Instruction, bool) {
	if e.EmptyLayer || !loneShell.MatchString(e.CreatedBy) {
		return Instruction{}, false
	}
	text := "commit of a container that ran " + e.CreatedBy
	if e.Comment != "" {
		text += ": " + e.Comment
	}
	return Instruction{Text: text}, true
}
