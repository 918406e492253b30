// Command docker-flatten turns an image of many layers into its base plus one
// layer, and regenerates the Dockerfile that makes it. The same binary is the
// Docker CLI plugin "docker flatten".
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/docker/cli/cli-plugins/metadata"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/spf13/pflag"

	"docker-flatten/rebuild"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/layer"
	"docker-flatten/rebuild/progress"
	"docker-flatten/templates"
)

// Exit codes, as the help text lists them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitDiffers     = 3
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// When stdout's reader goes away the write fails, and the run cleans up:
	// the signal, left to itself, would end it on the spot.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if os.Getenv("GOGC") == "" {
		// What a run holds are mainly the indexes of layers, which have no pointers:
		// to collect often costs little, and garbage doesn't double the memory.
		debug.SetGCPercent(10)
	}
	context.AfterFunc(ctx, stop) // a second interrupt doesn't wait for the cleaning up
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run carries out one command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == metadata.MetadataSubcommandName {
		return printPluginMetadata(stdout)
	}
	var engine engineFlags
	args, err := engine.parse(args)
	if err != nil {
		return fail(stderr, usageError{err})
	}
	if len(args) > 1 && strings.HasPrefix(args[0], "__complete") {
		return complete(ctx, &engine, args[len(args)-1], stdout)
	}
	c, err := parse(args)
	switch {
	case err != nil:
		return fail(stderr, usageError{err})
	case c.help:
		fmt.Fprint(stdout, templates.Usage)
		return 0
	case c.version:
		fmt.Fprintln(stdout, version())
		return 0
	case c.completion != "":
		script, err := templates.Completion(c.completion)
		if err != nil {
			return fail(stderr, usageError{err})
		}
		fmt.Fprint(stdout, script)
		return 0
	}
	if c.job.StdoutTaken() && progress.IsTerminal(stdout) {
		return fail(stderr, usageError{errors.New("the archive on stdout would go to the terminal: redirect it, or name a file")})
	}
	c.job.Client = func() (*client.Client, error) { return image.NewClient(engine.context, engine.host) }
	c.job.Stdout = stdout
	if err := flatten(ctx, c, stdout, stderr); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(stderr, "docker-flatten: interrupted")
			return exitInterrupted
		}
		return fail(stderr, err)
	}
	return 0
}

// flatten runs the job with its display, and prints what came of it: the
// product on stdout, everything for people on stderr.
func flatten(ctx context.Context, c *command, stdout, stderr io.Writer) error {
	display, err := progress.New(c.progress, stderr)
	if err != nil {
		return usageError{err}
	}
	defer display.Close()
	c.job.Display = display
	report, err := rebuild.Flatten(ctx, c.job)
	display.Close()
	if err != nil {
		return err
	}
	for _, name := range c.reports {
		if err := writePage(name, report); err != nil {
			return err
		}
	}
	if !c.quiet {
		if !report.DryRun { // a dry run has it on stdout
			if err := templates.ShowDockerfiles(stderr, report); err != nil {
				return err
			}
		}
		show := templates.WriteSummary
		if report.DryRun {
			show = templates.WritePlan
		}
		if err := show(stderr, report, progress.Width(stderr)); err != nil {
			return err
		}
	}
	switch {
	case c.json:
		return templates.WriteJSON(stdout, report)
	case c.job.StdoutTaken():
		return nil // the archive or the context is the product
	case report.DryRun:
		for _, im := range report.Images {
			if _, err := io.WriteString(stdout, im.Dockerfile); err != nil {
				return err
			}
		}
		return nil
	}
	_, err = fmt.Fprintln(stdout, report.ID)
	return err
}

// command is a parsed command line.
type command struct {
	job        rebuild.Options
	json       bool
	quiet      bool
	progress   string
	reports    []string
	help       bool
	version    bool
	completion string
}

// options returns the set of options, which fill in c, and the texts of those
// that need more reading.
func options(c *command) (*pflag.FlagSet, *texts) {
	x := &texts{}
	f := pflag.NewFlagSet("docker-flatten", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringArrayVarP(&c.job.Tags, "tag", "t", nil, "")
	f.StringVarP(&c.job.Base, "base", "b", "auto", "")
	f.StringVarP(&x.output, "output", "o", "", "")
	f.StringVar(&c.job.Context, "context", "", "")
	f.StringVar(&c.job.Builder, "builder", "auto", "")
	f.StringVar(&c.job.Platform, "platform", "", "")
	f.StringVar(&x.compression, "compression", "", "")
	f.StringVar(&c.job.Verify, "verify", "structure", "")
	f.BoolVar(&c.job.DryRun, "dry-run", false, "")
	f.BoolVar(&c.job.NoCache, "no-cache", false, "")
	f.BoolVar(&c.json, "json", false, "")
	f.StringVar(&c.progress, "progress", "auto", "")
	f.StringArrayVar(&c.reports, "report", nil, "")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "")
	f.StringVar(&c.completion, "completion", "", "")
	f.BoolVar(&c.version, "version", false, "")
	f.BoolVarP(&c.help, "help", "h", false, "")
	return f, x
}

type texts struct{ output, compression string }

