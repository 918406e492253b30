package imagetest

import (
	"fmt"
	"slices"
	"sync"

	"docker-flatten/rebuild/progress"
)

// Bars is a display that remembers its bars.
type Bars struct {
	mu   sync.Mutex
	list []*bar
}

type bar struct {
	of    *Bars
	stage string
	total int64
	n     int64
	ends  int
	err   error
}

// Start starts a bar.
func (b *Bars) Start(stage, _ string, total int64) progress.Bar {
	b.mu.Lock()
	defer b.mu.Unlock()
	started := &bar{of: b, stage: stage, total: total}
	b.list = append(b.list, started)
	return started
}

// Note is for lines, which no test looks at here.
func (b *Bars) Note(string) {}

// Close ends nothing.
func (b *Bars) Close() {}

func (b *bar) Add(n int64) {
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	b.n += n
}

func (b *bar) Done(err error) {
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	b.ends, b.err = b.ends+1, err
}

// Lines describes the bars: the stage, the bytes and the total, and how it
// ended.
func (b *Bars) Lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for _, bar := range b.list {
		line := fmt.Sprintf("%s %d of %d", bar.stage, bar.n, bar.total)
		switch {
		case bar.ends == 0:
			line += ", running"
		case bar.ends > 1:
			line += ", ended more than once"
		case bar.err != nil:
			line += ", failed"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}
