package templates

import (
	"fmt"
	"strconv"
	"strings"

	"docker-flatten/history"
)

// headline says what a job saves, and what a single layer would save more:
// "94.7MB of 309MB (31%) go; --base scratch would save 57.9MB more (and share
// nothing)". "" for an image without bytes.
func headline(im *ImageReport) string {
	s := im.Savings
	if s.Bytes <= 0 {
		return ""
	}
	text := fmt.Sprintf("nothing of %s goes", size(s.Bytes))
	if s.Goes > 0 {
		text = fmt.Sprintf("%s of %s (%s) go", size(s.Goes), size(s.Bytes), share(s.Goes, s.Bytes))
	}
	return text + scratchSaves(s, "; ")
}

// scratchSaves says what --base scratch would save, "" where that is nothing.
func scratchSaves(s Savings, before string) string {
	switch {
	case s.More <= 0 || s.BaseLayers == 0:
		return ""
	case s.Goes > 0:
		return fmt.Sprintf("%s--base scratch would save %s more (and share nothing)", before, size(s.More))
	}
	return fmt.Sprintf("%s--base scratch would save %s (%s, and share nothing)", before, size(s.More), share(s.More, s.Bytes))
}

// headlines is the headline of a report: of several platforms, one after another.
func headlines(r *Report) string {
	var all []string
	for i := range r.Images {
		im := &r.Images[i]
		text := headline(im)
		if im.Unchanged {
			text = "nothing to flatten" + scratchSaves(im.Savings, "; ")
		}
		if text != "" && len(r.Images) > 1 {
			text = OneLine(im.Platform) + ": " + text
		}
		if text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, ". ")
}

// total sums the savings of a report's images up.
func total(r *Report) Savings {
	var t Savings
	for _, im := range r.Images {
		s := im.Savings
		t.Bytes += s.Bytes
		t.Wasted += s.Wasted
		t.Goes += s.Goes
		t.Scratch += s.Scratch
		t.More += s.More
		t.BaseLayers += s.BaseLayers
	}
	if t.Bytes > 0 {
		t.WastedShare = float64(t.Wasted) / float64(t.Bytes)
		t.GoesShare = float64(t.Goes) / float64(t.Bytes)
	}
	return t
}

// share writes a part of a whole in percent; what is there isn't 0 %, and what
// is missing makes it less than 100 %.
func share(part, whole int64) string {
	if whole <= 0 {
		return ""
	}
	p := float64(part) / float64(whole) * 100
	switch {
	case part > 0 && p < 1:
		return "<1%"
	case part < whole && p > 99:
		return ">99%"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + "%"
}

// what says what happened to a cause's files, and by which layer: "deleted by 8".
func (c *Cause) what() string {
	by := "by " + strconv.Itoa(c.By+1)
	if c.By < 0 {
		by = "by several"
	}
	switch c.Why {
	case "owner":
		return "copied " + by + " for another owner"
	case "mode":
		return "copied " + by + " for another mode"
	case "xattrs":
		return "copied " + by + " for other xattrs"
	case "times":
		return "copied " + by + " for other times"
	case "again":
		return "brought again " + by
	case "moved":
		return "moved " + by
	case "deleted":
		return "deleted " + by
	}
	return "overwritten " + by
}

// where says which layers hold a cause's files.
func (c *Cause) where() string {
	text := "layer " + strconv.Itoa(c.Low+1)
	if c.High > c.Low {
		text = fmt.Sprintf("layers %d–%d", c.Low+1, c.High+1)
	}
	if c.InBase {
		text += " (base)"
	}
	return text
}

// files names a cause's files: the one, or the directory and how many.
func (c *Cause) files() (path, note string) {
	switch {
	case c.Files == 1:
		return rooted(c.Path), ""
	case c.Copies:
		return rooted(c.Path), fmt.Sprintf(" (%d copies)", c.Files)
	}
	return directory(c.Dir), " (" + history.Count(c.Files, "file") + ")"
}

// directory writes a directory's path: "/etc/", and "/" for the root.
func directory(path string) string {
	return strings.TrimSuffix(rooted(path), "/") + "/"
}
