package history

import (
	"regexp"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Cloud Native Buildpacks: buildpacks/lifecycle, layers/factory.go (names of
// the application's layers) and phase/exporter.go.
var buildpacksEntry = regexp.MustCompile(`^(Application Layer|Application Slice: \d+|Buildpacks Launcher Config|Buildpacks Application Launcher|` +
	`Buildpacks Process Types|Software Bill-of-Materials|Layer: '(?s:.*)', Created by (buildpack|extension): .*)$`)

func readBuildpacks(_ *reader, e ocispec.History) (Instruction, bool) {
	return Instruction{Text: e.CreatedBy}, buildpacksEntry.MatchString(e.CreatedBy)
}
