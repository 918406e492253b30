package templates

import (
	"fmt"
	"strings"
)

const (
	// maxArgument is the longest argument that Linux takes: MAX_ARG_STRLEN,
	// 32 pages, with the final NUL.
	maxArgument = 128<<10 - 1
	// maxArguments bounds one command's arguments. ARG_MAX is 2 MiB for
	// arguments, environment and their pointers together.
	maxArguments = 1 << 20
)

// removals returns RUN instructions that delete the paths with the base's rm.
// They need no shell.
func removals(paths []string) ([]string, error) {
	var out []string
	var chunk []string
	size := 0
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		text, err := remove(chunk)
		if err != nil {
			return err
		}
		out = append(out, text)
		chunk, size = nil, 0
		return nil
	}
	for _, p := range paths {
		if !strings.HasPrefix(p, "/") || p == "/" || strings.Contains(p, "\x00") {
			return nil, fmt.Errorf("write RUN instruction: %q is no absolute path", p)
		}
		if len(p) > maxArgument {
			return nil, fmt.Errorf("write RUN instruction: the path %q has %d bytes, over the limit of an argument: %w", clip(p, 60), len(p), ErrInexpressible)
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
	array, err := jsonArray(append([]string{"rm", "-rf", "--"}, paths...))
	if err != nil {
		return "", fmt.Errorf("write RUN instruction: remove paths from the base: %w: %w", err, ErrInexpressible)
	}
	return arrange("RUN", append([]string{strings.Join(array[:3], " ")}, array[3:]...), "", true)
}
