package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"docker-flatten/rebuild"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/layer"
	"docker-flatten/rebuild/plan"
	"docker-flatten/templates"
)

// command line, run in process.
func flattenCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// example copies the README's example image to a directory of its own.
func example(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("examples/prototype/image.tar")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestWrongUseGetsOneLineAndExit2(t *testing.T) {
	cases := map[string][]string{
		"no image":                    {},
		"two images":                  {"a", "b"},
		"unknown flag":                {"--frobnicate", "a"},
		"unknown builder":             {"--builder", "kaniko", "a"},
		"unknown verification":        {"--verify", "maybe", "a"},
		"unknown progress":            {"--progress", "dots", "a"},
		"unknown compression":         {"--compression", "lzma", "a"},
		"compression level":           {"--compression", "gzip:99", "a"},
		"bad tag":                     {"-t", "Not A Name", "a"},
		"tag with a digest":           {"-t", "a@sha256:" + strings.Repeat("a", 64), "a"},
		"report of an unknown kind":   {"--report", "r.pdf", "a"},
		"unknown shell":               {"--completion", "tcsh"},
		"empty reference":             {""},
		"bad reference":               {"docker://UPPER"},
		"quiet and tty":               {"-q", "--progress", "tty", "a"},
		"json and archive on stdout":  {"--json", "-o", "-", "a"},
		"dry run to stdout":           {"--dry-run", "-o", "-", "a"},
		"two products on stdout":      {"--context", "-", "-o", "-", "a"},
		"two products on its device":  {"--context", "-", "-o", "/dev/stdout", "a.tar"},
		"bad platform":                {"--platform", "linux", "a"},
		"a slip in an option":         {"--quite", "a"},
		"a slip in a transport":       {"docker-archiv:foo.tar"},
		"no transport":                {"-o", "nosuchtransport:foo", "a.tar"},
		"a foreign transport":         {"s3://bucket/a"},
		"a gate for a real run":       {"--max-layers", "5", "a"},
		"waste beyond all":            {"--dry-run", "--max-waste", "101%", "a"},
		"layers that are no number":   {"--dry-run", "--max-layers", "few", "a"},
		"a size that is none":         {"--dry-run", "--max-size", "huge", "a"},
		"compare with a tag":          {"--compare", "b", "-t", "x", "a"},
		"compare with an output":      {"--compare", "b", "-o", "x.tar", "a"},
		"compare in a dry run":        {"--compare", "b", "--dry-run", "a"},
		"compare with a gate":         {"--compare", "b", "--max-layers", "1", "a"},
		"compare with a context":      {"--compare", "b", "--context", "dir", "a"},
		"compare with a page":         {"--compare", "b", "--report", "r.html", "a"},
		"compare with a base":         {"--compare", "b", "--base", "auto", "a"},
		"compare with --verify":       {"--compare", "b", "--verify", "off", "a"},
		"compare with nothing":        {"--compare", "", "a"},
		"compare no platform":         {"--compare", "b", "--platform", "linux", "a"},
		"compare stdin with stdin":    {"--compare", "-", "-"},
		"compare with no image":       {"--compare", "b"},
		"nowhere to put stdin's":      {"-"},
		"nowhere to put a registry's": {"docker://registry.example/a:1"},
		"nowhere but a name":          {"-t", "flat:1", "docker://registry.example/a:1"},
		"a registry and no image":     {"docker://registry.example"},
		"a registry, port, no image":  {"-o", "docker://localhost:5000", "a.tar"},
		"a foreign kind of address":   {"https://registry.example/a:1"},
		"several platforms":           {"--platform", "linux/amd64,linux/arm64", "a"},
		"fewer layers than none":      {"--base", "-1", "a"},
		"an empty context":            {"--context", "", "a"},
		"an empty tag":                {"-t", "", "a"},
		"an empty page":               {"--report", "r.html", "--report=", "a"},
		"an empty platform":           {"--platform=", "a"},
		"an empty shell":              {"--completion=", "a"},
		"an empty base":               {"--base", " ", "a"},
		"an empty statement's name":   {"--attest=", "a"},
		"a statement on stdout":       {"--attest=-", "a"},
		"a merge's way, and no merge": {"--dockerfile", "original", "--dry-run", "--verify", "content", "a"},
		"quiet, an unknown progress":  {"-q", "--progress", "dots", "a"},
		"bad SOURCE_DATE_EPOCH":       {"a"},
		"late SOURCE_DATE_EPOCH":      {"a"},
	}
	for name, args := range cases {
		t.Run(name, func(t *testing.T) {
			switch name {
			case "bad SOURCE_DATE_EPOCH":
				t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
			case "late SOURCE_DATE_EPOCH":
				t.Setenv("SOURCE_DATE_EPOCH", "99999999999999")
			}
			code, stdout, stderr := flattenCommand(t, args...)
			if code != exitUsage {
				t.Errorf("exit code %d, want %d: %s", code, exitUsage, stderr)
			}
			if stdout != "" {
				t.Errorf("printed on stdout: %s", stdout)
			}
			lines := strings.Split(strings.TrimRight(stderr, "\n"), "\n")
			if len(lines) != 2 || strings.Contains(lines[0], "json:") || !strings.HasPrefix(lines[0], "docker-flatten: ") || !strings.HasPrefix(lines[1], "hint: ") {
				t.Errorf("not one line and a hint:\n%s", stderr)
			}
		})
	}
}

func TestBadTimeoutIsWrongUse(t *testing.T) {
	for _, text := range []string{"1", "soon", "-1s", "0s"} {
		t.Setenv("DOCKER_FLATTEN_TIMEOUT", text)
		if code, _, stderr := flattenCommand(t, "a"); code != exitUsage || !strings.Contains(stderr, "DOCKER_FLATTEN_TIMEOUT") {
			t.Errorf("%q: exit code %d: %s", text, code, stderr)
		}
	}
}

func TestFailureNamesTheObject(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	missing := filepath.Join(t.TempDir(), "missing.tar")
	cases := map[string]struct {
		args []string
		says []string
		not  string // "" = anything may be said besides
	}{
		"no engine":        {[]string{"app"}, []string{"/nowhere/docker.sock", "hint: "}, ""},
		"no such file":     {[]string{missing}, []string{"missing.tar"}, "docker-daemon"},
		"no archive here":  {[]string{"docker-archive:missing.tar"}, []string{"missing.tar"}, "hint: "},
		"no layout here":   {[]string{"oci:missing"}, []string{"missing"}, "hint: "},
		"no name either":   {[]string{"missing.tar"}, []string{"hint: ", "docker-daemon:missing.tar"}, ""},
		"base too high":    {[]string{"--base", "99", example(t)}, []string{"99", "8 layers"}, ""},
		"base is no image": {[]string{"--base", "./nothing.tar", example(t)}, []string{"nothing.tar"}, ""},
		"no platform":      {[]string{"--platform", "linux/s390x", example(t)}, []string{"s390x"}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := flattenCommand(t, append([]string{"--progress", "none"}, c.args...)...)
			if code != exitFailed {
				t.Errorf("exit code %d, want %d", code, exitFailed)
			}
			for _, s := range c.says {
				if !strings.Contains(stderr, s) {
					t.Errorf("doesn't say %q:\n%s", s, stderr)
				}
			}
			if c.not != "" && strings.Contains(stderr, c.not) {
				t.Errorf("says %q:\n%s", c.not, stderr)
			}
			if n := strings.Count(stderr, "\n"); n > 2 {
				t.Errorf("%d lines:\n%s", n, stderr)
			}
		})
	}
}

