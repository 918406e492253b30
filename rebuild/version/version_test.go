package version

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestNumberIsTheTagThatWasBuiltOrTheSources(t *testing.T) {
	for recorded, want := range map[string]string{
		"v1.2.3":                             "1.2.3",
		"v1.2.3-rc.1":                        "1.2.3-rc.1",
		"":                                   number,
		"(devel)":                            number,
		"v0.0.0-20261125021419-35d2892c0ffe": number,
		"v1.2.4-0.20261125021419-35d2892c0ffe+dirty": number,
		"v1.2.3+dirty": number,
	} {
		if got := numberOf(&debug.BuildInfo{Main: debug.Module{Version: recorded}}); got != want {
			t.Errorf("%q: %s, want %s", recorded, got, want)
		}
	}
	if got := numberOf(nil); got != number {
		t.Errorf("no build information: %s, want %s", got, number)
	}
}

// TestEveryWayOfBuilding builds this package in a repository of its own in every
// way that people build in, and asks each binary.
func TestEveryWayOfBuilding(t *testing.T) {
	if testing.Short() {
		t.Skip("a dozen builds")
	}
	for _, tool := range []string{"git", "go", "tar"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here", tool)
		}
	}
	root := t.TempDir()
	command := func(dir string, line ...string) string {
		t.Helper()
		cmd := exec.Command(line[0], line[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=", "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOBIN="+filepath.Join(root, "bin"),
			"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(line, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	repo, archive := filepath.Join(root, "repo"), filepath.Join(root, "archive")
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(repo, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"version.go", "checkout.go", "archive.go", "release.go", "../../.gitattributes"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Join("rebuild/version", name), string(b))
	}
	write("go.mod", "module docker-flatten\n\ngo 1.24\n")
	const source = "package main\n\nimport \"docker-flatten/rebuild/version\"\n\nfunc main() { println(version.String()) }\n"
	write("main.go", source)
	command(repo, "git", "init", "-q", "-b", "main")
	command(repo, "git", "add", ".")
	command(repo, "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "x")
	commit := command(repo, "git", "rev-parse", "HEAD")
	if err := os.Mkdir(archive, 0o755); err != nil {
		t.Fatal(err)
	}
	command(repo, "git", "archive", "-o", filepath.Join(root, "a.tar"), "HEAD")
	command(archive, "tar", "-xf", filepath.Join(root, "a.tar"))

	binary := filepath.Join(root, "b.exe")
	known := "docker-flatten " + number + ", commit " + commit
	now := "docker-flatten " + number + ", commit not recorded; its source directory is at " + commit
	build := func(dir string, flags ...string) string {
		t.Helper()
		command(dir, append(append([]string{"go", "build", "-o", binary}, flags...), ".")...)
		return command(dir, binary)
	}
	check := func(way, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", way, got, want)
		}
	}
	check("go build", build(repo), known)
	check("-buildvcs=false", build(repo, "-buildvcs=false"), now)
	check("go run main.go", command(repo, "go", "run", "main.go"), now)
	check("git archive", build(archive), known)
	release := []string{"-trimpath", "-buildvcs=false", "-tags=release",
		"-ldflags=-s -w -buildid= -X docker-flatten/rebuild/version.number=1.2.3 -X docker-flatten/rebuild/version.commit=abc"}
	var bytes [][]byte
	for _, dir := range []string{archive, repo} {
		check("a release", build(dir, release...), "docker-flatten 1.2.3, commit abc")
		b, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		bytes = append(bytes, b)
	}
	if !slices.Equal(bytes[0], bytes[1]) {
		t.Error("a release has other bytes from an archive than from a checkout")
	}
	command(repo, "go", "install", ".")
	check("go install", command(repo, filepath.Join(root, "bin", "docker-flatten")), known)
	command(repo, "git", "pack-refs", "--all")
	if got := head(repo); got != commit {
		t.Errorf("packed refs: %q, want %s", got, commit)
	}
	worktree := filepath.Join(root, "worktree")
	command(repo, "git", "worktree", "add", "-q", worktree)
	if got := head(worktree); got != commit {
		t.Errorf("a worktree: %q, want %s", got, commit)
	}
	if got := head(archive); got != "" {
		t.Errorf("no checkout: %q", got)
	}
	write("main.go", source+"\n// changed\n")
	check("with changes", build(repo), known+" (modified)")
	write("main.go", source)
	command(repo, "git", "tag", "v1.2.3")
	check("a tag", build(repo), "docker-flatten 1.2.3, commit "+commit)
}
