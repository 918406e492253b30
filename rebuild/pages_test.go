package rebuild

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A page's name that leads to no file says what it leads to instead.
func TestPagesAreFiles(t *testing.T) {
	dir := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	links := map[string]string{"nothing.html": filepath.Join(dir, "nowhere"), "directory.html": dir}
	if runtime.GOOS == "linux" {
		links["pipe.html"] = fmt.Sprintf("/proc/self/fd/%d", w.Fd())
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Skip(err)
		}
		want := "not a regular file"
		if name == "nothing.html" {
			want = "a symbolic link to nothing"
		}
		_, err := Flatten(t.Context(), Options{Image: job(t, archiveRef("")).Image, DryRun: true, Reports: []string{filepath.Join(dir, name)}, Client: noEngine})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
