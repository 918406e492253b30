package engine_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/imagetest"
)

// fakeEngine speaks as much of the Engine API as this package uses. It keeps
// what docker load brought it and takes only archives that the real engine with
// that store takes, as measured on Docker 20.10 to 29 and podman 4.3.
type fakeEngine struct {
	store  engine.Store
	saved  map[string][]byte // what docker save writes for an image ID
	lies   bool              // inspect tells of other layers than were loaded
	strict bool              // takes no archive without the base's layers
	broken string            // the ID of an image whose history it can't read
	dies   bool              // goes away in the middle of a load
	fussy  bool              // finds none of an image's platforms when it saves
	root   string            // its directory, "" = not told
	sent   func()            // called when it has an archive's last byte

	mu      sync.Mutex
	blobs   map[v1.Hash][]byte    // layers' tars (graphdriver) or blobs (containerd) by digest
	images  map[string]*fakeImage // by ID
	layers  map[v1.Hash]bool      // diff IDs (graphdriver) or blobs (containerd)
	loads   []imagetest.Members   // names of the imagetest.Members of each load that came whole
	removed []string
	failTag string
	stuck   bool     // removes nothing
	lost    bool     // the answer to a load
	saves   []string // the platform that each save was asked for

	sentBlobs [][]byte // that were loaded
}

type fakeImage struct {
	diffIDs  []v1.Hash
	names    []string
	parent   string
	labels   map[string]string
	others   int      // images for other platforms, besides
	comments []string // of the history, nil = what the test thinks nothing of
}

func newFakeEngine(t *testing.T, store engine.Store) (*fakeEngine, image.Options) {
	e := &fakeEngine{store: store, saved: map[string][]byte{}, images: map[string]*fakeImage{}, layers: map[v1.Hash]bool{}, blobs: map[v1.Hash][]byte{}}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return e, optionsAt(t, "tcp://"+strings.TrimPrefix(server.URL, "http://"))
}

func optionsAt(t *testing.T, host string) image.Options {
	return image.Options{TempDir: t.TempDir(), Client: func() (*client.Client, error) {
		return client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	}}
}

// newLocalEngine is a fake engine at a socket of this machine with containerd's
// store, and the directory where its containerd has blobs.
func newLocalEngine(t *testing.T) (e *fakeEngine, opt image.Options, blobs string) {
	t.Helper()
	e, _ = newFakeEngine(t, engine.Containerd)
	e.root = t.TempDir()
	dir, err := os.MkdirTemp("", "engine") // a test's own directory may have too long a name for a socket
	imagetest.Must(err)
	t.Cleanup(func() { imagetest.Must(os.RemoveAll(dir)) })
	socket := filepath.Join(dir, "sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Skip("no sockets here: " + err.Error())
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: e}}
	server.Start()
	t.Cleanup(server.Close)
	blobs = filepath.Join(e.root, "containerd", "daemon", "io.containerd.content.v1.content", "blobs", "sha256")
	imagetest.Must(os.MkdirAll(blobs, 0o755))
	return e, optionsAt(t, "unix://"+socket), blobs
}

// add gives the engine an image, and what it writes when it saves it.
func (e *fakeEngine) add(im imagetest.Raw, id string, saved []byte) {
	f := &fakeImage{names: im.Names}
	for i, l := range im.Layers {
		f.diffIDs = append(f.diffIDs, imagetest.Digest(l))
		for _, b := range [][]byte{l, im.Blob(i)} {
			e.layers[imagetest.Digest(b)], e.blobs[imagetest.Digest(b)] = true, b
		}
	}
	e.images[id], e.saved[id] = f, saved
}

func (e *fakeEngine) find(name string) (string, *fakeImage) {
	for id, im := range e.images {
		if id == name || strings.TrimPrefix(id, "sha256:") == name || slices.Contains(im.names, name) || slices.Contains(im.names, "localhost/"+name) {
			return id, im
		}
	}
	return "", nil
}

