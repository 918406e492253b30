package rebuild

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/docker/docker/client"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/progress"
)

// Options is one job. The zero value of every field but Image is its default.
type Options struct {
	Image  image.Ref
	Tags   []string   // names of the result; none = NAME_flatten[:TAG] of the source's name
	Base   string     // auto ("" is auto), scratch, an image, or the number of layers to keep
	Output *image.Ref // nil = the engine for an engine's image, else a docker-archive beside the input

	// Context is a directory to write the build context to, or "-" to write it
	// to Stdout as a tar; "" = none. Without Tags and Output the context is all
	// that is made with "-", and where there is no default for Output.
	Context     string
	Builder     string // auto (""), native or engine
	Platform    string // os/arch[/variant]; "" = every platform of an index
	Compression image.Compression
	Verify      string // structure (""), content or off
	DryRun      bool   // stop before anything is built
	NoCache     bool   // don't look for an earlier result

	Client  func() (*client.Client, error) // the Docker Engine, asked for when one is needed
	Stdout  io.Writer                      // for Context "-"
	Display progress.Display               // nil = no display
}

// Validate says what is wrong with the options, nil if nothing is.
func (o *Options) Validate() error {
	choices := []struct {
		flag, value string
		allowed     []string
	}{
		{"builder", o.Builder, []string{"", "auto", "native", "engine"}},
		{"verify", o.Verify, []string{"", "structure", "content", "off"}},
	}
	for _, c := range choices {
		if !slices.Contains(c.allowed, c.value) {
			return fmt.Errorf("--%s %s: must be one of %s", c.flag, c.value, orList(c.allowed[1:]))
		}
	}
	if o.Platform != "" {
		if _, err := image.ParsePlatform(o.Platform); err != nil {
			return err
		}
	}
	if o.DryRun && o.Context == "-" {
		return errors.New("--dry-run and --context - both write to stdout: choose one")
	}
	if o.Context == "-" && o.outputIsStdout() {
		return errors.New("--output - and --context - both write to stdout: choose one")
	}
	if o.DryRun && o.outputIsStdout() {
		return errors.New("--dry-run makes no image that --output - could write")
	}
	if o.Base == "" {
		o.Base = "auto"
	}
	for _, tag := range o.Tags {
		if _, err := normalName(tag); err != nil {
			return fmt.Errorf("--tag %s: %w", tag, err)
		}
	}
	return nil
}

// StdoutTaken tells whether the product on stdout is an archive or a context,
// so that nothing else may be written there.
func (o *Options) StdoutTaken() bool {
	return o.Context == "-" || o.outputIsStdout()
}

func (o *Options) outputIsStdout() bool {
	return o.Output != nil && (o.Output.Path == "-" || o.Output.Path == "/dev/stdout")
}

// contextOnly tells whether the written context is all that is asked for.
func (o *Options) contextOnly() bool {
	if o.Context == "" || len(o.Tags) > 0 || o.Output != nil {
		return false
	}
	return o.Context == "-" || !hasDefaultOutput(o.Image)
}

// hasDefaultOutput tells whether a result goes somewhere without being told: it
// isn't pushed to the registry that the image came from, and there is no place
// beside stdin.
func hasDefaultOutput(source image.Ref) bool {
	return source.Transport != image.Registry && source.Path != "-"
}

func orList(words []string) string {
	s := words[0]
	for i, w := range words[1:] {
		if i == len(words)-2 {
			s += " or " + w
		} else {
			s += ", " + w
		}
	}
	return s
}