// parse reads the options and the one IMAGE. Its errors are the user's to mend.
func parse(args []string) (*command, error) {
	c := &command{}
	f, x := options(c)
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if c.help || c.version || c.completion != "" {
		return c, nil
	}
	switch f.NArg() {
	case 0:
		return nil, errors.New("no image given")
	case 1:
	default:
		return nil, fmt.Errorf("one image at a time, not %d: %s", f.NArg(), strings.Join(f.Args(), " "))
	}
	if c.quiet {
		if f.Changed("progress") && c.progress != "none" {
			return nil, fmt.Errorf("--quiet and --progress %s contradict each other", c.progress)
		}
		c.progress = "none"
	}
	for _, name := range c.reports {
		if !strings.HasSuffix(name, ".html") && !strings.HasSuffix(name, ".svg") {
			return nil, fmt.Errorf("--report %s: the name must end in .html or .svg", name)
		}
	}
	if !slices.Contains([]string{"auto", "tty", "plain", "none"}, c.progress) {
		return nil, fmt.Errorf("--progress %s: must be auto, tty, plain or none", c.progress)
	}
	var err error
	if c.job.Image, err = image.ParseRef(f.Arg(0)); err != nil {
		return nil, err
	}
	if f.Changed("output") {
		ref, err := image.ParseRef(x.output)
		if err != nil {
			return nil, fmt.Errorf("--output: %w", err)
		}
		c.job.Output = &ref
	}
	if f.Changed("compression") {
		if c.job.Compression, err = image.ParseCompression(x.compression); err != nil {
			return nil, fmt.Errorf("--compression: %w", err)
		}
	}
	if c.json && c.job.StdoutTaken() {
		return nil, errors.New("--json and a product on stdout (-) exclude each other")
	}
	return c, c.job.Validate()
}

// engineFlags are the docker command's own options, which it hands to a plugin
// in front of the plugin's name: docker --host H flatten ….
type engineFlags struct{ context, host string }

// parse takes them off args when docker runs this program as a plugin, and
// returns the plugin's own arguments.
func (e *engineFlags) parse(args []string) ([]string, error) {
	if os.Getenv(metadata.ReexecEnvvar) == "" {
		return args, nil
	}
	var config string
	f := pflag.NewFlagSet("docker", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.SetInterspersed(false)
	f.StringVar(&config, "config", "", "")
	f.StringVarP(&e.context, "context", "c", "", "")
	f.StringVarP(&e.host, "host", "H", "", "")
	debugOn := f.BoolP("debug", "D", false, "")
	level := f.StringP("log-level", "l", "", "")
	if err := f.Parse(args); err != nil {
		return nil, fmt.Errorf("docker's own options: %w (certificates come from a docker context)", err)
	}
	_, _ = debugOn, level // this program keeps no log that they could steer
	if config != "" {
		if err := os.Setenv("DOCKER_CONFIG", config); err != nil {
			return nil, err
		}
	}
	// docker completes with __complete flatten ….
	rest := f.Args()
	if i := slices.Index(rest, "flatten"); i == 0 || i == 1 && strings.HasPrefix(rest[0], "__complete") {
		rest = slices.Delete(rest, i, i+1)
	}
	return rest, nil
}

// complete answers docker's request to complete word for this plugin, in the
// form that cobra's completion scripts take: a candidate a line, then a colon
// and what else the shell may offer.
func complete(ctx context.Context, engine *engineFlags, word string, stdout io.Writer) int {
	const noFiles, files = 4, 0
	if strings.HasPrefix(word, "-") {
		set, _ := options(&command{})
		set.VisitAll(func(f *pflag.Flag) {
			if strings.HasPrefix("--"+f.Name, word) {
				fmt.Fprintln(stdout, "--"+f.Name)
			}
		})
		fmt.Fprintf(stdout, ":%d\n", noFiles)
		return 0
	}
	cli, err := image.NewClient(engine.context, engine.host)
	if err == nil {
		list, listErr := cli.ImageList(ctx, dockerimage.ListOptions{})
		for _, im := range list {
			for _, name := range im.RepoTags {
				if strings.HasPrefix(name, word) {
					fmt.Fprintln(stdout, name)
				}
			}
		}
		err = listErr
	}
	fmt.Fprintf(stdout, ":%d\n", files)
	if err != nil {
		return exitFailed
	}
	return 0
}

// printPluginMetadata answers docker's question what this plugin is.
func printPluginMetadata(w io.Writer) int {
	err := json.NewEncoder(w).Encode(metadata.Metadata{
		SchemaVersion:    "0.1.0",
		Vendor:           "docker-flatten",
		Version:          moduleVersion(),
		ShortDescription: "Flatten an image to its base plus one layer",
	})
	if err != nil {
		return exitFailed
	}
	return 0
}

func writePage(name string, report *templates.Report) error {
	write := templates.WriteHTML
	if strings.HasSuffix(name, ".svg") {
		write = templates.WriteSVG
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := errors.Join(write(f, report), f.Close()); err != nil {
		return fmt.Errorf("write report %s: %w", name, err)
	}
	return nil
}

// usageError is a command line that can't be carried out.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// fail prints err as one line, with a line of hint where there is one, and
// returns the exit code that fits it.
func fail(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "docker-flatten: %s\n", oneLine(err.Error()))
	var hinted *image.Error
	if errors.As(err, &hinted) && hinted.Hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", oneLine(hinted.Hint))
	}
	switch {
	case errors.As(err, new(*layer.DifferenceError)), errors.As(err, new(*rebuild.ConfigError)), errors.Is(err, image.ErrDiffers):
		return exitDiffers
	case errors.As(err, new(usageError)):
		fmt.Fprintln(stderr, "hint: docker-flatten --help lists the options")
		return exitUsage
	}
	return exitFailed
}

// oneLine joins the lines of a message, without those that a line before says
// already: closing what failed often fails for the same reason.
func oneLine(s string) string {
	var lines []string
	for _, line := range strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if !slices.ContainsFunc(lines, func(said string) bool { return strings.HasSuffix(said, line) }) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// moduleVersion is the version that the go command recorded in this binary.
func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// version says version and commit, as far as the go command recorded them.
func version() string {
	commit := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				commit += " (modified)"
			}
		}
	}
	return "docker-flatten " + moduleVersion() + ", commit " + commit
}
