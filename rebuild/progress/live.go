package progress

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"docker-flatten/templates"
)

// live redraws a line a stage. mpb moves the cursor, follows the terminal's
// width and keeps finished stages as ordinary lines above the running ones;
// what a line says is ours (line.go), so that it can give up its parts one
// after another where the terminal is narrow.
//
// mpb never hides the cursor and leaves it below the last line after every
// frame, so an end without Close spoils nothing either.
type live struct {
	w    io.Writer
	look look
	now  func() time.Time
	bars *mpb.Progress

	mu     sync.Mutex
	closed bool
	open   map[*liveBar]bool
	widest int // of the stages' objects so far
}

func newLive(w io.Writer, l look) *live {
	return &live{
		w:    w,
		look: l,
		now:  time.Now,
		open: make(map[*liveBar]bool),
		bars: mpb.New(
			mpb.WithOutput(frameOutput(w)),
			mpb.WithWidth(height(w)), // without a terminal mpb takes it for the height, too; a line has a width of its own
			mpb.WithAutoRefresh(),
			mpb.PopCompletedMode(),
			mpb.WithRefreshRate(100*time.Millisecond),
		),
	}
}

// frameOutput is what mpb writes its frames to. Before each it moves the cursor
// up to the frame's first line and erases all below. Where that line is the
// terminal's first, tmux takes the erasing for the end of a full screen, and puts
// what it shows into its history: every frame of the run would stay there. So the
// first cell is erased by itself, and the rest from the second one on. A Windows
// console needs mpb's own way, for which it must see the file.
func frameOutput(w io.Writer) io.Writer {
	if runtime.GOOS == "windows" {
		return w
	}
	return eraser{w}
}

type eraser struct{ w io.Writer }

func (e eraser) Write(p []byte) (int, error) {
	if _, err := e.w.Write(bytes.ReplaceAll(p, []byte("\x1b[J"), []byte("\x1b[K\x1b[C\x1b[J\r"))); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (d *live) Start(stage, what string, total int64) Bar {
	b := &liveBar{display: d, meter: newMeter(stage, what, total, d.now())}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return silent{}
	}
	d.widest = max(d.widest, columns.StringWidth(b.meter.what))
	b.meter.room = d.widest
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
		io.WriteString(d.bars, templates.OneLine(line)+"\n") // a display that can't be shown must not stop the job
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

func (b *liveBar) fill(w io.Writer, _ decor.Statistics) error {
	now := b.display.now()
	width, ok := terminalWidth(b.display.w) // it may have changed
	if !ok {
		width = defaultWidth
	}
	// The last column stays free: some terminals wrap when it is filled.
	text := line(b.meter, b.meter.read(now), width-1, b.display.look)
	_, err := io.WriteString(w, text)
	return err
}
