package history

import (
	"regexp"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// readPlain takes a line that is a Dockerfile's, without a sign of its
// builder: what smaller tools write, and lists such as docker-library's
// repo-info, which strip the shell and `#(nop)` and put build arguments into a
// line `# ARGS: A=b` above the RUN.
func readPlain(p *reader, e ocispec.History) (Instruction, bool) {
	line := strings.TrimLeft(e.CreatedBy, " ")
	if m := argsLine.FindStringSubmatch(line); m != nil {
		bare, _ := p.cutShell(m[2])
		return runInstruction(bare, splitArgs(m[1])), true
	}
	if _, _, ok := cutKeyword(line); !ok {
		return Instruction{}, false
	}
	return p.dockerfileLine(line), true
}

var argsLine = regexp.MustCompile(`(?s)^# ARGS: ([^\n]*)\nRUN (.*)$`)

func (p *reader) dockerfileLine(line string) Instruction {
	name, rest, ok := cutKeyword(line)
	if !ok {
		return Instruction{Text: line}
	}
	if name == "RUN" {
		// Such a list knows only the Unix shell.
		if m := nop.FindStringSubmatch(rest); m != nil && p.isShell(m[1]) {
			if name, rest, ok := cutKeyword(m[2]); ok {
				return p.instruction(name, rest, goPrinted)
			}
		}
		args, command := p.cutBuildArgs(strings.TrimSpace(rest))
		bare, _ := p.cutShell(command)
		return runInstruction(bare, args)
	}
	return p.instruction(name, rest, original)
}
