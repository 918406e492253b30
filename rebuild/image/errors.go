package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// What can be wrong with an image, a place to store one or the way there. They
// are found with errors.Is in what this package returns; the text to show is
// the returned error's own.
var (
	ErrNoImage      = errors.New("no such image")
	ErrNoEngine     = errors.New("no Docker Engine reachable")
	ErrPermission   = errors.New("permission denied")
	ErrNotArchive   = errors.New("not an image archive")
	ErrNotLayout    = errors.New("not an OCI layout")
	ErrTruncated    = errors.New("the data ends too early")
	ErrDigest       = errors.New("digest mismatch")
	ErrSeveral      = errors.New("several images")
	ErrUnauthorized = errors.New("access denied")
	ErrFormat       = errors.New("unsupported format")
	ErrDiffers      = errors.New("the stored image differs")
	ErrExists       = errors.New("something is there already")
)

// Error says what was attempted, on what, and why that failed, in one line. A
// Hint, where there is one, is a sentence that may help the user out.
type Error struct {
	Op     string // "open", "read", "load"
	Object string // the image, the file, the blob
	Err    error
	Hint   string
}

func (e *Error) Error() string {
	if e.Object == "" {
		return e.Op + ": " + e.Err.Error()
	}
	return e.Op + " " + e.Object + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// SpaceHint is a hint for an error of writing a temporary file, "" where the
// disk isn't full.
func SpaceHint(err error) string {
	if errors.Is(err, syscall.ENOSPC) {
		return "TMPDIR names the directory for temporary files; " + os.TempDir() + " is full"
	}
	return ""
}

// withDetail is a sentinel with a fuller text.
type withDetail struct {
	is   error
	text string
}

func (e *withDetail) Error() string        { return e.text }
func (e *withDetail) Is(target error) bool { return target == e.is }

// Detail returns an error that has a text of its own and is the sentinel is.
func Detail(is error, format string, args ...any) error {
	return &withDetail{is: is, text: fmt.Sprintf(format, args...)}
}

// NotSynced says that a result has its name at path, but that the system couldn't
// be made to keep that through a power cut.
func NotSynced(path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &Error{Op: "write", Object: path, Err: fmt.Errorf("the image is stored there, but its directory can't be synced: %w", err)}
}

// PathError says what the os package's error says of path, without naming it
// twice.
func PathError(op, path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	e := &Error{Op: op, Object: path, Err: err}
	writes := strings.HasPrefix(op, "write")
	if errors.Is(err, fs.ErrNotExist) {
		e.Err = Detail(fs.ErrNotExist, "no such file or directory")
		switch {
		case writes:
			e.Hint = "make the directory first, or name another place"
		}
	}
	if writes && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		e.Hint = "name a place that you may write to"
	}
	return e
}
