package room

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// measure finds out what is free in a directory's volume, within this user's
// quota. Any volume may compress.
func measure(dir string) (space, bool) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return space{}, false
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, &all); err != nil {
		return space{}, false
	}
	return space{id: filepath.VolumeName(dir), free: int64(free), compresses: true}, true
}
