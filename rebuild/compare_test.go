package rebuild

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
	"docker-flatten/rebuild/progress"
	"docker-flatten/templates"
)

func compareRefs(t *testing.T, other, this image.Ref) *templates.Comparison {
	t.Helper()
	c, err := Compare(t.Context(), CompareOptions{Image: this, Other: other, Client: noEngine})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// found are a comparison's differences, a text each.
func found(c *templates.Comparison) []string {
	var out []string
	for _, p := range c.Platforms {
		if p.Only != "" {
			out = append(out, p.Platform+" only in "+string(p.Only))
		}
		for _, d := range p.Differences {
			out = append(out, strings.Join([]string{d.Path, d.What, d.Other, d.Image}, "|"))
		}
	}
	return out
}

func expect(t *testing.T, c *templates.Comparison, want ...string) {
	t.Helper()
	if got := found(c); !slices.Equal(got, want) || c.Same != (len(want) == 0) || c.Count != len(want) {
		t.Errorf("same %v, %d: %q, want %q", c.Same, c.Count, got, want)
	}
}

// The source and what becomes of it are the same, in every place that needs no
// engine, however they are compressed and whatever base is kept.
func TestCompareSourceWithItsFlatteningInAnyPlace(t *testing.T) {
	src := archiveRef(write(t, appImage()))
	for name, out := range map[string]image.Ref{
		"archive":     archiveRef(filepath.Join(t.TempDir(), "out.tar")),
		"layout":      {Transport: image.Layout, Path: filepath.Join(t.TempDir(), "out")},
		"oci-archive": {Transport: image.LayoutArchive, Path: filepath.Join(t.TempDir(), "out.oci.tar")},
		"registry":    *registryRef(localRegistry(t) + "/app:flat"),
	} {
		for _, base := range []string{"1", "scratch"} {
			for _, compression := range []string{"gzip", "zstd", "none"} {
				t.Run(name+" "+base+" "+compression, func(t *testing.T) {
					o := Options{Image: src, Output: &out, Base: keep(base), Client: noEngine, Force: true}
					if out.Transport != image.Registry {
						o.Tags = []string{"app:flat"}
					}
					var err error
					if o.Compression, err = image.ParseCompression(compression); err != nil {
						t.Fatal(err)
					}
					flatten(t, o)
					c := compareRefs(t, src, out)
					expect(t, c)
					if len(c.Platforms) != 1 || c.Platforms[0].Paths != 7 {
						t.Errorf("%+v", c.Platforms)
					}
				})
			}
		}
	}
}

func TestCompareTellsWhatDiffers(t *testing.T) {
	plain := archiveRef(write(t, appImage()))
	for name, c := range map[string]struct {
		change func(im *imagetest.Image)
		want   []string
	}{
		"env":          {func(im *imagetest.Image) { im.Config["Env"] = []string{"A=b c", "PATH=/bin"} }, []string{`config.Env|value|["PATH=/bin","A=b c"]|["A=b c","PATH=/bin"]`}},
		"architecture": {func(im *imagetest.Image) { im.Fields["architecture"] = "arm64" }, []string{`architecture|value|"amd64"|"arm64"`}},
		"os.version":   {func(im *imagetest.Image) { im.Fields["os.version"] = "1" }, []string{`os.version|extra||"1"`}},
		"unknown":      {func(im *imagetest.Image) { delete(im.Fields, "x-unknown") }, []string{`x-unknown|missing|{"big":12345678901234567890.5,"text":"<&>"}|`}},
		"a file": {func(im *imagetest.Image) {
			im.Steps[3].Files = append(im.Steps[3].Files, imagetest.File{Name: "bin/new"})
		}, []string{"/bin/new|extra||file"}},
		"both": {func(im *imagetest.Image) {
			im.Config["User"] = "me"
			im.Steps[0].Files[1].Mode = 0o4755
		}, []string{`config.User|extra||"me"`, "/bin/sh|mode|0755|4755"}},
		"names":   {func(im *imagetest.Image) { im.Names = []string{"other:1"} }, nil},
		"history": {func(im *imagetest.Image) { im.Steps[4].By, im.Steps[4].Comment = "other", "word" }, nil},
		"created": {func(im *imagetest.Image) { im.Fields["created"] = "2001-01-01T00:00:00Z" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			im := appImage()
			im.Fields = maps.Clone(im.Fields)
			c.change(&im)
			expect(t, compareRefs(t, plain, archiveRef(write(t, im))), c.want...)
		})
	}
}

// An image for Windows has access rights in its tars.
func TestCompareKnowsWhatSystemAnImageIsFor(t *testing.T) {
	for system, want := range map[string][]string{
		"windows": {"/Files/a|PAX record MSWINDOWS.rawsd|\"AQAE\"|\"AQAF\""},
		"linux":   nil,
	} {
		t.Run(system, func(t *testing.T) {
			of := func(rights string) image.Ref {
				return archiveRef(write(t, imagetest.Image{
					Names: []string{"app:1"}, Fields: map[string]any{"os": system},
					Steps: []imagetest.Step{{By: "COPY a /a", Files: []imagetest.File{{Name: "Files/a", PAX: map[string]string{"MSWINDOWS.rawsd": rights}}}}},
				}))
			}
			expect(t, compareRefs(t, of("AQAE"), of("AQAF")), want...)
		})
	}
}

// countingRegistry is a registry that counts how often each blob is read.
func countingRegistry(t *testing.T) (host string, reads map[string]int) {
	t.Helper()
	var mu sync.Mutex
	reads = map[string]int{}
	host = imagetest.Registry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
				mu.Lock()
				reads[r.URL.Path]++
				mu.Unlock()
			}
			next.ServeHTTP(w, r)
		})
	})
	return host, reads
}

