package registry_test

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
	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/registry"
	"docker-flatten/rebuild/imagetest"
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
	host := imagetest.Registry(t, mounting, count.wrap)
	local := imagetest.Open(t, "oci:"+imagetest.PlatformsLayout().Dir(t), image.Options{})
	unchanged := []image.NewImage{}
	for _, im := range local.Images {
		imagetest.ReadAll(t, im)
		n := imagetest.Flat(im, len(im.DiffIDs), nil)
		n.Write = nil
		unchanged = append(unchanged, n)
	}
	imagetest.Store(t, "docker://"+host+"/in:1", local, unchanged, nil, image.Compression{})

	src := imagetest.Open(t, "docker://"+host+"/in:1", image.Options{})
	if len(src.Images) != 3 || src.Index == nil {
		t.Fatalf("%d images", len(src.Images))
	}
	images := imagetest.FlatAll(t, src)
	count.take()
	stored := imagetest.Store(t, "docker://"+host+"/flat:1", src, images, []string{host + "/flat:second"}, image.Compression{})
	c := count.take()
	// new: one merged layer (the same for all), imagetest.Three configs, and the check
	// whether pushing is allowed
	if c["PATCH blob"] != 4 || c["POST mount"] != 1 || c["GET blob"] != 0 {
		t.Errorf("requests: %v", c)
	}
	if want := host + "/flat@sha256:"; !strings.HasPrefix(stored.ID, want) {
		t.Errorf("ID is %s", stored.ID)
	}
	for _, ref := range []string{"docker://" + host + "/flat:1", "docker://" + host + "/flat:second", "docker://" + stored.ID} {
		back := imagetest.Open(t, ref, image.Options{})
		if len(back.Images) != 3 {
			t.Errorf("%s: %d images", ref, len(back.Images))
		}
	}
}

func TestKeptLayersAreFetchedOnce(t *testing.T) {
	count := &requests{}
	host := imagetest.Registry(t, count.wrap)
	local := imagetest.Open(t, "oci:"+imagetest.LayoutOf(imagetest.CompressedThree, false, "").Dir(t), image.Options{})
	n := imagetest.Flat(local.Images[0], 3, nil)
	n.Write = nil
	imagetest.Store(t, "docker://"+host+"/in:1", local, []image.NewImage{n}, nil, image.Compression{})

	src := imagetest.Open(t, "docker://"+host+"/in:1", image.Options{})
	count.take()
	_, im, err := imagetest.ReadLayers(src.Images[0], func(i int) bool { return i > 0 })
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		r, err := im.Layer(i).Open()
		if err != nil {
			t.Fatal(err)
		}
		imagetest.Must(r.Close())
	}
	if c := count.take(); c["GET blob"] != 4 { // the base's, which wasn't kept, twice
		t.Errorf("requests: %v", c)
	}
}

func TestRegistryDeniesAccess(t *testing.T) {
	host := imagetest.Registry(t, func(h http.Handler) http.Handler {
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
	_, err := imagetest.OpenErr(t, ref, image.Options{})
	var e *image.Error
	if !errors.Is(err, image.ErrUnauthorized) || !errors.As(err, &e) || !strings.Contains(e.Hint, "docker login "+host) {
		t.Errorf("error is %v", err)
	}
	if r, err := image.ParseRef(ref); err != nil {
		t.Error(err)
	} else if _, err := registry.Prepare(context.Background(), r, nil, image.Options{}); !errors.Is(err, image.ErrUnauthorized) {
		t.Errorf("destination: %v", err)
	}

	config := `{"auths":{"` + host + `":{"auth":"bWU6c2VjcmV0"}}}`
	imagetest.Must(os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600))
	src := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	imagetest.ReadAll(t, src.Images[0])
	imagetest.Store(t, ref, src, []image.NewImage{imagetest.Flat(src.Images[0], 1, imagetest.Merged12)}, nil, image.Compression{})
	imagetest.SameLayers(t, imagetest.ReadAll(t, imagetest.Open(t, ref, image.Options{}).Images[0]), [][]byte{imagetest.Base, imagetest.Merged12})
}

func TestRegistryWithoutTheImage(t *testing.T) {
	host := imagetest.Registry(t)
	if _, err := imagetest.OpenErr(t, "docker://"+host+"/none:1", image.Options{}); !errors.Is(err, image.ErrNoImage) {
		t.Errorf("error is %v", err)
	}
	if _, err := imagetest.OpenErr(t, "docker://localhost:1/none:1", image.Options{}); err == nil || !strings.Contains(err.Error(), "isn't reachable") || strings.Contains(err.Error(), "\n") {
		t.Errorf("no registry at all: %v", err)
	}
}

func TestDamagedBlobOfARegistryIsNamed(t *testing.T) {
	bad := imagetest.CompressedThree.Stored[1]
	host := imagetest.Registry(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodGet && strings.HasSuffix(q.URL.Path, imagetest.Digest(bad).String()) {
				changed := append([]byte{}, bad...)
				changed[len(changed)/2] ^= 1
				_, err := w.Write(changed)
				imagetest.Must(err)
				return
			}
			h.ServeHTTP(w, q)
		})
	})
	local := imagetest.Open(t, "oci:"+imagetest.LayoutOf(imagetest.CompressedThree, false, "").Dir(t), image.Options{})
	n := imagetest.Flat(local.Images[0], 3, nil)
	n.Write = nil
	imagetest.Store(t, "docker://"+host+"/in:1", local, []image.NewImage{n}, nil, image.Compression{})
	src := imagetest.Open(t, "docker://"+host+"/in:1", image.Options{})
	_, _, err := imagetest.ReadLayers(src.Images[0], func(int) bool { return true })
	if !errors.Is(err, image.ErrDigest) || !strings.Contains(err.Error(), imagetest.Digest(bad).String()) {
		t.Errorf("error is %v", err)
	}
}

// What a graphdriver engine or a docker-archive has uncompressed is compressed
// for a registry, which would keep it as it comes.
func TestUncompressedBaseIsCompressedForARegistry(t *testing.T) {
	host := imagetest.Registry(t)
	src := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
	imagetest.ReadAll(t, src.Images[0])
	imagetest.Store(t, "docker://"+host+"/flat:1", src, []image.NewImage{imagetest.Flat(src.Images[0], 2, imagetest.Merged12)}, nil, image.Compression{})
	ref, err := name.ParseReference(host + "/flat:1")
	imagetest.Must(err)
	im, err := remote.Image(ref)
	imagetest.Must(err)
	m, err := im.Manifest()
	imagetest.Must(err)
	for i, l := range m.Layers {
		if l.MediaType != types.OCILayer {
			t.Errorf("layer %d is a %s", i, l.MediaType)
		}
	}
	imagetest.SameLayers(t, imagetest.ReadAll(t, imagetest.Open(t, "docker://"+host+"/flat:1", image.Options{}).Images[0]), [][]byte{imagetest.Base, imagetest.Upper, imagetest.Merged12})
}
