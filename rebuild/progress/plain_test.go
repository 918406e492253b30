package progress

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// log is a writer that several goroutines may use.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.buf.String(), "\n"), "\n")
}

func TestPlainSaysStartAndEndOfEachStage(t *testing.T) {
	var out log
	d := newPlain(&out, time.Hour)
	clock := start
	d.now = func() time.Time { return clock }

	b := d.Start(Reading, "demo:latest", 2_800_000_000)
	b.Add(2_800_000_000)
	clock = clock.Add(4 * time.Second)
	b.Done(nil)
	b.Done(errors.New("a second end changes nothing"))
	d.Note("attestation\x1b[2J dropped")
	b = d.Start(Writing, "out.tar", 0)
	b.Add(1000)
	clock = clock.Add(65 * time.Second)
	b.Done(errors.New("disk full"))
	d.Close()
	d.Close()
	d.Note("too late")

	want := []string{
		"reading demo:latest: 2.8GB",
		"reading demo:latest: done, 2.8GB in 4.0s, 700MB/s",
		"attestation·[2J dropped",
		"writing out.tar",
		"writing out.tar: failed after 1m05s, 1kB",
	}
	if got := strings.Join(out.lines(), "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if strings.Contains(out.buf.String(), "\x1b") {
		t.Error("an escape sequence")
	}
}

func TestPlainTellsNowAndThenThatALongStageRuns(t *testing.T) {
	var out log
	d := newPlain(&out, 20*time.Millisecond)
	b := d.Start(Reading, "demo", 1000)
	b.Add(430)
	time.Sleep(100 * time.Millisecond)
	b.Done(nil)
	d.Close()
	n := len(out.lines())
	if n < 4 || !strings.HasPrefix(out.lines()[1], "reading demo: 430B of 1kB (43%)") {
		t.Errorf("got %q", out.lines())
	}
	time.Sleep(60 * time.Millisecond)
	if len(out.lines()) != n {
		t.Error("an ended stage still reports")
	}
}

func TestNewTakesOnlyItsFourWays(t *testing.T) {
	for _, how := range Ways {
		var out log
		d, err := New(how, &out)
		if err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		b := d.Start(Reading, "demo", 0)
		b.Add(1)
		b.Done(nil)
		d.Note("note")
		d.Close()
		if quiet := out.buf.Len() == 0; quiet != (how == "none") {
			t.Errorf("%s wrote %q", how, out.buf.String())
		}
	}
	if _, err := New("loud", nil); err == nil {
		t.Error("no error for an unknown display")
	}
}

func TestRateIsThatOfTheLastSeconds(t *testing.T) {
	m := newMeter(Reading, "", 10_000, start)
	for s := 1; s <= 10; s++ { // 1000 B/s, then nothing moves
		if s <= 3 {
			m.add(1000)
		}
		m.read(start.Add(time.Duration(s) * time.Second))
	}
	if r := m.read(start.Add(11 * time.Second)); r.rate != 0 || r.left >= 0 {
		t.Errorf("a stage that stands still shows %.0f B/s, %v left", r.rate, r.left)
	}
	m.add(500)
	r := m.read(start.Add(12 * time.Second))
	if r.rate != 100 || r.left != 65*time.Second {
		t.Errorf("got %.0f B/s, %v left; want 100, 1m5s", r.rate, r.left)
	}
}

func TestSpanIsShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0s", 1234 * time.Millisecond: "1.2s", 59 * time.Second: "59s",
		185 * time.Second: "3m05s", 62 * time.Minute: "1h02m", 9999 * time.Millisecond: "10s",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
