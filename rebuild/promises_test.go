package rebuild

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/imagetest"
	"docker-flatten/rebuild/maker"
	"docker-flatten/rebuild/progress"
	"docker-flatten/templates"
)

// job is the flattening of appImage to a place.
func job(t *testing.T, out image.Ref, change ...func(*Options)) Options {
	t.Helper()
	o := Options{Image: archiveRef(write(t, appImage())), Output: &out, Tags: []string{"app:flat"}, Base: keep("1"), Client: noEngine}
	for _, c := range change {
		c(&o)
	}
	return o
}

func flatten(t *testing.T, o Options) *templates.Report {
	t.Helper()
	report, err := Flatten(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func refused(t *testing.T, o Options, says string) {
	t.Helper()
	_, err := Flatten(t.Context(), o)
	if err == nil {
		t.Fatal("no error")
	}
	var hinted *image.Error
	if !errors.As(err, &hinted) || !strings.Contains(err.Error()+" "+hinted.Hint, says) || strings.Contains(err.Error(), "\n") {
		t.Errorf("doesn't say %q in one line: %v", says, err)
	}
}

func openRef(t *testing.T, ref image.Ref) *image.Image {
	t.Helper()
	src, err := place.Open(t.Context(), ref, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src.Images[0]
}

func localRegistry(t *testing.T) (host string) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestFoundResultGetsAllNames(t *testing.T) {
	t.Run("layout", func(t *testing.T) {
		out := image.Ref{Transport: image.Layout, Path: filepath.Join(t.TempDir(), "out")}
		o := job(t, out, func(o *Options) { o.Tags = []string{"one:1"} })
		flatten(t, o)
		o.Tags = []string{"one:1", "two:2", "three:3"}
		report := flatten(t, o)
		if !report.Reused || !slices.Equal(report.Tags, o.Tags) {
			t.Errorf("reused %v, tags %v", report.Reused, report.Tags)
		}
		for _, name := range o.Tags {
			out.Name = name
			if got := openRef(t, out); !slices.Contains(got.Names, name) {
				t.Errorf("%s: %v", name, got.Names)
			}
		}
	})
	t.Run("registry", func(t *testing.T) {
		host := localRegistry(t)
		o := job(t, *registryRef(host + "/app:1"), func(o *Options) { o.Tags = nil })
		flatten(t, o)
		o.Tags = []string{host + "/app:2", host + "/app:3"}
		if report := flatten(t, o); !report.Reused {
			t.Error("the result isn't found")
		}
		for _, tag := range []string{"1", "2", "3"} {
			ref, err := name.ParseReference(host + "/app:" + tag)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := remote.Head(ref); err != nil {
				t.Errorf("tag %s: %v", tag, err)
			}
		}
	})
	t.Run("archive", func(t *testing.T) {
		out := archiveRef(filepath.Join(t.TempDir(), "out.tar"))
		o := job(t, out, func(o *Options) { o.Tags = []string{"one:1"} })
		flatten(t, o)
		o.Tags = []string{"one:1", "two:2"}
		flatten(t, o)
		if got := open(t, out.Path).Names; !slices.Equal(got, o.Tags) {
			t.Errorf("names = %v", got)
		}
	})
	t.Run("the destination's own name and a tag", func(t *testing.T) {
		out := image.Ref{Transport: image.Archive, Path: filepath.Join(t.TempDir(), "out.tar"), Name: "own:1"}
		o := job(t, out, func(o *Options) { o.Tags = []string{"one:1"} })
		for range 2 {
			flatten(t, o)
			if got := open(t, out.Path).Names; !slices.Equal(got, []string{"own:1", "one:1"}) {
				t.Errorf("names = %v", got)
			}
		}
	})
}

// flip changes a byte of the merged layer in every file below dir that holds
// it. The layer isn't compressed.
func flip(t *testing.T, dir string) {
	t.Helper()
	flipped := 0
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if i := bytes.LastIndex(b, []byte("second")); i >= 0 {
			b[i]++
			flipped++
			return os.WriteFile(path, b, 0o644)
		}
		return nil
	})
	if err != nil || flipped != 1 {
		t.Fatalf("%d files changed, %v", flipped, err)
	}
}

func TestDamagedResultIsMadeAnew(t *testing.T) {
	for _, transport := range []string{image.Archive, image.Layout, image.LayoutArchive} {
		for _, verify := range []maker.Verify{maker.Structure, maker.Content, maker.Off} {
			t.Run(transport+" "+verify.String(), func(t *testing.T) {
				dir := t.TempDir()
				o := job(t, image.Ref{Transport: transport, Path: filepath.Join(dir, "out.tar")}, func(o *Options) {
					o.Verify, o.Compression = verify, image.Compression{Kind: image.Uncompressed}
				})
				first := flatten(t, o)
				if again := flatten(t, o); !again.Reused {
					t.Fatal("a result as it was isn't found")
				}
				flip(t, dir)
				second := flatten(t, o)
				if second.Reused || second.ID != first.ID {
					t.Errorf("reused %v, ID %s, want %s", second.Reused, second.ID, first.ID)
				}
				if third := flatten(t, o); !third.Reused {
					t.Error("it wasn't mended")
				}
			})
		}
	}
}

// TestSecondRunTellsAllThatTheFirstTold compares the reports, but for how the
// result was come by.
func TestSecondRunTellsAllThatTheFirstTold(t *testing.T) {
	host := localRegistry(t)
	for name, out := range map[string]image.Ref{
		"archive":     archiveRef(filepath.Join(t.TempDir(), "out.tar")),
		"layout":      {Transport: image.Layout, Path: filepath.Join(t.TempDir(), "out")},
		"OCI archive": {Transport: image.LayoutArchive, Path: filepath.Join(t.TempDir(), "out.oci.tar")},
		"registry":    *registryRef(host + "/app:flat"),
	} {
		t.Run(name, func(t *testing.T) {
			page := filepath.Join(t.TempDir(), "page.html")
			o := job(t, out, func(o *Options) {
				o.Reports = []string{page}
				if name == "registry" {
					o.Tags = nil
				}
			})
			first := flatten(t, o)
			told, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			second := flatten(t, o)
			again, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			if !second.Reused || second.Checked != map[bool]templates.Checked{true: templates.CheckedBefore, false: templates.CheckedAgain}[name == "registry"] {
				t.Errorf("reused %v, checked %q", second.Reused, second.Checked)
			}
			second.Reused, second.Checked = first.Reused, first.Checked
			if !reflect.DeepEqual(first, second) {
				t.Errorf("first  %+v\nsecond %+v", first, second)
			}
			if a, b := bytes.Count(told, []byte("\n")), bytes.Count(again, []byte("\n")); a != b {
				t.Errorf("the page has %d lines, and had %d", b, a)
			}
			o.Verify = maker.Content
			if third := flatten(t, o); !third.Reused || third.Checked != templates.CheckedAgain {
				t.Errorf("--verify content: reused %v, checked %q", third.Reused, third.Checked)
			}
		})
	}
}

func TestExistingFilesAreNotLost(t *testing.T) {
	cases := map[string]struct {
		put  func(t *testing.T, name string)
		lost bool // it may be replaced
	}{
		"a text":                   {func(t *testing.T, name string) { writeFile(t, name, []byte("my thesis")) }, false},
		"an empty file":            {func(t *testing.T, name string) { writeFile(t, name, nil) }, false},
		"another image":            {func(t *testing.T, name string) { writeFile(t, name, imagetest.Archive(appImage())) }, false},
		"several images":           {func(t *testing.T, name string) { writeFile(t, name, imagetest.Archive(appImage(), appImage())) }, false},
		"a result of another name": {func(t *testing.T, name string) { resultAt(t, name, "other:1") }, false},
		"a result of this name":    {func(t *testing.T, name string) { resultAt(t, name, "app:flat") }, true},
	}
	for title, c := range cases {
		for _, transport := range []string{image.Archive, image.AnyFile} {
			for _, linked := range []bool{false, true} {
				t.Run(title+" "+transport+map[bool]string{true: " through a link"}[linked], func(t *testing.T) {
					name := filepath.Join(t.TempDir(), "out.tar")
					c.put(t, name)
					was, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					out := image.Ref{Transport: transport, Path: name}
					if linked {
						out.Path = filepath.Join(t.TempDir(), "link.tar")
						if err := os.Symlink(name, out.Path); err != nil {
							t.Fatal(err)
						}
					}
					o := job(t, out)
					if !c.lost {
						refused(t, o, "--force")
						if is, err := os.ReadFile(name); err != nil || !bytes.Equal(was, is) {
							t.Fatalf("it changed, %v", err)
						}
						o.Force = true
					}
					flatten(t, o)
					if got := open(t, name).Names; !slices.Equal(got, []string{"app:flat"}) {
						t.Errorf("names = %v", got)
					}
				})
			}
		}
	}
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// resultAt puts the result of another image at name.
func resultAt(t *testing.T, name, tag string) {
	t.Helper()
	im := appImage()
	im.Config["Env"] = []string{"PATH=/bin", "A=b c", "OTHER=1"}
	out := archiveRef(name)
	flatten(t, Options{Image: archiveRef(write(t, im)), Output: &out, Tags: []string{tag}, Base: keep("1"), Client: noEngine})
}

func TestExistingPageIsNotLost(t *testing.T) {
	page := filepath.Join(t.TempDir(), "my.html")
	writeFile(t, page, []byte("<html>mine</html>"))
	o := job(t, archiveRef(filepath.Join(t.TempDir(), "out.tar")), func(o *Options) { o.Reports = []string{page} })
	refused(t, o, "--force")
	if b, err := os.ReadFile(page); err != nil || string(b) != "<html>mine</html>" {
		t.Errorf("%s, %v", b, err)
	}
	if _, err := os.Stat(o.Output.Path); !errors.Is(err, os.ErrNotExist) {
		t.Error("the image is there all the same")
	}
	o.Force = true
	flatten(t, o)
	o.Force = false
	flatten(t, o) // over its own page
}

func TestWrongEndsAreFoundBeforeAnyWork(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	for name, change := range map[string]func(*Options){
		"a context below a file":           func(o *Options) { o.Context = filepath.Join(file, "ctx") },
		"a context where no directory is":  func(o *Options) { o.Context = filepath.Join(t.TempDir(), "a", "b") },
		"a page where no directory is":     func(o *Options) { o.Reports = []string{filepath.Join(t.TempDir(), "a", "b.html")} },
		"a page that is a directory":       func(o *Options) { o.Reports = []string{t.TempDir()} },
		"an archive where no directory is": func(o *Options) { o.Output.Path = filepath.Join(t.TempDir(), "a", "b.tar") },
		"a layout where a file is":         func(o *Options) { *o.Output = image.Ref{Transport: image.Layout, Path: file} },
		"a name in another registry": func(o *Options) {
			*o.Output, o.Tags = *registryRef(localRegistry(t) + "/a:1"), []string{"other.example/b:1"}
		},
		"a registry that doesn't answer": func(o *Options) { *o.Output, o.Tags = *registryRef("localhost:1/a:1"), nil },
		"a page beside a good one": func(o *Options) {
			o.Reports = []string{filepath.Join(t.TempDir(), "x.html"), filepath.Join(file, "y.html")}
		},
		"an engine that doesn't answer":     func(o *Options) { *o.Output = image.Ref{Transport: image.Daemon, Name: "a:1"} },
		"a directory that isn't a layout's": func(o *Options) { *o.Output = image.Ref{Transport: image.Layout, Path: filepath.Dir(file)} },
	} {
		t.Run(name, func(t *testing.T) {
			shown := &recorder{}
			o := job(t, archiveRef(filepath.Join(t.TempDir(), "out.tar")), func(o *Options) { o.Display = shown }, change)
			if _, err := Flatten(t.Context(), o); err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v", err)
			}
			if len(shown.stages) > 0 {
				t.Errorf("work was done: %v", shown.stages)
			}
		})
	}
}

// recorder is a display that keeps what it is told.
type recorder struct {
	mu     sync.Mutex
	stages []string
	bytes  map[string]int64
}

func (r *recorder) Start(stage, _ string, _ int64) progress.Bar {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stages = append(r.stages, stage)
	return &recordedBar{r, stage}
}
func (*recorder) Note(string) {}
func (*recorder) Close()      {}

type recordedBar struct {
	r     *recorder
	stage string
}

func (b *recordedBar) Add(n int64) {
	b.r.mu.Lock()
	defer b.r.mu.Unlock()
	if b.r.bytes == nil {
		b.r.bytes = map[string]int64{}
	}
	b.r.bytes[b.stage] += n
}
func (*recordedBar) Done(error) {}

func TestEveryStageIsShown(t *testing.T) {
	for name, c := range map[string]struct {
		out    image.Ref
		stages []string
	}{
		"archive":  {archiveRef(filepath.Join(t.TempDir(), "out.tar")), []string{progress.Reading, progress.Writing, progress.Storing}},
		"layout":   {image.Ref{Transport: image.Layout, Path: filepath.Join(t.TempDir(), "out")}, []string{progress.Reading, progress.Writing, progress.Storing}},
		"registry": {*registryRef(localRegistry(t) + "/app:flat"), []string{progress.Reading, progress.Writing, progress.Pushing}},
	} {
		t.Run(name, func(t *testing.T) {
			shown := &recorder{}
			o := job(t, c.out, func(o *Options) {
				o.Display = shown
				if name == "registry" {
					o.Tags = nil
				}
			})
			flatten(t, o)
			for _, stage := range c.stages {
				if shown.bytes[stage] == 0 {
					t.Errorf("no byte is shown while %s: %v", stage, shown.bytes)
				}
			}
			shown.bytes = nil
			o.Verify = maker.Content
			flatten(t, o)
			if shown.bytes[progress.Verifying] == 0 {
				t.Errorf("no byte is shown while %s", progress.Verifying)
			}
		})
	}
}

// TestFailureAfterTheImageHasItsNamesIsTold has the context's reader go away.
func TestFailureAfterTheImageHasItsNamesIsTold(t *testing.T) {
	out := archiveRef(filepath.Join(t.TempDir(), "out.tar"))
	page := filepath.Join(t.TempDir(), "page.html")
	o := job(t, out, func(o *Options) { o.Context, o.Stdout, o.Reports = "-", brokenWriter{}, []string{page} })
	_, err := Flatten(t.Context(), o)
	var published *PublishError
	if !errors.As(err, &published) || !strings.Contains(err.Error(), "app:flat") {
		t.Fatalf("error %v", err)
	}
	if got := open(t, out.Path).Names; !slices.Equal(got, []string{"app:flat"}) {
		t.Errorf("the image that the error names isn't there: %v", got)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestContextInANewDirectoryWithASlash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new") + "/"
	flattenFile(t, write(t, appImage()), func(o *Options) { o.Context = dir })
	if _, err := os.Stat(filepath.Join(dir, "Dockerfile")); err != nil {
		t.Error(err)
	}
}

func TestPathSaysWhatIsWritten(t *testing.T) {
	gz, zst := "\x1f\x8b", "\x28\xb5\x2f\xfd"
	for name, want := range map[string]struct{ transport, magic string }{
		"out/":           {image.Layout, ""},
		"out.tar":        {image.Archive, ""},
		"out.tar.gz":     {image.Archive, gz},
		"out.tgz":        {image.Archive, gz},
		"out.tar.zst":    {image.Archive, zst},
		"out.tzst":       {image.Archive, zst},
		"out.tar.xz":     {image.Archive, "\xfd7zXZ"},
		"out.tar.bz2":    {image.Archive, "BZh"},
		"out.oci.tar":    {image.LayoutArchive, ""},
		"out.oci.tar.gz": {image.LayoutArchive, gz},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			if strings.HasSuffix(name, "/") {
				path += "/"
			}
			o := job(t, image.Ref{Transport: image.AnyFile, Path: path})
			first := flatten(t, o)
			if transport, _, _ := strings.Cut(first.Output, ":"); transport != want.transport {
				t.Errorf("output is %s, want %s", first.Output, want.transport)
			}
			if want.magic != "" {
				b, err := os.ReadFile(path)
				if err != nil || !bytes.HasPrefix(b, []byte(want.magic)) {
					t.Errorf("begins with %x, %v", b[:8], err)
				}
			}
			if second := flatten(t, o); !second.Reused || second.ID != first.ID {
				t.Errorf("second run: reused %v, %s, want %s", second.Reused, second.ID, first.ID)
			}
		})
	}
}

// TestOwnBaseNameIsNoName: where a written context's base is known, nothing is
// different.
func TestOwnBaseNameIsNoName(t *testing.T) {
	base, source := newLayout(t), newLayout(t)
	base.name(t, baseOfAppImage(t, base), "docker-flatten/base:0123456789ab")
	source.name(t, source.image(t, appImage()), "app")
	var ids []string
	for _, b := range []string{"1", "oci:" + base.dir} {
		out := image.Ref{Transport: image.Layout, Path: filepath.Join(t.TempDir(), "out"), Name: "flat"}
		report := flatten(t, Options{Image: image.Ref{Transport: image.Layout, Path: source.dir}, Output: &out, Base: keep(b), Client: noEngine})
		if name := report.Images[0].Base.Name; name != "" {
			t.Errorf("--base %s: named %s", b, name)
		}
		for key := range manifestOf(t, out.Path).Annotations {
			if strings.Contains(key, "image.base") {
				t.Errorf("--base %s: annotation %s", b, key)
			}
		}
		ids = append(ids, report.Images[0].Base.Name)
	}
	if ids[0] != ids[1] {
		t.Errorf("%v", ids)
	}
}
