package temp_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"docker-flatten/rebuild/image/temp"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestMain lets the tests start a process that makes things and is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TEMP_TEST_DIES_IN"); dir != "" {
		_, err := temp.Beside(filepath.Join(dir, "out.tar"))
		if err == nil {
			_, err = temp.MakeDir(dir, "context")
		}
		if err != nil {
			os.Exit(1)
		}
		p, _ := os.FindProcess(os.Getpid())
		_ = p.Kill()
		select {}
	}
	os.Exit(m.Run())
}

func TestSweepRemovesWhatAKilledProcessLeft(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("directories have no locks there")
	}
	dir := t.TempDir()
	alive, err := temp.Beside(filepath.Join(dir, "out.tar"))
	must(t, err)
	defer alive.Discard()
	aliveDir, err := temp.MakeDir(dir, "context")
	must(t, err)
	defer aliveDir.Discard()
	dying := exec.Command(os.Args[0])
	dying.Env = append(os.Environ(), "TEMP_TEST_DIES_IN="+dir)
	var exit *exec.ExitError
	if err := dying.Run(); !errors.As(err, &exit) || exit.ExitCode() > 0 {
		t.Fatalf("it wasn't killed: %v", err)
	}
	if left := names(t, dir); len(left) != 4 {
		t.Fatalf("there are %q", left)
	}
	temp.SweepBeside(filepath.Join(dir, "out.tar"))
	temp.Sweep(dir, "context")
	left := names(t, dir)
	if len(left) != 2 || !strings.Contains(strings.Join(left, " "), filepath.Base(alive.Name())) || !strings.Contains(strings.Join(left, " "), filepath.Base(aliveDir.Path)) {
		t.Errorf("there are %q, alive are %s and %s", left, alive.Name(), aliveDir.Path)
	}
}

// What only looks like a leftover isn't touched.
func TestSweepKeepsWhatIsNobodysLeftover(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"out.tar", ".out.tar", ".out.tar.12345678", ".out.tar.docker-flatten-", ".out.tar.docker-flatten-12345678.bak",
		".other.tar.docker-flatten-12345678", "out.tar.docker-flatten-12345678", ".docker-flatten-12345678",
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	must(t, os.Symlink("out.tar", filepath.Join(dir, ".out.tar.docker-flatten-87654321")))
	before := len(names(t, dir))
	temp.SweepBeside(filepath.Join(dir, "out.tar"))
	if after := names(t, dir); len(after) != before {
		t.Errorf("left are %q", after)
	}
	must(t, os.WriteFile(filepath.Join(dir, ".out.tar.docker-flatten-12345678"), nil, 0o600))
	temp.SweepBeside(filepath.Join(dir, "out.tar"))
	if after := names(t, dir); len(after) != before {
		t.Errorf("the leftover stays: %q", after)
	}
}

// Runs that sweep and make files and directories at once lose none.
func TestSweepTakesNothingThatIsBeingMade(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.tar")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				f, err := temp.Beside(path)
				if err != nil {
					t.Error(err)
					return
				}
				d, err := temp.MakeDir(dir, "out.tar")
				if err != nil {
					t.Error(err)
					return
				}
				temp.SweepBeside(path)
				for _, name := range []string{f.Name(), d.Path} {
					if _, err := os.Stat(name); err != nil {
						t.Errorf("it is gone: %v", err)
					}
				}
				if err := errors.Join(f.Discard(), d.Discard()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
}

func TestPublishTakesThePlaceAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("ü", 120)) // no room for a mark
	must(t, os.WriteFile(path, []byte("old"), 0o600))
	f, err := temp.Beside(path)
	must(t, err)
	_, err = f.Write([]byte("new"))
	must(t, err)
	if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
		t.Errorf("before: %q, %v", b, err)
	}
	must(t, f.Publish(path))
	if b, err := os.ReadFile(path); err != nil || string(b) != "new" || len(names(t, dir)) != 1 {
		t.Errorf("after: %q, %v, %q", b, err, names(t, dir))
	}
	d, err := temp.MakeDir(dir, "context")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(d.Path, "Dockerfile"), nil, 0o600))
	must(t, d.Publish(filepath.Join(dir, "ctx")))
	if _, err := os.Stat(filepath.Join(dir, "ctx", "Dockerfile")); err != nil || len(names(t, dir)) != 2 {
		t.Errorf("%v, %q", err, names(t, dir))
	}
}

func TestLockHasOneOwner(t *testing.T) {
	path := t.TempDir()
	if !temp.LocksDirs {
		path = filepath.Join(path, "x")
		must(t, os.WriteFile(path, nil, 0o600))
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			l, err := temp.Acquire(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if !mu.TryLock() {
				t.Error("two have it")
			} else {
				if other, err := temp.TryAcquire(path); other != nil || err != nil {
					t.Errorf("it is given away: %v", err)
				}
				mu.Unlock()
			}
			l.Release()
		})
	}
	wg.Wait()
	if _, err := temp.Acquire(t.Context(), filepath.Join(path, "none")); !errors.Is(err, fs.ErrNotExist) && temp.LocksDirs {
		t.Errorf("a lock on nothing: %v", err)
	}
}