func TestNoTemporaryDirectoryIsNamed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("TMPDIR has another name here")
	}
	src := example(t)
	t.Setenv("TMPDIR", "/nowhere/temporary")
	code, _, stderr := flattenCommand(t, "-q", "-o", "-", src)
	if code != exitFailed || !strings.Contains(stderr, "/nowhere/temporary: no such") || !strings.Contains(stderr, "hint: TMPDIR") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestProductAloneIsOnStdout(t *testing.T) {
	src := example(t)
	code, stdout, stderr := flattenCommand(t, "-t", "demo:flat", src)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if !regexp.MustCompile(`^sha256:[0-9a-f]{64}\n$`).MatchString(stdout) {
		t.Errorf("stdout is not the image ID alone: %q", stdout)
	}
	for _, s := range []string{"ADD layer.tar.gz /", "demo:flat"} {
		if !strings.Contains(stderr, s) {
			t.Errorf("stderr doesn't say %q:\n%s", s, stderr)
		}
	}
}

func TestPrototypeReadsFromMaintainerAddExposeCmd(t *testing.T) {
	code, stdout, stderr := flattenCommand(t, "--dry-run", example(t))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var got []string
	for _, line := range strings.Split(stdout, "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			got = append(got, strings.Fields(line)[0])
		}
	}
	if strings.Join(got, " ") != "FROM MAINTAINER ADD EXPOSE CMD" {
		t.Errorf("the Dockerfile's instructions are %v:\n%s", got, stdout)
	}
	for _, s := range []string{"rm layerfile.txt", "EXPOSE 123 234"} {
		if !strings.Contains(stdout, s) {
			t.Errorf("the Dockerfile doesn't say %q:\n%s", s, stdout)
		}
	}
}

