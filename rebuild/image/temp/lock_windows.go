package temp

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

const (
	renamesOpen = false // an open file can be neither renamed nor removed
	locksDirs   = false
	nonblock    = 0
)

// tryLock locks f for its owner alone, without waiting. The error is errHeld if
// another one has it. The lock lies beyond the end of any file, since others can't
// read what is locked.
func tryLock(f *os.File) error {
	at := &windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errHeld
	}
	return err
}

// SyncDir does nothing: Windows keeps the names of renamed files by itself.
func SyncDir(string) error { return nil }
