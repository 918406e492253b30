package rebuild

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/imagetest"
	"docker-flatten/rebuild/plan"
	"docker-flatten/templates"
)

var then = time.Date(2020, 2, 29, 12, 0, 0, 0, time.UTC)

// appImage is a small image on a base of one layer: three layers above it, of
// which the last deletes something of the base, and a field that no tool knows.
func appImage() imagetest.Image {
	return imagetest.Image{
		Names:   []string{"app:1"},
		Created: then,
		Fields:  map[string]any{"x-unknown": map[string]any{"big": json.Number("12345678901234567890.5"), "text": "<&>"}},
		Config: map[string]any{
			"Env":           []string{"PATH=/bin", "A=b c"},
			"Cmd":           []string{"/bin/app", "--serve"},
			"Labels":        map[string]string{"maintainer": "me"},
			"ExposedPorts":  map[string]any{"80/tcp": map[string]any{}},
			"Unknown":       []int{1, 2},
			"ArgsEscaped":   true,
			"StopSignal":    "SIGINT",
			"NetworkTuning": nil,
		},
		Steps: []imagetest.Step{
			{By: "/bin/sh -c #(nop) ADD file:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef in / ", Files: []imagetest.File{
				{Name: "bin/"}, {Name: "bin/sh", Mode: 0o755, Body: "a shell"}, {Name: "bin/rm", Mode: 0o755, Body: "remove"},
				{Name: "etc/"}, {Name: "etc/motd", Body: "welcome"},
			}},
			{By: `/bin/sh -c #(nop)  CMD ["/bin/sh"]`},
			{By: "/bin/sh -c #(nop)  ENV A=b c"},
			{By: "/bin/sh -c #(nop) COPY file:ab in /bin/app ", Files: []imagetest.File{{Name: "bin/"}, {Name: "bin/app", Mode: 0o755, Body: "first"}}},
			{By: "/bin/sh -c make", Files: []imagetest.File{{Name: "bin/"}, {Name: "bin/app", Mode: 0o755, Body: "second"}, {Name: "tmp/"}, {Name: "tmp/junk", Body: strings.Repeat("x", 4096)}}},
			{By: "/bin/sh -c rm -r /etc/motd /tmp/junk", Files: []imagetest.File{{Name: "etc/"}, {Name: "etc/.wh.motd"}, {Name: "tmp/"}, {Name: "tmp/.wh.junk"}}},
			{By: "/bin/sh -c #(nop)  LABEL maintainer=me"},
			{By: "/bin/sh -c #(nop)  EXPOSE 80"},
			{By: "/bin/sh -c #(nop)  STOPSIGNAL SIGINT"},
			{By: `/bin/sh -c #(nop)  CMD ["/bin/app" "--serve"]`},
		},
	}
}

