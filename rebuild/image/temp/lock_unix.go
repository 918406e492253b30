//go:build unix

package temp

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	renamesOpen = true // an open file can be renamed and removed
	locksDirs   = true
	nonblock    = syscall.O_NONBLOCK | syscall.O_NOFOLLOW
)

// tryLock locks f for its owner alone, without waiting. The error is errHeld if
// another one has it, else that the file system has no such locks.
func tryLock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return errHeld
		}
		return err
	}
}

// SyncDir makes the names in a directory survive a power cut. File systems that
// can't do it are no failure, nor is a directory that we may write to, but not read
// and so not open.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, unix.EACCES) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EBADF) {
		return err
	}
	return nil
}
