package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/imagetest"
)

// aheadReader takes layers ahead, and counts.
type aheadReader struct {
	refuse func(tar []byte) bool // nil takes all

	mu      sync.Mutex
	taken   int
	settled map[int][]byte
}

func (a *aheadReader) read(r io.Reader) (func(i int), error) {
	tar, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken++
	if a.refuse != nil && a.refuse(tar) {
		return nil, errors.New("refused")
	}
	return func(i int) { a.settled[i] = tar }, nil
}

// What a containerd store sends under names that don't tell which layer it is, is
// read ahead, and visited only where that fails. Layers that can be told are visited.
func TestUnknownLayersAreReadAhead(t *testing.T) {
	stored := imagetest.Raw{Names: []string{"demo:1"}, Layers: [][]byte{imagetest.Base, imagetest.Upper, imagetest.Third, imagetest.Upper, imagetest.Tar("top")}}
	for i, l := range stored.Layers {
		stored.Stored = append(stored.Stored, [][]byte{imagetest.Gzip(l), imagetest.Zstd(l), l}[i%3])
	}
	stored.Stored[3] = stored.Stored[1]
	for name, c := range map[string]struct {
		im      imagetest.Raw
		others  int
		refuse  func(tar []byte) bool
		taken   int
		visited []int
	}{
		"compressed":        {im: gz, taken: 3},
		"uncompressed":      {im: imagetest.Three, visited: []int{0, 1, 2}},
		"of all kinds":      {im: stored, taken: 3, visited: []int{2, 3}},
		"refused":           {im: gz, refuse: func([]byte) bool { return true }, taken: 3, visited: []int{0, 1, 2}},
		"one refused":       {im: gz, refuse: func(tar []byte) bool { return bytes.Equal(tar, imagetest.Upper) }, taken: 3, visited: []int{1}},
		"several platforms": {im: gz, others: 1, visited: []int{0, 1, 2}},
	} {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, keep %v", name, keep), func(t *testing.T) {
				e, opt := newFakeEngine(t, engine.Containerd)
				id := imagetest.Digest([]byte("index")).String()
				e.add(c.im, id, savedBlobs(c.im))
				e.images[id].others = c.others
				ahead := &aheadReader{refuse: c.refuse, settled: map[int][]byte{}}
				var mu sync.Mutex
				var visited []int
				layers := make([][]byte, len(c.im.Layers))
				im, err := imagetest.Open(t, "demo:1", opt).Images[0].ReadingAhead(ahead.read).Read(t.Context(), func(int) bool { return keep }, func(i int, r io.Reader) (err error) {
					layers[i], err = io.ReadAll(r)
					mu.Lock()
					defer mu.Unlock()
					visited = append(visited, i)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(visited)
				if ahead.taken != c.taken || !slices.Equal(visited, c.visited) {
					t.Errorf("ahead took %d, visited were %d, not %d and %d", ahead.taken, visited, c.taken, c.visited)
				}
				for i, tar := range ahead.settled {
					if layers[i] != nil {
						t.Errorf("layer %d was settled and visited", i)
					}
					layers[i] = tar
				}
				imagetest.SameLayers(t, layers, c.im.Layers)
				if len(e.saves) != 1 {
					t.Errorf("saves: %q", e.saves)
				}
				for i, want := range c.im.Layers {
					readAgain(t, im, i, want)
				}
			})
		}
	}
}

