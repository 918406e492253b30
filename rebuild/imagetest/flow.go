package imagetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
)

// Warnings collects what Options.Warn gets.
type Warnings struct {
	mu    sync.Mutex
	Lines []string
}

// Add takes a line.
func (w *Warnings) Add(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Lines = append(w.Lines, s)
}

// Open opens ref, and closes it when the test ends.
func Open(t testing.TB, ref string, opt image.Options) *image.Source {
	t.Helper()
	src, err := OpenErr(t, ref, opt)
	if err != nil {
		t.Fatalf("open %s: %v", ref, err)
	}
	return src
}

// OpenErr is Open with the error.
func OpenErr(t testing.TB, ref string, opt image.Options) (*image.Source, error) {
	t.Helper()
	if opt.TempDir == "" {
		opt.TempDir = t.TempDir()
	}
	src, err := place.Open(t.Context(), Ref(t, ref), opt)
	if err == nil {
		t.Cleanup(func() {
			if err := src.Close(); err != nil {
				t.Errorf("close %s: %v", ref, err)
			}
			left, err := os.ReadDir(opt.TempDir)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
	return src, err
}

// Ref parses a reference.
func Ref(t testing.TB, s string) image.Ref {
	t.Helper()
	r, err := image.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ReadAll returns every layer's tar.
func ReadAll(t testing.TB, im *image.Image) [][]byte {
	t.Helper()
	layers, _, err := ReadLayers(im, func(int) bool { return true })
	if err != nil {
		t.Fatalf("read %s: %v", im.Ref, err)
	}
	return layers
}

// ReadLayers returns every layer's tar, and the image that Read returns.
func ReadLayers(im *image.Image, keep func(int) bool) ([][]byte, *image.Image, error) {
	layers := make([][]byte, len(im.DiffIDs))
	read, err := im.Read(context.Background(), keep, func(i int, r io.Reader) error {
		b, err := io.ReadAll(r)
		layers[i] = append(layers[i], b...) // twice the layer if visited twice
		return err
	})
	return layers, read, err
}

// SameLayers compares layers' tars.
func SameLayers(t testing.TB, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d layers, not %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("layer %d differs: %d bytes, not %d", i, len(got[i]), len(want[i]))
		}
	}
}

// WithLayers is the image's config document with other diff IDs.
func WithLayers(raw []byte, diffIDs []v1.Hash) ([]byte, error) {
	c := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	var err error
	if c["rootfs"], err = json.Marshal(map[string]any{"type": "layers", "diff_ids": diffIDs}); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err = e.Encode(c)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// Flat is im's lowest keep layers and one more.
func Flat(im *image.Image, keep int, tar []byte) image.NewImage {
	return image.NewImage{
		From: im, Keep: keep, Size: int64(len(tar)),
		Write: func(_ context.Context, w io.Writer) error {
			_, err := w.Write(tar)
			return err
		},
		Config: func(diffIDs []v1.Hash) ([]byte, error) { return WithLayers(im.Config, diffIDs) },
	}
}

// FlatAll reads every image, and returns it with its topmost layer replaced.
func FlatAll(t testing.TB, src *image.Source) (images []image.NewImage) {
	for _, im := range src.Images {
		ReadAll(t, im)
		images = append(images, Flat(im, len(im.DiffIDs)-1, Merged12))
	}
	return images
}

// Unchanged is the image as it is.
func Unchanged(im *image.Image) image.NewImage {
	return image.NewImage{From: im, Keep: len(im.DiffIDs), Config: func([]v1.Hash) ([]byte, error) { return im.Config, nil }}
}

// Marked is the image with a history entry that has the mark.
func Marked(n image.NewImage, mark string) image.NewImage {
	config := n.Config
	n.Mark = mark
	n.Config = func(diffIDs []v1.Hash) ([]byte, error) {
		raw, err := config(diffIDs)
		if err != nil {
			return nil, err
		}
		return append(bytes.TrimSuffix(raw, []byte("}")), `,"history":[{"comment":"`+mark+`"}]}`...), nil
	}
	return n
}

// StoreErr stores images of src and gives them their names. After an error the
// result is discarded.
func StoreErr(t testing.TB, dest string, src *image.Source, images []image.NewImage, names []string, opt image.Options) (*image.Stored, error) {
	t.Helper()
	if opt.TempDir == "" {
		opt.TempDir = t.TempDir()
	}
	p, err := place.Prepare(t.Context(), Ref(t, dest), names, opt)
	if err != nil {
		return nil, err
	}
	stored, err := StoreIn(t.Context(), p, images, src.Index)
	if left, readErr := os.ReadDir(opt.TempDir); readErr != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, readErr)
	}
	return stored, err
}

// StoreIn stores images in a place and gives them their names. After an error
// the result is discarded.
func StoreIn(ctx context.Context, p image.Place, images []image.NewImage, index *image.Index) (*image.Stored, error) {
	stored, err := p.Store(ctx, image.Wanted{Images: images, Index: index})
	if err != nil {
		return nil, err
	}
	if err := stored.Name(ctx); err != nil {
		return nil, errors.Join(err, stored.Discard())
	}
	return stored, nil
}

// Store is StoreErr for what must work.
func Store(t testing.TB, dest string, src *image.Source, images []image.NewImage, names []string, c image.Compression) *image.Stored {
	t.Helper()
	stored, err := StoreErr(t, dest, src, images, names, image.Options{Compression: c})
	if err != nil {
		t.Fatalf("store to %s: %v", dest, err)
	}
	return stored
}

// Registry is a registry on a loopback address.
func Registry(t *testing.T, handlers ...func(http.Handler) http.Handler) (host string) {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	for _, wrap := range handlers {
		h = wrap(h)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
