package templates

import (
	"io"
	"strings"
)

// ShowDockerfiles writes the Dockerfiles of a report for people: control
// characters, which a value from an image that isn't trusted may hold, come out
// visible instead of steering the terminal. An image with nothing to flatten has none.
func ShowDockerfiles(w io.Writer, r *Report) error {
	for _, im := range r.Images {
		if im.Unchanged {
			continue
		}
		for line := range strings.Lines(im.Dockerfile) {
			text, tab := strings.TrimSuffix(line, "\n"), "\t"
			parts := strings.Split(text, tab)
			for i := range parts {
				parts[i] = visible(parts[i])
			}
			if _, err := io.WriteString(w, strings.Join(parts, tab)+"\n"); err != nil {
				return err
			}
		}
	}
	return nil
}
