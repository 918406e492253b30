package temp

import (
	"context"
	"os"
	"time"
)

// Lock is a lock on a file or directory that others share.
type Lock struct{ f *os.File }

// LocksDirs tells whether Acquire can lock a directory here.
const LocksDirs = locksDirs

// Acquire locks the file or directory at path for its caller alone; it waits for
// others until ctx ends. Where the file system has no locks there is none.
func Acquire(ctx context.Context, path string) (*Lock, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		l, err := TryAcquire(path)
		if l != nil || err != nil {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// TryAcquire is Acquire that returns nil, nil where another one has the lock.
func TryAcquire(path string) (*Lock, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if tryLock(f) == errHeld || !isFollowed(f, path) {
		return nil, f.Close()
	}
	return &Lock{f}, nil
}

// isFollowed tells whether path, through links, still leads to the open file f.
func isFollowed(f *os.File, path string) bool {
	is, err := f.Stat()
	if err != nil {
		return false
	}
	at, err := os.Stat(path)
	return err == nil && os.SameFile(is, at)
}

// Release gives the lock back.
func (l *Lock) Release() { l.f.Close() }
