package room

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// compressing are the magic numbers of file systems that may compress (statfs(2)).
var compressing = map[int64]bool{
	0x9123683e: true, // btrfs
	0x2fc12fc1: true, // zfs
	0xca451a4e: true, // bcachefs
	0xf2f52010: true, // f2fs
}

// measure finds out what is free in a directory's file system.
func measure(dir string) (space, bool) {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Statfs(dir, &fs) != nil || unix.Stat(dir, &st) != nil || fs.Blocks == 0 {
		return space{}, false // no blocks: one without a limit, or that doesn't tell
	}
	free := fs.Bavail
	if os.Geteuid() == 0 {
		free = fs.Bfree // root gets what is held back for it
	}
	unit := int64(fs.Frsize)
	if unit == 0 {
		unit = int64(fs.Bsize)
	}
	return space{id: fmt.Sprint(st.Dev), free: int64(free) * unit, compresses: compressing[int64(uint32(fs.Type))]}, true
}
