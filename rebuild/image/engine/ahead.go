package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
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
	of      map[*os.File]*reading
}

// reading is that of one file.
type reading struct {
	layer  *image.Layer
	cancel context.CancelFunc
	done   chan struct{} // closed at its end; then …
	settle func(i int)   // … this is what came of it, and the layer knows its digests
	err    error
}

func newReadings(ctx context.Context, ahead image.Ahead) *readings {
	r := &readings{ahead: ahead, free: make(chan struct{}, runtime.GOMAXPROCS(0)), of: map[*os.File]*reading{}}
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
	if digest, ok := blobDigest(name); ok {
		l.Describe(v1.Descriptor{Digest: digest}, nil)
	}
	one := &reading{layer: l, done: make(chan struct{})}
	var ctx context.Context
	ctx, one.cancel = context.WithCancel(r.ctx)
	r.of[spool] = one
	r.running.Go(func() {
		defer close(one.done)
		select {
		case r.free <- struct{}{}:
			one.err = one.read(ctx, r.ahead)
			<-r.free
		case <-ctx.Done():
			one.err = ctx.Err()
		}
	})
	return f
}

func (r *reading) read(ctx context.Context, ahead image.Ahead) error {
	tar, err := r.layer.Reader(ctx)
	if err != nil {
		return err
	}
	err = image.VisitLayer(image.Until(ctx, tar), 0, func(_ int, tar io.Reader) (err error) {
		r.settle, err = ahead(tar)
		return err
	})
	return errors.Join(err, tar.Close())
}

// drop ends the reading of a spool that is no layer, however long it would be.
func (r *readings) drop(spool *os.File) {
	if one := r.of[spool]; one != nil {
		one.cancel()
	}
}

// settle waits for the reading of a spool, and tells whether it has turned out to be
// the layer l, the i-th of its image. If not, the layer's visit tells why.
func (r *readings) settle(spool *os.File, l *image.Layer, i int) bool {
	one := r.of[spool]
	if one == nil {
		return false
	}
	<-one.done
	if one.err != nil || one.layer.DiffID() != l.DiffID() {
		return false
	}
	l.Learn(one.layer)
	one.settle(i)
	return true
}

// stop ends all readings.
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
