package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
)

// Base is what the user says of the base. The zero value leaves it to the
// evidence.
type Base struct {
	text   string    // as it was written; "" = auto
	layers int       // how many layers to keep, where text is a number; else -1 or 0
	image  image.Ref // where the base is, where text names an image; else zero
}

// ParseBase reads auto, scratch, a number of layers, or an image in any of the
// forms of IMAGE.
func ParseBase(s string) (Base, error) {
	switch s {
	case "", "auto":
		return Base{}, nil
	case "scratch":
		return Base{text: s}, nil
	}
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 {
			return Base{}, fmt.Errorf("%d is no number of layers", n)
		}
		return Base{text: s, layers: n}, nil
	}
	ref, err := image.ParseRef(s)
	if err != nil {
		return Base{}, err
	}
	return Base{text: s, image: ref}, nil
}

// Image is the image that the user names, and whether that is so.
func (b Base) Image() (image.Ref, bool) { return b.image, b.image != image.Ref{} }

// IsAuto tells whether the evidence decides.
func (b Base) IsAuto() bool { return b.text == "" }

// String is the form that ParseBase reads.
func (b Base) String() string {
	if b.IsAuto() {
		return "auto"
	}
	return b.text
}

// Evidence is what is known about the images that may be the base, besides
// what the image says itself. The zero value is no evidence.
type Evidence struct {
	Candidates []history.Candidate
	// Named is what FROM calls the image that the user names; "" where that
	// image has no name, as one in a file may have none.
	Named string
	// Digests are the digests by which registries know the candidates, by the
	// names of these.
	Digests map[string]string
}

// passingNames is the repository in which a result has a name while it is loaded
// into an engine.
const passingNames = "docker-flatten/run"

// baseNames is the repository in which a written context's base has its name.
// That name says which layers the base has, and nothing of where it comes from.
const baseNames = "docker-flatten/base"

// IsBaseName tells whether this program made up a name, for the base of a
// written context, or for the time of a build or a load. Such a name is no evidence: the
// same image has another plan where it isn't known.
func IsBaseName(name string) bool {
	return strings.HasPrefix(name, baseNames+":") || strings.HasPrefix(name, passingNames+":")
}

// FindBase finds where the base of an image ends.
func FindBase(config *history.Image, instructions []history.Instruction, annotations map[string]string, want Base, evidence Evidence) (history.Base, error) {
	if IsBaseName(annotations[ocispec.AnnotationBaseImageName]) {
		annotations = nil
	}
	base, err := history.FindBase(config, instructions, want.String(), evidence.Candidates, annotations)
	if err != nil {
		return history.Base{}, err
	}
	if _, named := want.Image(); named {
		base.Name = evidence.Named
	}
	if IsBaseName(base.Name) {
		base.Name = ""
	}
	return base, nil
}

// OwnNames are those among an image's names that this program didn't make up.
func OwnNames(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), IsBaseName)
}