func (e *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.51")
	w.Header().Set("Content-Type", "application/json")
	path := r.URL.Path
	if strings.HasPrefix(path, "/v1.") {
		path = path[strings.Index(path[1:], "/")+1:]
	}
	reply := func(v any) { imagetest.Must(json.NewEncoder(w).Encode(v)) }
	name, action := strings.TrimPrefix(path, "/images/"), ""
	if i := strings.LastIndex(name, "/"); i >= 0 && r.Method != http.MethodDelete {
		name, action = name[:i], name[i+1:]
	}
	if path == "/images/load" && e.dies {
		connection, _, err := w.(http.Hijacker).Hijack()
		imagetest.Must(err)
		_, err = io.CopyN(io.Discard, connection, 64)
		imagetest.Must(errors.Join(err, connection.Close()))
		return
	}
	if path == "/images/load" { // takes its time, and others ask meanwhile
		answer := e.load(r.Body)
		if e.lost {
			panic(http.ErrAbortHandler)
		}
		reply(answer)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case path == "/_ping":
	case path == "/info":
		status := [][2]string{{"Backing Filesystem", "extfs"}}
		if e.store == engine.Containerd {
			status = [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}}
		}
		reply(map[string]any{"ID": fmt.Sprintf("%p", e), "DriverStatus": status, "DockerRootDir": e.root})
	case path == "/version":
		components := []map[string]string{{"Name": "Engine"}}
		if e.store == engine.Podman {
			components[0]["Name"] = "Podman Engine"
		}
		reply(map[string]any{"ApiVersion": "1.51", "Components": components})
	case path == "/images/json":
		list := []map[string]any{}
		for id, im := range e.images {
			list = append(list, map[string]any{"Id": id, "RepoTags": im.names, "Labels": im.labels})
		}
		reply(list)
	case path == "/images/get":
		platform := r.URL.Query().Get("platform")
		e.saves = append(e.saves, platform)
		if e.fussy && platform != "" {
			w.WriteHeader(http.StatusNotFound)
			reply(map[string]string{"message": "no suitable export target found: the image was found but does not provide the specified platform"})
			return
		}
		_, err := w.Write(e.saved[r.URL.Query().Get("names")])
		imagetest.Must(err)
	case action == "tag" && e.failTag == r.URL.Query().Get("repo"):
		w.WriteHeader(http.StatusInternalServerError)
		reply(map[string]string{"message": "no space left"})
	case action == "tag":
		_, im := e.find(name)
		im.names = append(im.names, strings.TrimPrefix(r.URL.Query().Get("repo"), "docker.io/library/")+":"+r.URL.Query().Get("tag"))
	case r.Method == http.MethodDelete && e.stuck:
		w.WriteHeader(http.StatusInternalServerError)
		reply(map[string]string{"message": "unavailable"})
	case r.Method == http.MethodDelete:
		id, im := e.find(name)
		if im == nil {
			w.WriteHeader(http.StatusNotFound)
			reply(map[string]string{"message": "No such image: " + name})
			return
		}
		if id != name {
			im.names = slices.DeleteFunc(im.names, func(n string) bool { return n == name || strings.TrimPrefix(n, "localhost/") == name })
		}
		if id == name || len(im.names) == 0 {
			delete(e.images, id)
			e.removed = append(e.removed, id)
		}
		reply([]any{})
	case action == "json" || action == "history":
		id, im := e.find(name)
		if im == nil {
			w.WriteHeader(http.StatusNotFound)
			reply(map[string]string{"message": "No such image: " + name})
			return
		}
		layers := im.diffIDs
		if e.lies && len(layers) > 0 {
			layers = layers[1:]
		}
		if action == "history" && id == e.broken {
			w.WriteHeader(http.StatusInternalServerError)
			reply(map[string]string{"message": "layer does not exist"})
			return
		}
		if action == "history" && im.comments != nil {
			list := []map[string]any{}
			for _, c := range slices.Backward(im.comments) {
				list = append(list, map[string]any{"Comment": c})
			}
			reply(list)
			return
		}
		if action == "history" && im.parent != "" {
			list := []map[string]any{{"Id": id}}
			for ; im != nil && im.parent != ""; _, im = e.find(im.parent) {
				list = append(list, map[string]any{"Id": im.parent})
			}
			reply(append(list, map[string]any{"Id": "<missing>"}))
			return
		}
		if action == "history" {
			reply([]map[string]any{{"CreatedBy": "newest", "Size": 0}, {"CreatedBy": "oldest", "Size": 7}})
			return
		}
		var manifests []map[string]any
		if e.store == engine.Containerd && r.URL.Query().Get("manifests") != "" {
			manifests = append(manifests, map[string]any{"Kind": "attestation"})
			for range 1 + im.others {
				manifests = append(manifests, map[string]any{"Kind": "image"})
			}
		}
		version := ""
		if e.store == engine.Podman {
			version = "20.10.24+dfsg1" // podman's own idea
		}
		reply(map[string]any{"Id": id, "RepoTags": im.names, "OsVersion": version, "Os": "linux", "Architecture": "amd64", "RootFS": map[string]any{"Type": "layers", "Layers": layers}, "Config": map[string]any{"Env": []string{"A=1"}}, "Manifests": manifests})
	default:
		w.WriteHeader(http.StatusNotFound)
		reply(map[string]string{"message": "page not found: " + path})
	}
}

