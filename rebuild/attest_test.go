package rebuild

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/imagetest"
	"docker-flatten/rebuild/plan"
)

// attested is what a statement is read for.
type attested struct {
	Subject []struct {
		Name   string
		Digest map[string]string
	}
	PredicateType string
	Predicate     struct {
		BuildDefinition struct {
			ResolvedDependencies []struct{ Digest map[string]string }
		}
	}
}

func readStatement(t *testing.T, raw []byte) (s attested) {
	t.Helper()
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return s
}

// namedApp is a layout with an image, and its manifest's digest.
func namedApp(t *testing.T) (image.Ref, v1.Hash) {
	t.Helper()
	l := newLayout(t)
	d := l.image(t, appImage())
	l.name(t, d, "app")
	return image.Ref{Transport: image.Layout, Path: l.dir}, d.Digest
}

// referrersOf returns what a registry lists as referring to a digest.
func referrersOf(t *testing.T, repo name.Repository, subject string) []v1.Descriptor {
	t.Helper()
	index, err := remote.Referrers(repo.Digest(subject))
	if err != nil {
		t.Fatal(err)
	}
	listed, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	return listed.Manifests
}

// statementOn returns the only statement that refers to a digest in a registry.
func statementOn(t *testing.T, repo name.Repository, subject string) (raw []byte, manifest v1.Hash) {
	t.Helper()
	listed := referrersOf(t, repo, subject)
	if len(listed) != 1 {
		t.Fatalf("referrers: %+v", listed)
	}
	manifest = listed[0].Digest
	im, err := remote.Image(repo.Digest(manifest.String()))
	if err != nil {
		t.Fatal(err)
	}
	m, err := im.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject == nil || m.Subject.Digest.String() != subject || len(m.Layers) != 1 {
		t.Fatalf("manifest: %+v", m)
	}
	whole, err := im.RawManifest()
	if err != nil || !strings.Contains(string(whole), `"artifactType":"application/vnd.in-toto+json"`) {
		t.Fatalf("%v, manifest: %s", err, whole)
	}
	blob, err := remote.Layer(repo.Digest(m.Layers[0].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	r, err := blob.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if raw, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	return raw, manifest
}

func TestAttestationRefersToTheResultInARegistry(t *testing.T) {
	source, digest := namedApp(t)
	for title, referrers := range map[string]bool{"that lists referrers": true, "with the fallback tag": false} {
		t.Run(title, func(t *testing.T) {
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(referrers)))
			t.Cleanup(server.Close)
			host := strings.TrimPrefix(server.URL, "http://")
			repo, err := name.NewRepository(host + "/flat")
			if err != nil {
				t.Fatal(err)
			}
			var first []byte
			for i := range 3 { // made, found, made again
				report, err := Flatten(context.Background(), Options{
					Image: source, Output: registryRef(host + "/flat:1"), Base: keep("1"), Attest: true, NoCache: i == 2, Client: noEngine,
				})
				if err != nil {
					t.Fatal(err)
				}
				if report.Reused != (i == 1) {
					t.Fatalf("run %d: reused is %t", i, report.Reused)
				}
				_, id, _ := strings.Cut(report.ID, "@")
				raw, _ := statementOn(t, repo, id)
				s := readStatement(t, raw)
				if "sha256:"+s.Subject[0].Digest["sha256"] != id || s.PredicateType != "https://slsa.dev/provenance/v1" {
					t.Errorf("statement: %s", raw)
				}
				if d := s.Predicate.BuildDefinition.ResolvedDependencies[0].Digest["sha256"]; d != digest.Hex {
					t.Errorf("material %s, want %s", d, digest)
				}
				if i == 0 {
					first = raw
				} else if string(raw) != string(first) {
					t.Errorf("run %d has another statement:\n%s\n%s", i, first, raw)
				}
			}
			tags, err := remote.List(repo)
			if err != nil {
				t.Fatal(err)
			}
			if hasFallback := slices.ContainsFunc(tags, func(s string) bool { return strings.HasPrefix(s, "sha256-") }); hasFallback == referrers {
				t.Errorf("tags: %v", tags)
			}
		})
	}
}