// What two images have in common in one place is read once.
func TestCompareReadsLayersOfOnePlaceOnce(t *testing.T) {
	one, two := appImage(), appImage()
	two.Names = []string{"app:2"}
	two.Steps[4].Files[1].Body = "third!!"
	sizes := map[string]int{} // of the layers' tars
	once := 0
	for _, im := range []imagetest.Image{one, two} {
		_, layers := im.Document()
		for _, l := range layers {
			if sizes[string(l)] == 0 {
				once += len(l)
			}
			sizes[string(l)] = len(l)
		}
	}
	if len(sizes) != 5 {
		t.Fatalf("%d layers", len(sizes))
	}
	l := newLayout(t)
	l.names(t, map[string]v1.Descriptor{"1": l.image(t, one), "2": l.image(t, two)})
	both := write(t, one, two)
	host, reads := countingRegistry(t)
	app := host + "/app:"
	for tag, im := range map[string]imagetest.Image{"1": one, "2": two} {
		flatten(t, Options{Image: archiveRef(write(t, im)), Output: registryRef(app + tag), Base: keep("4"), Client: noEngine})
	}
	clear(reads)
	for name, place := range map[string]image.Ref{
		"layout":   {Transport: image.Layout, Path: l.dir},
		"archive":  {Transport: image.Archive, Path: both, Name: "app:"},
		"registry": *registryRef(app),
	} {
		this, other := place, place
		this.Name, other.Name = place.Name+"1", place.Name+"2"
		r := &recorder{}
		found, err := Compare(t.Context(), CompareOptions{Image: this, Other: other, Display: r})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		expect(t, found, "/bin/app|size|7|6")
		if got := r.bytes[progress.Reading]; got != int64(once) {
			t.Errorf("%s: %d bytes of layers were read, not %d", name, got, once)
		}
	}
	for blob, n := range reads {
		if n != 1 {
			t.Errorf("%s was read %d times", blob, n)
		}
	}
	if len(reads) != 7 { // config documents, too
		t.Errorf("%d blobs were read", len(reads))
	}
}

