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
	"log"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/agext/levenshtein"
	"github.com/docker/cli/cli-plugins/metadata"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/spf13/pflag"

	"docker-flatten/rebuild"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/layer"
	"docker-flatten/rebuild/maker"
	"docker-flatten/rebuild/plan"
	"docker-flatten/rebuild/progress"
	"docker-flatten/rebuild/version"
	"docker-flatten/templates"
)

// Exit codes, as the help text lists them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitDiffers     = 3
	exitExceeded    = 4
	exitInterrupted = 130
)

func main() {
	log.SetOutput(io.Discard) // net/http logs what a peer says out of turn; errors are returned
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup's
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	// When stdout's reader goes away the write fails, and the run cleans up:
	// the signal, left to itself, would end it on the spot.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if os.Getenv("GOGC") == "" {
		// What a run holds are mainly the indexes of layers, which have no pointers:
		// to collect often costs little, and garbage doesn't double the memory.
		debug.SetGCPercent(10)
		// A tenth of a small heap is little: the run would collect every 400 kB. Nothing
		// touches these 32 MB, so they take no memory, but a tenth of them counts.
		ballast := make([]byte, 32<<20)
		defer runtime.KeepAlive(ballast)
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
	var flags engineFlags
	args, err := flags.parse(args)
	if err != nil {
		return fail(stderr, &rebuild.UsageError{Err: err})
	}
	if len(args) > 1 && strings.HasPrefix(args[0], "__complete") {
		return complete(ctx, flags, args[len(args)-1], stdout)
	}
	c, err := parse(args)
	switch {
	case err != nil:
		return fail(stderr, &rebuild.UsageError{Err: err})
	case c.help:
		return printed(stdout, stderr, templates.Usage)
	case c.man:
		return printed(stdout, stderr, templates.Man(version.Number()))
	case c.version:
		return printed(stdout, stderr, version.String()+"\n")
	case c.completion != "":
		script, err := templates.Completion(c.completion)
		if err != nil {
			return fail(stderr, &rebuild.UsageError{Err: err})
		}
		return printed(stdout, stderr, script)
	}
	if c.job.StdoutTaken() && progress.IsTerminal(stdout) {
		return fail(stderr, &rebuild.UsageError{Err: errors.New("the archive on stdout would go to the terminal: redirect it, or name a file")})
	}
	work := flatten
	if c.compare != nil {
		work = compare
		c.compare.Client = func() (*client.Client, error) { return engine.NewClient(flags.context, flags.host, c.compare.Timeout) }
	}
	c.job.Client = func() (*client.Client, error) { return engine.NewClient(flags.context, flags.host, c.job.Timeout) }
	c.job.Stdout = stdout
	if err := work(ctx, c, stdout, stderr); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(stderr, "docker-flatten: interrupted")
			return exitInterrupted
		}
		return fail(stderr, err)
	}
	return 0
}

// printed writes a text that is the whole product, and returns the exit code: half
// a page in a file is a failure.
func printed(stdout, stderr io.Writer, text string) int {
	if _, err := io.WriteString(stdout, text); err != nil {
		return fail(stderr, fmt.Errorf("write to stdout: %w", err))
	}
	return 0
}

// flatten runs the job with its display, and prints what came of it: the
// product on stdout, everything for people on stderr.
func flatten(ctx context.Context, c *command, stdout, stderr io.Writer) error {
	display, err := progress.New(c.progress, stderr)
	if err != nil {
		return &rebuild.UsageError{Err: err}
	}
	defer display.Close()
	c.job.Display = display
	report, err := rebuild.Flatten(ctx, c.job)
	display.Close()
	if err != nil {
		return err
	}
	if !c.quiet {
		tell(stderr, report)
	}
	if err := c.product(stdout, report); err != nil {
		if report.ID == "" {
			return fmt.Errorf("write to stdout: %w", err)
		}
		return &rebuild.PublishError{ID: report.ID, Names: report.Tags, Err: fmt.Errorf("write to stdout: %w", err)}
	}
	if lines := templates.Exceeded(report); len(lines) > 0 {
		return exceededError(lines)
	}
	return nil
}

