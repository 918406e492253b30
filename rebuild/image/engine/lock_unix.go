//go:build unix

package engine

import (
	"os"

	"golang.org/x/sys/unix"
)

// locks tells whether files can be locked here.
const locks = true

// tryLock locks f until it is closed, unless another one has it.
func tryLock(f *os.File) bool {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			return err == nil
		}
	}
}
