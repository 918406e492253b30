package rebuild

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"docker-flatten/rebuild/image"
)

// TestNextRunClearsAwayWhatAKilledOneLeft looks at each place where a run writes,
// also where the result is found and nothing is written.
func TestNextRunClearsAwayWhatAKilledOneLeft(t *testing.T) {
	for name, out := range map[string]image.Ref{
		"archive":     {Transport: image.Archive, Path: "out.tar"},
		"OCI archive": {Transport: image.LayoutArchive, Path: "out.tar"},
		"layout":      {Transport: image.Layout, Path: "out"},
	} {
		t.Run(name, func(t *testing.T) {
			tmp, dir := t.TempDir(), t.TempDir()
			t.Setenv("TMPDIR", tmp)
			out.Path = filepath.Join(dir, out.Path)
			page := filepath.Join(dir, "page.html")
			o := job(t, out, func(o *Options) { o.Reports = []string{page} })
			for i := range 2 {
				abandon(t, tmp, "spool", false)
				abandon(t, dir, "page.html", false)
				switch {
				case out.Transport != image.Layout:
					abandon(t, dir, "out.tar", false)
				case i == 0: // a layout that was just begun
					if err := os.MkdirAll(filepath.Join(out.Path, "blobs"), 0o755); err != nil {
						t.Fatal(err)
					}
					fallthrough
				default:
					abandon(t, filepath.Join(out.Path, "blobs"), "blobs", true)
					abandon(t, out.Path, "index.json", false)
				}
				if report := flatten(t, o); report.Reused != (i == 1) {
					t.Errorf("run %d: reused %v", i, report.Reused)
				}
				for _, root := range []string{dir, tmp} {
					err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
						if strings.Contains(path, "00c0ffee") && !(root == tmp && i == 1) { // without a spool nobody looks for others'
							t.Errorf("run %d leaves %s", i, path)
						}
						return err
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				_ = os.Remove(filepath.Join(tmp, ".spool.docker-flatten-00c0ffee"))
			}
		})
	}
}

// TestContextTakesOverWhatAKilledRunLeft: also in an empty directory, which would
// not be empty otherwise.
func TestContextTakesOverWhatAKilledRunLeft(t *testing.T) {
	for _, exists := range []bool{false, true} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "ctx")
		in := parent
		if exists {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			in = dir
		}
		abandon(t, in, "context", true)
		o := job(t, archiveRef(""), func(o *Options) { o.Output, o.Tags, o.Context = nil, nil, dir })
		flatten(t, o)
		for _, d := range []string{parent, dir} {
			entries, err := os.ReadDir(d)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), ".") {
					t.Errorf("%s stays in %s", e.Name(), d)
				}
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "Dockerfile")); err != nil {
			t.Error(err)
		}
	}
}
