package progress

import (
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/vbauerster/mpb/v8/cwriter"
)

// defaultWidth is the width of a display that can't be asked for its own.
const defaultWidth = 80

// Width returns how many columns text for w should have: those of the terminal
// that w is, 80 where it doesn't tell, and 0 for anything else, where nothing
// needs to be shortened.
func Width(w io.Writer) int {
	if n, ok := terminalWidth(w); ok {
		return n
	}
	if IsTerminal(w) {
		return defaultWidth
	}
	return 0
}

// Colour reports whether text for w may have colours: w is a terminal that shows
// them, and the environment's NO_COLOR (https://no-color.org) isn't set.
func Colour(w io.Writer) bool { return lookOf(w).colour }

// IsTerminal reports whether w is a terminal; other devices are none.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && f != nil && cwriter.IsTerminal(int(f.Fd()))
}

// terminalWidth reports w's columns and whether w is a terminal that knows
// them: some pseudo-terminals say 0.
func terminalWidth(w io.Writer) (int, bool) {
	if !IsTerminal(w) {
		return 0, false
	}
	width, _, err := cwriter.GetSize(int(w.(*os.File).Fd()))
	if err != nil || width < 1 {
		return 0, false
	}
	return width, true
}

// height gives w's rows, and 24 where it doesn't tell.
func height(w io.Writer) int {
	if IsTerminal(w) {
		if _, rows, err := cwriter.GetSize(int(w.(*os.File).Fd())); err == nil && rows > 0 {
			return rows
		}
	}
	return 24
}

// canLive reports whether w is a terminal on which lines can be redrawn.
func canLive(w io.Writer) bool {
	_, ok := terminalWidth(w)
	return ok && os.Getenv("TERM") != "dumb"
}

// look is how a live display draws.
type look struct {
	colour  bool
	unicode bool
}

// lookOf reads the environment. Without a locale that says UTF-8 the bars are
// ASCII: a console that can't show a box drawing shows rubbish instead. Windows
// consoles and macOS terminals show them without being told; escape sequences
// for colour are not a given on Windows.
func lookOf(w io.Writer) look {
	_, terminal := terminalWidth(w)
	l := look{
		colour:  terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		unicode: true,
	}
	switch runtime.GOOS {
	case "windows":
		l.colour = l.colour && os.Getenv("WT_SESSION") != ""
	case "darwin":
	default:
		// POSIX: the first of these that is set decides.
		for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
			if v := os.Getenv(name); v != "" {
				l.unicode = isUTF8(v)
				return l
			}
		}
		l.unicode = false
	}
	return l
}

func isUTF8(locale string) bool {
	l := strings.ToLower(locale)
	return strings.Contains(l, "utf-8") || strings.Contains(l, "utf8")
}