func TestQuietSaysNothingButTheID(t *testing.T) {
	code, stdout, stderr := flattenCommand(t, "-q", "-t", "demo:flat", example(t))
	if code != 0 || stderr != "" || stdout == "" {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

func TestJSONIsOneObject(t *testing.T) {
	code, stdout, stderr := flattenCommand(t, "--json", "--dry-run", example(t))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var report templates.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	if !report.DryRun || len(report.Images) != 1 || len(report.Images[0].Layers) != 8 {
		t.Errorf("report = %+v", report)
	}
}

func TestGatesOfADryRun(t *testing.T) {
	src := example(t) // 8 layers of 50,380 bytes, 50,278 of them wasted
	for _, c := range []struct {
		args  string
		code  int
		lines int
	}{
		{"--max-waste 100% --max-layers 8 --max-size 51kB", 0, 0},
		{"--max-waste 5% --max-layers 8 --max-size 51kB", exitExceeded, 1},
		{"--max-waste 50kB --max-layers 7 --max-size 50kB", exitExceeded, 3},
	} {
		code, stdout, stderr := flattenCommand(t, append(strings.Fields("-q --json --dry-run "+c.args), src)...)
		if code != c.code || strings.Count(stderr, "\n") != c.lines || strings.Count(stderr, "docker-flatten: ") != c.lines {
			t.Errorf("%s: exit code %d, %q", c.args, code, stderr)
		}
		var report templates.Report
		if err := json.Unmarshal([]byte(stdout), &report); err != nil {
			t.Fatal(err)
		}
		im := report.Images[0]
		failed := 0
		for _, g := range im.Gates {
			if !g.Passed {
				failed++
			}
		}
		if len(im.Gates) != 3 || failed != c.lines {
			t.Errorf("%s: gates %+v", c.args, im.Gates)
		}
		if s := report.Savings; s.Wasted != 50278 || s.Bytes != 50380 || s.Goes <= 0 || s.Scratch < s.Goes {
			t.Errorf("savings %+v", s)
		}
	}
}

func TestCompare(t *testing.T) {
	src := example(t)
	flat := filepath.Join(t.TempDir(), "flat.tar")
	if code, _, stderr := flattenCommand(t, "-q", "-o", flat, src); code != 0 {
		t.Fatal(stderr)
	}
	const another = "examples/no-daemon/app.tar"
	t.Run("the same", func(t *testing.T) {
		code, stdout, stderr := flattenCommand(t, "--progress", "none", "--compare", src, flat)
		if code != 0 || stdout != "" || !strings.HasSuffix(stderr, " are the same: config and 12 paths\n") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("code %d, %q, %q", code, stdout, stderr)
		}
	})
	t.Run("the same, quietly", func(t *testing.T) {
		if code, stdout, stderr := flattenCommand(t, "-q", "--compare", src, flat); code != 0 || stdout+stderr != "" {
			t.Errorf("code %d, %q, %q", code, stdout, stderr)
		}
	})
	t.Run("differences", func(t *testing.T) {
		code, stdout, stderr := flattenCommand(t, "--progress", "none", "--compare", src, another)
		if code != exitDiffers || !strings.Contains(stdout, "/tmp: only in OTHER (directory)\n") || strings.Count(stdout, "\n") != 16 {
			t.Errorf("code %d, %s", code, stdout)
		}
		if !strings.HasSuffix(stderr, " in 16 places\n") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q", stderr)
		}
	})
	t.Run("json", func(t *testing.T) {
		for image, want := range map[string]int{flat: 0, another: exitDiffers} {
			code, stdout, _ := flattenCommand(t, "--json", "--compare", src, image)
			var c templates.Comparison
			if err := json.Unmarshal([]byte(stdout), &c); err != nil || code != want || c.Same != (want == 0) {
				t.Errorf("%s: code %d, %v, same %v", image, code, err, c.Same)
			}
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var out, errs bytes.Buffer
		if code := run(ctx, []string{"--progress", "none", "--compare", src, flat}, &out, &errs); code != exitInterrupted || out.Len() > 0 {
			t.Errorf("code %d, %q, %q", code, out.String(), errs.String())
		}
	})
}

func TestReportPagesAreWritten(t *testing.T) {
	dir := t.TempDir()
	page, picture := filepath.Join(dir, "r.html"), filepath.Join(dir, "r.svg")
	code, _, stderr := flattenCommand(t, "-q", "--dry-run", "--report", page, "--report", picture, example(t))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for name, start := range map[string]string{page: "<!doctype html>", picture: "<svg"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.ToLower(string(b)), start) {
			t.Errorf("%s has no %s", name, start)
		}
	}
}

