//go:build linux

package hostile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The limits of a run that names none. The time is the processor's; on a machine
// that others use, too, a run may take patience times as long.
const (
	defaultTime   = 10 * time.Second
	patience      = 4
	defaultMemory = 256 << 20
	// hardMemory is where the kernel refuses a run more memory, so that a bomb
	// can't take the machine down.
	hardMemory = 2 << 30
)

// working limits how many runs use the processor at the same time.
var working = make(chan struct{}, max(2, runtime.NumCPU()))

// place is the directory of one case: the input in in, room for the output in
// out, and a TMPDIR and a home of its own.
type place struct {
	t    testing.TB
	root string
}

func newPlace(t testing.TB) *place {
	t.Helper()
	p := &place{t, t.TempDir()}
	for _, dir := range []string{"in", "out", "tmp", "home"} {
		must(os.Mkdir(filepath.Join(p.root, dir), 0o755))
	}
	return p
}

func (p *place) path(name string) string { return filepath.Join(p.root, filepath.FromSlash(name)) }

// file writes a file of the input and returns its path.
func (p *place) file(name string, contents []byte) string {
	path := p.path("in/" + name)
	must(os.MkdirAll(filepath.Dir(path), 0o755))
	must(os.WriteFile(path, contents, 0o644))
	return path
}

// command is one run of the program.
type command struct {
	args    []string
	env     []string // added to a small environment
	stdin   *os.File
	stdout  *os.File      // instead of being caught
	closed  string        // shell redirections, such as ">&-"
	before  string        // what a shell does before the run, such as "ulimit -n 9"
	limit   time.Duration // of the processor's time; of the clock's where the run waits
	memory  int64
	waits   bool   // the run mostly waits: it takes no share of the processor
	gated   bool   // the image exceeds a gate: exit code 4
	file    uint64 // RLIMIT_FSIZE, 0 = none
	started func(process *os.Process)
	watch   *watcher // answers its system calls
}

// allowed is the time that the run may take.
func (c command) allowed() time.Duration {
	if c.limit == 0 {
		return defaultTime
	}
	return c.limit
}

// result is what came of it.
type result struct {
	code     int // -1 = ended by a signal
	signal   syscall.Signal
	stdout   string
	stderr   string
	peak     int64 // bytes of memory
	took     time.Duration
	cpu      time.Duration
	timedOut bool
}

// run starts the program and waits for it, or kills it at the limit.
func (p *place) run(c command) result {
	p.t.Helper()
	if !c.waits {
		working <- struct{}{}
		defer func() { <-working }()
	}
	c.limit = c.allowed()
	cmd := exec.Command(program, c.args...)
	if c.closed != "" || c.before != "" {
		cmd = exec.Command("/bin/sh", append([]string{"-c", c.before + "\n" + `exec "$0" "$@" ` + c.closed, program}, c.args...)...)
	}
	if c.watch != nil {
		cmd = exec.Command("/proc/self/exe", c.args...)
		cmd.ExtraFiles = []*os.File{c.watch.its}
		c.env = append(c.env, launched+"="+program)
	}
	cmd.Dir = p.root
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.path("home"), "DOCKER_CONFIG=" + p.path("home"), "TMPDIR=" + p.path("tmp"),
		"DOCKER_HOST=unix:///nowhere/docker.sock",
	}, c.env...)
	var stdout, stderr capture
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.stdout != nil {
		cmd.Stdout = c.stdout
	}
	if c.stdin != nil {
		cmd.Stdin = c.stdin
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	pid := cmd.Process.Pid
	p.prlimit(pid, unix.RLIMIT_DATA, hardMemory)
	p.prlimit(pid, unix.RLIMIT_CORE, 0)
	if c.file > 0 {
		p.prlimit(pid, unix.RLIMIT_FSIZE, c.file)
	}
	peak, ended := watchMemory(pid)
	var r result
	var mu sync.Mutex
	wall := c.limit
	if !c.waits {
		wall *= patience
	}
	timer := time.AfterFunc(wall, func() {
		mu.Lock()
		defer mu.Unlock()
		r.timedOut = true
		_ = syscall.Kill(-pid, syscall.SIGKILL) // it may have ended by itself just now
	})
	if c.watch != nil {
		c.watch.watch(pid)
		defer func() { <-c.watch.done }()
	}
	if c.started != nil {
		c.started(cmd.Process)
	}
	err := cmd.Wait()
	timer.Stop()
	close(ended)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	r.took, r.cpu = time.Since(begun), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
	r.peak = max(<-peak, ownPeak(cmd.ProcessState))
	r.stdout, r.stderr = stdout.String(), stderr.String()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	r.code = status.ExitStatus()
	if status.Signaled() {
		r.signal = status.Signal()
	}
	return r
}

func (p *place) prlimit(pid, resource int, value uint64) {
	l := unix.Rlimit{Cur: value, Max: value}
	if err := unix.Prlimit(pid, resource, &l, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		p.t.Fatal(err)
	}
}

// watchMemory looks at a process's peak of resident memory until ended is closed.
func watchMemory(pid int) (peak chan int64, ended chan struct{}) {
	peak, ended = make(chan int64, 1), make(chan struct{})
	go func() {
		most := int64(0)
		for {
			most = max(most, peakOf(strconv.Itoa(pid)))
			select {
			case <-ended:
				peak <- most
				return
			case <-time.After(40 * time.Millisecond):
			}
		}
	}()
	return peak, ended
}

// ownPeak is the peak that wait4 tells, or 0 where it may be this process's:
// the kernel counts the memory of the parent that a child shares before exec. It
// counts roughly, and not the same in both places.
func ownPeak(s *os.ProcessState) int64 {
	const rough = 64 << 20
	told := s.SysUsage().(*syscall.Rusage).Maxrss << 10
	if told <= peakOf("self")+rough {
		return 0
	}
	return told
}

func peakOf(pid string) int64 {
	b, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(b), "VmHWM:")
	if !ok {
		return 0 // it has ended
	}
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	must(err)
	return kb << 10
}

// capture keeps the beginning of what is written to it.
type capture struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if room := 16<<20 - c.b.Len(); room > 0 {
		c.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

// listing describes everything in the case's directory but under the names
// given: kind, mode, size, and the contents of small files.
func (p *place) listing(but ...string) map[string]string {
	list := map[string]string{}
	must(filepath.WalkDir(p.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(p.root, path)
		must(err)
		for _, b := range but {
			if name == b || strings.HasPrefix(name, b+"/") {
				return nil
			}
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		if info.Mode().IsRegular() {
			what += " " + strconv.FormatInt(info.Size(), 10)
			if info.Size() <= 1<<20 {
				b, err := os.ReadFile(path)
				must(err)
				what += " " + hex(b)
			}
		}
		list[name] = what
		return nil
	}))
	return list
}