// A layer is read ahead while the engine is still sending it.
func TestReadingAheadBeginsBeforeALayerHasCome(t *testing.T) {
	noise := make([]byte, 4<<20) // more than all buffers on the way take
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	im := imagetest.Raw{Names: []string{"demo:1"}, Layers: [][]byte{imagetest.Layer(time.Time{}, []imagetest.File{{Name: "noise", Body: string(noise)}})}}
	im.Stored = [][]byte{imagetest.Gzip(im.Layers[0])}
	saved := savedBlobs(im)
	until := bytes.Index(saved, im.Stored[0]) + len(im.Stored[0])*3/4
	begun := make(chan struct{})
	e, opt := hangingEngine(t, time.Minute, func(w http.ResponseWriter, r *http.Request, over <-chan struct{}) bool {
		if !strings.HasSuffix(r.URL.Path, "/images/get") {
			return false
		}
		_, _ = w.Write(saved[:until])
		w.(http.Flusher).Flush()
		select {
		case <-begun:
		case <-over:
		case <-time.After(30 * time.Second):
			t.Error("nothing was read while the engine was sending")
		}
		_, _ = w.Write(saved[until:])
		return true
	})
	e.store = engine.Containerd
	e.add(im, imagetest.Digest([]byte("index")).String(), saved)
	settled := false
	_, err := imagetest.Open(t, "demo:1", opt).Images[0].ReadingAhead(func(r io.Reader) (func(int), error) {
		if _, err := io.ReadFull(r, make([]byte, 512)); err != nil {
			return nil, err
		}
		close(begun)
		_, err := io.Copy(io.Discard, r)
		return func(int) { settled = true }, err
	}).Read(t.Context(), nil, func(i int, r io.Reader) error {
		t.Errorf("layer %d is visited, too", i)
		return nil
	})
	if err != nil || !settled {
		t.Errorf("settled %v, error %v", settled, err)
	}
}

// An error ahead is the visit's to tell, and no reading outlives the stream.
func TestReadingAheadOfADamagedStream(t *testing.T) {
	whole := savedBlobs(gz)
	at := bytes.Index(whole, gz.Stored[1])
	changed := bytes.Clone(whole)
	changed[at+len(gz.Stored[1])/2] ^= 1
	for name, c := range map[string]struct {
		saved []byte
		is    error
		text  string
	}{
		"changed layer":  {changed, image.ErrDigest, "layer 2 of 3"},
		"cut in a layer": {whole[:at+10], image.ErrTruncated, "early"},
	} {
		e, opt := newFakeEngine(t, engine.Containerd)
		e.add(gz, imagetest.Digest([]byte("index")).String(), c.saved)
		var reading sync.WaitGroup
		_, err := imagetest.Open(t, "demo:1", opt).Images[0].ReadingAhead(func(r io.Reader) (func(int), error) {
			reading.Add(1)
			defer reading.Done()
			_, err := io.Copy(io.Discard, r)
			return func(int) {}, err
		}).Read(t.Context(), nil, func(_ int, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		})
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: error is %v", name, err)
		}
		reading.Wait()
	}
}

// What a stream has besides the image's layers isn't waited for, nor does a layer
// wait for that: it may be without an end.
func TestReadingAheadDoesNotWaitForWhatIsNoLayer(t *testing.T) {
	var others imagetest.Members
	for i := range runtime.GOMAXPROCS(0) { // as many as are read at a time
		other := imagetest.Gzip(imagetest.Tar(fmt.Sprintf("other%d", i)))
		others = append(others, "blobs/sha256/"+imagetest.Digest(other).Hex, other)
	}
	stream := others.Tar()
	stream = append(stream[:len(stream)-2*512], savedBlobs(gz)...) // without the end of the first tar
	e, opt := newFakeEngine(t, engine.Containerd)
	e.add(gz, imagetest.Digest([]byte("index")).String(), stream)
	ahead := &aheadReader{settled: map[int][]byte{}}
	_, err := imagetest.Open(t, "demo:1", opt).Images[0].ReadingAhead(func(r io.Reader) (func(int), error) {
		head := make([]byte, 512)
		_, err := io.ReadFull(r, head)
		for err == nil && bytes.HasPrefix(head, []byte("other")) {
			_, err = r.Read(nil) // no end comes
		}
		if err != nil {
			return nil, err
		}
		return ahead.read(io.MultiReader(bytes.NewReader(head), r))
	}).Read(t.Context(), nil, func(i int, r io.Reader) error {
		t.Errorf("layer %d is visited", i)
		return nil
	})
	if err != nil || len(ahead.settled) != 3 {
		t.Errorf("%d settled, error %v", len(ahead.settled), err)
	}
}
