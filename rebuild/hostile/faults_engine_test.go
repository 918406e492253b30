//go:build linux

package hostile

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/filters"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"docker-flatten/rebuild/imagetest"
)

// engine speaks as much of the Engine API as a flattening needs. It keeps its
// images as whole as docker load brings them.
type engine struct {
	mu     sync.Mutex
	images map[string]*engineImage // by ID
}

type engineImage struct {
	document []byte
	layers   map[string][]byte // by diff ID; those below may be another image's
	names    []string
}

func (im *engineImage) diffIDs() []string {
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	must(json.Unmarshal(im.document, &c))
	return c.RootFS.DiffIDs
}

func newEngine(images ...image) *engine {
	e := &engine{images: map[string]*engineImage{}}
	for _, im := range images {
		have := &engineImage{document: im.document(), layers: map[string][]byte{}, names: im.names}
		for _, l := range im.layers {
			have.layers[l.id()] = l.raw
		}
		e.images[digest(im.document())] = have
	}
	return e
}

func (e *engine) find(name string) (string, *engineImage) {
	for id, im := range e.images {
		if id == name || strings.TrimPrefix(id, "sha256:") == name || slices.Contains(im.names, name) {
			return id, im
		}
	}
	return "", nil
}

func (e *engine) layer(id string) []byte {
	for _, im := range e.images {
		if b, ok := im.layers[id]; ok {
			return b
		}
	}
	return nil
}

// names are what the engine has, by ID.
func (e *engine) names() map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := map[string]string{}
	for id, im := range e.images {
		all[id] = fmt.Sprint(im.names)
	}
	return all
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.41")
	path := r.URL.Path
	if strings.HasPrefix(path, "/v1.") {
		path = path[strings.Index(path[1:], "/")+1:]
	}
	reply := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the program may be gone
	}
	if path == "/images/load" {
		contents, err := readTar(r.Body)
		if err != nil {
			reply(object{"error": err.Error()})
			return
		}
		reply(e.load(contents))
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	name, action := strings.TrimPrefix(path, "/images/"), ""
	if i := strings.LastIndex(name, "/"); i >= 0 {
		name, action = name[:i], name[i+1:]
	}
	id, im := e.find(name)
	switch {
	case path == "/_ping":
	case path == "/info":
		reply(object{"ID": "fake", "Driver": "vfs"})
	case path == "/version":
		reply(object{"ApiVersion": "1.41", "Components": []object{{"Name": "Engine"}}})
	case path == "/images/json":
		list := []object{}
		for id, im := range e.images {
			list = append(list, object{"Id": id, "RepoTags": im.names, "Labels": object{}})
		}
		reply(list)
	case path == "/images/get":
		_, im := e.find(r.URL.Query().Get("names"))
		if im == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		saved := image{raw: im.document, names: im.names}
		for _, d := range im.diffIDs() {
			saved.layers = append(saved.layers, layer{raw: e.layer(d)})
		}
		_, _ = w.Write(archive(saved).tar())
	case im == nil:
		w.WriteHeader(http.StatusNotFound)
		reply(object{"message": "No such image: " + name})
	case action == "tag":
		w.WriteHeader(http.StatusCreated)
		tag := strings.TrimPrefix(r.URL.Query().Get("repo"), "docker.io/library/") + ":" + r.URL.Query().Get("tag")
		for _, other := range e.images {
			other.names = slices.DeleteFunc(other.names, func(n string) bool { return n == tag })
		}
		im.names = append(im.names, tag)
	case r.Method == http.MethodDelete:
		im.names = slices.DeleteFunc(im.names, func(n string) bool { return n == name })
		if len(im.names) == 0 || name == id {
			delete(e.images, id)
		}
		reply([]object{{"Deleted": id}})
	case action == "history":
		reply([]object{{"CreatedBy": "step", "Size": 0}})
	default:
		var c struct{ Config json.RawMessage }
		must(json.Unmarshal(im.document, &c))
		reply(object{"Id": id, "RepoTags": im.names, "Os": "linux", "Architecture": "amd64", "Config": c.Config, "RootFS": object{"Type": "layers", "Layers": im.diffIDs()}})
	}
}

func readTar(r io.Reader) (map[string][]byte, error) {
	got := map[string][]byte{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			_, err := io.Copy(io.Discard, r)
			return got, err
		}
		if err != nil {
			return nil, err
		}
		if got[h.Name], err = io.ReadAll(tr); err != nil {
			return nil, err
		}
	}
}

func (e *engine) load(contents map[string][]byte) object {
	e.mu.Lock()
	defer e.mu.Unlock()
	var saved []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(contents["manifest.json"], &saved); err != nil || len(saved) != 1 {
		return object{"error": "manifest.json"}
	}
	im := &engineImage{document: contents[saved[0].Config], layers: map[string][]byte{}}
	for i, d := range im.diffIDs() {
		b, ok := contents[saved[0].Layers[i]]
		if !ok {
			if b = e.layer(d); b == nil {
				return object{"error": "no layer " + d}
			}
		}
		plain, err := unpacked(b)
		if err != nil || digest(plain) != d {
			return object{"error": "invalid diffID"}
		}
		im.layers[d] = plain
	}
	id := digest(im.document)
	if have := e.images[id]; have != nil {
		im.names = have.names
	}
	im.names = append(im.names, saved[0].RepoTags...)
	e.images[id] = im
	return object{"stream": "Loaded image ID: " + id + "\n"}
}

