package rebuild

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"docker-flatten/rebuild/image"
)

const registryConfig = `version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %s}}
http: {addr: %s}
validation: {manifests: {urls: {allow: ["^https://example.com/"]}}}
`

// dockerRegistry starts Docker's own registry on a loopback port, and something
// before it that writes down what is sent to it.
func dockerRegistry(t *testing.T) (host string, log *pushLog) {
	t.Helper()
	program := peerPath(t, "docker-registry")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, registryConfig, dir, addr), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", config)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err == nil {
			<-ended
		}
	})
	for {
		resp, err := http.Get("http://" + addr + "/v2/")
		if err == nil {
			resp.Body.Close()
			break
		}
		select {
		case <-ended:
			t.Fatalf("docker-registry ended: %s", output.String())
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	log = &pushLog{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	proxy.ModifyResponse = log.note
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)
	return strings.TrimPrefix(front.URL, "http://"), log
}

// pushLog is what a registry was sent.
type pushLog struct {
	mu       sync.Mutex
	mounted  map[string]bool // digests that were mounted from another repository
	uploaded map[string]bool // digests whose bytes were sent
	tagged   int             // manifests that were put
}

func (p *pushLog) note(r *http.Response) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.Request.URL.Query()
	switch {
	case r.StatusCode != http.StatusCreated:
	case q.Get("mount") != "":
		p.mounted[q.Get("mount")] = true
	case q.Get("digest") != "":
		p.uploaded[q.Get("digest")] = true
	default:
		p.tagged++
	}
	return nil
}

func (p *pushLog) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mounted, p.uploaded, p.tagged = map[string]bool{}, map[string]bool{}, 0
}

func remoteIndex(t *testing.T, ref string) v1.ImageIndex {
	t.Helper()
	parsed, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(parsed)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func registryRef(name string) *image.Ref {
	return &image.Ref{Transport: image.Registry, Name: name}
}

// From a repository to another one of the same registry: the index stays what
// it was, and of the base nothing is sent.
func TestDockerRegistryToItself(t *testing.T) {
	host, log := dockerRegistry(t)
	log.reset()
	source := platforms(t).root(t)
	ref, err := name.ParseReference(host + "/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, source); err != nil {
		t.Fatal(err)
	}
	flatten := func(change func(*Options)) (reused bool, id string) {
		t.Helper()
		o := Options{Image: *registryRef(host + "/app:1"), Output: registryRef(host + "/flat:1"), Base: keep("1"), Client: noEngine}
		change(&o)
		log.reset()
		report, err := Flatten(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if !report.Reused {
			var options []validate.Option
			if o.Compression.Kind == image.Uncompressed {
				options = append(options, validate.Fast) // all that it can do with such layers
			}
			checkPlatforms(t, report, source, remoteIndex(t, o.Output.Name), options...)
		}
		return report.Reused, report.ID
	}

	_, id := flatten(func(*Options) {})
	if !strings.HasPrefix(id, host+"/flat@sha256:") {
		t.Errorf("ID is %s", id)
	}
	base := baseDigest(t, source)
	if !log.mounted[base] || log.uploaded[base] {
		t.Errorf("base %s: mounted %v, uploaded %v", base, log.mounted, log.uploaded)
	}
	// One merged layer, the same on all platforms, and three configs.
	if len(log.uploaded) != 4 {
		t.Errorf("uploaded %v", log.uploaded)
	}

	if reused, again := flatten(func(*Options) {}); !reused || again != id || log.tagged+len(log.uploaded) > 0 {
		t.Errorf("second run: reused %v, %s became %s, sent %d manifests and %v", reused, id, again, log.tagged, log.uploaded)
	}
	if reused, again := flatten(func(o *Options) { o.NoCache = true }); reused || again != id {
		t.Errorf("--no-cache: reused %v, %s became %s", reused, id, again)
	}
	if reused, again := flatten(func(o *Options) { o.Compression.Kind = image.Uncompressed }); reused || again == id {
		t.Errorf("another compression: reused %v, %s is still %s", reused, id, again)
	}
}

func baseDigest(t *testing.T, index v1.ImageIndex) string {
	t.Helper()
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	im, err := index.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := im.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return layers.Layers[0].Digest.String()
}

// The same image through a file, a layout and a registry is one image.
func TestEveryRouteGivesTheSameImage(t *testing.T) {
	host, log := dockerRegistry(t)
	log.reset()
	l := newLayout(t)
	l.name(t, l.image(t, appImage()), "app")
	dir := t.TempDir()
	inRegistry := registryRef(host + "/app:1")
	routes := []struct {
		from image.Ref
		to   *image.Ref
	}{
		{archiveRef(write(t, appImage())), inRegistry},
		{image.Ref{Transport: image.Layout, Path: l.dir}, &image.Ref{Transport: image.Archive, Path: filepath.Join(dir, "a.tar"), Name: "app:flat"}},
		{archiveRef(write(t, appImage())), &image.Ref{Transport: image.LayoutArchive, Path: filepath.Join(dir, "o.tar")}},
		{archiveRef(write(t, appImage())), registryRef(host + "/flat:archive")},
		{image.Ref{Transport: image.Layout, Path: l.dir}, registryRef(host + "/flat:layout")},
		{*inRegistry, registryRef(host + "/flat:registry")},
		{*inRegistry, &image.Ref{Transport: image.Layout, Path: filepath.Join(dir, "layout"), Name: "flat"}},
	}
	first := ""
	for i, route := range routes {
		o := Options{Image: route.from, Output: route.to, Tags: []string{"app:flat"}, Base: keep("1"), Client: noEngine}
		if i == 0 {
			o.Base = keep("4") // copied as it is
		}
		if route.to.Transport == image.Registry {
			o.Tags = nil // app:flat would be a name of another registry
		}
		report, err := Flatten(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if route.to.Transport == image.Registry {
			parsed, err := name.ParseReference(route.to.Name)
			if err != nil {
				t.Fatal(err)
			}
			im, err := remote.Image(parsed)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Image(im); err != nil {
				t.Errorf("%s: %v", route.to, err)
			}
		}
		if i == 0 {
			continue
		}
		got := report.Images[0].ID + " " + report.Images[0].Merged.DiffID
		if first == "" {
			first = got
		}
		if got != first {
			t.Errorf("%s to %s gave %s, not %s", route.from, route.to, got, first)
		}
	}
}

// A registry of version 2 knows no referrers: the statement is found by its
// fallback tag, by go-containerregistry and by oras.
func TestDockerRegistryKeepsTheAttestation(t *testing.T) {
	host, log := dockerRegistry(t)
	log.reset()
	source, _ := namedApp(t)
	report, err := Flatten(context.Background(), Options{Image: source, Output: registryRef(host + "/flat:1"), Base: keep("1"), Attest: true, Client: noEngine})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := name.NewRepository(host + "/flat")
	if err != nil {
		t.Fatal(err)
	}
	_, id, _ := strings.Cut(report.ID, "@")
	raw, manifest := statementOn(t, repo, id)
	if s := readStatement(t, raw); "sha256:"+s.Subject[0].Digest["sha256"] != id {
		t.Errorf("statement: %s", raw)
	}
	if _, err := exec.LookPath("oras"); err != nil {
		t.Log("no oras here to ask as well")
		return
	}
	out, err := exec.Command("oras", "discover", "--plain-http", "--format", "json", host+"/flat:1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), manifest.String()) {
		t.Errorf("oras discover: %v\n%s", err, out)
	}
}