// compare holds two images against each other. The differences are the product.
func compare(ctx context.Context, c *command, stdout, stderr io.Writer) error {
	display, err := progress.New(c.progress, stderr)
	if err != nil {
		return &rebuild.UsageError{Err: err}
	}
	defer display.Close()
	c.compare.Display = display
	found, err := rebuild.Compare(ctx, *c.compare)
	display.Close()
	if err != nil {
		return err
	}
	write := templates.WriteDifferences
	if c.json {
		write = templates.WriteComparisonJSON
	}
	if err := write(stdout, found); err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	if !found.Same {
		return differsError(found.Verdict())
	}
	if !c.quiet {
		fmt.Fprintln(stderr, found.Verdict())
	}
	return nil
}

// tell writes what came of the job for people. Nothing is lost where nobody
// reads it, so that a closed stderr is no failure.
func tell(stderr io.Writer, report *templates.Report) {
	show := templates.WriteSummary
	if report.DryRun { // it has the Dockerfile on stdout
		show = templates.WritePlan
	} else if templates.ShowDockerfiles(stderr, report) != nil {
		return
	}
	_ = show(stderr, report, templates.Look{Width: progress.Width(stderr), Colour: progress.Colour(stderr)})
}

// product writes to stdout what other programs read there.
func (c *command) product(stdout io.Writer, report *templates.Report) error {
	switch {
	case c.json:
		return templates.WriteJSON(stdout, report)
	case c.job.StdoutTaken():
		return nil // it has been written: the archive or the context
	case report.DryRun && progress.IsTerminal(stdout):
		return templates.ShowDockerfiles(stdout, report)
	case report.DryRun:
		return templates.WriteDockerfiles(stdout, report)
	}
	_, err := fmt.Fprintln(stdout, report.ID)
	return err
}

// command is a parsed command line.
type command struct {
	job        rebuild.Options
	compare    *rebuild.CompareOptions // in place of job; nil for none
	json       bool
	quiet      bool
	progress   string
	help       bool
	man        bool
	version    bool
	completion string
}

// arguments are the texts and switches of a command line.
type arguments struct {
	tags, reports                                                                []string
	base, output, context, builder, platform, dockerfile, compare                string
	maxWaste, maxLayers, maxSize                                                 string
	compression, verify, attest, progress, completion                            string
	dryRun, noCache, offline, insecure, force, json, quiet, man, version, isHelp bool
}

// attestBeside is what --attest is without a file.
const attestBeside = "beside the result"

// options returns the set of options, which it reads into a.
func options(a *arguments) *pflag.FlagSet {
	f := pflag.NewFlagSet("docker-flatten", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringArrayVarP(&a.tags, "tag", "t", nil, "")
	f.StringVarP(&a.base, "base", "b", "auto", "")
	f.StringVarP(&a.output, "output", "o", "", "")
	f.StringVar(&a.context, "context", "", "")
	f.StringVar(&a.dockerfile, "dockerfile", "flattened", "")
	f.StringVar(&a.builder, "builder", "auto", "")
	f.StringVar(&a.platform, "platform", "", "")
	f.StringVar(&a.compression, "compression", "", "")
	f.StringVar(&a.verify, "verify", maker.Structure.String(), "")
	f.StringVar(&a.compare, "compare", "", "")
	f.BoolVar(&a.dryRun, "dry-run", false, "")
	f.StringVar(&a.maxWaste, string(templates.MaxWaste), "", "")
	f.StringVar(&a.maxLayers, string(templates.MaxLayers), "", "")
	f.StringVar(&a.maxSize, string(templates.MaxSize), "", "")
	f.BoolVar(&a.noCache, "no-cache", false, "")
	f.BoolVar(&a.offline, "offline", false, "")
	f.BoolVar(&a.insecure, "insecure", false, "")
	f.BoolVar(&a.force, "force", false, "")
	f.BoolVar(&a.json, "json", false, "")
	f.StringVar(&a.progress, "progress", "auto", "")
	f.StringVar(&a.attest, "attest", "", "")
	f.Lookup("attest").NoOptDefVal = attestBeside
	f.StringArrayVar(&a.reports, "report", nil, "")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "")
	f.StringVar(&a.completion, "completion", "", "")
	f.BoolVar(&a.man, "man", false, "")
	f.BoolVar(&a.version, "version", false, "")
	f.BoolVarP(&a.isHelp, "help", "h", false, "")
	return f
}