// Where a registry lists no referrers, the fallback tag is shared by all who attach
// something, and each writes it as a whole.
func TestFallbackTagListsTheAttestationAgain(t *testing.T) {
	source, _ := namedApp(t)
	for title, tt := range map[string]struct {
		listed bool // by another client
		during bool // it writes the tag while a run names its result
	}{
		"the tag is gone":                     {},
		"another client has written it":       {listed: true},
		"another client writes it meanwhile":  {listed: true, during: true},
		"another client deletes it meanwhile": {during: true},
	} {
		t.Run(title, func(t *testing.T) {
			var meanwhile func()
			host := imagetest.Registry(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1") && meanwhile != nil {
						meanwhile()
					}
					next.ServeHTTP(w, r)
				})
			})
			repo, err := name.NewRepository(host + "/flat")
			if err != nil {
				t.Fatal(err)
			}
			run := func() string {
				t.Helper()
				report, err := Flatten(context.Background(), Options{Image: source, Output: registryRef(repo.Tag("1").Name()), Base: keep("1"), Attest: true, Client: noEngine})
				if err != nil {
					t.Fatal(err)
				}
				_, id, _ := strings.Cut(report.ID, "@")
				return id
			}
			id := run()
			theirs, err := random.Image(1, 1)
			if err != nil {
				t.Fatal(err)
			}
			write := func() {
				fallback := repo.Tag(strings.Replace(id, ":", "-", 1))
				if !tt.listed {
					if err := remote.Delete(fallback); err != nil {
						t.Error(err)
					}
					return
				}
				if err := remote.WriteIndex(fallback, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: theirs})); err != nil {
					t.Error(err)
				}
			}
			if tt.during {
				if err := remote.Delete(repo.Tag("1")); err != nil {
					t.Fatal(err)
				}
				meanwhile = write
			} else {
				write()
			}
			run()
			want := []string{"application/vnd.in-toto+json"}
			if tt.listed {
				want = append(want, string(types.DockerConfigJSON)) // what theirs is
			}
			var got []string
			for _, d := range referrersOf(t, repo, id) {
				got = append(got, d.ArtifactType)
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("listed: %q, want %q", got, want)
			}
		})
	}
}

// A result that doesn't get its tag leaves no attestation either.
func TestUnnamedResultLeavesNoAttestation(t *testing.T) {
	source, _ := namedApp(t)
	for title, referrers := range map[string]bool{"that lists referrers": true, "with the fallback tag": false} {
		t.Run(title, func(t *testing.T) {
			t.Setenv("DOCKER_CONFIG", t.TempDir())
			real := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(referrers))
			var attested atomic.Bool
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1") {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/referrers/") {
					attested.Store(true)
				}
				real.ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			host := strings.TrimPrefix(server.URL, "http://")
			if _, err := Flatten(context.Background(), Options{
				Image: source, Output: registryRef(host + "/flat:1"), Base: keep("1"), Attest: true, Client: noEngine,
			}); err == nil {
				t.Fatal("no error")
			}
			if !attested.Load() {
				t.Fatal("the attestation wasn't even pushed")
			}
			repo, err := name.NewRepository(host + "/flat")
			if err != nil {
				t.Fatal(err)
			}
			if tags, err := remote.List(repo); err == nil && len(tags) > 0 {
				t.Errorf("tags are left: %v", tags)
			}
		})
	}
}