const engineRequests = 14

// engineFaults happen between the program and an engine.
func engineFaults() []fault {
	var all []fault
	for n := 1; n <= engineRequests; n++ {
		for _, f := range []fault{
			{name: "500", why: "an engine that stumbles", do: status(500)},
			{name: "500", why: "and doesn't recover", do: status(500), always: true},
			{name: "404", why: "an engine that lost something", do: status(404)},
			{name: "break", why: "a connection that breaks", do: breakOff},
			{name: "cut", why: "in the middle of a body", do: cut},
			{name: "hang", why: "silence", do: hang},
			{name: "hang-within", why: "silence in the middle of a body", do: hangWithin},
			{name: "delay", why: "an engine that thinks", do: delay, heals: true},
			{name: "corrupt", why: "a byte that isn't what was stored", do: corrupt},
			{name: "error-body", why: "an error of megabytes that speaks to the terminal", do: errorBody},
		} {
			f.request = n
			all = append(all, f)
		}
	}
	return all
}

func breakOff(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
		_ = c.Close()
	}
}

// socket serves a handler at a Unix socket and returns its address.
func socket(t *testing.T, h http.Handler) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hostile") // t.TempDir's name may be too long for a socket
	must(err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, &httptest.Server{Listener: l, Config: &http.Server{Handler: h}})
	return "unix://" + filepath.Join(dir, "s")
}

func TestFaultEngine(t *testing.T) {
	t.Parallel() // with what waits, too
	for _, f := range engineFaults() {
		t.Run(f.String(), func(t *testing.T) {
			if testing.Short() && (f.always || f.request != 7) {
				t.Skip("left out by -short")
			}
			t.Parallel()
			im := faultImage()
			e := newEngine(im)
			s := &faulty{next: e, f: f, on: true}
			p := newPlace(t)
			before, had := p.listing(), e.names()
			c := command{
				args:  []string{"-q", "--base", "1", "-t", "flat:1", "app:1"},
				env:   []string{silence, "DOCKER_HOST=" + socket(t, s)},
				limit: 40 * time.Second, waits: true,
			}
			r := p.run(c)
			checkOutcome(t, f, r, c, before, p.listing())
			checkUnchanged(t, before, p.listing())
			e.mu.Lock()
			_, flat := e.find("flat:1")
			e.mu.Unlock()
			switch {
			case r.code == 0 && flat == nil:
				t.Error("success, but the engine has no such image")
			case flat != nil:
				got := stored{document: flat.document}
				e.mu.Lock()
				for _, d := range flat.diffIDs() {
					got.layers = append(got.layers, e.layer(d))
				}
				e.mu.Unlock()
				sameImage(t, im, got)
			case !f.always && !maps.Equal(had, e.names()):
				s.mu.Lock()
				defer s.mu.Unlock()
				if f.request <= len(s.seen) && strings.HasPrefix(s.seen[f.request-1], http.MethodDelete) {
					return // the cleaning itself was hit
				}
				t.Errorf("left in the engine: had %v, has %v; requests %v", had, e.names(), s.seen)
			}
		})
	}
}

// The same with a real engine behind the faults.
func TestFaultRealEngine(t *testing.T) {
	cli := imagetest.Engine(t)
	ctx := context.Background()
	im := faultImage()
	im.names = []string{"hostile-source:1"}
	loaded, err := cli.ImageLoad(ctx, strings.NewReader(string(archive(im).tar())), client.ImageLoadWithQuiet(true))
	if err != nil {
		t.Fatal(err)
	}
	loaded.Body.Close()
	remove := func(name string) { _, _ = cli.ImageRemove(ctx, name, dockerimage.RemoveOptions{Force: true}) } // it may be gone
	t.Cleanup(func() { remove("hostile-source:1") })
	network, address, _ := strings.Cut(cli.DaemonHost(), "://")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	proxy := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "engine" },
	}
	// dangling counts the nameless images on this test's base: others may use the
	// engine, too.
	dangling := func() (n int) {
		list, err := cli.ImageList(ctx, dockerimage.ListOptions{Filters: filters.NewArgs(filters.Arg("dangling", "true"))})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range list {
			found, err := cli.ImageInspect(ctx, one.ID)
			if err == nil && len(found.RootFS.Layers) > 0 && found.RootFS.Layers[0] == im.layers[0].id() {
				n++
			}
		}
		return n
	}
	for i, f := range engineFaults() {
		if f.name == "delay" || i%3 != 0 {
			continue
		}
		t.Run(f.String(), func(t *testing.T) {
			p := newPlace(t)
			before, had := p.listing(), dangling()
			s := &faulty{next: proxy, f: f, on: true}
			name := fmt.Sprintf("hostile-flat:%d", i)
			defer remove(name)
			c := command{
				args:  []string{"-q", "--base", "1", "-t", name, "hostile-source:1"},
				env:   []string{silence, "DOCKER_HOST=" + socket(t, s)},
				limit: 60 * time.Second, waits: true,
			}
			r := p.run(c)
			checkOutcome(t, f, r, c, before, p.listing())
			if _, err := cli.ImageInspect(ctx, name); r.code == 0 && err != nil {
				t.Errorf("success, but: %v", err)
			}
			if has := dangling(); !f.always && has > had {
				t.Errorf("%d dangling images became %d; requests %v", had, has, s.seen)
			}
		})
	}
}