// write puts an archive of images into a new directory and returns its path.
func write(t *testing.T, images ...imagetest.Image) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(name, imagetest.Archive(images...), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// keep reads a value of --base.
func keep(base string) plan.Base {
	b, err := plan.ParseBase(base)
	if err != nil {
		panic(err)
	}
	return b
}

func archiveRef(name string) image.Ref { return image.Ref{Transport: image.Archive, Path: name} }

func noEngine() (*client.Client, error) { return nil, errors.New("this test has no engine") }

// flattenFile flattens the archive to another one and returns the report and
// the result's path.
func flattenFile(t *testing.T, name string, change func(*Options)) (*templates.Report, string) {
	t.Helper()
	out := archiveRef(filepath.Join(t.TempDir(), "out.tar"))
	o := Options{Image: archiveRef(name), Output: &out, Tags: []string{"app:flat"}, Client: noEngine}
	if change != nil {
		change(&o)
	}
	report, err := Flatten(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report, out.Path
}

// open reads the one image of an archive back.
func open(t *testing.T, name string) *image.Image {
	t.Helper()
	src, err := place.Open(context.Background(), archiveRef(name), image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src.Images[0]
}

func decode(t *testing.T, raw []byte) map[string]json.RawMessage {
	t.Helper()
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

func TestResultIsTheBaseAndOneLayerWithTheSameConfig(t *testing.T) {
	src := write(t, appImage())
	report, out := flattenFile(t, src, nil)
	before, after := open(t, src), open(t, out)

	if len(after.DiffIDs) != 2 || after.DiffIDs[0] != before.DiffIDs[0] {
		t.Errorf("layers %v are not the base %v and one", after.DiffIDs, before.DiffIDs[0])
	}
	if !slices.Equal(after.Names, []string{"app:flat"}) {
		t.Errorf("names = %v", after.Names)
	}
	was, is := decode(t, before.Config), decode(t, after.Config)
	for k := range was {
		if k != "rootfs" && k != "history" && !bytes.Equal(was[k], is[k]) {
			t.Errorf("config field %s: %s became %s", k, was[k], is[k])
		}
		delete(is, k)
	}
	for k := range is {
		t.Errorf("config has a new field %s", k)
	}
	if got := report.Images[0].After.Layers; got != 2 {
		t.Errorf("report says %d layers", got)
	}
}

func TestHistoryReadsBaseMetadataAddMetadata(t *testing.T) {
	_, out := flattenFile(t, write(t, appImage()), nil)
	var config history.Image
	if err := json.Unmarshal(open(t, out).Config, &config); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range config.History {
		text := h.CreatedBy
		if h.EmptyLayer {
			text = "(empty) " + text
		}
		got = append(got, text)
	}
	want := []string{
		"/bin/sh -c #(nop) ADD file:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef in / ",
		`(empty) /bin/sh -c #(nop)  CMD ["/bin/sh"]`,
		"(empty) /bin/sh -c #(nop)  ENV A=b c",
		"ADD layer.tar.gz /",
		"(empty) /bin/sh -c #(nop)  LABEL maintainer=me",
		"(empty) /bin/sh -c #(nop)  EXPOSE 80",
		"(empty) /bin/sh -c #(nop)  STOPSIGNAL SIGINT",
		`(empty) /bin/sh -c #(nop)  CMD ["/bin/app" "--serve"]`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("history:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSameInputGivesTheSameBytes(t *testing.T) {
	src := write(t, appImage())
	_, first := flattenFile(t, src, nil)
	_, second := flattenFile(t, src, func(o *Options) { o.NoCache = true })
	a, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("two runs gave different archives")
	}
}

func TestSecondRunFindsTheResult(t *testing.T) {
	src := write(t, appImage())
	report, out := flattenFile(t, src, nil)
	ref := archiveRef(out)
	again := func(change func(*Options)) (*templates.Report, error) {
		o := Options{Image: archiveRef(src), Output: &ref, Tags: []string{"app:flat"}, Client: noEngine}
		change(&o)
		return Flatten(context.Background(), o)
	}
	second, err := again(func(*Options) {})
	if err != nil {
		t.Fatal(err)
	}
	if !second.Reused || second.ID != report.ID {
		t.Errorf("second run: reused %v, ID %s, want %s", second.Reused, second.ID, report.ID)
	}
	// Another base is another job, and the file that stands there isn't its result.
	if third, err := again(func(o *Options) { o.Base = keep("scratch") }); err == nil && third.Reused {
		t.Error("a job with another base took this result")
	}
}

func TestBaseScratchGivesOneLayer(t *testing.T) {
	report, out := flattenFile(t, write(t, appImage()), func(o *Options) { o.Base = keep("scratch") })
	if n := len(open(t, out).DiffIDs); n != 1 {
		t.Errorf("%d layers", n)
	}
	for _, line := range []string{"FROM scratch", `ENV PATH=/bin`, "ADD layer.tar.gz /", "EXPOSE 80", `CMD ["/bin/app", "--serve"]`} {
		if !strings.Contains(report.Images[0].Dockerfile, line) {
			t.Errorf("the Dockerfile has no line %q:\n%s", line, report.Images[0].Dockerfile)
		}
	}
}

func TestNothingToFlattenOnlyTags(t *testing.T) {
	for _, base := range []string{"3", "4"} {
		t.Run(base+" layers kept", func(t *testing.T) {
			src := write(t, appImage())
			report, out := flattenFile(t, src, func(o *Options) { o.Base = keep(base) })
			if !report.Images[0].Unchanged {
				t.Error("the report doesn't say that nothing was to be done")
			}
			if !bytes.Equal(open(t, out).Config, open(t, src).Config) {
				t.Error("the config changed")
			}
		})
	}
}

// TestDockerfileTellsOfDirectoriesThatWORKDIRMakes: no builder lets WORKDIR alone.
func TestDockerfileTellsOfDirectoriesThatWORKDIRMakes(t *testing.T) {
	for dir, tells := range map[string]bool{"/": false, "/bin": false, "/etc/../bin/": false, "/gone": true, "/etc/motd/x": true, "/tmp": false} {
		im := appImage()
		im.Config["WorkingDir"] = dir
		report, _ := flattenFile(t, write(t, im), func(o *Options) { o.Base = keep("1") })
		if strings.Contains(report.Images[0].Dockerfile, "\n# A builder makes the directory of WORKDIR "+dir+",") != tells {
			t.Errorf("WORKDIR %s:\n%s", dir, report.Images[0].Dockerfile)
		}
	}
}

func TestDryRunBuildsNothing(t *testing.T) {
	src := write(t, appImage())
	before, err := os.ReadDir(filepath.Dir(src))
	if err != nil {
		t.Fatal(err)
	}
	report, err := Flatten(context.Background(), Options{Image: archiveRef(src), DryRun: true, Client: noEngine})
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadDir(filepath.Dir(src))
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != len(after) || report.ID != "" {
		t.Error("a dry run left something")
	}
	if len(report.Images[0].Deleted) == 0 || !strings.Contains(report.Images[0].Dockerfile, "ADD layer.tar.gz /") {
		t.Errorf("the plan is incomplete: %+v", report.Images[0])
	}
}

func TestWrittenContextHasNoWhiteoutsAndDeletesWithRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "context")
	flattenFile(t, write(t, appImage()), func(o *Options) { o.Context = dir })
	dockerfile, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(dockerfile), `RUN ["rm", "-rf", "--", "/etc/motd"]`) {
		t.Errorf("the Dockerfile doesn't delete /etc/motd:\n%s", dockerfile)
	}
	if !strings.Contains(string(dockerfile), "\n# BuildKit's RUN makes /dev, /proc, /sys,") {
		t.Errorf("the Dockerfile doesn't tell what its RUN leaves behind:\n%s", dockerfile)
	}
	f, err := os.Open(filepath.Join(dir, "layer.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, name := range tarNames(t, f) {
		if strings.Contains(name, ".wh.") {
			t.Errorf("layer.tar.gz has a whiteout %s", name)
		}
	}
	base := open(t, filepath.Join(dir, "base.tar")) // since the base has no name
	var config history.Image
	if err := json.Unmarshal(base.Config, &config); err != nil {
		t.Fatal(err)
	}
	made := 0
	for _, h := range config.History {
		if !h.EmptyLayer {
			made++
		}
	}
	if made != len(base.DiffIDs) {
		t.Errorf("the history of base.tar has %d layers, of %d", made, len(base.DiffIDs))
	}
}

func TestContextOverwritesNothing(t *testing.T) {
	src := write(t, appImage())
	content, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	parent := filepath.Dir(src)
	full, dangling := filepath.Join(parent, "full"), filepath.Join(parent, "dangling")
	if err := errors.Join(os.MkdirAll(filepath.Join(full, "mine"), 0o755), os.Symlink("nothing", dangling)); err != nil {
		t.Fatal(err)
	}
	out := archiveRef(filepath.Join(parent, "out.tar"))
	for _, target := range []string{src, full, dangling, filepath.Join(src, "below")} {
		_, err := Flatten(context.Background(), Options{Image: archiveRef(src), Tags: []string{"x"}, Output: &out, Context: target, Client: noEngine})
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("--context %s: %v", target, err)
		}
	}
	if now, err := os.ReadFile(src); err != nil || !bytes.Equal(now, content) {
		t.Errorf("the source changed: %v", err)
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 3 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestContextFillsAnEmptyDirectory(t *testing.T) {
	dir, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	flattenFile(t, write(t, appImage()), func(o *Options) { o.Context = link })
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestFailedRunLeavesNoContext(t *testing.T) {
	src := write(t, appImage())
	dir := filepath.Join(t.TempDir(), "context")
	out := image.Ref{Transport: image.Daemon, Name: "x:1"}
	_, err := Flatten(context.Background(), Options{Image: archiveRef(src), Tags: []string{"x:1"}, Output: &out, Context: dir, Client: noEngine})
	if err == nil {
		t.Fatal("stored without an engine")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the context is there: %v", err)
	}
}

func TestContextOnStdoutIsAllThatIsMade(t *testing.T) {
	src := write(t, appImage())
	var out bytes.Buffer
	report, err := Flatten(context.Background(), Options{Image: archiveRef(src), Context: "-", Stdout: &out, Client: noEngine})
	if err != nil {
		t.Fatal(err)
	}
	if report.Output != "" {
		t.Errorf("an image was stored as well: %s", report.Output)
	}
	if names := tarNames(t, &out); !slices.Equal(names, []string{"Dockerfile", "base.tar", "layer.tar.gz"}) {
		t.Errorf("context holds %v", names)
	}
}

// TestSourceIsNeverReplaced names the source as the output, by itself and by a
// link.
func TestSourceIsNeverReplaced(t *testing.T) {
	src := write(t, appImage())
	link := filepath.Join(t.TempDir(), "link.tar")
	if err := os.Symlink(src, link); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{src, link} {
		out := archiveRef(name)
		_, err := Flatten(t.Context(), Options{Image: archiveRef(src), Output: &out, Tags: []string{"app:flat"}, Client: noEngine})
		if err == nil {
			t.Errorf("%s was written", name)
		}
		after, err := os.ReadFile(src)
		if err != nil || !bytes.Equal(before, after) {
			t.Fatalf("the source isn't what it was, %v", err)
		}
	}
}

func TestFailedRunLeavesNothing(t *testing.T) {
	whole := imagetest.Archive(appImage())
	cases := map[string][]byte{
		"truncated archive":    whole[:len(whole)/2],
		"not an archive":       []byte("this is no tar archive at all"),
		"empty file":           nil,
		"a changed layer byte": bytes.Replace(whole, []byte("second"), []byte("sec0nd"), 1),
	}
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			src := filepath.Join(dir, "image.tar")
			if err := os.WriteFile(src, content, 0o644); err != nil {
				t.Fatal(err)
			}
			out := archiveRef(filepath.Join(dir, "out.tar"))
			_, err := Flatten(context.Background(), Options{Image: archiveRef(src), Output: &out, Tags: []string{"x"}, Client: noEngine})
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has more than one line: %q", err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(entries) != 1 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
}

// tarNames lists a tar, compressed with gzip or not.
func tarNames(t *testing.T, r io.Reader) (names []string) {
	t.Helper()
	r, err := maybeGunzip(r)
	if err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

func maybeGunzip(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	if magic, err := b.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		return gzip.NewReader(b)
	}
	return b, nil
}