// A layer that an image has twice is read once, and shows what it would.
func TestCompareReadsARepeatedLayerOnce(t *testing.T) {
	_, layers := appImage().Document()
	raw := func(list ...[]byte) image.Ref {
		return archiveRef(imagetest.Write(t, "image.tar", imagetest.DockerArchive(imagetest.Raw{Names: []string{"a:1"}, Layers: list})))
	}
	twice := raw(layers[0], layers[3], layers[0])
	expect(t, compareRefs(t, twice, raw(layers[0], layers[3], layers[0], layers[0])))
	expect(t, compareRefs(t, twice, raw(layers[0], layers[3])), "/etc|mtime|1582977600|1582977605", "/etc/motd|missing|file|")
}

// sparse is a file of a hole and a word in a form that tar has for it, and
// expanded is the same without.
func sparseAndExpanded(t *testing.T) (sparse, expanded []byte) {
	t.Helper()
	const hole, word = 4096, "data"
	body := fmt.Sprintf("1\n%d\n%d\n", hole, len(word))
	body += strings.Repeat("\x00", 512-len(body)) + word
	for _, l := range []struct {
		out  *[]byte
		head tar.Header
		body string
	}{
		{&sparse, tar.Header{Name: "GNUSparseFile.0/f", Size: int64(len(body)), PAXRecords: map[string]string{
			"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "f", "GNU.sparse.realsize": fmt.Sprint(hole + len(word)),
		}}, body},
		{&expanded, tar.Header{Name: "f", Size: hole + int64(len(word))}, strings.Repeat("\x00", hole) + word},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		l.head.Typeflag, l.head.Mode, l.head.ModTime, l.head.Format = tar.TypeReg, 0o644, then, tar.FormatPAX
		records := l.head.PAXRecords
		l.head.PAXRecords = nil
		for k, v := range records { // archive/tar writes no sparse records; a key of the same length stands in
			if l.head.PAXRecords == nil {
				l.head.PAXRecords = map[string]string{}
			}
			l.head.PAXRecords["NEW"+k[3:]] = v
		}
		if err := w.WriteHeader(&l.head); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, l.body); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		*l.out = bytes.ReplaceAll(b.Bytes(), []byte("NEW.sparse"), []byte("GNU.sparse"))
	}
	return sparse, expanded
}

func TestCompareKnowsNoSparseFiles(t *testing.T) {
	sparse, expanded := sparseAndExpanded(t)
	if h, err := tar.NewReader(bytes.NewReader(sparse)).Next(); err != nil || h.Name != "f" || h.Size != 4100 {
		t.Fatalf("no sparse file: %+v, %v", h, err)
	}
	var refs []image.Ref
	for _, l := range [][]byte{sparse, expanded} {
		refs = append(refs, archiveRef(imagetest.Write(t, "image.tar", imagetest.DockerArchive(imagetest.Raw{Names: []string{"a:1"}, Layers: [][]byte{l}}))))
	}
	expect(t, compareRefs(t, refs[0], refs[1]))
}

func TestComparePlatformByPlatform(t *testing.T) {
	amd, arm, s390 := appImage(), appImage(), appImage()
	arm.Fields = map[string]any{"architecture": "arm64"}
	v8 := appImage()
	v8.Fields = map[string]any{"architecture": "arm64", "variant": "v8"}
	s390.Fields = map[string]any{"architecture": "s390x"}
	changed := arm
	changed.Config = map[string]any{"User": "me"}
	build := func(images ...imagetest.Image) image.Ref {
		l := newLayout(t)
		var entries []v1.Descriptor
		for _, im := range images {
			d := l.image(t, im)
			arch, _ := im.Fields["architecture"].(string)
			if arch == "" {
				arch = "amd64"
			}
			variant, _ := im.Fields["variant"].(string)
			d.Platform = &v1.Platform{OS: "linux", Architecture: arch, Variant: variant}
			entries = append(entries, d)
		}
		l.name(t, l.index(t, nil, entries...), "v1")
		return image.Ref{Transport: image.Layout, Path: l.dir}
	}
	two := build(amd, arm)
	expect(t, compareRefs(t, two, build(arm, amd))) // the order doesn't count
	expect(t, compareRefs(t, two, build(amd, s390)), "linux/s390x only in image", "linux/arm64 only in other")
	expect(t, compareRefs(t, two, build(amd, v8)), `variant|extra||"v8"`)
	expect(t, compareRefs(t, two, build(amd)), "linux/arm64 only in other")
	expect(t, compareRefs(t, build(arm), build(amd)), `architecture|value|"arm64"|"amd64"`, `x-unknown|extra||{"big":12345678901234567890.5,"text":"<&>"}`)
	expect(t, compareRefs(t, build(amd), archiveRef(write(t, amd)))) // one image is no index
	for platform, same := range map[string]bool{"linux/amd64": true, "linux/arm64": false} {
		c, err := Compare(t.Context(), CompareOptions{Image: two, Other: build(amd, changed), Platform: platform, Client: noEngine})
		if err != nil || c.Same != same || len(c.Platforms) != 1 {
			t.Errorf("%s: %+v, %v", platform, c, err)
		}
	}
}

