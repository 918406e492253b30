//go:build linux

package hostile

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// program is the binary under test.
var program string

func TestMain(m *testing.M) {
	if os.Getenv(launched) != "" {
		launch()
	}
	flag.Parse()
	// .ci/run has run the rest by then, which no engine changes.
	if os.Getenv("DOCKER_FLATTEN_HOSTILE") == "engine" {
		if err := flag.Set("test.run", "^TestFaultRealEngine$"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	// Many tests wait for a time-out or a back-off. What uses the processor is
	// limited by working.
	if err := flag.Set("test.parallel", strconv.Itoa(parallelTests)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(runTests(m))
}

const parallelTests = 16

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "docker-flatten-hostile-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// In memory an fsync costs nothing. Without root the tests are slower.
	if unix.Mount("tmpfs", dir, "tmpfs", 0, "size=75%") == nil {
		defer func() { must(unix.Unmount(dir, unix.MNT_DETACH)) }()
		must(os.Setenv("TMPDIR", dir))
	}
	program = filepath.Join(dir, "docker-flatten")
	build := exec.Command("go", "build", "-o", program, "docker-flatten")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// TestTotals counts the tables.
func TestTotals(t *testing.T) {
	inputs, faults := 0, len(signalCases())+len(killCases())+len(diskCases())+len(streamCases())+len(pipeCases())+len(layoutFaults())
	seen := map[string]bool{}
	for group, cases := range hostileCases() {
		for _, c := range cases {
			name := group + "/" + c.name
			if seen[name] {
				t.Errorf("two cases have the name %s", name)
			}
			seen[name] = true
			if c.why == "" {
				t.Errorf("%s doesn't say why", name)
			}
			inputs++
		}
	}
	faults += len(pullFaults()) + len(pushFaults()) + len(engineFaults())
	t.Logf("%d hostile inputs, %d faults", inputs, faults)
	if inputs < 300 || faults < 200 {
		t.Errorf("%d hostile inputs and %d faults: at least 300 and 200 are promised", inputs, faults)
	}
}
