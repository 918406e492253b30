package progress

import (
	"fmt"
	"io"
	"sync"
	"time"

	"docker-flatten/templates"
)

// plainEvery is how often a plain display says that a stage still runs.
const plainEvery = 10 * time.Second

// plain writes whole lines: for logs, pipes and terminals without a cursor.
type plain struct {
	every time.Duration
	now   func() time.Time

	mu     sync.Mutex
	w      io.Writer
	closed bool
	stop   chan struct{} // closed by Close
}

func newPlain(w io.Writer, every time.Duration) *plain {
	return &plain{every: every, now: time.Now, w: w, stop: make(chan struct{})}
}

func (p *plain) Start(stage, what string, total int64) Bar {
	b := &plainBar{plain: p, meter: newMeter(stage, what, total, p.now()), stop: make(chan struct{})}
	if total > 0 {
		p.line(b.name() + ": " + size(total))
	} else {
		p.line(b.name())
	}
	go b.watch()
	return b
}

func (p *plain) Note(line string) { p.line(templates.OneLine(line)) }

func (p *plain) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.stop)
	}
}

// line writes one line in one call, so that lines of other programs on the
// same terminal don't end up inside it.
func (p *plain) line(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		io.WriteString(p.w, s+"\n") // a display that can't be shown must not stop the job
	}
}

type plainBar struct {
	plain *plain
	meter *meter
	stop  chan struct{} // closed by Done
}

func (b *plainBar) name() string { return join(" ", b.meter.stage, b.meter.what) }

func (b *plainBar) watch() {
	t := time.NewTicker(b.plain.every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			b.plain.line(b.name() + ": " + running(b.meter.read(b.plain.now())))
		case <-b.stop:
			return
		case <-b.plain.stop:
			return
		}
	}
}

func (b *plainBar) Add(n int64) { b.meter.add(n) }

func (b *plainBar) Done(err error) {
	if !b.meter.end(err, b.plain.now()) {
		return
	}
	close(b.stop)
	b.plain.line(b.name() + ": " + finished(b.meter.read(b.plain.now())))
}

// running says how far a stage is: "1.2GB of 2.8GB (43%), 230MB/s, 7.1s left".
func running(r reading) string {
	s := size(r.n)
	if pct, ok := r.percent(); ok {
		s = fmt.Sprintf("%s of %s (%d%%)", s, size(r.total), pct)
	}
	left := ""
	if r.left >= 0 {
		left = span(r.left) + " left"
	}
	return join(", ", s, rate(r.rate), left)
}

// finished says how a stage ended: "done, 2.8GB in 12s, 230MB/s".
func finished(r reading) string {
	if r.err != nil {
		return r.outcome() + " after " + join(", ", span(r.took), size(r.n))
	}
	if r.n == 0 {
		return "done in " + span(r.took)
	}
	return "done, " + join(", ", size(r.n)+" in "+span(r.took), rate(r.rate))
}
