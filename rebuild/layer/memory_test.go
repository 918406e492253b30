package layer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// generated is a Source of manyEntries.
type generated struct {
	n      int
	prefix string
}

func (g generated) Open() (io.ReadCloser, error) { return &manyEntries{n: g.n, prefix: g.prefix}, nil }

// TestMemory has a process of its own index, merge, write and verify a million
// entries, and looks at the most memory that it ever had.
func TestMemory(t *testing.T) {
	const limit = 350 << 10 // KiB
	if os.Getenv("DOCKER_FLATTEN_MEMORY_CHILD") != "" {
		millionEntries(t)
		return
	}
	if testing.Short() {
		t.Skip("a million entries take a few seconds")
	}
	measured(t, limit, "DOCKER_FLATTEN_MEMORY_CHILD=1")
}

// measured runs the test again, in a process of its own with one more variable in
// its environment, and fails if that takes more than limit KiB of memory at once.
func measured(t *testing.T, limit int, variable string) {
	t.Helper()
	if raceDetector {
		t.Skip("the race detector takes several times the memory; a run without it measures")
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("no /proc to read the peak from")
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+name+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), variable)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var peak int
	for line := range strings.Lines(string(out)) {
		if _, rest, ok := strings.Cut(line, "VmHWM:"); ok {
			fmt.Sscan(rest, &peak)
			t.Log(strings.TrimSpace(line))
		}
	}
	if peak == 0 || peak > limit {
		t.Errorf("peak of %d KiB, want at most %d", peak, limit)
	}
}

func millionEntries(t *testing.T) {
	sources := []Source{generated{250_000, "a"}, generated{500_000, "b"}, generated{250_000, "a"}}
	var idx []*Index
	for i, s := range sources {
		r, _ := s.Open()
		x, err := Read(t.Context(), r, ReadOptions{Layer: i})
		if err != nil {
			t.Fatal(err)
		}
		idx = append(idx, x)
	}
	t.Logf("read:   %s", highWater())
	m, err := Merge(t.Context(), idx[:1], idx[1:])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("merge:  %s", highWater())
	v, err := NewVerifier(t.Context(), idx, 1, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	done := make(chan error)
	go func() { done <- v.Check(t.Context(), r) }()
	err = m.Write(context.Background(), w, sources)
	w.CloseWithError(err)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Logf("verify: %s", highWater())
}

func highWater() string {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "VmHWM:") {
			return s.Text()
		}
	}
	return ""
}
