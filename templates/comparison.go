package templates

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"docker-flatten/history"
)

// Comparison is what --compare finds: the data behind its text and its --json
// object. The JSON names are stable: fields are added, never renamed.
type Comparison struct {
	Image     string               `json:"image"` // the references in canonical form
	Other     string               `json:"other"`
	Same      bool                 `json:"same"`
	Count     int                  `json:"differences_total"`
	Platforms []PlatformComparison `json:"platforms"`
	Warnings  []string             `json:"warnings,omitempty"`
}

// PlatformComparison is the comparison of one platform's images.
type PlatformComparison struct {
	Platform    string       `json:"platform"`             // IMAGE's, where they were compared though they differ
	Only        Side         `json:"only,omitempty"`       // which of them has the platform, where one of them hasn't; that counts as one difference
	ImageID     string       `json:"image_id,omitempty"`   // digest of the config document
	OtherID     string       `json:"other_id,omitempty"`   //
	Paths       int          `json:"paths"`                // of IMAGE's root file system
	Count       int          `json:"differences_total"`    //
	Differences []Difference `json:"differences"`          // all, unless their text grows far beyond what the images' tars have
	Unlisted    int          `json:"unlisted_differences"` // those that aren't listed
}

// Side is one of the two that are compared.
type Side string

const (
	SideImage Side = "image"
	SideOther Side = "other"
)

// Difference is one thing in which two images differ. The values are texts for
// people; "" where there is none. In JSON a byte that isn't UTF-8 is \xNN.
type Difference struct {
	Path  string `json:"path"`            // of a file, with a slash in front; or a field of the config document, as in config.Env
	What  string `json:"what"`            // missing (in IMAGE), extra (in IMAGE), type, mode, owner, mtime, size, content, link target, link group, device, xattr NAME; value of a field
	Image string `json:"image,omitempty"` // what IMAGE has
	Other string `json:"other,omitempty"` // what OTHER has
}

// WriteComparisonJSON is WriteJSON for a comparison.
func WriteComparisonJSON(w io.Writer, c *Comparison) error {
	out := *c
	out.Platforms = make([]PlatformComparison, len(c.Platforms))
	for i, p := range c.Platforms {
		list := make([]Difference, len(p.Differences))
		for k, d := range p.Differences {
			// The encoder would make one character of all such bytes.
			list[k] = Difference{Path: bytesShown(d.Path), What: bytesShown(d.What), Image: bytesShown(d.Image), Other: bytesShown(d.Other)}
		}
		p.Differences = list
		out.Platforms[i] = p
	}
	return encodeJSON(w, &out)
}

// mostShown is how many differences the text lists.
const mostShown = 20

// WriteDifferences writes the first differences, a line each, and how many more
// there are.
func WriteDifferences(w io.Writer, c *Comparison) error {
	var b strings.Builder
	shown := 0
	for _, p := range c.Platforms {
		prefix := ""
		if len(c.Platforms) > 1 {
			prefix = OneLine(p.Platform) + ": "
		}
		if p.Only != "" && shown < mostShown {
			fmt.Fprintf(&b, "%sonly in %s\n", prefix, strings.ToUpper(string(p.Only)))
			shown++
		}
		for _, d := range p.Differences {
			if shown == mostShown {
				break
			}
			fmt.Fprintf(&b, "%s%s\n", prefix, d.line())
			shown++
		}
	}
	if more := c.Count - shown; more > 0 {
		fmt.Fprintf(&b, "… and %d more\n", more)
	}
	if b.Len() == 0 {
		return nil // a full disk is no failure then
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// longestPath is how much of a path is shown: a path that a container can open
// whole, and the name of a field that long.
const longestPath = 4096

// line says the difference in one line: "/etc/passwd: mode 0755, not 0644" of an
// IMAGE that has 0755 where OTHER has 0644.
func (d *Difference) line() string {
	path := brief(shown(d.Path), longestPath)
	image, other := apart(shown(d.Image), shown(d.Other))
	kind := func(v string) string {
		if v == "" {
			return ""
		}
		return " (" + brief(v, 80) + ")"
	}
	switch d.What {
	case "missing":
		return path + ": only in OTHER" + kind(shown(d.Other))
	case "extra":
		return path + ": only in IMAGE" + kind(shown(d.Image))
	case "value":
		return fmt.Sprintf("%s: %s, not %s", path, image, other)
	}
	return fmt.Sprintf("%s: %s %s, not %s", path, brief(shown(d.What), longestPath), image, other)
}

// shown makes text from an image fit for a terminal, as OneLine does, but so that
// two texts that differ look different: what doesn't print is escaped as in Go, and
// space at either end stands in quotes. One letter may be two characters, a letter
// and its accent, as some file systems write it: that is escaped, too.
func shown(s string) string {
	var b strings.Builder
	composed := norm.NFC.IsNormalString(s)
	for s := s; s != ""; {
		r, n := utf8.DecodeRuneInString(s)
		if unicode.IsPrint(r) && (r != utf8.RuneError || n > 1) && (composed || r < utf8.RuneSelf) {
			b.WriteString(s[:n])
		} else {
			quoted := strconv.QuoteToASCII(s[:n])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	if strings.HasPrefix(s, " ") || strings.HasSuffix(s, " ") {
		return `"` + b.String() + `"`
	}
	return b.String()
}

// bytesShown writes bytes that aren't UTF-8 as \xNN.
func bytesShown(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[0])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// apart shortens two values so that what differs is still to be seen.
func apart(a, b string) (string, string) {
	const most, before = 80, 20
	x, y := []rune(a), []rune(b)
	same := 0
	for same < min(len(x), len(y)) && x[same] == y[same] {
		same++
	}
	if max(len(x), len(y)) > most && same > before {
		a, b = "…"+string(x[same-before:]), "…"+string(y[same-before:])
	}
	return brief(a, most), brief(b, most)
}

// brief leaves out the middle of a long text.
func brief(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	tail := most / 3
	return string(runes[:most-tail-1]) + "…" + string(runes[len(runes)-tail:])
}

// Verdict says in one line what came of the comparison.
func (c *Comparison) Verdict() string {
	if c.Same {
		paths := 0
		for _, p := range c.Platforms {
			paths += p.Paths
		}
		of := ""
		if n := len(c.Platforms); n > 1 {
			of = fmt.Sprintf(" of %d platforms", n)
		}
		return fmt.Sprintf("%s and %s are the same: config and %s%s", OneLine(c.Image), OneLine(c.Other), history.Count(paths, "path"), of)
	}
	return fmt.Sprintf("%s differs from %s in %s", OneLine(c.Image), OneLine(c.Other), history.Count(c.Count, "place"))
}
