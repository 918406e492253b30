package rebuild

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"docker-flatten/rebuild/image"
)

// A context of several platforms has for each what a context of it alone has,
// under names of its own.
func TestContextOfSeveralPlatforms(t *testing.T) {
	in := image.Ref{Transport: image.Layout, Path: platforms(t).dir}
	dir := filepath.Join(t.TempDir(), "all")
	if _, err := Flatten(t.Context(), Options{Image: in, Context: dir, Output: &image.Ref{Transport: image.LayoutArchive, Path: filepath.Join(t.TempDir(), "out.oci.tar")}, Client: noEngine}); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	if _, err := Flatten(t.Context(), Options{Image: in, Context: "-", Stdout: &stdout, Client: noEngine}); err != nil {
		t.Fatal(err)
	}
	all := read(t, dir)
	if piped := tarFiles(t, &stdout); !slices.EqualFunc(sorted(piped), sorted(all), func(a, b string) bool { return a == b && bytes.Equal(piped[a], all[b]) }) {
		t.Errorf("stdout has %v, the directory %v", sorted(piped), sorted(all))
	}
	text := string(all["Dockerfile"])
	if _, err := parser.Parse(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	want := []string{"Dockerfile"}
	for platform, stage := range map[string]string{"linux/amd64": "linux-amd64", "linux/arm64/v8": "linux-arm64-v8", "linux/s390x": "linux-s390x"} {
		one := filepath.Join(t.TempDir(), "one")
		if _, err := Flatten(t.Context(), Options{Image: in, Platform: platform, Context: one, Output: &image.Ref{Transport: image.LayoutArchive, Path: filepath.Join(t.TempDir(), "out.oci.tar")}, Client: noEngine}); err != nil {
			t.Fatal(err)
		}
		files := read(t, one)
		layer, base := "layer-"+stage+".tar.gz", "base-"+stage+".tar"
		want = append(want, layer, base)
		if !bytes.Equal(all[layer], files["layer.tar.gz"]) || len(all[layer]) == 0 {
			t.Errorf("%s isn't what the platform's own context has", layer)
		}
		from := regexp.MustCompile(`(?m)^FROM (\S+) AS ` + stage + `$`).FindStringSubmatch(text)
		if from == nil || !bytes.Contains(all[base], []byte(`"`+from[1]+`"`)) {
			t.Errorf("%s has another name than FROM, %v", base, from)
		}
		for _, line := range []string{
			"#   docker build --target " + stage + " --platform " + platform + " .\n",
			"# The base is in " + base + ". Before building: docker load -i " + base + "\n",
			"# To build: docker build --target " + stage + " --platform " + platform + " .\n",
			"ADD " + layer + " /\n",
		} {
			if !strings.Contains(text, line) {
				t.Errorf("%q isn't in\n%s", line, text)
			}
		}
	}
	slices.Sort(want)
	if have := sorted(all); !slices.Equal(have, want) {
		t.Errorf("the context holds %v, want %v", have, want)
	}
}

// The recovery of several platforms has a context for each, the one that it has
// alone but for the lines which say where it lies.
func TestRecoveryOfSeveralPlatforms(t *testing.T) {
	in := image.Ref{Transport: image.Layout, Path: platforms(t).dir}
	dir := filepath.Join(t.TempDir(), "all")
	if _, err := Flatten(t.Context(), Options{Image: in, Context: dir, Recover: true, Client: noEngine}); err != nil {
		t.Fatal(err)
	}
	where := regexp.MustCompile(`# To build: .*\n# Each platform .*\n`)
	for platform, sub := range map[string]string{"linux/amd64": "linux-amd64", "linux/arm64/v8": "linux-arm64-v8", "linux/s390x": "linux-s390x"} {
		one := filepath.Join(t.TempDir(), "one")
		if _, err := Flatten(t.Context(), Options{Image: in, Platform: platform, Context: one, Recover: true, Client: noEngine}); err != nil {
			t.Fatal(err)
		}
		mine, alone := read(t, filepath.Join(dir, sub)), read(t, one)
		text := string(mine["Dockerfile"])
		if !strings.Contains(text, "\n# Platform: "+platform+"\n# To build: docker build --platform "+platform+" "+sub+"\n") {
			t.Errorf("the Dockerfile for %s:\n%s", platform, text)
		}
		mine["Dockerfile"] = []byte(where.ReplaceAllString(text, ""))
		if !slices.EqualFunc(sorted(mine), sorted(alone), func(a, b string) bool { return a == b && bytes.Equal(mine[a], alone[b]) }) {
			t.Errorf("%s has %v, alone %v\n%s", sub, sorted(mine), sorted(alone), text)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("the context holds %v, %v", entries, err)
	}
}

// read returns the files below dir by their paths.
func read(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		files[strings.TrimPrefix(p, dir+"/")], err = os.ReadFile(p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// tarFiles returns the files of a tar by their names.
func tarFiles(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

func sorted(files map[string][]byte) []string {
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
