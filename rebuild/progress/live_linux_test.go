package progress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openPty returns both ends of a new pseudo-terminal of the given size.
func openPty(t *testing.T, cols, rows uint16) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// screen runs show on a pseudo-terminal and returns the lines that a user
// sees at the end, all that was sent, and the cursor's row.
func screen(t *testing.T, cols, rows uint16, show func(tty *os.File)) (lines []string, sent string, row int) {
	t.Helper()
	master, slave := openPty(t, cols, rows)
	defer master.Close()
	var all strings.Builder
	done := make(chan struct{})
	go func() {
		io.Copy(&all, master) // ends with EIO when the last slave is closed
		close(done)
	}()
	show(slave)
	slave.Close()
	<-done
	sent = all.String()

	// A terminal of the few controls that are used: CR, LF, cursor up and right,
	// erase line and below, colours. Anything else is an error.
	col := 0
	put := func(r rune) {
		for len(lines) <= row {
			lines = append(lines, "")
		}
		l := []rune(lines[row])
		for len(l) <= col {
			l = append(l, ' ')
		}
		l[col] = r
		lines[row], col = string(l), col+1
		if col > int(cols) {
			t.Errorf("a line is wider than the terminal: %q", lines[row])
		}
	}
	for rest := []rune(sent); len(rest) > 0; {
		r := rest[0]
		rest = rest[1:]
		switch {
		case r == '\r':
			col = 0
		case r == '\n':
			row++
		case r == 0x1b:
			end := strings.IndexFunc(string(rest), func(r rune) bool { return r >= 'A' && r != '[' })
			seq := string(rest)[:end+1]
			rest = []rune(string(rest)[end+1:])
			switch arg := strings.TrimPrefix(seq[:end], "["); seq[end] {
			case 'A':
				n, _ := strconv.Atoi(arg)
				row -= n
			case 'C':
				col++
			case 'K':
				if row < len(lines) {
					lines[row] = string([]rune(lines[row])[:min(col, len([]rune(lines[row])))])
				}
			case 'J':
				if row == 0 && col == 0 {
					t.Error("the whole screen is erased, which tmux puts into its history")
				}
				if row < len(lines) {
					lines = append(lines[:row], string([]rune(lines[row])[:min(col, len([]rune(lines[row])))]))
				}
			case 'm':
			default:
				t.Errorf("unexpected control sequence %q", seq)
			}
		default:
			put(r)
		}
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines, sent, row
}

// wait lets a display draw a few frames.
func wait() { time.Sleep(350 * time.Millisecond) }

func TestLiveLeavesWholeLinesAndTheCursorBelow(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	lines, sent, row := screen(t, 80, 24, func(tty *os.File) {
		d, err := New("auto", tty)
		if err != nil {
			t.Fatal(err)
		}
		b := d.Start(Reading, "demo:latest", 1000)
		b.Add(500)
		wait()
		d.Note("attestation dropped")
		b.Add(500)
		wait()
		b.Done(nil)
		wait()
		m := d.Start(Merging, "", 0)
		wait()
		m.Done(nil)
		d.Start(Writing, "demo:flat", 100) // never done: the job was interrupted
		wait()
		d.Close()
		d.Close()
		d.Note("too late")
		d.Start(Verifying, "", 0).Done(nil)
	})
	if len(lines) != 4 {
		t.Fatalf("%d lines, want 4:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for i, want := range []string{"attestation dropped", "✓ reading   demo:latest  done, 1kB in", "✓ merging   done in", "✗ writing   demo:flat    interrupted after"} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d is %q, want %q…", i, lines[i], want)
		}
	}
	if row != 4 {
		t.Errorf("the cursor is on row %d, want 4", row)
	}
	if strings.Contains(sent, "\x1b[?25l") {
		t.Error("the cursor was hidden")
	}
	if !strings.Contains(sent, "\x1b[32m") {
		t.Error("no colour")
	}
}

func TestLiveHonoursNoColor(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	_, sent, _ := screen(t, 80, 24, func(tty *os.File) {
		d, _ := New("tty", tty)
		d.Start(Reading, "demo", 10).Add(5)
		wait()
		d.Close()
	})
	for _, part := range strings.Split(sent, "\x1b[")[1:] {
		if end := strings.IndexFunc(part, func(r rune) bool { return r >= 'A' }); part[end] == 'm' {
			t.Fatalf("a colour in %q", sent)
		}
	}
}

func TestAutoIsPlainOnATerminalWithoutCursorOrWidth(t *testing.T) {
	for _, c := range []struct {
		term string
		cols uint16
	}{{"dumb", 80}, {"xterm", 0}} {
		t.Setenv("TERM", c.term)
		_, slave := openPty(t, c.cols, 24)
		d, err := New("auto", slave)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := d.(*plain); !ok {
			t.Errorf("TERM=%s, %d columns: %T, want plain", c.term, c.cols, d)
		}
		slave.Close()
	}
}

func TestWidthIsTheTerminals(t *testing.T) {
	_, slave := openPty(t, 132, 24)
	defer slave.Close()
	if got := Width(slave); got != 132 {
		t.Errorf("width %d, want 132", got)
	}
	if got := Width(io.Discard); got != 0 {
		t.Errorf("width %d of no terminal, want 0", got)
	}
	_, mute := openPty(t, 0, 0)
	defer mute.Close()
	if got := Width(mute); got != 80 {
		t.Errorf("width %d of a terminal that doesn't tell, want 80", got)
	}
}

func TestLiveManyStagesAtOnce(t *testing.T) {
	t.Setenv("TERM", "xterm")
	lines, _, _ := screen(t, 80, 10, func(tty *os.File) {
		d, _ := New("auto", tty)
		var wg sync.WaitGroup
		for i := range 30 { // more than the terminal has rows
			wg.Go(func() {
				b := d.Start(Reading, fmt.Sprintf("platform-%02d", i), 1000)
				for range 100 {
					b.Add(10)
					time.Sleep(time.Duration(i) * 200 * time.Microsecond)
				}
				d.Note(fmt.Sprintf("note-%02d", i))
				b.Done(map[bool]error{true: errors.New("broken")}[i == 7])
				b.Done(context.Canceled) // a second end changes nothing
			})
		}
		wg.Wait()
		wait()
		d.Close()
	})
	all := strings.Join(lines, "\n")
	for i := range 30 {
		if n := strings.Count(all, fmt.Sprintf("note-%02d", i)); n != 1 {
			t.Errorf("note %d is shown %d times", i, n)
		}
	}
	if strings.Contains(all, "interrupted") {
		t.Error("a finished stage is shown as interrupted")
	}
}
