package history

import (
	"regexp"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// debuerreotype, which makes the official Debian bases: its examples/
// oci-image.sh records the shell line that made the root file system, `#
// debian.sh --arch 'amd64' out/ 'bookworm' '@1700000000'`, and the comment
// `debuerreotype VERSION`.
var debianScript = regexp.MustCompile(`^# \w+\.sh( |$)`)

func readDebuerreotype(_ *reader, e ocispec.History) (Instruction, bool) {
	// docker-library's lists put RUN before every line that isn't a keyword.
	line := strings.TrimPrefix(e.CreatedBy, "RUN ")
	ok := strings.HasPrefix(e.Comment, "debuerreotype") || debianScript.MatchString(line)
	return Instruction{Text: strings.TrimPrefix(line, "# ")}, ok
}
