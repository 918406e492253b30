//go:build linux

package hostile

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
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
	// Many tests wait for a time-out or a back-off: those of registries and engines
	// run together, once all others are through. What uses the processor is limited
	// by working.
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

// TestTotals counts the tables, and holds what README.md promises against them.
func TestTotals(t *testing.T) {
	inputs, faults := 0, len(signalCases())+len(killCases())+len(pauseCases())+len(diskCases())+len(streamCases())+len(pipeCases())+len(layoutFaults())
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
	faults += len(answerFaults()) + len(changeFaults())
	faults += len(pullFaults()) + len(pushFaults()) + len(engineFaults())
	// How many system calls can fail, the runs themselves tell.
	calls, watched := 0, true
	for _, d := range destinations() {
		n, ok := countSyscallFaults(t, d)
		calls, watched = calls+n, watched && ok
	}
	t.Logf("%d hostile inputs, %d faults and %d of system calls", inputs, faults, calls)
	promise := regexp.MustCompile(`Over ([0-9,]+) hostile inputs and ([0-9,]+) faults`)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := promise.FindSubmatch(bytes.Join(bytes.Fields(readme), []byte(" ")))
	if found == nil {
		t.Fatalf("README.md promises no %s", promise)
	}
	check := func(what string, have int, promised []byte) {
		n, err := strconv.Atoi(strings.ReplaceAll(string(promised), ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		// The promise is a round number that is kept, and the nearest hundred.
		if have <= n || have > n+100 {
			t.Errorf("README.md promises over %d %s; there are %d", n, what, have)
		}
	}
	check("hostile inputs", inputs, found[1])
	if watched {
		check("faults", faults+calls, found[2])
	}
}
