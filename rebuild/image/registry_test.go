package image

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// requests counts what a registry is asked for.
type requests struct {
	mu    sync.Mutex
	count map[string]int
}

func (r *requests) wrap(h http.Handler) http.Handler {
	r.count = map[string]int{}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		kind := q.Method
		switch {
		case q.URL.Query().Get("mount") != "":
			kind += " mount"
		case strings.Contains(q.URL.Path, "/blobs/"):
			kind += " blob"
		case strings.Contains(q.URL.Path, "/manifests/"):
			kind += " manifest"
		}
		r.mu.Lock()
		r.count[kind]++
		r.mu.Unlock()
		h.ServeHTTP(w, q)
	})
}

func (r *requests) take() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.count
	r.count = map[string]int{}
	return c
}

// mounting makes the library's registry do what real ones do: it keeps all
// repositories' blobs together, so a mount is a matter of answering 201.
func mounting(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if mount := q.URL.Query().Get("mount"); q.Method == http.MethodPost && mount != "" {
			w.Header().Set("Location", "/v2/"+q.URL.Query().Get("from")+"/blobs/"+mount)
			w.WriteHeader(http.StatusCreated)
			return
		}
		if q.Method == http.MethodHead && strings.Contains(q.URL.Path, "/v2/flat/blobs/") {
			w.WriteHeader(http.StatusNotFound) // not in this repository
			return
		}
		h.ServeHTTP(w, q)
	})
}

func TestIndexFromRegistryToRegistry(t *testing.T) {
	count := &requests{}
	host := newRegistry(t, mounting, count.wrap)
	local := open(t, "oci:"+platformsLayout().dir(t), Options{})
	unchanged := []NewImage{}
	for _, im := range local.Images {
		readAll(t, im)
		n := flat(im, len(im.DiffIDs), nil)
		n.Write = nil
		unchanged = append(unchanged, n)
	}
	mustStore(t, "docker://"+host+"/in:1", local, unchanged, nil, Compression{})

	src := open(t, "docker://"+host+"/in:1", Options{})
	if len(src.Images) != 3 || src.Index == nil {
		t.Fatalf("%d images", len(src.Images))
	}
	images := flatAll(t, src)
	count.take()
	stored := mustStore(t, "docker://"+host+"/flat:1", src, images, []string{host + "/flat:second", "elsewhere:3"}, Compression{})
	c := count.take()
	// new: one merged layer (the same for all), three configs, and the check
	// whether pushing is allowed
	if c["PATCH blob"] != 4 || c["POST mount"] != 1 || c["GET blob"] != 0 {
		t.Errorf("requests: %v", c)
	}
	if want := host + "/flat@sha256:"; !strings.HasPrefix(stored.ID, want) {
		t.Errorf("ID is %s", stored.ID)
	}
	for _, ref := range []string{"docker://" + host + "/flat:1", "docker://" + host + "/flat:second", "docker://" + stored.ID} {
		back := open(t, ref, Options{})
		if len(back.Images) != 3 {
			t.Errorf("%s: %d images", ref, len(back.Images))
		}
	}
}

func TestKeptLayersAreFetchedOnce(t *testing.T) {
	count := &requests{}
	host := newRegistry(t, count.wrap)
	local := open(t, "oci:"+layoutOf(compressedThree, false, "").dir(t), Options{})
	im := local.Images[0]
	n := flat(im, 3, nil)
	n.Write = nil
	mustStore(t, "docker://"+host+"/in:1", local, []NewImage{n}, nil, Compression{})

	src := open(t, "docker://"+host+"/in:1", Options{})
	count.take()
	if _, err := readLayers(src.Images[0], func(i int) bool { return i > 0 }); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		r, err := src.Images[0].Layer(i).Open()
		if err != nil {
			t.Fatal(err)
		}
		must(r.Close())
	}
	if c := count.take(); c["GET blob"] != 4 { // the base's, which wasn't kept, twice
		t.Errorf("requests: %v", c)
	}
}

func TestRegistryDeniesAccess(t *testing.T) {
	host := newRegistry(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if user, password, _ := q.BasicAuth(); user != "me" || password != "secret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, q)
		})
	})
	ref := "docker://" + host + "/in:1"
	_, err := openErr(t, ref, Options{})
	var e *Error
	if !errors.Is(err, ErrUnauthorized) || !errors.As(err, &e) || !strings.Contains(e.Hint, "docker login "+host) {
		t.Errorf("error is %v", err)
	}
	if r, err := ParseRef(ref); err != nil {
		t.Error(err)
	} else if _, err := OpenDest(context.Background(), r, Options{}); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("destination: %v", err)
	}

	config := `{"auths":{"` + host + `":{"auth":"bWU6c2VjcmV0"}}}`
	must(os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600))
	src := open(t, write(t, "in.tar", dockerArchive(three)), Options{})
	readAll(t, src.Images[0])
	mustStore(t, ref, src, []NewImage{flat(src.Images[0], 1, merged12)}, nil, Compression{})
	sameLayers(t, readAll(t, open(t, ref, Options{}).Images[0]), [][]byte{base, merged12})
}

func TestRegistryWithoutTheImage(t *testing.T) {
	host := newRegistry(t)
	if _, err := openErr(t, "docker://"+host+"/none:1", Options{}); !errors.Is(err, ErrNoImage) {
		t.Errorf("error is %v", err)
	}
	if _, err := openErr(t, "docker://localhost:1/none:1", Options{}); err == nil || !strings.Contains(err.Error(), "isn't reachable") || strings.Contains(err.Error(), "\n") {
		t.Errorf("no registry at all: %v", err)
	}
}

func TestDamagedBlobOfARegistryIsNamed(t *testing.T) {
	bad := compressedThree.stored[1]
	host := newRegistry(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodGet && strings.HasSuffix(q.URL.Path, digestOfBytes(bad).String()) {
				changed := append([]byte{}, bad...)
				changed[len(changed)/2] ^= 1
				_, err := w.Write(changed)
				must(err)
				return
			}
			h.ServeHTTP(w, q)
		})
	})
	local := open(t, "oci:"+layoutOf(compressedThree, false, "").dir(t), Options{})
	n := flat(local.Images[0], 3, nil)
	n.Write = nil
	mustStore(t, "docker://"+host+"/in:1", local, []NewImage{n}, nil, Compression{})
	src := open(t, "docker://"+host+"/in:1", Options{})
	_, err := readLayers(src.Images[0], func(int) bool { return true })
	if !errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), digestOfBytes(bad).String()) {
		t.Errorf("error is %v", err)
	}
}

// What a graphdriver engine or a docker-archive has uncompressed is compressed
// for a registry, which would keep it as it comes.
func TestUncompressedBaseIsCompressedForARegistry(t *testing.T) {
	host := newRegistry(t)
	src := open(t, write(t, "in.tar", dockerArchive(three)), Options{})
	readAll(t, src.Images[0])
	mustStore(t, "docker://"+host+"/flat:1", src, []NewImage{flat(src.Images[0], 2, merged12)}, nil, Compression{})
	ref, err := name.ParseReference(host + "/flat:1")
	must(err)
	im, err := remote.Image(ref)
	must(err)
	m, err := im.Manifest()
	must(err)
	for i, l := range m.Layers {
		if l.MediaType != layerType(Gzip, true) {
			t.Errorf("layer %d is a %s", i, l.MediaType)
		}
	}
	sameLayers(t, readAll(t, open(t, "docker://"+host+"/flat:1", Options{}).Images[0]), [][]byte{base, upper, merged12})
}
