package history

import (
	"fmt"
	"time"
)

// A builder's cache keeps the dates of the steps that it saves, so the entries
// of one build may be weeks apart. A season is longer than that; no step's date
// lies before that of the step below it, unless the two are of different builds.
const season = 60 * 24 * time.Hour

// parted says why entry i belongs to another build than the entry below it, as
// far as their dates tell; "" where they don't. Fixed dates, such as the epoch,
// tell nothing.
func parted(img *Image, ins []Instruction, i int) string {
	a, b := dated(img.History[i-1].Created), dated(img.History[i].Created)
	if a == nil || b == nil {
		return ""
	}
	gap := b.Sub(*a)
	switch {
	case gap >= season, gap > pause && endsRun(ins[i-1]):
		return fmt.Sprintf("%s lie between %s and %s", Count(int(gap/(24*time.Hour)), "day"), brief(ins[i-1]), brief(ins[i]))
	case gap < -pause:
		return fmt.Sprintf("%s is older than %s below it", brief(ins[i]), brief(ins[i-1]))
	}
	return ""
}

// endsRun tells whether an instruction says what a container runs. Dockerfiles
// end so, and a pause behind it is one between two builds.
func endsRun(in Instruction) bool { return in.Name == "ENTRYPOINT" || in.Name == "CMD" }

// dated is a date that tells when a step was made; nil for one that a builder
// set to a fixed value.
func dated(t *time.Time) *time.Time {
	if t == nil || t.Year() <= 1980 { // zero, Unix's and DOS's epochs
		return nil
	}
	return t
}
