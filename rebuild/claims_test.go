package rebuild

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
	"docker-flatten/templates"
)

const (
	saysName   = "org.opencontainers.image.base.name"
	saysDigest = "org.opencontainers.image.base.digest"
)

// middleImage is appImage's base with one step more than its history's shape
// tells: what finds it is evidence of another kind.
func middleImage(names ...string) imagetest.Image {
	im := appImage()
	im.Names, im.Steps = names, im.Steps[:4]
	im.Config = map[string]any{"Env": []string{"PATH=/bin", "A=b c"}, "Cmd": []string{"/bin/sh"}}
	return im
}

// names gives the layout's images, an empty one none.
func (l ociLayout) names(t *testing.T, entries map[string]v1.Descriptor) {
	t.Helper()
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for name, d := range entries {
		d.Annotations = map[string]string{"org.opencontainers.image.ref.name": name}
		index.Manifests = append(index.Manifests, d)
	}
	b, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	l.file(t, "index.json", b)
}

// dryRun plans the flattening of an image.
func dryRun(t *testing.T, ref image.Ref, offline bool) *templates.Report {
	t.Helper()
	report, err := Flatten(context.Background(), Options{Image: ref, DryRun: true, Offline: offline, Client: noEngine})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func checkBase(t *testing.T, report *templates.Report, want templates.BaseReport) {
	t.Helper()
	for _, im := range report.Images {
		if got := im.Base; got.Name != want.Name || got.Layers != want.Layers || got.Kind != want.Kind || !strings.Contains(got.Evidence, want.Evidence) {
			t.Errorf("base of %s is %+v, want %+v", im.Platform, got, want)
		}
	}
}

// An image of the same archive or layout is the base where its layers are the
// lowest, for the same platform.
func TestSiblingIsTheBase(t *testing.T) {
	archive := write(t, middleImage("mid:1"), appImage())
	ref := archiveRef(archive)
	ref.Name = "app:1"
	checkBase(t, dryRun(t, ref, false), templates.BaseReport{Name: "mid:1", Layers: 2, Kind: "sibling", Evidence: "an image beside it with the same 2 layers"})

	other := middleImage("mid:1")
	other.Fields["architecture"] = "arm64"
	ref = archiveRef(write(t, other, appImage()))
	ref.Name = "app:1"
	checkBase(t, dryRun(t, ref, false), templates.BaseReport{Layers: 1, Kind: "guess", Evidence: "guessed"})

	l := newLayout(t)
	l.names(t, map[string]v1.Descriptor{"example.com/mid:1": l.image(t, middleImage()), "app": l.image(t, appImage())})
	checkBase(t, dryRun(t, image.Ref{Transport: image.Layout, Path: l.dir, Name: "app"}, false), templates.BaseReport{Name: "example.com/mid:1", Layers: 2, Kind: "sibling", Evidence: "beside it"})
}

// What an annotation or a provenance names is found among the siblings, and said
// to be named so.
func TestNamedSiblingIsTheBase(t *testing.T) {
	for _, c := range []struct {
		title string
		add   func(t *testing.T, l ociLayout, app *v1.Descriptor, base v1.Descriptor) v1.Descriptor
		want  templates.BaseReport
	}{
		{"manifest", func(t *testing.T, l ociLayout, app *v1.Descriptor, base v1.Descriptor) v1.Descriptor {
			l.change(t, app, func(m *v1.Manifest) { m.Annotations = map[string]string{saysName: "example.com/mid:1"} })
			return *app
		}, templates.BaseReport{Name: "example.com/mid:1", Layers: 2, Kind: "annotation", Evidence: "the manifest's annotation names it, with the same 2 layers"}},
		{"index", func(t *testing.T, l ociLayout, app *v1.Descriptor, base v1.Descriptor) v1.Descriptor {
			return l.index(t, map[string]string{saysDigest: base.Digest.String()}, *app)
		}, templates.BaseReport{Name: "example.com/mid:1", Layers: 2, Kind: "annotation", Evidence: "the index's annotation names it, with the same 2 layers"}},
		{"provenance", func(t *testing.T, l ociLayout, app *v1.Descriptor, base v1.Descriptor) v1.Descriptor {
			return l.index(t, nil, *app, provenance(t, l, *app, "pkg:docker/golang@1?platform=linux%2Famd64", "pkg:docker/example.com/other@2?digest="+base.Digest.String()))
		}, templates.BaseReport{Name: "example.com/mid:1", Layers: 2, Kind: "provenance", Evidence: "the image's provenance names it, with the same 2 layers"}},
	} {
		l := newLayout(t)
		app, base := l.image(t, appImage()), l.image(t, middleImage())
		app.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
		root := c.add(t, l, &app, base)
		l.names(t, map[string]v1.Descriptor{"example.com/mid:1": base, "app": root})
		t.Run(c.title, func(t *testing.T) {
			checkBase(t, dryRun(t, image.Ref{Transport: image.Layout, Path: l.dir, Name: "app"}, false), c.want)
		})
	}
}

// provenance adds what BuildKit attests of an image: that it used materials.
func provenance(t *testing.T, l ociLayout, of v1.Descriptor, materials ...string) v1.Descriptor {
	t.Helper()
	d := l.attestation(t, of)
	platform, annotations := d.Platform, d.Annotations
	l.change(t, &d, func(m *v1.Manifest) {
		statement := l.blob(t, "application/vnd.in-toto+json", provenanceOf(t, materials...))
		statement.Annotations = map[string]string{"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
		m.Layers = append(m.Layers, statement)
	})
	d.Platform, d.Annotations = platform, annotations
	return d
}

func provenanceOf(t *testing.T, materials ...string) []byte {
	t.Helper()
	var list []map[string]any
	for _, m := range materials {
		list = append(list, map[string]any{"uri": m})
	}
	b, err := json.Marshal(map[string]any{
		"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://slsa.dev/provenance/v0.2", "predicate": map[string]any{"materials": list},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStatedMaterials: both versions of SLSA's provenance, and an envelope.
func TestStatedMaterials(t *testing.T) {
	hash := "sha256:" + strings.Repeat("ab", 32)
	v02 := provenanceOf(t, "pkg:docker/debian@12?platform=linux%2Famd64&digest="+hash, "pkg:github/docker/example@1", "pkg:docker/ghcr.io/a/b@"+strings.Replace(hash, ":", "%3A", 1), "pkg:docker/%zz")
	v1 := fmt.Sprintf(`{"predicateType":"https://slsa.dev/provenance/v1","predicate":{"buildDefinition":{"resolvedDependencies":[{"uri":"pkg:docker/debian@12","digest":{"sha256":%q}}]}}}`, hash[7:])
	sealed, err := json.Marshal(map[string]any{"payloadType": "application/vnd.in-toto+json", "payload": v02})
	if err != nil {
		t.Fatal(err)
	}
	for title, c := range map[string]struct {
		statement string
		want      string
	}{
		"0.2":               {string(v02), "debian:12@" + hash + " ghcr.io/a/b@" + hash},
		"an envelope":       {string(sealed), "debian:12@" + hash + " ghcr.io/a/b@" + hash},
		"1":                 {v1, "debian:12@" + hash},
		"another predicate": {`{"predicateType":"https://spdx.dev/Document","predicate":{"materials":[{"uri":"pkg:docker/debian@12"}]}}`, ""},
		"no JSON":           {"x", ""},
	} {
		var got []string
		for _, m := range statedMaterials([]byte(c.statement)) {
			got = append(got, m.pinned(""))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q", title, got)
		}
	}
}

// A registry is asked for what its image names, unless it is told not to be; one
// that fails costs a warning.
func TestRegistryIsAskedForTheBase(t *testing.T) {
	var down atomic.Bool
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if down.Load() && strings.Contains(q.URL.Path, "/mid/") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		handler.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")

	l := newLayout(t)
	mid := l.image(t, middleImage())
	push := func(to string, d v1.Descriptor) {
		t.Helper()
		pushTo(t, l, host+"/"+to, d)
	}
	push("mid:1", mid)
	named, copied, wrong, plain, attested, described := l.image(t, appImage()), l.image(t, appImage()), l.image(t, appImage()), l.image(t, appImage()), l.image(t, appImage()), l.image(t, appImage())
	say := func(d *v1.Descriptor, a map[string]string) {
		l.change(t, d, func(m *v1.Manifest) { m.Annotations = a })
	}
	say(&named, map[string]string{saysName: host + "/mid:1", saysDigest: mid.Digest.String()})
	say(&copied, map[string]string{saysDigest: mid.Digest.String()})
	stranger := middleImage()
	stranger.Steps[0].Files = stranger.Steps[0].Files[:3]
	strange := l.image(t, stranger)
	push("strange:1", strange)
	say(&wrong, map[string]string{saysName: host + "/strange:1", saysDigest: strange.Digest.String()})
	say(&attested, map[string]string{"of": "the attested"})
	say(&described, map[string]string{"of": "the described"})
	push("app:named", named)
	push("copied:base", mid)
	push("copied:1", copied)
	push("app:plain", plain)
	push("app:wrong", wrong)
	amd64 := &v1.Platform{OS: "linux", Architecture: "amd64"}
	attested.Platform = amd64
	push("app:attested", l.index(t, nil, attested, provenance(t, l, attested, "pkg:docker/"+strings.Replace(host, ":", "%3A", 1)+"/mid@1?digest="+mid.Digest.String())))
	push("app:described", described)
	statement := provenance(t, l, described, "pkg:docker/"+strings.Replace(host, ":", "%3A", 1)+"/mid@1")
	l.change(t, &statement, func(m *v1.Manifest) { m.Subject = &described })
	push("app:statement", statement)

	pinned := host + "/mid:1@" + mid.Digest.String()
	guess := templates.BaseReport{Layers: 1, Kind: "guess", Evidence: "guessed"}
	for _, c := range []struct {
		tag     string
		offline bool
		down    bool
		want    templates.BaseReport
	}{
		{"app:named", false, false, templates.BaseReport{Name: pinned, Layers: 2, Kind: "annotation", Evidence: "the manifest's annotation names it, with the same 2 layers"}},
		{"app:named", true, false, templates.BaseReport{Name: pinned, Layers: 1, Kind: "annotation", Evidence: "guessed"}},
		{"app:named", false, true, templates.BaseReport{Name: pinned, Layers: 1, Kind: "annotation", Evidence: "guessed"}},
		{"copied:1", false, false, templates.BaseReport{Name: host + "/copied@" + mid.Digest.String(), Layers: 2, Kind: "annotation", Evidence: "annotation"}},
		{"app:plain", false, false, guess},
		{"app:wrong", false, false, guess},
		{"app:attested", false, false, templates.BaseReport{Name: pinned, Layers: 2, Kind: "provenance", Evidence: "the image's provenance names it, with the same 2 layers"}},
		{"app:attested", true, false, guess},
		{"app:described", false, false, templates.BaseReport{Name: host + "/mid:1", Layers: 2, Kind: "provenance", Evidence: "provenance"}},
	} {
		t.Run(fmt.Sprintf("%s offline %v down %v", c.tag, c.offline, c.down), func(t *testing.T) {
			down.Store(c.down)
			defer down.Store(false)
			report := dryRun(t, *registryRef(host + "/" + c.tag), c.offline)
			checkBase(t, report, c.want)
			warned := 0
			for _, w := range report.Warnings {
				if strings.Contains(w, "the base that the image names isn't known") {
					warned++
				}
			}
			if warned != 0 && !c.down || warned != 1 && c.down {
				t.Errorf("warnings %q", report.Warnings)
			}
		})
	}
}

// TestClaimMeansAnImage: by its digest, or by its name, however that is written.
func TestClaimMeansAnImage(t *testing.T) {
	hash := "sha256:" + strings.Repeat("ab", 32)
	for _, c := range []struct {
		claim          claim
		names, digests []string
		want           bool
	}{
		{claim{name: "docker.io/library/debian:12"}, []string{"x:1", "debian:12"}, nil, true},
		{claim{name: "debian"}, []string{"debian:latest"}, nil, true},
		{claim{name: "debian:12@" + hash}, []string{"debian:12"}, nil, true},
		{claim{name: "debian:12"}, []string{"debian:11", "example.com/debian:12"}, nil, false},
		{claim{digest: hash}, nil, []string{"debian@" + hash}, true},
		{claim{digest: hash}, nil, []string{hash}, true},
		{claim{name: "debian:12", digest: hash}, []string{"other:1"}, []string{"sha256:" + strings.Repeat("cd", 32)}, false},
		{claim{digest: hash}, []string{""}, []string{""}, false},
	} {
		near := nearImage{digests: c.digests}
		near.Names = c.names
		if got := len(knownBases([]claim{c.claim}, []nearImage{near})) == 1; got != c.want {
			t.Errorf("%+v means %q %q: %v", c.claim, c.names, c.digests, got)
		}
	}
}

// pushTo pushes what d describes in a layout, an image or an index.
func pushTo(t *testing.T, l ociLayout, to string, d v1.Descriptor) {
	t.Helper()
	l.name(t, d, "x")
	index, err := layout.ImageIndexFromPath(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(to)
	if err != nil {
		t.Fatal(err)
	}
	if d.MediaType.IsIndex() {
		inner, err := index.ImageIndex(d.Digest)
		if err == nil {
			err = remote.WriteIndex(tag, inner)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	im, err := index.Image(d.Digest)
	if err == nil {
		err = remote.Write(tag, im)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An index's entry may name the base in place of the manifest; what can't be
// looked up names the guess.
func TestIndexEntryNamesTheBase(t *testing.T) {
	l := newLayout(t)
	app := l.image(t, appImage())
	app.Annotations = map[string]string{saysName: "example.com/base:1"}
	l.name(t, l.index(t, nil, app), "app")
	checkBase(t, dryRun(t, image.Ref{Transport: image.Layout, Path: l.dir}, false),
		templates.BaseReport{Name: "example.com/base:1", Layers: 1, Kind: "annotation", Evidence: "guessed"})
}
