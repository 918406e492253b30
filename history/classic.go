package history

import (
	"regexp"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The classic builder: moby's builder/dockerfile, dispatchers.go (what each
// instruction commits) and internals.go (withCmdComment, performCopy,
// prependEnvOnCmd). An instruction that runs nothing is recorded as `SHELL #(nop)
// TEXT`, with one space before the text for ADD, COPY and WORKDIR, and two for
// the others; before 1.12 all had one. RUN is the command line itself, behind
// `|N A=b …` if N build arguments were set.

const nop = "#(nop)"

func hasNop(line string) bool { return strings.Contains(line, nop) }

// cutNop returns what stands behind a shell and `#(nop)`.
func (p *reader) cutNop(line string) (string, bool) {
	shell, text, ok := strings.Cut(line, nop)
	return strings.TrimLeft(text, " "), ok && p.isShell(shell)
}

func readClassic(p *reader, e ocispec.History) (Instruction, bool) {
	line := e.CreatedBy
	if text, ok := p.cutNop(line); ok {
		if name, rest, ok := cutKeyword(text); ok {
			return p.instruction(name, rest, goPrinted), true
		}
		return Instruction{Text: strings.TrimSpace(text)}, true
	}
	if _, _, ok := cutKeyword(line); ok {
		return Instruction{}, false
	}
	args, command := p.cutBuildArgs(line)
	if bare, ok := p.cutShell(command); ok {
		return runInstruction(bare, args), true
	}
	if len(args) > 0 {
		return runInstruction(command, args), true
	}
	return Instruction{}, false
}

func runInstruction(command string, args []string) Instruction {
	return Instruction{Name: "RUN", Text: "RUN " + strings.TrimSpace(command), BuildArgs: args}
}

// shells are command line prefixes that can only be a SHELL.
var shells = regexp.MustCompile(`^((/usr)?/bin/|/busybox/)?(ba|da|a|z|k)?sh( -[a-z]+| -o [a-z]+)* -[a-z]*c$|` +
	`^(\S*[\\/])?cmd(\.exe)?( /[A-Za-z])+$|` +
	`^(\S*[\\/])?([Pp]ower[Ss]hell|pwsh)(\.exe)?( .*)?$`)

// isShell tells whether what stands before `#(nop)` is a shell.
func (p *reader) isShell(s string) bool {
	s = strings.TrimSpace(s)
	return s == "" || s+" " == p.shell.text || s == p.configShell || shells.MatchString(s)
}

// cutShell takes the shell off a RUN's command line: the SHELL in force, or
// the platforms' defaults.
func (p *reader) cutShell(line string) (string, bool) {
	for _, s := range []prefix{p.shell, unixShell, windowsShell} {
		if rest, ok := strings.CutPrefix(line, s.text); ok {
			return rest, true
		}
	}
	// Another shell is part of what is shown, since no SHELL was seen.
	for i, c := range line[:min(len(line), 200)] {
		if c == ' ' && !strings.HasPrefix(line[i+1:], "-") && !strings.HasPrefix(line[i+1:], "/") && shells.MatchString(line[:i]) {
			return line, true
		}
	}
	return line, false
}

var buildArgs = regexp.MustCompile(`^\|(\d{1,4}) `)

// cutBuildArgs splits `|N A=b C=d /bin/sh -c make`. A value may have spaces, so
// the arguments end at the shell. Without one, they end after N words, or before
// the first that isn't A=b.
func (p *reader) cutBuildArgs(line string) (args []string, command string) {
	m := buildArgs.FindStringSubmatch(line)
	if m == nil {
		return nil, line
	}
	n := 0
	for _, c := range m[1] {
		n = n*10 + int(c-'0')
	}
	rest := line[len(m[0]):]
	if n == 0 {
		return nil, rest
	}
	end := -1
	for _, s := range []prefix{p.shell, unixShell, newPrefix("/bin/bash", "-c"), windowsShell} {
		if i := strings.Index(rest, " "+s.text); i >= 0 && (end < 0 || i < end) {
			end = i
		}
	}
	if end < 0 {
		words := strings.SplitAfter(rest, " ")
		end = 0
		for _, w := range words {
			if n == 0 || !strings.Contains(w, "=") {
				break
			}
			end += len(w)
			n--
		}
		return splitArgs(strings.TrimSuffix(rest[:end], " ")), rest[end:]
	}
	return splitArgs(rest[:end]), rest[end+1:]
}

var argStart = regexp.MustCompile(` [A-Za-z_][A-Za-z0-9_]*=`)

// splitArgs splits `A=b c D=e` where a new name starts.
func splitArgs(s string) []string {
	var out []string
	start := 0
	for _, m := range argStart.FindAllStringIndex(s, -1) {
		out = append(out, s[start:m[0]])
		start = m[0] + 1
	}
	if start < len(s) {
		out = append(out, s[start:])
	}
	return out
}
