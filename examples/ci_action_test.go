package examples

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// fakeDocker is a directory with a docker command that has an image of the
// program, and takes the program out of it. Whatever else it is asked fails.
func fakeDocker(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := `#!/bin/sh
case "$1 $2" in
"create tool:1@sha256:0") echo container ;;
"cp container:/docker-flatten") cp '` + binary + `' "$3" ;;
"rm container") echo container ;;
"login registry.example") [ "$3 $4 $5 $(cat)" = "--username me --password-stdin secret" ] ;;
*) echo "unexpected: docker $*" >&2; exit 64 ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// digestOf is the digest that a name has in a registry.
func digestOf(t *testing.T, ref string) string {
	t.Helper()
	named, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(named)
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest.String()
}

// TestGitHubAction runs the action's steps as the runner does, with a docker
// command and a registry of the test's.
func TestGitHubAction(t *testing.T) {
	tool(t, "bash")
	const file = "ci/github-action/action.yml"
	action := readYAML(t, file)[0]
	archive, err := filepath.Abs("no-daemon/app.tar")
	if err != nil {
		t.Fatal(err)
	}
	registry := startRegistry(t)
	inputs := map[string]string{
		"tool": "tool:1@sha256:0", "image": archive, "output": "docker://" + registry + "/app:1",
		"tags": registry + "/app:2\n" + registry + "/app:3", "options": "--attest\n--base=1",
	}
	temp, output, docker := t.TempDir(), filepath.Join(t.TempDir(), "output"), fakeDocker(t)
	run := func() error {
		steps, _ := at(action, "runs", "steps").([]any)
		for i, step := range steps {
			script, _ := at(step, "run").(string)
			checkScript(t, fmt.Sprintf("%s: step %d", file, i), script, help(t))
			if strings.Contains(script, "${{") {
				t.Errorf("step %d: an expression inside a script: give it as a variable", i)
			}
			cmd := exec.Command("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script)
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "PATH="+docker+string(os.PathListSeparator)+os.Getenv("PATH"), "RUNNER_TEMP="+temp, "GITHUB_OUTPUT="+output)
			env, _ := at(step, "env").(map[string]any)
			for key, value := range env {
				name := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(value), "${{ inputs."), " }}")
				if at(action, "inputs", name, "description") == nil {
					t.Errorf("step %d: %s is %v, no input of the action", i, key, value)
				}
				cmd.Env = append(cmd.Env, key+"="+inputs[name])
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("step %d: %w\n%s", i, err, out)
			}
		}
		return nil
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	got := actionOutput(t, output)
	if !regexp.MustCompile(`^` + regexp.QuoteMeta(registry) + `/app@sha256:[0-9a-f]{64}$`).MatchString(got) {
		t.Errorf("output: %s", got)
	}
	for _, tag := range []string{"1", "2", "3"} {
		if digest := digestOf(t, registry+"/app:"+tag); !strings.HasSuffix(got, digest) {
			t.Errorf("app:%s is %s", tag, digest)
		}
	}
	// Optional inputs are empty, lines have spaces around them and end as on Windows,
	// and what is printed has several lines.
	inputs["output"], inputs["tags"], inputs["options"] = "", "", "--dry-run\r\n  --base=1 \r\n\n-q\r\n"
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if got := actionOutput(t, output); !strings.Contains(got, "\nADD layer.tar.gz /\n") {
		t.Errorf("output of a dry run: %s", got)
	}
	inputs["options"] = "--dry-run\n--max-layers=1"
	var exit *exec.ExitError
	if err := run(); !errors.As(err, &exit) || exit.ExitCode() != 4 {
		t.Errorf("a gate: %v", err)
	}
	inputs["image"], inputs["options"] = "./absent.tar", ""
	if err := run(); err == nil || !strings.Contains(err.Error(), "absent.tar") {
		t.Errorf("with no image: %v", err)
	}
}

// actionOutput reads what the action's last run has as its result, as the runner
// does: NAME<<END, lines, END. There is no other output.
func actionOutput(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	end, named := strings.CutPrefix(first, "result<<")
	value, whole := strings.CutSuffix(rest, "\n"+end+"\n")
	if !named || !whole || len(end) < 16 || strings.Contains(value, end) {
		t.Fatalf("not one output called result: %s", text)
	}
	return value
}

// TestGitLabComponent runs the job's scripts, line by line in one shell, with a
// docker command and a registry of the test's.
func TestGitLabComponent(t *testing.T) {
	tool(t, "sh")
	const file = "ci/gitlab-component/templates/flatten.yml"
	documents := readYAML(t, file)
	if len(documents) != 2 {
		t.Fatalf("%d documents: a component has its spec and its jobs", len(documents))
	}
	job := at(documents[1], "$[[ inputs.job ]]")
	for _, image := range []any{at(job, "image"), at(job, "services", 0)} {
		if _, tag, _ := strings.Cut(fmt.Sprint(image), ":"); tag == "" || tag == "latest" {
			t.Errorf("image %v has no version", image)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, input := range regexp.MustCompile(`\$\[\[ inputs\.([a-z]+) \]\]`).FindAllStringSubmatch(string(text), -1) {
		if at(documents[0], "spec", "inputs", input[1]) == nil {
			t.Errorf("no input %s", input[1])
		}
	}
	archive, err := filepath.Abs("no-daemon/app.tar")
	if err != nil {
		t.Fatal(err)
	}
	registry := startRegistry(t)
	inputs := map[string]string{"tool": "tool:1@sha256:0", "image": archive, "output": "docker://" + registry + "/app:1", "options": "-q --attest --base 1"}
	bin := t.TempDir()
	env := append(os.Environ(), "PATH="+fakeDocker(t)+string(os.PathListSeparator)+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	variables, _ := at(job, "variables").(map[string]any)
	for key, value := range variables {
		if name, ok := strings.CutPrefix(fmt.Sprint(value), "$[[ inputs."); ok {
			env = append(env, key+"="+inputs[strings.TrimSuffix(name, " ]]")])
		}
	}
	var script []string
	for _, part := range []string{"before_script", "script"} {
		lines, _ := at(job, part).([]any)
		for _, l := range lines {
			script = append(script, strings.ReplaceAll(fmt.Sprint(l), "/usr/local/bin", bin))
		}
	}
	checkScript(t, file, strings.Join(script, "\n"), help(t))
	for title, login := range map[string][]string{
		"a project with a registry":    {"CI_REGISTRY=registry.example", "CI_REGISTRY_USER=me", "CI_REGISTRY_PASSWORD=secret"},
		"a project without a registry": {"CI_REGISTRY="},
	} {
		t.Run(title, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command("sh", "-e", "-c", strings.Join(script, "\n"))
			cmd.Dir, cmd.Env = dir, append(env, login...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(at(job, "artifacts", "paths", 0))))
			if err != nil {
				t.Fatal(err)
			}
			if digest := digestOf(t, registry+"/app:1"); strings.TrimSpace(string(got)) != registry+"/app@"+digest {
				t.Errorf("the job says %s, the registry has %s", got, digest)
			}
		})
	}
}
