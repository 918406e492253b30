package rebuild

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/progress"
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

// A run to the directory of an earlier one that made the same context finds it as
// it is, and mends what a kill left out. Anything else there is refused.
func TestContextOfAnEarlierRun(t *testing.T) {
	source := job(t, archiveRef("")).Image
	edited := func(dir string) {
		writeFile(t, filepath.Join(dir, "Dockerfile"), append(read(t, dir)["Dockerfile"], "USER nobody\n"...))
	}
	for name, c := range map[string]struct {
		change func(dir string)
		want   string // in the error; "" = the context is whole, as it was
	}{
		"as it was": {func(string) {}, ""},
		"killed before the Dockerfile had its place": {func(dir string) {
			if err := os.Remove(filepath.Join(dir, "Dockerfile")); err != nil {
				t.Fatal(err)
			}
			abandon(t, dir, "context", true)
		}, ""},
		"killed before anything had its place": {func(dir string) {
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
				t.Fatal(err)
			}
			abandon(t, dir, "context", true)
		}, ""},
		"without its Dockerfile":   {func(dir string) { os.Remove(filepath.Join(dir, "Dockerfile")) }, "isn't empty"},
		"edited":                   {edited, "another context: Dockerfile isn't the same"},
		"another layer":            {func(dir string) { writeFile(t, filepath.Join(dir, "layer.tar.gz"), []byte("other")) }, "layer.tar.gz isn't the same"},
		"other bytes, same length": {func(dir string) { changeLast(t, filepath.Join(dir, "layer.tar.gz")) }, "layer.tar.gz isn't the same"},
		"something beside it":      {func(dir string) { writeFile(t, filepath.Join(dir, "notes"), nil) }, "notes isn't the same"},
		"another mode": {func(dir string) {
			if err := os.Chmod(filepath.Join(dir, "layer.tar.gz"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "layer.tar.gz isn't the same"},
		"killed, and something beside it": {func(dir string) {
			os.Remove(filepath.Join(dir, "Dockerfile"))
			abandon(t, dir, "context", true)
			writeFile(t, filepath.Join(dir, "notes"), nil)
		}, "notes isn't the same"},
		"a link in place of a file": {func(dir string) {
			layer := filepath.Join(dir, "layer.tar.gz")
			if err := errors.Join(os.Rename(layer, dir+".layer"), os.Symlink(dir+".layer", layer)); err != nil {
				t.Fatal(err)
			}
		}, "layer.tar.gz isn't the same"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ctx")
			run := func() error {
				_, err := Flatten(t.Context(), Options{Image: source, Base: keep("1"), Context: dir, Client: noEngine})
				return err
			}
			if err := run(); err != nil {
				t.Fatal(err)
			}
			whole := read(t, dir)
			c.change(dir)
			changed := read(t, dir)
			err := run()
			want := whole
			if c.want == "" && err != nil {
				t.Error(err)
			}
			if c.want != "" {
				want = changed
				if !errors.Is(err, image.ErrExists) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
			}
			for path := range changed {
				if strings.HasPrefix(path, ".") {
					delete(want, path) // the killed run's
				}
			}
			if have := read(t, dir); !maps.EqualFunc(have, want, bytes.Equal) {
				t.Errorf("the directory holds %v, want %v", sorted(have), sorted(want))
			}
		})
	}
}

// meanwhile is a display that does something else at the first stage.
type meanwhile struct {
	progress.Display
	first sync.Once
	do    func()
}

func (m *meanwhile) Start(stage, what string, total int64) progress.Bar {
	m.first.Do(m.do)
	return m.Display.Start(stage, what, total)
}

// Of two runs at once to one directory, the slower one takes the other's context for
// its own if it is the same, and leaves it alone.
func TestContextOfAFasterRun(t *testing.T) {
	source := job(t, archiveRef("")).Image
	for base, want := range map[string]string{"1": "", "scratch": "isn't the same"} {
		t.Run(base, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "ctx")
			faster := &meanwhile{Display: progress.Silent, do: func() {
				if _, err := Flatten(t.Context(), Options{Image: source, Base: keep(base), Context: dir, Client: noEngine}); err != nil {
					t.Error(err)
				}
			}}
			_, err := Flatten(t.Context(), Options{Image: source, Base: keep("1"), Context: dir, Client: noEngine, Display: faster})
			if want == "" && err != nil || want != "" && (!errors.Is(err, image.ErrExists) || !strings.Contains(err.Error(), want)) {
				t.Errorf("error %v, want %q", err, want)
			}
			if have := sorted(read(t, dir)); !slices.Equal(have, []string{"Dockerfile", "layer.tar.gz"}) && !slices.Equal(have, []string{"Dockerfile", "base.tar", "layer.tar.gz"}) {
				t.Errorf("the directory holds %v", have)
			}
			if entries, _ := os.ReadDir(parent); len(entries) != 1 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
}

// changeLast changes a file's last byte.
func changeLast(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	writeFile(t, path, raw)
}

// So does a run that recovers, with a directory for each platform.
func TestRecoveryOfAnEarlierRun(t *testing.T) {
	o := Options{Image: image.Ref{Transport: image.Layout, Path: platforms(t).dir}, Context: filepath.Join(t.TempDir(), "all"), Recover: true, Client: noEngine}
	for range 2 {
		if _, err := Flatten(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	before := read(t, o.Context)
	if err := os.RemoveAll(filepath.Join(o.Context, "linux-amd64")); err != nil {
		t.Fatal(err)
	}
	if _, err := Flatten(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if after := read(t, o.Context); !maps.EqualFunc(before, after, bytes.Equal) {
		t.Errorf("the directory holds %v, want %v", sorted(after), sorted(before))
	}
	writeFile(t, filepath.Join(o.Context, "linux-s390x", "more"), nil)
	if _, err := Flatten(t.Context(), o); !errors.Is(err, image.ErrExists) || !strings.Contains(err.Error(), "linux-s390x isn't the same") {
		t.Errorf("with a file more: %v", err)
	}
}
