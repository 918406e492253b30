package templates

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"docker-flatten/history"
)

const (
	// maxArgument is the longest argument that Linux takes: MAX_ARG_STRLEN,
	// 32 pages, with the final NUL.
	maxArgument = 128<<10 - 1
	// maxArguments bounds one command's arguments. ARG_MAX is 2 MiB for
	// arguments, environment and their pointers together.
	maxArguments = 1 << 20
)

// removals returns RUN instructions that delete the paths with the base's rm,
// in few commands. They need a shell only for a path that isn't UTF-8.
func removals(paths []string) ([]string, error) {
	var out, chunk []string
	size := 0
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		text, err := remove(chunk)
		out = append(out, text)
		chunk, size = nil, 0
		return err
	}
	for _, p := range paths {
		switch {
		case !strings.HasPrefix(p, "/") || p == "/" || strings.Contains(p, "\x00"):
			return nil, fmt.Errorf("write RUN instruction: remove %q: not an absolute path below /", cutComment(p, 60))
		case len(p) > maxArgument:
			return nil, fmt.Errorf("write RUN instruction: remove %q: its %d bytes are over the limit of an argument", cutComment(p, 60), len(p))
		case !utf8.ValidString(p):
			text, err := removeBytes(p)
			if err != nil {
				return nil, err
			}
			out = append(out, text)
			continue
		}
		const pointer = 9 // and the final NUL
		if size+len(p)+pointer > maxArguments {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		chunk = append(chunk, p)
		size += len(p) + pointer
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return out, nil
}

// remove returns one RUN rm in JSON form: on one line if that isn't wide, with
// a line for each path otherwise.
func remove(paths []string) (string, error) {
	return history.ExecForm("RUN", []string{"rm", "-rf", "--"}, paths)
}

// removeBytes returns a RUN that deletes a path which JSON can't hold: the
// shell's printf writes it from octal escapes. The dot saves final newlines,
// which command substitution would take away.
func removeBytes(p string) (string, error) {
	var b strings.Builder
	for i := range len(p) {
		c := p[i]
		if c < utf8.RuneSelf && (unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)) || strings.IndexByte("/._-", c) >= 0) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	script := "p=$(printf '" + b.String() + ".'); rm -rf -- \"${p%.}\""
	if len(script) > maxArgument {
		return "", fmt.Errorf("write RUN instruction: remove %q: too long for an argument in octal", cutComment(p, 60))
	}
	return history.ExecForm("RUN", []string{"sh", "-c", script}, nil)
}
