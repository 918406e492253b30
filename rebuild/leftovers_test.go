package rebuild

import (
	"os"
	"path/filepath"
	"testing"

	"docker-flatten/rebuild/image/temp"
)

// abandon makes a temporary file, or a directory with a file in it, as a run that
// is killed leaves it: nobody holds its lock.
func abandon(t *testing.T, dir, kind string, isDir bool) {
	t.Helper()
	path := filepath.Join(dir, "."+kind+".docker-flatten-00c0ffee")
	if !temp.IsName(filepath.Base(path)) {
		t.Fatalf("%s is no name of a temporary file", path)
	}
	if isDir {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(path, "half")
	}
	writeFile(t, path, []byte("half of it"))
}
