package oci_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/imagetest"
)

// storeAt stores an image in a layout under a name.
func storeAt(t *testing.T, im *image.Image, root, name string, opt image.Options) (*image.Stored, error) {
	p, err := place.Prepare(t.Context(), imagetest.Ref(t, "oci:"+root+":"+name), nil, opt)
	if err != nil {
		return nil, err
	}
	return p.Store(t.Context(), image.Wanted{Images: []image.NewImage{result(im)}})
}

// strays are the files of a layout that have no business there.
func strays(t *testing.T, root string) (found []string) {
	t.Helper()
	imagetest.Must(filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		switch rel, _ := filepath.Rel(root, path); {
		case rel == "blobs", rel == "oci-layout", rel == "index.json", rel == filepath.Join("blobs", "sha256"):
		case filepath.Dir(rel) == filepath.Join("blobs", "sha256") && len(e.Name()) == 64:
		default:
			found = append(found, rel)
		}
		return nil
	}))
	return found
}

// Runs that store into one new layout at once leave an image each, and those that
// give up take nothing from the others.
func TestManyRunsShareANewLayout(t *testing.T) {
	im := read(t)
	for range 3 {
		root := filepath.Join(t.TempDir(), "x")
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				stored, err := storeAt(t, im, root, fmt.Sprint("v", i), image.Options{})
				switch {
				case err != nil:
					t.Error(err)
				case i < 10:
					if err := stored.Name(t.Context()); err != nil {
						t.Error(err)
					}
				default:
					if err := stored.Discard(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if lines := listed(t, root); len(lines) != 10 {
			t.Errorf("it has %q", lines)
		}
		for i := range 10 {
			back := imagetest.Open(t, fmt.Sprintf("oci:%s:v%d", root, i), image.Options{})
			imagetest.SameLayers(t, imagetest.ReadAll(t, back.Images[0]), [][]byte{imagetest.Base, imagetest.Merged12})
		}
		if left := strays(t, root); left != nil {
			t.Errorf("left behind: %q", left)
		}
	}
}

// A run that was killed leaves a directory that isn't a layout yet, or a layout
// with files that nobody needs. The next one takes the first over and clears the
// second away.
func TestNextRunClearsAwayWhatAKilledOneLeft(t *testing.T) {
	im := read(t)
	whole := filepath.Join(t.TempDir(), "x")
	_, err := storeAt(t, im, whole, "v1", image.Options{})
	imagetest.Must(err)
	blobs, err := os.ReadDir(filepath.Join(whole, "blobs"))
	imagetest.Must(err)
	staged := blobs[0].Name()
	if strings.HasPrefix(staged, "sha256") {
		t.Fatalf("what is staged lies at %s", staged)
	}
	index, marker := ".index.json.docker-flatten-00000001", ".oci-layout.docker-flatten-00000001"
	for name, left := range map[string][]string{
		"while it wrote the first blob": {"blobs/" + staged + "/x"},
		"before any blob":               {"blobs/"},
		"before anything":               {""},
		"while it placed blobs":         {"blobs/" + staged + "/x", "blobs/sha256/" + strings.Repeat("a", 64), marker},
		"before it was named":           {"oci-layout", "blobs/sha256/" + strings.Repeat("a", 64), index},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "x")
			for _, file := range left {
				imagetest.Must(os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755))
				if file == "" || strings.HasSuffix(file, "/") {
					imagetest.Must(os.MkdirAll(filepath.Join(root, file), 0o755))
					continue
				}
				imagetest.Must(os.WriteFile(filepath.Join(root, file), []byte("half"), 0o644))
			}
			stored, err := storeAt(t, im, root, "v1", image.Options{})
			imagetest.Must(err)
			imagetest.Must(stored.Name(t.Context()))
			imagetest.SameLayers(t, imagetest.ReadAll(t, imagetest.Open(t, "oci:"+root+":v1", image.Options{}).Images[0]), [][]byte{imagetest.Base, imagetest.Merged12})
			if left := strays(t, root); left != nil {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// A directory that has anything else in it is none that a killed run left.
func TestOtherDirectoriesAreNotTakenOver(t *testing.T) {
	for _, file := range []string{"notes", "blobs/notes", "index.json", ".git/config", "sha256/x"} {
		root := t.TempDir()
		imagetest.Must(os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755))
		imagetest.Must(os.WriteFile(filepath.Join(root, file), []byte("mine"), 0o644))
		if _, err := place.Prepare(t.Context(), imagetest.Ref(t, "oci:"+root), nil, image.Options{}); !errors.Is(err, image.ErrNotLayout) {
			t.Errorf("with %s in it: %v", file, err)
		}
	}
}

// A blob is believed by its bytes, and mended where they are wrong.
func TestWrongBlobIsMended(t *testing.T) {
	im := read(t)
	for name, damage := range map[string]func(path string, b []byte) error{
		"a byte":     func(path string, b []byte) error { b[len(b)/2] ^= 1; return os.WriteFile(path, b, 0o644) },
		"its length": func(path string, b []byte) error { return os.WriteFile(path, b[1:], 0o644) },
		"all of it":  func(path string, b []byte) error { return os.WriteFile(path, nil, 0o644) },
		"no blob":    func(path string, b []byte) error { return os.Remove(path) },
	} {
		root := filepath.Join(t.TempDir(), "x")
		first, err := storeAt(t, im, root, "v1", image.Options{})
		imagetest.Must(err)
		imagetest.Must(first.Name(t.Context()))
		blobs, err := filepath.Glob(filepath.Join(root, "blobs", "sha256", "*"))
		imagetest.Must(err)
		for _, path := range blobs {
			was, err := os.ReadFile(path)
			imagetest.Must(err)
			imagetest.Must(damage(path, append([]byte(nil), was...)))
			again, err := storeAt(t, im, root, "v1", image.Options{})
			imagetest.Must(err)
			imagetest.Must(again.Name(t.Context()))
			if is, err := os.ReadFile(path); err != nil || string(is) != string(was) {
				t.Errorf("%s of %s: it isn't mended, %v", name, filepath.Base(path), err)
			}
		}
	}
}

// A run that fails while it names its image takes back what it did, and nothing
// else.
func TestFailedNamingLeavesTheLayoutAsItWas(t *testing.T) {
	im := read(t)
	root := imagetest.LayoutOf(imagetest.Three, false, "old").Dir(t)
	files := func() (all []string) {
		imagetest.Must(filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
			all = append(all, p)
			return err
		}))
		return all
	}
	before := strings.Join(files(), "\n")
	stored, err := storeAt(t, im, root, "v1", image.Options{})
	imagetest.Must(err)
	index, err := os.ReadFile(filepath.Join(root, "index.json"))
	imagetest.Must(err)
	for name, broken := range map[string]func() error{
		"index.json is a directory": func() error {
			return errors.Join(os.Remove(filepath.Join(root, "index.json")), os.Mkdir(filepath.Join(root, "index.json"), 0o755))
		},
		"index.json is no JSON": func() error { return os.WriteFile(filepath.Join(root, "index.json"), []byte("{"), 0o644) },
	} {
		imagetest.Must(broken())
		if err := stored.Name(t.Context()); err == nil || !strings.Contains(err.Error(), "index.json") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		imagetest.Must(os.RemoveAll(filepath.Join(root, "index.json")))
		imagetest.Must(os.WriteFile(filepath.Join(root, "index.json"), index, 0o644))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := stored.Name(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	imagetest.Must(stored.Discard())
	if after := strings.Join(files(), "\n"); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}

// What leads elsewhere stays a link: index.json is written where it leads to, and
// a layout isn't made in the place of a link to nothing.
func TestLinksInALayoutStay(t *testing.T) {
	im := read(t)
	root := imagetest.LayoutOf(imagetest.Three, false, "old").Dir(t)
	real := filepath.Join(t.TempDir(), "real.json")
	imagetest.Must(os.Rename(filepath.Join(root, "index.json"), real))
	imagetest.Must(os.Symlink(real, filepath.Join(root, "index.json")))
	stored, err := storeAt(t, im, root, "v1", image.Options{})
	imagetest.Must(err)
	imagetest.Must(stored.Name(t.Context()))
	if to, err := os.Readlink(filepath.Join(root, "index.json")); err != nil || to != real {
		t.Errorf("it leads to %q, %v", to, err)
	}
	if lines := listed(t, root); len(lines) != 2 {
		t.Errorf("it has %q", lines)
	}
	dangling := filepath.Join(t.TempDir(), "x")
	imagetest.Must(os.Symlink("nothing", dangling))
	if _, err := storeAt(t, im, dangling, "v1", image.Options{}); err == nil || !strings.Contains(err.Error(), "link to nothing") {
		t.Errorf("a link to nothing: %v", err)
	}
}
