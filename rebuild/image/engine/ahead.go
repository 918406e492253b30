package engine

import (
	"context"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
)

// readings are the readings of spooled files while the engine is still sending
// them, or those that follow. Sending takes the engine a good part of a run, and a
// processor has time meanwhile.
type readings struct {
	ahead   image.Ahead // nil: nothing is read ahead
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	free    chan struct{} // one for each that may run at a time

	mu   sync.Mutex
	done map[*os.File]reading
}

// reading is what came of one that succeeded.
type reading struct {
	layer  *image.Layer // it knows its digests
	settle func(i int)
}

func newReadings(ctx context.Context, ahead image.Ahead) *readings {
	r := &readings{ahead: ahead, free: make(chan struct{}, runtime.GOMAXPROCS(0)), done: map[*os.File]reading{}}
	r.ctx, r.cancel = context.WithCancel(ctx)
	return r
}

// start starts the reading of a file that is about to be written to the spool.
func (r *readings) start(spool *os.File, name string, size int64) *growingFile {
	f := newGrowingFile(spool, size)
	if r.ahead == nil {
		return f
	}
	l := image.NewLayer(name, v1.Hash{}, nil).InFile(f)
	if want := archive.DigestInName(name); strings.HasPrefix(name, "blobs/") && want != "" {
		l.Describe(v1.Descriptor{Digest: v1.Hash{Algorithm: "sha256", Hex: want}}, nil)
	}
	r.running.Go(func() {
		select {
		case r.free <- struct{}{}:
			defer func() { <-r.free }()
		case <-r.ctx.Done():
			return
		}
		settle, err := r.read(l)
		if err != nil {
			return // what is no layer isn't missed, and what is one is visited
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.done[spool] = reading{l, settle}
	})
	return f
}

func (r *readings) read(l *image.Layer) (settle func(i int), err error) {
	tar, err := l.Reader(r.ctx)
	if err != nil {
		return nil, err
	}
	defer tar.Close()
	err = image.VisitLayer(tar, 0, func(_ int, tar io.Reader) (err error) {
		settle, err = r.ahead(tar)
		return err
	})
	return settle, err
}

// settle waits until all that was started has been read, and tells whether the
// spool has turned out to be the layer l, the i-th of its image.
func (r *readings) settle(spool *os.File, l *image.Layer, i int) bool {
	r.running.Wait()
	read, ok := r.done[spool]
	if !ok || read.layer.DiffID() != l.DiffID() {
		return false
	}
	l.Learn(read.layer)
	read.settle(i)
	return true
}

// stop ends the readings.
func (r *readings) stop() {
	r.cancel()
	r.running.Wait()
}

// growingFile is a file of known size that one goroutine writes while others read
// what is there already, and wait for the rest.
type growingFile struct {
	file *os.File
	size int64

	mu      sync.Mutex
	more    *sync.Cond
	written int64
	ended   bool
}

func newGrowingFile(f *os.File, size int64) *growingFile {
	g := &growingFile{file: f, size: size}
	g.more = sync.NewCond(&g.mu)
	return g
}

// Size is that of the whole file.
func (g *growingFile) Size() int64 { return g.size }

// Write appends to the file.
func (g *growingFile) Write(p []byte) (int, error) {
	n, err := g.file.Write(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.written += int64(n)
	g.more.Broadcast()
	return n, err
}

// end says that no more will be written.
func (g *growingFile) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	g.more.Broadcast()
}

// ReadAt waits until what is asked for has been written, or no more will be.
func (g *growingFile) ReadAt(p []byte, off int64) (int, error) {
	until := min(off+int64(len(p)), g.size)
	g.mu.Lock()
	for g.written < until && !g.ended {
		g.more.Wait()
	}
	g.mu.Unlock()
	return g.file.ReadAt(p, off)
}