// A request that is cut off may have been carried out. The run waits for its answer,
// and then the result is there with its statement, or nothing is.
func TestInterruptWhileTheRegistryNamesTheResult(t *testing.T) {
	source, _ := namedApp(t)
	for title, tt := range map[string]struct {
		put    string // the request that the interrupt comes in
		attest bool
		tags   int // that are there then; 0 = the run failed
	}{
		"the tag":                   {"/manifests/1", false, 1},
		"the tag, with a statement": {"/manifests/1", true, 2},
		"the fallback tag":          {"/manifests/sha256-", true, 0},
		"a manifest, by its digest": {"/manifests/sha256:", true, 0},
	} {
		t.Run(title, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(context.Background())
			defer interrupt()
			host := imagetest.Registry(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					answer := httptest.NewRecorder()
					next.ServeHTTP(answer, r)
					if r.Method == http.MethodPut && strings.Contains(r.URL.Path, tt.put) {
						interrupt()
					}
					maps.Copy(w.Header(), answer.Header())
					w.WriteHeader(answer.Code)
					_, _ = w.Write(answer.Body.Bytes())
				})
			})
			repo, err := name.NewRepository(host + "/flat")
			if err != nil {
				t.Fatal(err)
			}
			_, err = Flatten(ctx, Options{Image: source, Output: registryRef(repo.Tag("1").Name()), Base: keep("1"), Attest: tt.attest, Client: noEngine})
			if ctx.Err() == nil || (err == nil) != (tt.tags > 0) {
				t.Errorf("interrupted: %v; error: %v", ctx.Err(), err)
			}
			tags, err := remote.List(repo)
			if len(tags) != tt.tags {
				t.Errorf("tags: %v, want %d; %v", tags, tt.tags, err)
			}
		})
	}
}

func TestAttestationLiesInTheLayout(t *testing.T) {
	source, digest := namedApp(t)
	for _, transport := range []string{image.Layout, image.LayoutArchive} {
		t.Run(transport, func(t *testing.T) {
			out := image.Ref{Transport: transport, Path: filepath.Join(t.TempDir(), "out"), Name: "flat"}
			var index []byte
			for i := range 2 {
				report, err := Flatten(context.Background(), Options{Image: source, Output: &out, Base: keep("1"), Attest: true, Client: noEngine})
				if err != nil {
					t.Fatal(err)
				}
				if report.Reused != (i == 1) {
					t.Errorf("run %d: reused is %t", i, report.Reused)
				}
				if transport != image.Layout {
					continue
				}
				raw, err := os.ReadFile(filepath.Join(out.Path, "index.json"))
				if err != nil {
					t.Fatal(err)
				}
				if i == 1 && string(raw) != string(index) {
					t.Errorf("index.json became\n%s\nof\n%s", raw, index)
				}
				index = raw
			}
			dir := out.Path
			if transport == image.LayoutArchive {
				dir = t.TempDir()
				untar(t, out.Path, dir)
			}
			checkAttestedLayout(t, dir, digest)
			// the image is still what the layout is opened for
			again := image.Ref{Transport: transport, Path: filepath.Join(t.TempDir(), "again"), Name: "x"}
			if _, err := Flatten(context.Background(), Options{Image: image.Ref{Transport: transport, Path: out.Path}, Output: &again, Base: keep("1"), Client: noEngine}); err != nil {
				t.Error(err)
			}
		})
	}
}

// A statement leaves index.json with the image that it is about, once no name
// means that any more. What others attached stays.
func TestAttestationGoesWithItsImage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	run := func(name string, base int, attest bool) {
		t.Helper()
		source, _ := namedApp(t)
		if _, err := Flatten(context.Background(), Options{Image: source, Output: &image.Ref{Transport: image.Layout, Path: dir, Name: name}, Base: keep(strconv.Itoa(base)), Attest: attest, Client: noEngine}); err != nil {
			t.Fatal(err)
		}
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	subjects := func() (list []string) {
		t.Helper()
		ix, err := path.ImageIndex()
		if err != nil {
			t.Fatal(err)
		}
		listed, err := ix.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range listed.Manifests {
			name := d.Annotations["org.opencontainers.image.ref.name"]
			if d.ArtifactType != "" {
				im, err := path.Image(d.Digest)
				if err != nil {
					t.Fatal(err)
				}
				m, err := im.Manifest()
				if err != nil {
					t.Fatal(err)
				}
				name = "about "
				for _, other := range listed.Manifests {
					if other.Digest == m.Subject.Digest {
						name += other.Annotations["org.opencontainers.image.ref.name"]
					}
				}
				if !strings.Contains(string(mustRaw(t, path, m.Layers[0].Digest)), "urn:docker-flatten") {
					name = "others'"
				}
			}
			list = append(list, name)
		}
		return list
	}
	check := func(want ...string) {
		t.Helper()
		if have := subjects(); !slices.Equal(have, want) {
			t.Errorf("index.json has %q, want %q", have, want)
		}
	}
	run("a", 1, true)
	run("b", 1, false) // another name of the same image
	check("a", "about ab", "b")
	run("a", 2, true)
	check("about b", "b", "a", "about a")
	attachOthers(t, path, "b")
	run("b", 2, false)
	check("a", "about ab", "others'", "b")
}

