package room

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// measure finds out what is free in a directory's file system. APFS may compress,
// and shares its space with others.
func measure(dir string) (space, bool) {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Statfs(dir, &fs) != nil || unix.Stat(dir, &st) != nil || fs.Blocks == 0 {
		return space{}, false
	}
	return space{id: fmt.Sprint(st.Dev), free: int64(fs.Bavail) * int64(fs.Bsize), compresses: true}, true
}
