package temp_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"docker-flatten/rebuild/image/temp"
)

// TestPublishWhereNoDirectoryIsRead: a directory for others to drop things in is one.
func TestPublishWhereNoDirectoryIsRead(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o711))
	}
	must(t, os.Chmod(dir, 0o333))
	defer func() { must(t, os.Chmod(dir, 0o755)) }()
	if os.Geteuid() == 0 {
		// Root reads it anyway: another user does this, as far as files go.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		must(t, unix.Setfsuid(65534))
		defer func() { must(t, unix.Setfsuid(0)) }()
	}
	if _, err := os.ReadDir(dir); !os.IsPermission(err) {
		t.Fatalf("the directory can be read: %v", err)
	}
	f, err := temp.Beside(filepath.Join(dir, "out.tar"))
	must(t, err)
	must(t, f.Publish(filepath.Join(dir, "out.tar")))
	d, err := temp.MakeDir(dir, "context")
	must(t, err)
	must(t, d.Publish(filepath.Join(dir, "ctx")))
}
