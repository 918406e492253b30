package rebuild

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/client"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/maker"
	"docker-flatten/rebuild/plan"
	"docker-flatten/rebuild/progress"
)

// Options is one job. The zero value of every field but Image is its default.
type Options struct {
	Image  image.Ref
	Tags   []string   // names of the result; none = NAME_flatten[:TAG] of the source's name
	Base   plan.Base  // which layers to keep
	Output *image.Ref // nil = the engine for an engine's image, else a docker-archive beside the input

	// Context is a directory to write the build context to, or "-" to write it
	// to Stdout as a tar; "" = none. Without Tags and Output the context is all
	// that is made with "-", and where there is no default for Output.
	Context     string
	Recover     bool     // recover the Dockerfile that made the image, in a dry run or for Context; no image is made
	Reports     []string // files for pages about the run, .html or .svg
	Attest      bool     // keep an in-toto statement about the result beside it, in a registry or layout
	AttestFile  string   // write that statement to a file; "" = none
	Builder     Builder
	Platform    string // os/arch[/variant]; "" = every platform of an index
	Compression image.Compression
	Verify      maker.Verify
	Insecure    bool          // registries may speak plain HTTP, and have any certificate
	Offline     bool          // ask no registry but for the images that are named
	DryRun      bool          // stop before anything is built
	Gates       []plan.Gate   // limits on the image, for a dry run
	NoCache     bool          // don't look for an earlier result
	Force       bool          // replace a file that isn't an earlier result
	Timeout     time.Duration // how long a registry or an engine may be silent; 0 = a minute
	SourceDate  *time.Time    // dates what is added to the history; nil = the image's own date

	Client  func() (*client.Client, error) // the Docker Engine, asked for when one is needed
	Stdout  io.Writer                      // for a product named "-"; nil = os.Stdout
	Display progress.Display               // nil = no display
}

// Builder says who makes the new layer. The zero value is Native.
type Builder int

const (
	Native Builder = iota // this program
	Engine                // the Docker Engine's classic builder
)

// ParseBuilder reads auto, native or engine.
func ParseBuilder(s string) (Builder, error) {
	switch s {
	case "auto", "native":
		return Native, nil
	case "engine":
		return Engine, nil
	}
	return 0, fmt.Errorf("%q must be auto, native or engine", s)
}

func (b Builder) String() string {
	if b == Engine {
		return "engine"
	}
	return "native"
}

// UsageError says that options can't be carried out, whatever the image is.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Validate says what is wrong with the options, as a *UsageError; nil if nothing
// is.
func (o *Options) Validate() error {
	if err := o.validate(); err != nil {
		return &UsageError{err}
	}
	return nil
}

func (o *Options) validate() error {
	if o.Platform != "" {
		if _, err := image.ParsePlatform(o.Platform); err != nil {
			return err
		}
	}
	switch {
	case o.Recover && (o.Context == "" && !o.DryRun || o.Context == "-"):
		return errors.New("--dockerfile original goes with --dry-run, or with --context and a directory")
	case o.Recover && (o.Output != nil || len(o.Tags) > 0):
		return errors.New("--dockerfile original makes no image: it goes with neither --tag nor --output")
	case o.Attest && o.AttestFile != "":
		return errors.New("--attest keeps the statement beside the result or writes it to a file: choose one")
	case o.attests() && (o.DryRun || o.contextOnly()):
		return errors.New("--attest needs an image that is made: it goes neither with --dry-run nor with a context alone")
	case o.DryRun && o.Context == "-":
		return errors.New("--dry-run and --context - both write to stdout: choose one")
	case o.Context == "-" && o.outputIsStdout():
		return errors.New("--output - and --context - both write to stdout: choose one")
	case len(o.Gates) > 0 && !o.DryRun:
		return errors.New("--max-waste, --max-layers and --max-size go with --dry-run")
	case o.DryRun && o.outputIsStdout():
		return errors.New("--dry-run makes no image that --output - could write")
	}
	for _, tag := range o.Tags {
		if _, err := normalName(tag); err != nil {
			return fmt.Errorf("--tag %s: %w", tag, err)
		}
	}
	if o.Output == nil && !o.DryRun && !o.contextOnly() && !hasDefaultOutput(o.Image) {
		return o.noDefaultOutput()
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
	if o.Recover {
		return true
	}
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
