package progress

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// at makes a reading of a stage that moved n bytes in d.
func at(m *meter, n int64, d time.Duration) reading {
	m.add(n)
	return m.read(start.Add(d))
}

func TestLineFitsEveryWidth(t *testing.T) {
	names := []string{"", "demo", "registry.example.com/team/project/a-long-name:2026-01-02", "名前:最新"}
	for _, l := range []look{{}, {unicode: true}} {
		for _, what := range names {
			for _, total := range []int64{0, 2_800_000_000} {
				for width := 1; width <= 250; width++ {
					m := newMeter(Verifying, what, total, start)
					got := line(m, at(m, 1_234_000_000, 5*time.Second), width, l)
					if n := columns.StringWidth(got); n > width {
						t.Fatalf("%d columns for %d: %q", n, width, got)
					}
					m.end(errors.New("disk full"), start.Add(time.Minute))
					got = line(m, m.read(start), width, l)
					if n := columns.StringWidth(got); n > width {
						t.Fatalf("%d columns for %d: %q", n, width, got)
					}
				}
			}
		}
	}
}

func TestLineAtUsualWidths(t *testing.T) {
	for _, c := range []struct {
		name  string
		width int
		total int64
		look  look
		want  string
	}{
		{"80 columns", 79, 2_800_000_000, look{unicode: true},
			"  reading   demo:latest  ━━━━━━━╸─────────  44%  1.23GB / 2.8GB  247MB/s   6.3s"},
		{"no total", 79, 0, look{unicode: true},
			"  reading   demo:latest  ──━━━━───────────               1.23GB  247MB/s       "},
		{"200 columns", 199, 2_800_000_000, look{unicode: true},
			"  reading   demo:latest  ━━━━━━━━━━━━━━━━━━━━━━━━━━╸─────────────────────────────────  44%  1.23GB / 2.8GB  247MB/s   6.3s"},
		{"40 columns", 40, 2_800_000_000, look{unicode: true},
			"  reading   demo:latest       44% 1.23GB"},
		{"ascii", 79, 2_800_000_000, look{},
			"  reading   demo:latest  =======>---------  44%  1.23GB / 2.8GB  247MB/s   6.3s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMeter(Reading, "demo:latest", c.total, start)
			got := line(m, at(m, 1_234_000_000, 5*time.Second), c.width, c.look)
			if got != c.want {
				t.Errorf("%q\nwant %q", got, c.want)
			}
		})
	}
}

func TestLineOfAnEndedStage(t *testing.T) {
	for _, c := range []struct {
		err  error
		look look
		want string
	}{
		{nil, look{unicode: true}, "✓ writing   demo:flat  done, 1.2MB in 2.0s, 600kB/s"},
		{nil, look{}, "* writing   demo:flat  done, 1.2MB in 2.0s, 600kB/s"},
		{errors.New("disk full"), look{unicode: true}, "✗ writing   demo:flat  failed after 2.0s, 1.2MB"},
		{context.Canceled, look{unicode: true}, "✗ writing   demo:flat  interrupted after 2.0s, 1.2MB"},
	} {
		m := newMeter(Writing, "demo:flat", 0, start)
		m.add(1_200_000)
		m.end(c.err, start.Add(2*time.Second))
		if got := line(m, m.read(start), 79, c.look); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

func TestEndedLinesLineUp(t *testing.T) {
	var ends []int
	for what, err := range map[string]error{"demo:latest": nil, "demo": errors.New("disk full"), "out.tar": context.Canceled} {
		m := newMeter(Writing, what, 0, start)
		m.room = len("demo:latest")
		m.end(err, start.Add(time.Second))
		before, _, _ := strings.Cut(line(m, m.read(start), 79, look{unicode: true}), m.read(start).outcome())
		ends = append(ends, columns.StringWidth(before))
	}
	if ends[0] != ends[1] || ends[1] != ends[2] {
		t.Errorf("what came of the stages begins in columns %v", ends)
	}
}

func TestLineKeepsTheEndOfALongName(t *testing.T) {
	m := newMeter(Pushing, "docker://registry.example.com/team/project/app:2026-01-02", 0, start)
	if got, want := line(m, at(m, 0, time.Second), 40, look{unicode: true}), "  pushing   …ject/app:2026-01-02      0B"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
