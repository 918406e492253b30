package templates

import (
	"io"
	"strings"
)

// ShowDockerfiles writes the Dockerfiles of a report for people: control
// characters, which a value from an image that isn't trusted may hold, come out
// visible instead of steering the terminal. An image with nothing to flatten has none.
func ShowDockerfiles(w io.Writer, r *Report) error {
	for _, text := range r.dockerfiles(func(im ImageReport) bool { return !im.Unchanged }) {
		for line := range strings.Lines(text) {
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

// WriteDockerfiles writes the Dockerfiles of a report as they are.
func WriteDockerfiles(w io.Writer, r *Report) error {
	for _, text := range r.dockerfiles(func(ImageReport) bool { return true }) {
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// dockerfiles are the files of the images that are meant: one for all platforms,
// where there is one.
func (r *Report) dockerfiles(meant func(ImageReport) bool) []string {
	var out []string
	for _, im := range r.Images {
		if meant(im) {
			out = append(out, im.Dockerfile)
		}
	}
	if r.Stages != "" && len(out) > 0 {
		return []string{r.Stages}
	}
	return out
}