// load takes an archive as the engine's store does, and returns its message.
func (e *fakeEngine) load(body io.Reader) map[string]string {
	contents := map[string][]byte{}
	var names imagetest.Members
	tr := tar.NewReader(body)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		var b []byte
		if err == nil {
			b, err = io.ReadAll(tr)
		}
		if err != nil {
			return map[string]string{"error": err.Error()}
		}
		contents[h.Name] = b
		names = append(names, h.Name)
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return map[string]string{"error": err.Error()}
	}
	if e.sent != nil {
		e.sent()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loads = append(e.loads, names)
	for _, b := range contents {
		e.sentBlobs = append(e.sentBlobs, b)
	}
	var id string
	var config []byte
	var blobs [][]byte
	var err error
	if e.store == engine.Containerd {
		id, config, blobs, err = e.loadLayout(contents)
	} else {
		id, config, blobs, err = e.loadArchive(contents)
	}
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	_, diffIDs, err := image.ParseConfig(config)
	imagetest.Must(err)
	for i, b := range blobs {
		if b == nil {
			continue
		}
		plain, _, err := image.Decompress(bytes.NewReader(b))
		imagetest.Must(err)
		tar, err := io.ReadAll(plain)
		if imagetest.Must(err); imagetest.Digest(tar) != diffIDs[i] {
			return map[string]string{"error": "invalid diffID for layer"}
		}
		e.layers[diffIDs[i]], e.layers[imagetest.Digest(b)] = true, true
		e.blobs[diffIDs[i]], e.blobs[imagetest.Digest(b)] = tar, b
	}
	if e.images[id] == nil {
		e.images[id] = &fakeImage{diffIDs: diffIDs, comments: comments(config)}
		e.saved[id] = e.save(contents, config, diffIDs)
	}
	e.images[id].names = append(e.images[id].names, e.namesIn(contents)...)
	return map[string]string{"stream": "Loaded image ID: " + id}
}

// namesIn are the names that an archive gives its image.
func (e *fakeEngine) namesIn(contents map[string][]byte) (names []string) {
	if e.store == engine.Containerd {
		var ix v1.IndexManifest
		imagetest.Must(json.Unmarshal(contents["index.json"], &ix))
		if name := ix.Manifests[0].Annotations["io.containerd.image.name"]; name != "" {
			names = append(names, strings.TrimPrefix(name, "docker.io/"))
		}
		return names
	}
	var saved []imagetest.Saved
	imagetest.Must(json.Unmarshal(contents["manifest.json"], &saved))
	for _, name := range saved[0].RepoTags {
		if e.store == engine.Podman {
			name = "localhost/" + name
		}
		names = append(names, name)
	}
	return names
}

func (e *fakeEngine) loadArchive(contents map[string][]byte) (id string, config []byte, blobs [][]byte, err error) {
	var saved []imagetest.Saved
	if err := json.Unmarshal(contents["manifest.json"], &saved); err != nil {
		return "", nil, nil, fmt.Errorf("manifest.json: %w", err)
	}
	config = contents[saved[0].Config]
	_, diffIDs, err := image.ParseConfig(config)
	imagetest.Must(err)
	for i, name := range saved[0].Layers {
		if contents[name] == nil && (!e.layers[diffIDs[i]] || e.store == engine.Podman || e.strict) {
			return "", nil, nil, fmt.Errorf("open %s: no such file or directory", name)
		}
		blobs = append(blobs, contents[name])
	}
	return imagetest.Digest(config).String(), config, blobs, nil
}

func (e *fakeEngine) loadLayout(contents map[string][]byte) (id string, config []byte, blobs [][]byte, err error) {
	var ix v1.IndexManifest
	if err := json.Unmarshal(contents["index.json"], &ix); err != nil {
		return "", nil, nil, fmt.Errorf("index.json: %w", err)
	}
	byDigest := map[v1.Hash][]byte{} // containerd doesn't look at the names
	for _, b := range contents {
		byDigest[imagetest.Digest(b)] = b
	}
	d := ix.Manifests[0]
	var m v1.Manifest
	imagetest.Must(json.Unmarshal(byDigest[d.Digest], &m))
	for _, l := range m.Layers {
		b := byDigest[l.Digest]
		if b == nil && (!e.layers[l.Digest] || e.strict) {
			return "", nil, nil, fmt.Errorf("content digest %s: not found", l.Digest)
		}
		blobs = append(blobs, b)
	}
	return d.Digest.String(), byDigest[m.Config.Digest], blobs, nil
}

// comments are those of a config document's history.
func comments(config []byte) []string {
	var c struct{ History []struct{ Comment string } }
	imagetest.Must(json.Unmarshal(config, &c))
	list := []string{}
	for _, h := range c.History {
		list = append(list, h.Comment)
	}
	return list
}

// save is what docker save writes of an image that docker load brought in the
// files given.
func (e *fakeEngine) save(loaded map[string][]byte, config []byte, diffIDs []v1.Hash) []byte {
	var f imagetest.Members
	saved := imagetest.Saved{Config: imagetest.Digest(config).Hex + ".json"}
	if e.store != engine.Containerd {
		for _, d := range diffIDs {
			saved.Layers = append(saved.Layers, d.Hex+".tar")
			f = append(f, d.Hex+".tar", e.blobs[d])
		}
	} else {
		var ix v1.IndexManifest
		imagetest.Must(json.Unmarshal(loaded["index.json"], &ix))
		name := image.BlobPath(ix.Manifests[0].Digest)
		f = append(f, name, loaded[name])
		var m v1.Manifest
		imagetest.Must(json.Unmarshal(loaded[name], &m))
		for _, l := range m.Layers {
			saved.Layers = append(saved.Layers, image.BlobPath(l.Digest))
			f = append(f, image.BlobPath(l.Digest), e.blobs[l.Digest])
		}
		f = append(f, "index.json", loaded["index.json"])
	}
	raw, err := json.Marshal([]imagetest.Saved{saved})
	imagetest.Must(err)
	return append(f, saved.Config, config, "manifest.json", raw).Tar()
}
