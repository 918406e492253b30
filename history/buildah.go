package history

import (
	"regexp"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Buildah and podman build: imagebuildah/stage_executor.go, getCreatedBy. RUN
// is `/bin/sh -c` and its text, the others are `/bin/sh -c #(nop) ` and the
// Dockerfile's own line (a JSON list keeps its commas); COPY and ADD name the
// content's hash and end in a blank. Build settings that change the result
// follow as `|key=value`. The first entry of a stage, and with --layers each
// further one, has the comment `FROM image`; squashed builds and `buildah
// commit` record just the shell.

var buildahSettings = regexp.MustCompile(`(\|(unsetLabel|inheritLabels|inheritAnnotations|force-mtime|unsetAnnotation|source-date-epoch|rewrite-timestamp|created-annotation)=[^|]*)+$`)

func readBuildah(p *reader, e ocispec.History) (Instruction, bool) {
	line := buildahSettings.ReplaceAllString(e.CreatedBy, "")
	marked := line != e.CreatedBy || strings.HasPrefix(e.Comment, "FROM ")
	text, ok := p.cutNop(line)
	if !ok {
		if !marked {
			return Instruction{}, false
		}
		args, command := p.cutBuildArgs(line)
		if bare, ok := p.cutShell(command); ok {
			return runInstruction(bare, args), true
		}
		if line == "/bin/sh" {
			return Instruction{Text: "buildah commit"}, true
		}
		if name, rest, ok := cutKeyword(line); ok {
			return p.instruction(name, rest, original), true
		}
		return Instruction{Text: e.CreatedBy}, true
	}
	name, rest, ok := cutKeyword(strings.TrimRight(text, " "))
	if !ok {
		return Instruction{}, false
	}
	// The classic builder never puts commas into a list.
	if !marked && !(strings.HasPrefix(strings.TrimSpace(rest), `["`) && strings.Contains(rest, `",`) && isJSONList(rest)) {
		return Instruction{}, false
	}
	return p.instruction(name, rest, original), true
}

func isJSONList(s string) bool {
	l, ok := quotedList(strings.TrimSpace(s))
	return ok && len(l) > 1
}
