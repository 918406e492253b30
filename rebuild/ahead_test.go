package rebuild

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
	"docker-flatten/rebuild/progress"
)

// allAhead is an image's reader that has every layer read ahead before any is settled,
// as an engine that names its layers last.
type allAhead struct {
	tar  []byte
	held int64 // bytes on the heap while all are waiting
}

func (a *allAhead) Read(_ context.Context, im *image.Image, _ func(i int) bool, _ func(i int, r io.Reader) error) (*image.Image, error) {
	ahead := im.Ahead()
	before := heap()
	var settles []func(i int)
	for range im.DiffIDs {
		settle, err := ahead(bytes.NewReader(a.tar))
		if err != nil {
			return nil, err
		}
		settles = append(settles, settle)
	}
	a.held = heap() - before
	for i, settle := range settles {
		settle(i)
	}
	return im, nil
}

func heap() int64 {
	for range 3 { // what pools hold goes with the second one
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Layers that have been read ahead wait for the image's end with no more than their
// indexes.
func TestLayersReadAheadHoldLittle(t *testing.T) {
	const n, most = 100, 8 << 20
	a := &allAhead{tar: imagetest.Base}
	im := image.Make(t.Context(), image.Image{DiffIDs: make([]v1.Hash, n)}, make([]*image.Layer, n), a)
	_, indexes, shares, err := (&Options{}).read(t.Context(), im, 0, progress.Silent)
	if err != nil {
		t.Fatal(err)
	}
	if a.held > most {
		t.Errorf("%d layers hold %d bytes", n, a.held)
	}
	for i := range n {
		if indexes[i] == nil || shares[i] <= 0 {
			t.Fatalf("layer %d has the index %v, and the share %v", i, indexes[i], shares[i])
		}
	}
}