// parse reads the options and the one IMAGE. Its errors are the user's to mend.
func parse(args []string) (*command, error) {
	var a arguments
	f := options(&a)
	if err := f.Parse(args); err != nil {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) {
			return nil, suggest(f, unknown)
		}
		return nil, err
	}
	if err := hasValues(f); err != nil {
		return nil, err
	}
	switch first := f.Arg(0); {
	case f.NArg() != 1:
	case first == "help", first == "version": // an image of that name is docker-daemon:help
		a.isHelp, a.version = first == "help", first == "version"
	}
	c := &command{json: a.json, quiet: a.quiet, progress: a.progress, help: a.isHelp, man: a.man, version: a.version, completion: a.completion}
	if c.help || c.man || c.version || c.completion != "" {
		return c, nil
	}
	switch f.NArg() {
	case 0:
		if a.compare != "" {
			return nil, fmt.Errorf("--compare %s: no image given that it is to be held against", a.compare)
		}
		return nil, errors.New("no image given")
	case 1:
	default:
		if a.attest == attestBeside && f.NArg() == 2 {
			return nil, fmt.Errorf("one image at a time, not 2: %s; a file for --attest is given as --attest=%s", strings.Join(f.Args(), " "), f.Arg(0))
		}
		return nil, fmt.Errorf("one image at a time, not %d: %s", f.NArg(), strings.Join(f.Args(), " "))
	}
	if !slices.Contains([]string{"auto", "tty", "plain", "none"}, c.progress) {
		return nil, fmt.Errorf("--progress %s: must be auto, tty, plain or none", c.progress)
	}
	if c.quiet {
		if f.Changed("progress") && c.progress != "none" {
			return nil, fmt.Errorf("--quiet and --progress %s contradict each other", c.progress)
		}
		c.progress = "none"
	}
	for _, name := range a.reports {
		if !strings.HasSuffix(name, ".html") && !strings.HasSuffix(name, ".svg") {
			return nil, fmt.Errorf("--report %s: the name must end in .html or .svg", name)
		}
	}
	var err error
	if f.Changed("compare") {
		if c.compare, err = a.comparison(f); err != nil {
			return nil, err
		}
		return c, c.compare.Validate()
	}
	if c.job, err = a.job(f); err != nil {
		return nil, err
	}
	if c.json && c.job.StdoutTaken() {
		return nil, errors.New("--json and a product on stdout (-) exclude each other")
	}
	return c, c.job.Validate()
}

// hasValues refuses an option with an empty value, which is what --context "$DIR"
// becomes where DIR isn't set: whoever wrote it wanted something else than the
// default.
func hasValues(f *pflag.FlagSet) error {
	var err error
	f.Visit(func(flag *pflag.Flag) {
		values := []string{flag.Value.String()}
		if list, isList := flag.Value.(pflag.SliceValue); isList {
			values = list.GetSlice()
		}
		if err == nil && slices.ContainsFunc(values, func(v string) bool { return strings.TrimSpace(v) == "" }) {
			err = fmt.Errorf("--%s: its value is empty", flag.Name)
		}
	})
	return err
}

