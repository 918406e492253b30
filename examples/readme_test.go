// Package examples holds what docker-flatten does, to be run by hand: a folder
// an example, each with a README.md. The tests run the READMEs' commands and
// compare what they print.
package examples

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the commands print into the READMEs")

// binary is the program under test, in a directory of its own that is put in
// front of PATH.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "docker-flatten-examples-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "docker-flatten")
		if runtime.GOOS == "windows" {
			binary += ".exe"
		}
		if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "docker-flatten").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build docker-flatten: %v\n%s", err, out)
			return 1
		}
		if err := noteSources(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// noteSources looks at every source of the program: go test knows what this
// test has looked at, and takes no result from its cache once it has changed.
func noteSources() error {
	return filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if ext := filepath.Ext(file); ext == ".go" && !strings.HasSuffix(file, "_test.go") || ext == ".tmpl" || ext == ".txt" {
			_, err = os.Stat(file)
		}
		return err
	})
}

// folders are the examples, each with its README.md.
func folders(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*/README.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no READMEs: %v", err)
	}
	var names []string
	for _, f := range files {
		names = append(names, filepath.Dir(f))
	}
	return names
}

// TestReadmes runs every console block of every README in a copy of its folder.
func TestReadmes(t *testing.T) {
	tool(t, "bash")
	for _, name := range folders(t) {
		t.Run(name, func(t *testing.T) {
			text, found := readme(t, name)
			s := newShell(t, name)
			printed := map[int][]string{}
			var all []command
			for _, b := range found {
				kind, _, _ := strings.Cut(b.info, " ")
				if kind != "console" {
					continue
				}
				cs, err := b.commands()
				if err != nil {
					t.Fatalf("%s/README.md: %v", name, err)
				}
				all = append(all, cs...)
				title := fmt.Sprintf("line %d", b.line)
				t.Run(title, func(t *testing.T) {
					if b.info == "console engine" {
						s.needEngine(t)
					}
					for _, c := range cs {
						got := s.run(t, c)
						printed[c.line] = got
						if !matches(c.want, got) && !*update {
							t.Errorf("%s/README.md:%d: $ %s\nprints\n%s\nnot\n%s", name, c.line+1, c.text,
								strings.Join(got, "\n"), strings.Join(c.want, "\n"))
						}
					}
				})
			}
			if *update {
				if err := rewrite(filepath.Join(name, "README.md"), text, printed, all); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// readme reads the README of an example.
func readme(t *testing.T, name string) (string, []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(name, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := blocks(string(text))
	if err != nil {
		t.Fatalf("%s/README.md: %v", name, err)
	}
	for _, b := range found {
		if !slices.Contains([]string{"console", "console engine", "sh", "", "Dockerfile", "text", "yaml"}, b.info) {
			t.Errorf("%s/README.md: line %d: a block of an unknown kind: %s", name, b.line, b.info)
		}
	}
	return string(text), found
}

// shell runs the commands of one README.
type shell struct {
	root     string // a copy of the checkout's examples
	dir      string // the example in it
	env      []string
	temp     string // TMPDIR, which stands in for /tmp
	registry string // address of the registry that stands in for localhost:5000
}

// newShell copies an example, and starts a registry in place of the READMEs'
// localhost:5000 with the example's image in it.
func newShell(t *testing.T, name string) *shell {
	root := t.TempDir()
	s := &shell{root: root, dir: filepath.Join(root, "examples", name)}
	copyExample(t, name, s.dir)
	s.registry = startRegistry(t)
	if archive := filepath.Join(name, "app.oci.tar"); fileExists(archive) {
		push(t, archive, s.registry+"/app:1")
	}
	home := t.TempDir()
	s.temp = t.TempDir()
	s.env = []string{
		"PATH=" + filepath.Dir(binary) + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME=" + home, "TMPDIR=" + s.temp, "LC_ALL=C",
	}
	for _, key := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOFLAGS", "GOPROXY"} { // some examples build a program
		value, err := exec.Command("go", "env", key).Output()
		if err != nil {
			t.Fatal(err)
		}
		s.env = append(s.env, key+"="+strings.TrimSpace(string(value)))
	}
	return s
}

// copyExample copies a folder without what the README's commands made in it when
// somebody ran them there: that is what .gitignore lists.
func copyExample(t *testing.T, name, dir string) {
	t.Helper()
	text, err := os.ReadFile(".gitignore")
	if err != nil {
		t.Fatal(err)
	}
	ignored := func(file string) bool {
		for pattern := range strings.Lines(string(text)) {
			pattern = strings.TrimSpace(pattern)
			if pattern == "" || pattern[0] == '#' {
				continue
			}
			of := "/" + filepath.ToSlash(file)
			if !strings.HasPrefix(pattern, "/") {
				of = filepath.Base(file)
			}
			if ok, _ := path.Match(strings.TrimSuffix(pattern, "/"), of); ok {
				return true
			}
		}
		return false
	}
	err = filepath.WalkDir(name, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ignored(file) && entry.IsDir():
			return filepath.SkipDir
		case ignored(file):
			return nil
		}
		to := filepath.Join(dir, strings.TrimPrefix(file, name))
		if entry.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		body, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return os.WriteFile(to, body, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// tool is the path of a program that a test runs. Without it the test is skipped, or
// fails where DOCKER_FLATTEN_PEERS=required, as in CI.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("DOCKER_FLATTEN_PEERS") == "required" {
		t.Fatalf("%s is not installed, and DOCKER_FLATTEN_PEERS=required", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// needEngine skips a block where there is no engine, and says which one it uses
// where there is.
func (s *shell) needEngine(t *testing.T) {
	t.Helper()
	host := os.Getenv("DOCKER_FLATTEN_ENGINE")
	if host == "" {
		t.Skip("no Docker Engine: set DOCKER_FLATTEN_ENGINE to its address, or to default")
	}
	tool(t, "docker")
	if host == "default" {
		host = os.Getenv("DOCKER_HOST")
	}
	if host != "" && !slices.Contains(s.env, "DOCKER_HOST="+host) {
		s.env = append(s.env, "DOCKER_HOST="+host)
	}
}

// goRun is how a checkout runs the program, from its root.
const goRun = "go run main.go"

// run carries out one command and returns the lines that it printed.
func (s *shell) run(t *testing.T, c command) []string {
	t.Helper()
	text, dir := c.text, s.dir
	if strings.Contains(text, goRun) {
		text, dir = strings.ReplaceAll(text, goRun, "docker-flatten"), s.root
	}
	text = strings.ReplaceAll(text, "localhost:5000", s.registry)
	cmd := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", text)
	cmd.Dir, cmd.Env = dir, s.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		// The commands that follow still run: the last ones may clear up.
		t.Errorf("line %d: $ %s\n%s%v", c.line+1, c.text, out.String(), err)
	}
	return lines(strings.NewReplacer(s.registry, "localhost:5000", s.temp, "/tmp").Replace(out.String()))
}

// TestShellBlocks parses the commands that no test can run, and holds the
// options that they give docker-flatten against its help.
func TestShellBlocks(t *testing.T) {
	for _, name := range folders(t) {
		_, found := readme(t, name)
		for _, b := range found {
			if b.info == "sh" {
				checkScript(t, fmt.Sprintf("%s/README.md:%d", name, b.line), strings.Join(b.text, "\n"), help(t))
			}
		}
	}
}

var (
	ours   = regexp.MustCompile(`(?m)(?:^|[\s($])docker[- ]flatten(?: +(?:\\\n)?[^ \n|;&)]+)+`)
	option = regexp.MustCompile(`(?:^|\s)(-[a-z]|--[a-z-]+)`)
)

// checkScript parses a script with bash, and the options in it that are
// docker-flatten's with its help.
func checkScript(t *testing.T, where, script, help string) {
	t.Helper()
	if _, err := exec.LookPath("bash"); err == nil {
		cmd := exec.Command("bash", "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", where, err, out)
		}
	}
	for _, call := range ours.FindAllString(script, -1) {
		for _, o := range option.FindAllStringSubmatch(call, -1) {
			if !regexp.MustCompile(`(?m)^ +(?:-[a-z], )?` + regexp.QuoteMeta(o[1]) + `(?:[ ,[]|$)`).MatchString(help) {
				t.Errorf("%s: docker-flatten has no option %s", where, o[1])
			}
		}
	}
}

// TestTopReadmeShowsWhatIsPrinted holds the first thing that a newcomer types, and
// sees, against what is printed: the README leaves lines out, and changes none.
func TestTopReadmeShowsWhatIsPrinted(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const typed = "go run main.go -t demo:flat examples/prototype/image.tar"
	_, rest, found := strings.Cut(string(text), "    "+typed+"\n")
	_, rest, fenced := strings.Cut(rest, "```text\n")
	shown, _, closed := strings.Cut(rest, "```")
	if !found || !fenced || !closed {
		t.Fatalf("README.md doesn't show what %q prints", typed)
	}
	dir := t.TempDir()
	image, err := os.ReadFile("prototype/image.tar")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "image.tar"), image, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(binary, "-t", "demo:flat", "image.tar")
	cmd.Dir, cmd.Stderr = dir, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	printed := strings.Split(stderr.String(), "\n")
	for line := range strings.Lines(shown) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		i := slices.Index(printed, line)
		if i < 0 {
			t.Fatalf("README.md shows %q, which isn't printed, or not there:\n%s", line, stderr.String())
		}
		printed = printed[i+1:]
	}
}