func TestHelpNamesEveryOption(t *testing.T) {
	code, stdout, _ := flattenCommand(t, "--help")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	options(&arguments{}).VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(stdout, "--"+f.Name+" ") && !strings.Contains(stdout, "--"+f.Name+"[=") {
			t.Errorf("the help text doesn't name --%s", f.Name)
		}
	})
	for _, line := range strings.Split(stdout, "\n") {
		if len(line) > 80 && !strings.Contains(line, "://") {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
}

func TestSlipsGetASuggestion(t *testing.T) {
	for args, says := range map[string]string{
		"--quite a":                     "did you mean --quiet?",
		"--dryrun a":                    "did you mean --dry-run?",
		"docker-archiv:foo.tar":         "did you mean docker-archive:?",
		"--base nosuch:1 " + example(t): "--base N",
		"https://registry.example/a:1":  "did you mean docker://registry.example/a:1?",
		"-q --progress dots a":          "must be auto, tty, plain or none",
		"--compare b":                   "--compare b: no image given",
	} {
		t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
		if _, _, stderr := flattenCommand(t, strings.Fields(args)...); !strings.Contains(stderr, says) {
			t.Errorf("%s: doesn't say %q:\n%s", args, says, stderr)
		}
	}
	if _, _, stderr := flattenCommand(t, "--base debian:12", "a"); !strings.Contains(stderr, "did you mean --base=debian:12?") {
		t.Errorf("two words in one: %s", stderr)
	}
	for _, args := range []string{"-n a", "--log a", "--squash a"} { // near to nothing
		if _, _, stderr := flattenCommand(t, strings.Fields(args)...); strings.Contains(stderr, "did you mean") {
			t.Errorf("%s: %s", args, stderr)
		}
	}
}

func TestHelpAndVersionAsWords(t *testing.T) {
	for word, says := range map[string]string{"help": "Usage:", "version": "docker-flatten "} {
		code, stdout, _ := flattenCommand(t, word)
		if code != 0 || !strings.Contains(stdout, says) {
			t.Errorf("%s: code %d, %q", word, code, stdout)
		}
	}
}

// fullDisk takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestTextsThatCannotBeWrittenAreAFailure(t *testing.T) {
	for _, args := range []string{"--help", "--man", "--version", "--completion bash"} {
		var errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), fullDisk{}, &errs); code != exitFailed || !strings.Contains(errs.String(), "write to stdout: no space left") {
			t.Errorf("%s: exit code %d: %s", args, code, errs.String())
		}
	}
}