// What is beside the images of an index is left out, and a line says so.
func TestCompareLeavesAttestationsOut(t *testing.T) {
	l := newLayout(t)
	d := l.image(t, appImage())
	d.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	l.name(t, l.index(t, nil, l.attestation(t, d), d), "v1")
	c := compareRefs(t, archiveRef(write(t, appImage())), image.Ref{Transport: image.Layout, Path: l.dir})
	expect(t, c)
	if len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], "left out attestation-manifest ") {
		t.Errorf("%q", c.Warnings)
	}
}

func TestCompareChecksDigests(t *testing.T) {
	good := archiveRef(write(t, appImage()))
	b, err := os.ReadFile(good.Path)
	if err != nil {
		t.Fatal(err)
	}
	bad := archiveRef(imagetest.Write(t, "bad.tar", bytes.Replace(b, []byte("a shell"), []byte("a swell"), 1)))
	for _, o := range []CompareOptions{{Image: good, Other: bad}, {Image: bad, Other: good}} {
		if _, err := Compare(t.Context(), o); !errors.Is(err, image.ErrDigest) || !strings.Contains(err.Error(), "bad.tar") {
			t.Errorf("%v", err)
		}
	}
}

func TestCompareFailures(t *testing.T) {
	good := archiveRef(write(t, appImage()))
	dangling := appImage()
	dangling.Steps[0].Files = append(dangling.Steps[0].Files, imagetest.File{Name: "l", HardLink: "nothing"})
	refused := archiveRef(imagetest.Write(t, "refused.tar", imagetest.Archive(dangling)))
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		o    CompareOptions
		says string
	}{
		"no such file":             {t.Context(), CompareOptions{Image: good, Other: archiveRef("missing.tar")}, "missing.tar"},
		"no engine":                {t.Context(), CompareOptions{Image: good, Other: image.Ref{Transport: image.Daemon, Name: "a:1"}, Client: noEngine}, "no engine"},
		"platform":                 {t.Context(), CompareOptions{Image: good, Other: good, Platform: "linux/s390x"}, "s390x"},
		"what engines refuse":      {t.Context(), CompareOptions{Image: refused, Other: good}, "refused.tar"},
		"what engines refuse, too": {t.Context(), CompareOptions{Image: good, Other: refused}, "refused.tar"},
		"twice stdin":              {t.Context(), CompareOptions{Image: archiveRef("-"), Other: archiveRef("-")}, "stdin"},
		"interrupted":              {stopped, CompareOptions{Image: good, Other: good}, context.Canceled.Error()},
	} {
		if got, err := Compare(c.ctx, c.o); got != nil || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestCompareShowsItsStages(t *testing.T) {
	ref := archiveRef(write(t, appImage()))
	r := &recorder{}
	if _, err := Compare(t.Context(), CompareOptions{Image: ref, Other: ref, Display: r}); err != nil {
		t.Fatal(err)
	}
	if want := []string{progress.Reading, progress.Reading, progress.Comparing}; !slices.Equal(r.stages, want) || r.bytes[progress.Reading] == 0 {
		t.Errorf("%q, want %q; %v", r.stages, want, r.bytes)
	}
}
