package progress

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"docker-flatten/templates"
)

// window is the time over which the rate is taken: long enough to be calm,
// short enough to show that a disk or a network got slower.
const window = 5 * time.Second

// meter measures one stage. Its methods may be called from several
// goroutines.
type meter struct {
	stage, what string
	total       int64
	room        int // columns for what, so that lines of several stages line up; 0 = as many as it takes

	mu      sync.Mutex
	n       int64
	started time.Time
	ended   time.Time // zero while the stage runs
	err     error
	samples []sample // of the last window, oldest first
}

type sample struct {
	at time.Time
	n  int64
}

func newMeter(stage, what string, total int64, now time.Time) *meter {
	return &meter{
		stage: templates.OneLine(stage), what: templates.OneLine(what), total: max(total, 0),
		started: now, samples: []sample{{now, 0}},
	}
}

func (m *meter) add(n int64) {
	m.mu.Lock()
	m.n += n
	m.mu.Unlock()
}

// end records the stage's end and reports whether it was the first.
func (m *meter) end(err error, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended.IsZero() {
		return false
	}
	m.ended, m.err = now, err
	return true
}

// reading is what a meter shows at one moment.
type reading struct {
	n, total int64
	rate     float64       // bytes a second; 0 when not known
	left     time.Duration // negative when not known
	took     time.Duration
	ended    bool
	err      error
}

// read takes a sample. The rate is the window's, or the whole stage's once it
// has ended.
func (m *meter) read(now time.Time) reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := reading{n: m.n, total: m.total, left: -1, ended: !m.ended.IsZero(), err: m.err}
	if r.ended {
		r.took = m.ended.Sub(m.started)
		r.rate = perSecond(m.n, r.took)
		return r
	}
	r.took = now.Sub(m.started)
	m.samples = append(m.samples, sample{now, m.n})
	// The oldest sample kept is the last one before the window, so that the
	// window is always covered.
	for len(m.samples) > 2 && now.Sub(m.samples[1].at) >= window {
		m.samples = m.samples[1:]
	}
	first := m.samples[0]
	r.rate = perSecond(m.n-first.n, now.Sub(first.at))
	if r.rate > 0 && m.total > m.n {
		r.left = time.Duration(float64(m.total-m.n) / r.rate * float64(time.Second))
	}
	return r
}

// perSecond is 0 for spans too short to say anything.
func perSecond(n int64, d time.Duration) float64 {
	if d < 10*time.Millisecond || n <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// percent is how much of the total is done, and false when there is no total.
func (r reading) percent() (int, bool) {
	if r.total <= 0 {
		return 0, false
	}
	return int(min(max(r.n, 0), r.total) * 100 / r.total), true
}

// outcome words a stage's end.
func (r reading) outcome() string {
	switch {
	case r.err == nil:
		return "done"
	case errors.Is(r.err, context.Canceled):
		return "interrupted"
	}
	return "failed"
}

func size(n int64) string { return templates.Size(max(n, 0)) }

func rate(r float64) string {
	if r <= 0 {
		return ""
	}
	return size(int64(r)) + "/s"
}

// span writes a duration as a person would: 0.4s, 12s, 3m05s, 1h02m.
func span(d time.Duration) string {
	if d < 9950*time.Millisecond {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	switch d = d.Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		s := int(d.Seconds())
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	mins := int(d.Minutes())
	return fmt.Sprintf("%dh%02dm", mins/60, mins%60)
}

func join(sep string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, sep)
}
