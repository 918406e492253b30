// Package temp makes the temporary files and directories of a run such that a
// later run finds out which of them nobody uses any more, and removes those.
//
// Each lies where it is of use: beside the file that it becomes, or in the
// directory for temporary files. Its name has a mark that nothing else has, and
// its owner holds a lock on it (flock) as long as it lives. The lock ends with the
// owner, however that ends.
package temp

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"unicode/utf8"
)

// mark is in the name of everything that this package makes:
// .KIND.docker-flatten-XXXXXXXX, where KIND is a file's name or says what it is.
const mark = ".docker-flatten-"

var marked = regexp.MustCompile(`^\.(.+)\.docker-flatten-[0-9a-f]{8}$`)

// longestKind leaves room for the mark in a name of 255 bytes.
const longestKind = 200

// IsName tells whether a file or directory of that name is one of this package's,
// its owner alive or not.
func IsName(name string) bool { return marked.MatchString(name) }

func shortened(kind string) string {
	for len(kind) > longestKind {
		_, size := utf8.DecodeLastRuneInString(kind)
		kind = kind[:len(kind)-size]
	}
	return kind
}

// File is a temporary file, open for reading and writing.
type File struct{ *os.File }

// Beside makes a file in the directory of path, with the mode that a new file has
// there, which Publish can rename to path.
func Beside(path string) (*File, error) {
	return create(filepath.Dir(path), filepath.Base(path), 0o666)
}

// Create makes a private file in dir.
func Create(dir, kind string) (*File, error) { return create(dir, kind, 0o600) }

func create(dir, kind string, mode fs.FileMode) (*File, error) {
	for {
		f, err := os.OpenFile(newName(dir, kind), os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if own(f) {
			return &File{f}, nil
		}
		f.Close() // a sweep took it before it was locked
	}
}

func newName(dir, kind string) string {
	return filepath.Join(dir, fmt.Sprintf(".%s%s%08x", shortened(kind), mark, rand.Uint32()))
}

// own locks a new file or directory. It fails where a sweep was faster.
func own(f *os.File) bool {
	if tryLock(f) == errHeld {
		return false
	}
	return isAt(f, f.Name())
}

// isAt tells whether path still is the open file f.
func isAt(f *os.File, path string) bool {
	is, err := f.Stat()
	if err != nil {
		return false
	}
	at, err := os.Lstat(path)
	return err == nil && os.SameFile(is, at)
}

// Publish puts the file at path, in the place of what is there. Nothing is lost of
// it by a power cut once Publish has returned, as far as the system allows.
func (f *File) Publish(path string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.rename(path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// Place is Publish for a file that has been synced, and a directory that will be.
func (f *File) Place(path string) error { return f.rename(path) }

func (f *File) rename(path string) error {
	if !renamesOpen {
		f.Close() // else the system refuses
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	f.Close() // what was to be written has been synced
	return nil
}

// Discard removes the file.
func (f *File) Discard() error {
	defer f.Close() // its lock ends last, so that no sweep is faster
	if !renamesOpen {
		f.Close()
	}
	return os.Remove(f.Name())
}

// Dir is a temporary directory.
type Dir struct {
	Path string
	lock *os.File // nil where directories can't be locked
}

// MakeDir makes a directory in parent, with the mode that a new directory has
// there.
func MakeDir(parent, kind string) (*Dir, error) {
	for {
		path := newName(parent, kind)
		err := os.Mkdir(path, 0o777)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !locksDirs {
			return &Dir{Path: path}, nil
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a sweep took it before it was locked
		}
		if err != nil {
			return nil, errors.Join(err, os.Remove(path))
		}
		if own(f) {
			return &Dir{Path: path, lock: f}, nil
		}
		f.Close()
	}
}

// Publish renames the directory to path. If it fails once that is done, Path is
// where the directory is by then, and Discard removes it there.
func (d *Dir) Publish(path string) error {
	if err := SyncDir(d.Path); err != nil {
		return err
	}
	if err := os.Rename(d.Path, path); err != nil {
		return err
	}
	d.Path = path
	if err := SyncDir(filepath.Dir(path)); err != nil {
		return err
	}
	d.unlock()
	return nil
}

// Discard removes the directory and what is in it.
func (d *Dir) Discard() error {
	defer d.unlock()
	return os.RemoveAll(d.Path)
}

func (d *Dir) unlock() {
	if d.lock != nil {
		d.lock.Close()
	}
	d.lock = nil
}

// SweepBeside removes what runs that are no more left of Beside(path).
func SweepBeside(path string) { Sweep(filepath.Dir(path), filepath.Base(path)) }

// Sweep removes what runs that are no more left in dir of a kind. What can't be
// removed stays: the run doesn't depend on it.
func Sweep(dir, kind string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if m := marked.FindStringSubmatch(e.Name()); m == nil || m[1] != shortened(kind) {
			continue
		}
		if e.IsDir() && locksDirs || e.Type().IsRegular() {
			removeUnowned(filepath.Join(dir, e.Name()))
		}
	}
}

// removeUnowned removes a file or directory whose owner is gone.
func removeUnowned(path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if tryLock(f) != nil || !isAt(f, path) {
		return
	}
	if !renamesOpen {
		f.Close()
	}
	_ = os.RemoveAll(path)
}

// errHeld says that another one holds a lock.
var errHeld = errors.New("locked by another process")
