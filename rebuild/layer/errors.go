package layer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Causes that callers may look for with errors.Is.
var (
	// ErrTruncated: the layer's tar ends within an entry.
	ErrTruncated = errors.New("unexpected end of the tar")
	// ErrWhiteout: a whiteout of nothing (".wh."), of its own directory (".wh..")
	// or of the parent (".wh..."), which engines refuse.
	ErrWhiteout = errors.New("invalid whiteout")
	// ErrLink: a hard link whose target no layer holds at that point.
	ErrLink = errors.New("hard link target not found")
	// ErrNotDirectory: an entry below something that its own layer made a file.
	ErrNotDirectory = errors.New("parent is not a directory")
	// ErrType: an entry of a type that no layer may hold.
	ErrType = errors.New("unknown entry type")
	// ErrTwice: a layer lists a path as a directory after it has listed it as
	// something else, and lower layers have a directory there. Engines refuse every name that is listed twice; two spellings
	// of a name they take.
	ErrTwice = errors.New("listed as a directory and as something else")
	// ErrLoop: an entry's path leads through more symbolic links than the 40 that
	// Linux follows.
	ErrLoop = errors.New("too many levels of symbolic links")
	// ErrOverlay: an entry has an extended attribute with which overlayfs shows
	// something else in its place (trusted.overlay.redirect, metacopy, whiteout), or
	// unites with such a directory of the base. What shows depends on the kernel and
	// its settings.
	ErrOverlay = errors.New("an attribute of overlayfs has something else shown here")
	// ErrACL: a directory that its layer doesn't list, in one to which the layer gives
	// a default ACL, whose permissions it takes.
	ErrACL = errors.New("an unlisted directory takes a default ACL")
	// ErrSource: the bytes of a layer are needed again and can't be had.
	ErrSource = errors.New("layer cannot be read again")
	// ErrChanged: a source no longer has the bytes that were indexed.
	ErrChanged = errors.New("layer changed since it was read")
	// ErrLimit: something beyond a stated limit; the error says which.
	ErrLimit = errors.New("limit exceeded")
)

// Error is a failure in one layer, at one path where there is one.
type Error struct {
	Op    string // "read", "merge" or "copy"
	Layer int    // index in the image, lowest first; the text counts from 1
	Path  string // cleaned, without a leading slash; "" when no entry is concerned
	Err   error
}

func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%s layer %d: %v", e.Op, e.Layer+1, e.Err)
	}
	return fmt.Sprintf("%s layer %d: %s: %v", e.Op, e.Layer+1, brief(e.Path), e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Display gives a path as one printable line: as it is if it is plain text,
// quoted in Go's manner otherwise.
func Display(path string) string {
	if q := strconv.Quote(path); q[1:len(q)-1] != path || strings.HasPrefix(path, " ") || strings.HasSuffix(path, " ") {
		return q
	}
	return path
}

// brief is Display for a message, which a long path would make unreadable.
func brief(path string) string {
	const head, tail = 120, 60
	if len(path) <= head+tail {
		return Display(path)
	}
	return Display(path[:head] + "…" + path[len(path)-tail:])
}

// Difference is one disagreement that a Verifier found.
type Difference struct {
	Path string // with a leading slash
	What string // "missing", "extra", "mode", "owner", "mtime", "content", …
	Want string
	Have string
}

func (d Difference) String() string {
	switch {
	case d.Want == "" && d.Have == "":
		return brief(d.Path) + ": " + d.What
	default:
		return fmt.Sprintf("%s: %s is %s, not %s", brief(d.Path), d.What, d.Have, d.Want)
	}
}

// DifferenceError says that a produced layer over the base is not the image.
type DifferenceError struct {
	Count int          // all differences
	First []Difference // the first few, in the order of the tree
}

func (e *DifferenceError) Error() string {
	var b strings.Builder
	if e.Count == 1 {
		b.WriteString("the result differs from the source in 1 place")
	} else {
		fmt.Fprintf(&b, "the result differs from the source in %d places", e.Count)
	}
	for i, d := range e.First {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(d.String())
	}
	if e.Count > len(e.First) {
		b.WriteString("; …")
	}
	return b.String()
}