func TestPluginArguments(t *testing.T) {
	t.Setenv("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "/usr/bin/docker")
	var e engineFlags
	rest, err := e.parse([]string{"--host", "tcp://h:1", "-c", "remote", "flatten", "--context", "dir", "-t", "x", "app"})
	if err != nil {
		t.Fatal(err)
	}
	if e.host != "tcp://h:1" || e.context != "remote" {
		t.Errorf("engine flags = %+v", e)
	}
	if strings.Join(rest, " ") != "--context dir -t x app" {
		t.Errorf("own arguments = %v", rest)
	}
	for _, args := range [][]string{{"flatten", "--help"}, {"help", "flatten"}} {
		if code, stdout, _ := flattenCommand(t, args...); code != 0 || !strings.Contains(stdout, "Usage:") {
			t.Errorf("docker %v: code %d", args, code)
		}
	}
}

func TestPluginCompletesOptions(t *testing.T) {
	t.Setenv("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "/usr/bin/docker")
	code, stdout, _ := flattenCommand(t, "__complete", "flatten", "--co")
	if want := "--compare\n--completion\n--compression\n--context\n:4\n"; code != 0 || stdout != want {
		t.Errorf("code %d, %q, want %q", code, stdout, want)
	}
}

func TestPluginMetadata(t *testing.T) {
	code, stdout, _ := flattenCommand(t, "docker-cli-plugin-metadata")
	var m map[string]string
	if err := json.Unmarshal([]byte(stdout), &m); err != nil || code != 0 {
		t.Fatalf("code %d: %v", code, err)
	}
	if m["SchemaVersion"] != "0.1.0" || m["Vendor"] == "" || m["ShortDescription"] == "" {
		t.Errorf("metadata = %v", m)
	}
}

// TestMain is the program where a test asks for it, and runs the tests elsewhere.
func TestMain(m *testing.M) {
	if args := os.Getenv("DOCKER_FLATTEN_TEST_ARGS"); args != "" {
		os.Args = append([]string{"docker-flatten"}, strings.Fields(args)...)
		main()
		return
	}
	os.Exit(m.Run())
}

// TestBrokenPipeLeavesNothing has whoever reads the context go away, as a build
// that fails does.
func TestBrokenPipeLeavesNothing(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signal comes of a broken pipe here")
	}
	temp := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, "DOCKER_FLATTEN_TEST_ARGS=--context - "+example(t))
	cmd.Stdout = w
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		t.Errorf("%v, want exit code %d", err, exitFailed)
	}
	w.Close()
	entries, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(entries, func(e os.DirEntry) bool { return strings.Contains(e.Name(), "flatten") }); i >= 0 {
		t.Errorf("%s is left behind", entries[i].Name())
	}
}

func TestExitCodes(t *testing.T) {
	for want, errs := range map[int][]error{
		exitDiffers: {
			fmt.Errorf("x: %w", &layer.DifferenceError{Count: 1}), &plan.ConfigError{Diff: []string{"a"}},
			errors.Join(&image.Error{Op: "load", Err: image.ErrDiffers}, errors.New("remove it")),
		},
		exitUsage:  {&rebuild.UsageError{Err: errors.New("x")}},
		exitFailed: {errors.New("x"), &image.Error{Op: "open", Err: image.ErrNoImage}},
	} {
		for _, err := range errs {
			if got := fail(io.Discard, err); got != want {
				t.Errorf("%v: exit code %d, want %d", err, got, want)
			}
		}
	}
}

func TestOneLineSaysNothingTwice(t *testing.T) {
	if got, want := oneLine("write a: full\nfull\nother\r\n"), "write a: full; other"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