// suggest names the option that an unknown one was probably meant for. A letter
// alone is near to everything short.
func suggest(f *pflag.FlagSet, unknown *pflag.NotExistError) error {
	near, distance := "", min(3, (len(unknown.GetSpecifiedName())+1)/3+1)
	if unknown.GetSpecifiedShortnames() != "" {
		return unknown
	}
	if name, value, spaced := strings.Cut(unknown.GetSpecifiedName(), " "); spaced && f.Lookup(name) != nil { // two words in quotes
		return fmt.Errorf("%w: did you mean --%s=%s?", unknown, name, strings.TrimSpace(value))
	}
	f.VisitAll(func(flag *pflag.Flag) {
		if d := levenshtein.Distance(unknown.GetSpecifiedName(), flag.Name, nil); d < distance {
			near, distance = flag.Name, d
		}
	})
	if near == "" {
		return unknown
	}
	return fmt.Errorf("%w: did you mean --%s?", unknown, near)
}

// withCompare are the options that go with --compare.
var withCompare = []string{"compare", "platform", "insecure", "json", "progress", "quiet"}

// comparison decodes what is to be compared.
func (a *arguments) comparison(f *pflag.FlagSet) (*rebuild.CompareOptions, error) {
	var other []string
	f.Visit(func(flag *pflag.Flag) {
		if !slices.Contains(withCompare, flag.Name) {
			other = append(other, "--"+flag.Name)
		}
	})
	if len(other) > 0 {
		return nil, fmt.Errorf("--compare makes no image: it doesn't go with %s", strings.Join(other, ", "))
	}
	o := &rebuild.CompareOptions{Platform: a.platform, Insecure: a.insecure}
	var err error
	if o.Image, err = image.ParseRef(f.Arg(0)); err != nil {
		return nil, err
	}
	if o.Other, err = image.ParseRef(a.compare); err != nil {
		return nil, fmt.Errorf("--compare: %w", err)
	}
	o.Timeout, err = timeout()
	return o, err
}

// job decodes what the job is to be.
func (a *arguments) job(f *pflag.FlagSet) (rebuild.Options, error) {
	o := rebuild.Options{
		Tags: a.tags, Context: a.context, Reports: a.reports, Platform: a.platform,
		DryRun: a.dryRun, NoCache: a.noCache, Offline: a.offline, Insecure: a.insecure, Force: a.force,
	}
	switch {
	case a.attest == attestBeside:
		o.Attest = true
	case a.attest == "-":
		return o, errors.New("--attest=-: the statement goes to a file; stdout has the result's digest")
	default:
		o.AttestFile = a.attest
	}
	switch a.dockerfile {
	case "flattened":
	case "original":
		for _, name := range []string{"builder", "compression", "verify", "no-cache"} {
			if f.Changed(name) {
				return o, fmt.Errorf("--dockerfile original merges no layers: it doesn't go with --%s", name)
			}
		}
		o.Recover = true
	default:
		return o, fmt.Errorf("--dockerfile %s: must be flattened or original", a.dockerfile)
	}
	var err error
	if o.Image, err = image.ParseRef(f.Arg(0)); err != nil {
		return o, err
	}
	if f.Changed("output") {
		ref, err := image.ParseRef(a.output)
		if err != nil {
			return o, fmt.Errorf("--output: %w", err)
		}
		o.Output = &ref
	}
	if o.Base, err = plan.ParseBase(a.base); err != nil {
		return o, fmt.Errorf("--base: %w", err)
	}
	if o.Builder, err = rebuild.ParseBuilder(a.builder); err != nil {
		return o, fmt.Errorf("--builder: %w", err)
	}
	if o.Verify, err = maker.ParseVerify(a.verify); err != nil {
		return o, fmt.Errorf("--verify: %w", err)
	}
	if f.Changed("compression") {
		if o.Compression, err = image.ParseCompression(a.compression); err != nil {
			return o, fmt.Errorf("--compression: %w", err)
		}
	}
	for _, limit := range []struct {
		kind templates.GateKind
		text string
	}{{templates.MaxWaste, a.maxWaste}, {templates.MaxLayers, a.maxLayers}, {templates.MaxSize, a.maxSize}} {
		if !f.Changed(string(limit.kind)) {
			continue
		}
		gate, err := plan.ParseGate(limit.kind, limit.text)
		if err != nil {
			return o, fmt.Errorf("--%s %s: %w", limit.kind, limit.text, err)
		}
		o.Gates = append(o.Gates, gate)
	}
	if o.Timeout, err = timeout(); err != nil {
		return o, err
	}
	o.SourceDate, err = sourceDate()
	return o, err
}

