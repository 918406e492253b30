package templates

import (
	"io"
	"strings"
)

// ShowDockerfiles writes the Dockerfiles of a report for people: control
// characters, which a value from an image that isn't trusted may hold, come out
// visible instead of steering the terminal. What a run leaves as it is has none.
func ShowDockerfiles(w io.Writer, r *Report) error {
	for _, text := range r.dockerfiles() {
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
	for _, text := range r.dockerfiles() {
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// dockerfiles are the files: one for all platforms, where there is one. A run
// builds none for an image with nothing to flatten.
func (r *Report) dockerfiles() []string {
	if r.Stages != "" {
		return []string{r.Stages}
	}
	var out []string
	for _, im := range r.Images {
		if r.DryRun || !im.Unchanged {
			text := im.Dockerfile
			if len(out) > 0 {
				text = "\n" + text
			}
			out = append(out, text)
		}
	}
	return out
}
