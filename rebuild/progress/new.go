package progress

import (
	"fmt"
	"io"
)

// Ways lists the values of New's how, as the --progress option names them.
var Ways = []string{"auto", "tty", "plain", "none"}

// New returns the display that how names, writing to w, which should be
// standard error: standard output belongs to the product.
//
//   - tty: live bars, whatever w is; 80 columns where w doesn't tell its width
//   - plain: a line when a stage starts, about every ten seconds, and when it ends
//   - none: nothing at all, notes included
//   - auto: tty where w is a terminal that can move its cursor, otherwise plain
//
// The environment's NO_COLOR (https://no-color.org) and TERM=dumb are
// honoured. Any other how is an error.
func New(how string, w io.Writer) (Display, error) {
	switch how {
	case "none":
		return Silent, nil
	case "plain":
		return newPlain(w, plainEvery), nil
	case "tty":
		return newLive(w, lookOf(w)), nil
	case "auto", "":
		if canLive(w) {
			return newLive(w, lookOf(w)), nil
		}
		return newPlain(w, plainEvery), nil
	}
	return nil, fmt.Errorf("progress: unknown display %q: want auto, tty, plain or none", how)
}

// Silent is the display that shows nothing.
var Silent Display = silent{}

type silent struct{}

func (silent) Start(string, string, int64) Bar { return silent{} }
func (silent) Note(string)                     {}
func (silent) Close()                          {}
func (silent) Add(int64)                       {}
func (silent) Done(error)                      {}
