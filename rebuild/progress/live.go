package progress

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// live redraws a line a stage. mpb moves the cursor, follows the terminal's
// width and keeps finished stages as ordinary lines above the running ones;
// what a line says is ours (line.go), so that it can give up its parts one
// after another where the terminal is narrow.
//
// mpb never hides the cursor and leaves it below the last line after every
// frame, so an end without Close spoils nothing either.
type live struct {
	look look
	now  func() time.Time
	bars *mpb.Progress

	mu     sync.Mutex
	closed bool
	open   map[*liveBar]bool
}

func newLive(w io.Writer, l look) *live {
	return &live{
		look: l,
		now:  time.Now,
		open: make(map[*liveBar]bool),
		bars: mpb.New(
			mpb.WithOutput(w),
			mpb.WithAutoRefresh(), // for a w that isn't a terminal, when a tty display was asked for
			mpb.PopCompletedMode(),
			mpb.WithRefreshRate(100*time.Millisecond),
		),
	}
}

func (d *live) Start(stage, what string, total int64) Bar {
	b := &liveBar{display: d, meter: newMeter(stage, what, total, d.now())}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return silent{}
	}
	// A total of 0 leaves the end to Done: a stage that has read all its bytes
	// may still have work to do.
	bar, err := d.bars.Add(0, mpb.BarFillerFunc(b.fill), mpb.BarFillerTrim())
	if err != nil {
		return silent{}
	}
	b.bar = bar
	d.open[b] = true
	return b
}

// Note's line may be longer than the terminal is wide: it is written above
// the lines that are redrawn.
func (d *live) Note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		io.WriteString(d.bars, OneLine(line)+"\n") // a display that can't be shown must not stop the job
	}
}

func (d *live) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.closed = true
	for b := range d.open {
		b.meter.end(context.Canceled, d.now())
	}
	d.bars.Shutdown() // draws the last frame and returns after it is written
}

type liveBar struct {
	display *live
	meter   *meter
	bar     *mpb.Bar
}

func (b *liveBar) Add(n int64) { b.meter.add(n) }

func (b *liveBar) Done(err error) {
	if !b.meter.end(err, b.display.now()) {
		return
	}
	b.display.mu.Lock()
	delete(b.display.open, b)
	b.display.mu.Unlock()
	b.bar.SetTotal(-1, true)
}

func (b *liveBar) fill(w io.Writer, s decor.Statistics) error {
	now := b.display.now()
	// The last column stays free: some terminals wrap when it is filled.
	text := line(b.meter, b.meter.read(now), s.AvailableWidth-1, b.display.look)
	_, err := io.WriteString(w, text)
	return err
}