// attachOthers lists what another program says of an image.
func attachOthers(t *testing.T, path layout.Path, name string) {
	t.Helper()
	ix, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	listed, err := ix.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(listed.Manifests, func(d v1.Descriptor) bool {
		return d.Annotations["org.opencontainers.image.ref.name"] == name
	})
	said, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), static.NewLayer([]byte(`{"predicate":{}}`), "application/vnd.in-toto+json"))
	if err != nil {
		t.Fatal(err)
	}
	subject := listed.Manifests[at]
	subject.Annotations = nil
	if err := path.AppendImage(mutate.Subject(said, subject).(v1.Image), layout.WithAnnotations(nil)); err != nil {
		t.Fatal(err)
	}
	// go-containerregistry lists no artifact type
	file := filepath.Join(string(path), "index.json")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := mutate.Subject(said, subject).(v1.Image).Digest()
	if err != nil {
		t.Fatal(err)
	}
	entry := `"digest": "` + digest.String() + `"`
	changed := strings.Replace(string(raw), entry, entry+`, "artifactType": "application/vnd.in-toto+json"`, 1)
	if changed == string(raw) {
		t.Fatalf("no %s in %s", entry, raw)
	}
	writeFile(t, file, []byte(changed))
}

func mustRaw(t *testing.T, path layout.Path, digest v1.Hash) []byte {
	t.Helper()
	raw, err := path.Bytes(digest)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func checkAttestedLayout(t *testing.T, dir string, source v1.Hash) {
	t.Helper()
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	ix, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	listed, err := ix.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(listed.Manifests) != 2 || listed.Manifests[1].ArtifactType != "application/vnd.in-toto+json" || len(listed.Manifests[1].Annotations) != 0 {
		t.Fatalf("index.json: %+v", listed.Manifests)
	}
	im, err := path.Image(listed.Manifests[1].Digest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := im.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject == nil || m.Subject.Digest != listed.Manifests[0].Digest {
		t.Errorf("subject: %+v", m.Subject)
	}
	raw, err := path.Bytes(m.Layers[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	s := readStatement(t, raw)
	if s.Subject[0].Digest["sha256"] != listed.Manifests[0].Digest.Hex || s.Predicate.BuildDefinition.ResolvedDependencies[0].Digest["sha256"] != source.Hex {
		t.Errorf("statement: %s", raw)
	}
	if _, err := path.Bytes(m.Config.Digest); err != nil {
		t.Errorf("the empty config: %v", err)
	}
}

func TestAttestationInAFile(t *testing.T) {
	source, digest := namedApp(t)
	dir := t.TempDir()
	out := image.Ref{Transport: image.Archive, Path: filepath.Join(dir, "out.tar")}
	file := filepath.Join(dir, "statement.json")
	flatten := func(change func(*Options)) (string, error) {
		o := Options{Image: source, Output: &out, Base: keep("1"), Tags: []string{"flat:1"}, AttestFile: file, Client: noEngine}
		change(&o)
		report, err := Flatten(context.Background(), o)
		if err != nil {
			return "", err
		}
		return report.ID, nil
	}
	nothing := func(*Options) {}
	id, err := flatten(nothing)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := readStatement(t, first)
	if "sha256:"+s.Subject[0].Digest["sha256"] != id || s.Subject[0].Name != "flat:1" || s.Predicate.BuildDefinition.ResolvedDependencies[0].Digest["sha256"] != digest.Hex {
		t.Errorf("statement: %s", first)
	}
	if _, err := flatten(nothing); err != nil { // an earlier one of the same name is replaced
		t.Error(err)
	}
	if again, _ := os.ReadFile(file); string(again) != string(first) {
		t.Errorf("the second run wrote\n%s\nafter\n%s", again, first)
	}
	if _, err := flatten(func(o *Options) {
		o.Tags, o.Output = []string{"other:1"}, &image.Ref{Transport: image.Archive, Path: filepath.Join(dir, "other.tar")}
	}); err == nil || !strings.Contains(err.Error(), "isn't an earlier statement about other:1") {
		t.Errorf("a statement about another name is replaced: %v", err)
	}
	// what can't be carried out leaves no file
	absent := filepath.Join(dir, "absent.json")
	if _, err := flatten(func(o *Options) { o.AttestFile, o.Base, o.NoCache = absent, keep("99"), true }); err == nil {
		t.Error("no error")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*absent*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A base that no registry is known to have has the digest that its own place
// knows it by.
func TestAttestationHasTheBasesDigest(t *testing.T) {
	together := archiveRef(write(t, middleImage("mid:1"), appImage()))
	together.Name = "mid:1"
	src, err := place.Open(t.Context(), together, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	inArchive := src.Images[0].ID
	src.Close()
	together.Name = "app:1"
	l := newLayout(t)
	mid, app, saying := l.image(t, middleImage()), l.image(t, appImage()), l.image(t, appImage())
	l.change(t, &saying, func(m *v1.Manifest) { m.Annotations = map[string]string{saysName: "example.com/mid:1"} })
	l.names(t, map[string]v1.Descriptor{"example.com/mid:1": mid, "app": app, "saying": saying})
	for title, o := range map[string]struct {
		image image.Ref
		base  plan.Base
		want  string
	}{
		"beside it in the archive": {together, plan.Base{}, inArchive},
		"beside it in the layout":  {image.Ref{Transport: image.Layout, Path: l.dir, Name: "app"}, plan.Base{}, mid.Digest.String()},
		"that an annotation names": {image.Ref{Transport: image.Layout, Path: l.dir, Name: "saying"}, plan.Base{}, mid.Digest.String()},
		"by the user's word":       {image.Ref{Transport: image.Layout, Path: l.dir, Name: "app"}, keep("oci:" + l.dir + ":example.com/mid:1"), mid.Digest.String()},
		"that nothing names":       {image.Ref{Transport: image.Layout, Path: l.dir, Name: "app"}, keep("1"), ""},
	} {
		t.Run(title, func(t *testing.T) {
			out := image.Ref{Transport: image.Archive, Path: filepath.Join(t.TempDir(), "out.tar")}
			file := filepath.Join(t.TempDir(), "statement.json")
			if _, err := Flatten(t.Context(), Options{Image: o.image, Output: &out, Base: o.base, Tags: []string{"flat:1"}, AttestFile: file, Client: noEngine}); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if materials := readStatement(t, raw).Predicate.BuildDefinition.ResolvedDependencies; len(materials) > 1 {
				got = "sha256:" + materials[1].Digest["sha256"]
			}
			if got != o.want {
				t.Errorf("base's digest is %q, want %q: %s", got, o.want, raw)
			}
		})
	}
}

func TestAttestationNeedsAPlaceForIt(t *testing.T) {
	source, _ := namedApp(t)
	dir := t.TempDir()
	out := image.Ref{Transport: image.Archive, Path: filepath.Join(dir, "out.tar")}
	_, err := Flatten(context.Background(), Options{Image: source, Output: &out, Attest: true, Tags: []string{"flat:1"}, Client: noEngine})
	var known *image.Error
	if !errors.As(err, &known) || !strings.Contains(known.Hint, "--attest=FILE") {
		t.Errorf("error is %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	for name, o := range map[string]Options{
		"a dry run": {DryRun: true, Attest: true}, "a context alone": {Context: "-", AttestFile: "x"}, "both forms": {Attest: true, AttestFile: "x"},
	} {
		o.Image = image.Ref{Transport: image.Registry, Name: "registry.example/app:1"}
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "--attest") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What refers to the source is told of, and stays behind.
func TestReferrersOfTheSourceAreTold(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	source, _ := namedApp(t)
	// a flattened image with a statement about it is the source of the next run
	attestedApp, err := Flatten(context.Background(), Options{Image: source, Output: registryRef(host + "/app:1"), Base: keep("2"), Attest: true, Client: noEngine})
	if err != nil {
		t.Fatal(err)
	}
	app, err := name.NewRepository(host + "/app")
	if err != nil {
		t.Fatal(err)
	}
	_, id, _ := strings.Cut(attestedApp.ID, "@")
	_, statementDigest := statementOn(t, app, id)
	report, err := Flatten(context.Background(), Options{Image: *registryRef(host + "/app:1"), Output: registryRef(host + "/flat:1"), Base: keep("1"), Client: noEngine})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(report.Warnings, func(w string) bool {
		return strings.HasPrefix(w, "not carried over: ") && strings.Contains(w, statementDigest.Hex[:12])
	}) {
		t.Errorf("warnings: %q", report.Warnings)
	}
	_, id, _ = strings.Cut(report.ID, "@")
	repo, _ := name.NewRepository(host + "/flat")
	index, err := remote.Referrers(repo.Digest(id))
	if err != nil {
		t.Fatal(err)
	}
	if listed, err := index.IndexManifest(); err != nil || len(listed.Manifests) > 0 {
		t.Errorf("referrers of the result: %v, %v", listed, err)
	}
}

// cosign before its third version signs by a tag that is made of the digest.
func TestTagsOfCosignAreTold(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	source, _ := namedApp(t)
	app, err := Flatten(context.Background(), Options{Image: source, Output: registryRef(host + "/app:1"), Base: keep("2"), Client: noEngine})
	if err != nil {
		t.Fatal(err)
	}
	_, id, _ := strings.Cut(app.ID, "@")
	again := func() string {
		t.Helper()
		report, err := Flatten(context.Background(), Options{Image: *registryRef(host + "/app:1"), Output: registryRef(host + "/flat:1"), Base: keep("1"), Client: noEngine})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(report.Warnings, "\n")
	}
	if told := again(); strings.Contains(told, "not carried over") {
		t.Errorf("nothing is attached, but: %s", told)
	}
	repo, _ := name.NewRepository(host + "/app")
	for end, kind := range map[string]string{"sig": "cosign signature", "att": "cosign attestation", "sbom": "cosign SBOM"} {
		attached, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte(end), "application/vnd.dev.cosign.simplesigning.v1+json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(repo.Tag(strings.Replace(id, ":", "-", 1)+"."+end), attached); err != nil {
			t.Fatal(err)
		}
		digest, _ := attached.Digest()
		if told := again(); !strings.Contains(told, kind+" "+digest.Hex[:12]) {
			t.Errorf("%s isn't told of: %s", kind, told)
		}
	}
}

// A registry can answer anything when it is asked for referrers.
func TestReferrersThatAreMadeUpDoNoHarm(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	real := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	answer := `{"schemaVersion":2,"manifests":[{"artifactType":"` + strings.Repeat("x", 5000) + `"},{"mediaType":"\u001b[31mred"}]}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/referrers/") {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			_, _ = io.WriteString(w, answer)
			return
		}
		real.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	source, _ := namedApp(t)
	if _, err := Flatten(context.Background(), Options{Image: source, Output: registryRef(host + "/app:1"), Base: keep("2"), Client: noEngine}); err != nil {
		t.Fatal(err)
	}
	report, err := Flatten(context.Background(), Options{Image: *registryRef(host + "/app:1"), Output: registryRef(host + "/flat:1"), Base: keep("1"), Client: noEngine})
	if err != nil {
		t.Fatal(err)
	}
	if w := strings.Join(report.Warnings, "\n"); !strings.Contains(w, "not carried over") || len(w) > 500 {
		t.Errorf("warnings: %q", w)
	}
}