// timeout is the time in DOCKER_FLATTEN_TIMEOUT, 0 where it isn't set.
func timeout() (time.Duration, error) {
	text := os.Getenv("DOCKER_FLATTEN_TIMEOUT")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("DOCKER_FLATTEN_TIMEOUT %q: must be a time such as 90s or 5m", text)
	}
	return d, nil
}

// sourceDate is the time in SOURCE_DATE_EPOCH (reproducible-builds.org), nil
// where it isn't set.
func sourceDate() (*time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return nil, nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("SOURCE_DATE_EPOCH %q: must be a number of seconds", epoch)
	}
	t := time.Unix(seconds, 0).UTC()
	if t.Year() < 0 || t.Year() > 9999 { // RFC 3339 has no other years
		return nil, fmt.Errorf("SOURCE_DATE_EPOCH %q: must be a second of the years 0 to 9999", epoch)
	}
	return &t, nil
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
	// docker completes with __complete flatten …, and asks for help with help flatten.
	rest := f.Args()
	if i := slices.Index(rest, "flatten"); i == 0 || i == 1 && (strings.HasPrefix(rest[0], "__complete") || rest[0] == "help") {
		rest = slices.Delete(rest, i, i+1)
	}
	return rest, nil
}

// complete answers docker's request to complete word for this plugin, in the
// form that cobra's completion scripts take: a candidate a line, then a colon
// and what else the shell may offer.
func complete(ctx context.Context, flags engineFlags, word string, stdout io.Writer) int {
	const noFiles, files = 4, 0
	if strings.HasPrefix(word, "-") {
		options(&arguments{}).VisitAll(func(f *pflag.Flag) {
			if strings.HasPrefix("--"+f.Name, word) {
				fmt.Fprintln(stdout, "--"+f.Name)
			}
		})
		fmt.Fprintf(stdout, ":%d\n", noFiles)
		return 0
	}
	cli, err := engine.NewClient(flags.context, flags.host, 5*time.Second) // somebody waits at a prompt
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
		Version:          version.Number(),
		ShortDescription: "Flatten an image to its base plus one layer",
	})
	if err != nil {
		return exitFailed
	}
	return 0
}

// differsError says that two images differ.
type differsError string

func (e differsError) Error() string { return string(e) }

// exceededError says in a line each which limits the image exceeds.
type exceededError []string

func (e exceededError) Error() string { return strings.Join(e, "; ") }

// fail prints err as one line, with a line of hint where there is one, and
// returns the exit code that fits it. Several exceeded limits get a line each.
func fail(stderr io.Writer, err error) int {
	if over := exceededError(nil); errors.As(err, &over) {
		for _, line := range over {
			fmt.Fprintf(stderr, "docker-flatten: %s\n", oneLine(line))
		}
		return exitExceeded
	}
	fmt.Fprintf(stderr, "docker-flatten: %s\n", oneLine(err.Error()))
	var hinted *image.Error
	hasHint := errors.As(err, &hinted) && hinted.Hint != ""
	if hasHint {
		fmt.Fprintf(stderr, "hint: %s\n", oneLine(hinted.Hint))
	}
	switch {
	case errors.As(err, new(differsError)), errors.As(err, new(*layer.DifferenceError)), errors.As(err, new(*plan.ConfigError)), errors.Is(err, image.ErrDiffers):
		return exitDiffers
	case errors.As(err, new(*rebuild.UsageError)):
		if !hasHint {
			fmt.Fprintln(stderr, "hint: docker-flatten --help lists the options")
		}
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
	return templates.OneLine(strings.Join(lines, "; "))
}
