package examples

import (
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

func TestGitHubWorkflow(t *testing.T) {
	const file = "ci/github-actions.yml"
	documents := readYAML(t, file)
	if len(documents) != 1 {
		t.Fatalf("%d documents", len(documents))
	}
	workflow := documents[0]
	for _, key := range []string{"name", "on", "permissions", "jobs"} {
		if at(workflow, key) == nil {
			t.Errorf("no %s", key)
		}
	}
	if got := fmt.Sprint(at(workflow, "permissions")); got != "map[contents:read packages:write]" {
		t.Errorf("permissions: %s", got)
	}
	pinned := regexp.MustCompile(`^[a-z-]+/[a-z-]+@[0-9a-f]{40}$`)
	steps, _ := at(workflow, "jobs", "image", "steps").([]any)
	names := map[string]bool{}
	for i, step := range steps {
		uses, isUse := at(step, "uses").(string)
		script, isRun := at(step, "run").(string)
		switch {
		case isUse == isRun:
			t.Errorf("step %d: neither uses nor run, or both", i)
		case isUse && !pinned.MatchString(uses):
			t.Errorf("step %d: %s isn't pinned to a commit", i, uses)
		case isRun:
			checkScript(t, fmt.Sprintf("%s: step %d", file, i), script, help(t))
			if strings.Contains(script, "${{") {
				t.Errorf("step %d: an expression inside a script: give it as a variable", i)
			}
			names[fmt.Sprint(at(step, "name"))] = true
		}
	}
	for _, want := range []string{"Build docker-flatten", "Build the image", "Log in", "Flatten and push"} {
		if !names[want] {
			t.Errorf("no step %q", want)
		}
	}
}

// TestGitHubFlattenStep runs the step that flattens, with an archive and a
// registry of the test's in place of the engine's image and ghcr.io.
func TestGitHubFlattenStep(t *testing.T) {
	tool(t, "bash")
	var script string
	steps, _ := at(readYAML(t, "ci/github-actions.yml")[0], "jobs", "image", "steps").([]any)
	for _, step := range steps {
		if at(step, "name") == "Flatten and push" {
			script, _ = at(step, "run").(string)
		}
	}
	archive, err := filepath.Abs("no-daemon/app.tar")
	if err != nil {
		t.Fatal(err)
	}
	registry := startRegistry(t)
	script = strings.NewReplacer("app:built", archive, "ghcr.io", registry).Replace(script)

	run := func(script string) (summary string, err error) {
		dir := t.TempDir()
		cmd := exec.Command("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script) // as the runner does
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"),
			"GITHUB_REPOSITORY=Owner/App", "GITHUB_SHA="+strings.Repeat("a", 40), "GITHUB_STEP_SUMMARY="+filepath.Join(dir, "summary.md"))
		out, err := cmd.CombinedOutput()
		text, _ := os.ReadFile(filepath.Join(dir, "summary.md")) // there is none after a failure
		return string(text) + string(out), err
	}
	summary, err := run(script)
	if err != nil {
		t.Fatalf("%v\n%s", err, summary)
	}
	if !regexp.MustCompile("^Pushed `" + regexp.QuoteMeta(registry) + "/owner/app@sha256:[0-9a-f]{64}`\n\n```\n# Flattened from").MatchString(summary) {
		t.Errorf("summary:\n%s", summary)
	}
	ref, err := name.ParseReference(registry + "/owner/app:" + strings.Repeat("a", 40))
	if err != nil {
		t.Fatal(err)
	}
	im, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	if manifest, err := im.Manifest(); err != nil || len(manifest.Layers) != 2 {
		t.Errorf("the registry has %+v, %v", manifest, err)
	}

	if out, err := run(strings.ReplaceAll(script, archive, "./absent.tar")); err == nil || !strings.Contains(out, "absent.tar") {
		t.Errorf("with no image the step ends with %v and says\n%s", err, out)
	}
}

func TestGitLabJobs(t *testing.T) {
	const file = "ci/gitlab-ci.yml"
	pipeline := readYAML(t, file)[0]
	for _, job := range []string{"docker-flatten", "image"} {
		j := at(pipeline, job)
		stages, _ := at(pipeline, "stages").([]any)
		if stage := at(j, "stage"); stage != stages[0] && stage != stages[1] {
			t.Errorf("%s: stage %v isn't among %v", job, stage, stages)
		}
		images := []any{at(j, "image")}
		if services, ok := at(j, "services").([]any); ok {
			images = append(images, services...)
		}
		for _, image := range images {
			if _, tag, _ := strings.Cut(fmt.Sprint(image), ":"); tag == "" || tag == "latest" {
				t.Errorf("%s: image %v has no version", job, image)
			}
		}
		var script []string
		for _, part := range []string{"before_script", "script"} {
			lines, _ := at(j, part).([]any)
			for _, l := range lines {
				script = append(script, fmt.Sprint(l))
			}
		}
		if len(script) == 0 {
			t.Errorf("%s: no script", job)
		}
		checkScript(t, file+": "+job, strings.Join(script, "\n"), help(t))
	}
	if needs := at(pipeline, "image", "needs", 0); needs != "docker-flatten" {
		t.Errorf("image needs %v", needs)
	}
	if paths := at(pipeline, "docker-flatten", "artifacts", "paths", 0); paths != "docker-flatten" {
		t.Errorf("docker-flatten leaves %v behind", paths)
	}
}

func help(t *testing.T) string {
	t.Helper()
	text, err := exec.Command(binary, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
