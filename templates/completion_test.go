package templates

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestCompletionKnowsItsShells(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := Completion(shell)
		if err != nil || !strings.Contains(script, "docker-flatten --completion "+shell) {
			t.Errorf("%s: %v; the script must say how it is used", shell, err)
		}
	}
	if _, err := Completion("tcsh"); err == nil {
		t.Error("no error for an unknown shell")
	}
}

func TestCompletionHasEveryOptionOfTheHelp(t *testing.T) {
	for _, option := range regexp.MustCompile(`(?m)^  (?:-[a-z], |    )--([a-z-]+)`).FindAllStringSubmatch(Usage, -1) {
		name := option[1]
		for shell, want := range map[string]string{"bash": "--" + name, "zsh": "--" + name, "fish": "-l " + name} {
			script, _ := Completion(shell)
			if !regexp.MustCompile(regexp.QuoteMeta(want) + `[^a-z-]`).MatchString(script) {
				t.Errorf("%s doesn't know --%s", shell, name)
			}
		}
	}
}

// An option with a value isn't mistaken for one without, whose next word would be
// the image.
func TestCompletionKnowsWhichOptionsHaveValues(t *testing.T) {
	for shell, list := range map[string]string{"bash": `(?m)^ +(-t \| .*)\)$`, "fish": `(?m)^ +case (-t .*)$`} {
		script, _ := Completion(shell)
		found := regexp.MustCompile(list).FindStringSubmatch(script)
		if found == nil {
			t.Fatalf("%s: no list of options with values", shell)
		}
		for _, option := range regexp.MustCompile(`(?m)^  (?:-[a-z], |    )(--[a-z-]+) [A-Z]`).FindAllStringSubmatch(Usage, -1) {
			if !slices.Contains(strings.Fields(found[1]), option[1]) {
				t.Errorf("%s takes %s for an option without a value", shell, option[1])
			}
		}
	}
}

// bash completes a command line in dir, where a docker command with two images
// is in the PATH, and returns what bash would offer.
func bash(t *testing.T, dir, line string) []string {
	t.Helper()
	shell, err := exec.LookPath("bash")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("no bash here to try its completion script with")
	}
	script, err := Completion("bash")
	if err != nil {
		t.Fatal(err)
	}
	docker := "#!/bin/sh\nprintf 'alpine:3.20\\nregistry.example:5000/team/app:1\\n<none>:<none>\\n'\n"
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(docker), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(shell, "--norc", "-c", script+`
COMP_LINE=$1 COMP_POINT=$2
_docker_flatten
for reply in "${COMPREPLY[@]}"; do printf '%s\n' "$reply"; done
`, "bash", line, strconv.Itoa(len(line)))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("complete %q: %v: %s", line, err, stderr.String())
	}
	replies := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(out) == 0 {
		replies = nil
	}
	slices.Sort(replies)
	return replies
}

func TestBashCompletion(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"image.tar", "my image.tar.gz", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"layout", "my dir"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	transports := []string{"docker-archive:", "docker-daemon:", "docker://", "oci-archive:", "oci:"}
	images := []string{"alpine:3.20", "registry.example:5000/team/app:1"}
	join := func(lists ...[]string) []string {
		all := slices.Concat(lists...)
		slices.Sort(all)
		return all
	}
	for _, c := range []struct {
		line string
		want []string
	}{
		{"docker-flatten ", join(transports, images, []string{"image.tar", `my\ image.tar.gz`})},
		{"docker-flatten al", []string{"alpine:3.20"}},
		{"docker-flatten alpine:", []string{"3.20"}}, // bash breaks the word at the colon
		{"docker-flatten registry.example:5000/", []string{"5000/team/app:1"}},
		{"docker-flatten docker-daemon:al", []string{"alpine:3.20"}},
		{"docker-flatten docker-daemon:alpine:3", []string{"3.20"}},
		{"docker-flatten docker-archive:im", []string{"image.tar"}},
		{"docker-flatten oci:la", []string{"layout"}},
		{"docker-flatten ./", []string{"./image.tar", "./layout", "./my dir", "./my image.tar.gz", "./notes.txt"}},
		{"docker-flatten la", []string{"layout/"}},
		{`docker-flatten my\ `, []string{`my\ dir/`, `my\ image.tar.gz`}},
		{`docker-flatten oci:my\ d`, []string{"my dir"}}, // which bash quotes, as a file
		{`docker-flatten --context my\ dir al`, images[:1]},
		{"docker-flatten docker://", nil},
		{"docker-flatten --bu", []string{"--builder"}},
		{"docker-flatten --dry-run --js", []string{"--json"}},
		{"docker-flatten --builder ", []string{"auto", "engine", "native"}},
		{"docker-flatten --builder=n", []string{"native"}}, // broken at the equals sign
		{"docker-flatten --compression z", []string{"zstd"}},
		{"docker-flatten --verify ", []string{"content", "off", "structure"}},
		{"docker-flatten --progress p", []string{"plain"}},
		{"docker-flatten --completion ", []string{"bash", "fish", "zsh"}},
		{"docker-flatten --platform linux/arm/", []string{"linux/arm/v6", "linux/arm/v7"}},
		{"docker-flatten -b s", []string{"scratch"}},
		{"docker-flatten -b alpine:3", []string{"3.20"}},
		{"docker-flatten --base=alpine:3", []string{"3.20"}},
		{"docker-flatten -o ", join(transports, images, []string{"-", "image.tar", `my\ image.tar.gz`})},
		{"docker-flatten --output=docker-archive:im", []string{"image.tar"}},
		{"docker-flatten --context l", []string{"layout"}},
		{"docker-flatten --report n", []string{"notes.txt"}},
		{"docker-flatten alpine:3.20 ", nil}, // one image at a time
		{"docker-flatten alpine:3.20 --q", []string{"--quiet"}},
		{"docker-flatten -t new:1 al", []string{"alpine:3.20"}},
		{"docker-flatten --nothing-like-it", nil},
	} {
		t.Run(c.line, func(t *testing.T) {
			if got := bash(t, dir, c.line); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestFishCompletion(t *testing.T) {
	fish, err := exec.LookPath("fish")
	if err != nil {
		t.Skip("no fish here to try its completion script with")
	}
	script, err := Completion("fish")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"image.tar", "notes.txt", "sub/inner.tar.gz", "sub/notes.txt", "my dir/inner.tar"} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string]string{
		"docker-flatten im":                 "image.tar",
		"docker-flatten notes":              "", // no archive
		"docker-flatten su":                 "sub/",
		"docker-flatten sub/":               "sub/inner.tar.gz",
		"docker-flatten --output=sub/":      "--output=sub/inner.tar.gz",
		`docker-flatten my\ `:               "my dir/",
		`docker-flatten my\ dir/`:           "my dir/inner.tar",
		`docker-flatten oci:my\ `:           "oci:my dir/",
		"docker-flatten --verify=s":         "--verify=structure",
		"docker-flatten image.tar --dry-ru": "--dry-run",
	} {
		t.Run(line, func(t *testing.T) {
			cmd := exec.Command(fish, "--no-config", "-c", script+"\ncomplete -C $argv[1]", line)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "DOCKER_HOST=unix://"+filepath.Join(dir, "none"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got, _, _ := strings.Cut(strings.TrimSuffix(string(out), "\n"), "\t")
			if got != want {
				t.Errorf("got %q, want %q", out, want)
			}
		})
	}
}
