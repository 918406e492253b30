package progress

import (
	"fmt"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// Widths of a line's columns. The rate and the time left have fixed places so
// that they don't jump while figures change.
const (
	stageWidth = len(Verifying)
	sizeWidth  = len("2.81GB / 2.81GB")
	rateWidth  = len("1.23MB/s")
	leftWidth  = len("12m34s")
	barMin     = 10
	barMax     = 60
	whatMin    = 12
)

// line draws a stage in at most width columns:
//
//	reading   demo:latest  ━━━━━━━━━━━━╸──────  62%   1.7GB / 2.8GB   230MB/s   4.7s
//
// What doesn't fit is left out, the least telling first: the bar, then the
// time left, the rate, the total, and at last the name.
func line(m *meter, r reading, width int, l look) string {
	if width < 1 {
		return ""
	}
	if r.ended {
		return ended(m, r, width, l)
	}
	figures := fmt.Sprintf("%*s", sizeWidth, size(r.n))
	pct := "    "
	if n, ok := r.percent(); ok {
		pct = fmt.Sprintf("%3d%%", n)
		figures = fmt.Sprintf("%*s", sizeWidth, size(r.n)+" / "+size(r.total))
	}
	left := ""
	if r.left >= 0 {
		left = span(r.left)
	}
	tail := pct + " " + figures
	room := width - 2 - stageWidth - 1 - whatMin - 1 - len(tail)
	if room < 0 {
		short := pct + " " + size(r.n)
		room += len(tail) - len(short)
		tail = short
	} else if room >= rateWidth+1 {
		room -= rateWidth + 1
		tail += fmt.Sprintf(" %*s", rateWidth, rate(r.rate))
		if room >= leftWidth+1 {
			room -= leftWidth + 1
			tail += fmt.Sprintf(" %*s", leftWidth, left)
		}
	}
	what, bar := whatMin, 0
	if room >= barMin+1 {
		// What is left goes to the name and the bar, half each, until they have enough.
		name := columns.StringWidth(m.what)
		spare := room - 1 - barMin
		what += min(spare/2, max(0, name-whatMin))
		bar = min(barMax, barMin+spare-(what-whatMin))
	} else {
		what = max(0, what+room)
	}
	head := "  " + l.pad(m.stage, stageWidth) + " " + l.padTail(m.what, what) + " "
	if bar > 0 {
		head += drawBar(r, bar, l) + " "
	}
	text := head + tail
	if bar > 0 {
		return text // its parts add up to width at most, and colours must not be cut
	}
	return l.cut(text, width)
}

// ended draws what stays of a stage.
func ended(m *meter, r reading, width int, l look) string {
	sign, colour := "* ", "32"
	if l.unicode {
		sign = "✓ "
	}
	if r.err != nil {
		sign, colour = "! ", "31"
		if l.unicode {
			sign = "✗ "
		}
	}
	what := m.what
	if what != "" {
		what = columns.FillRight(what, min(m.room, width/2))
	}
	text := l.pad(m.stage, stageWidth) + " " + join("  ", what, finished(r))
	return l.paint(colour, l.cut(sign, width)) + l.cut(text, width-2)
}

// drawBar draws n columns: a proportion of the total or, without one, a mark
// that goes to and fro, from the time alone so that it stands still with the
// job's display, not with its bytes.
func drawBar(r reading, n int, l look) string {
	full, tip, rest := "=", ">", "-"
	if l.unicode {
		full, tip, rest = "━", "╸", "─"
	}
	if r.total <= 0 {
		mark := 4
		span := n - mark
		at := int(r.took/(100*time.Millisecond)) % (2 * span)
		if at > span {
			at = 2*span - at
		}
		return l.paint("2", strings.Repeat(rest, at)) + l.paint("36", strings.Repeat(full, mark)) + l.paint("2", strings.Repeat(rest, n-mark-at))
	}
	done := int(float64(n) * float64(min(max(r.n, 0), r.total)) / float64(r.total))
	if done >= n {
		return l.paint("36", strings.Repeat(full, n))
	}
	return l.paint("36", strings.Repeat(full, done)+tip) + l.paint("2", strings.Repeat(rest, n-done-1))
}

// paint wraps text in a colour (an SGR parameter) where colours are wanted.
func (l look) paint(sgr, text string) string {
	if !l.colour || text == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// columns measures text the way terminals show it; a locale's idea that box
// drawings are two columns wide is out of date.
var columns = runewidth.Condition{StrictEmojiNeutral: true}

func (l look) cut(s string, width int) string {
	more := "…"
	if !l.unicode {
		more = "..."
	}
	switch {
	case width < 1:
		return ""
	case width < len("..."):
		more = ""
	}
	return columns.Truncate(s, width, more)
}

func (l look) pad(s string, width int) string { return columns.FillRight(l.cut(s, width), width) }

// padTail is pad for a name, whose end tells more than its beginning: that is
// a transport, a registry or a directory.
func (l look) padTail(s string, width int) string {
	more := "…"
	if !l.unicode {
		more = "..."
	}
	over := columns.StringWidth(s) - width
	if over <= 0 || width <= len("...") {
		return l.pad(s, width)
	}
	return columns.FillRight(columns.TruncateLeft(s, over+columns.StringWidth(more), more), width)
}
