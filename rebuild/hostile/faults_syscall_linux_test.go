//go:build amd64

package hostile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A run's system calls that write, sync, name or make a file stop in the kernel
// until the test has answered them (seccomp's user notification). The program
// knows nothing of it: the test's own binary installs the filter and becomes
// the program.

// calls are the system calls that are watched, and the argument that is the
// file's descriptor, or the directory's of the path behind it.
var calls = []struct {
	number uint32
	name   string
	file   int // argument with the descriptor; -1 = the path is in argument at
	at     int
	errno  syscall.Errno
}{
	{unix.SYS_WRITE, "write", 0, 0, unix.ENOSPC},
	{unix.SYS_PWRITE64, "write", 0, 0, unix.ENOSPC},
	{unix.SYS_COPY_FILE_RANGE, "write", 2, 0, unix.ENOSPC},
	{unix.SYS_SENDFILE, "write", 0, 0, unix.ENOSPC},
	{unix.SYS_FTRUNCATE, "truncate", 0, 0, unix.EIO},
	{unix.SYS_FSYNC, "sync", 0, 0, unix.EIO},
	{unix.SYS_FDATASYNC, "sync", 0, 0, unix.EIO},
	{unix.SYS_READ, "read", 0, 0, unix.EIO},
	{unix.SYS_PREAD64, "read", 0, 0, unix.EIO},
	{unix.SYS_OPENAT, "create", -1, 1, unix.ENOSPC},
	{unix.SYS_MKDIRAT, "mkdir", -1, 1, unix.ENOSPC},
	{unix.SYS_RENAMEAT, "rename", -1, 3, unix.EIO},
	{unix.SYS_RENAMEAT2, "rename", -1, 3, unix.EIO},
	{unix.SYS_LINKAT, "link", -1, 3, unix.EIO},
}

// launched is where this binary finds the program that it is to become.
const launched = "DOCKER_FLATTEN_TEST_LAUNCH"

// launch becomes the program, watched from file descriptor 3. It doesn't return.
func launch() {
	runtime.LockOSThread()
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, "launch:", err)
		os.Exit(99)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fail(err)
	}
	// Where the architecture's or the call's number isn't one of ours, the call goes on.
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 4},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: unix.AUDIT_ARCH_X86_64},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
	}
	for i, c := range calls {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(len(calls) - i), K: c.number})
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Go's runtime sends itself signals; they mustn't make one call two.
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		fail(errno)
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(fd)), nil, 0); err != nil {
		fail(err)
	}
	unix.CloseOnExec(3)
	program := os.Getenv(launched)
	os.Unsetenv(launched)
	fail(unix.Exec(program, append([]string{program}, os.Args[1:]...), os.Environ()))
}

// happened is one system call on a file below the case's directory.
type happened struct{ call, path, from string } // from is what a rename or a link names

// watcher answers a run's system calls.
type watcher struct {
	root  string
	only  func(happened) bool // which calls count; nil = all
	at    int                 // which of them gets the fault, from 1; 0 = none
	kill  bool                // SIGKILL instead of an error
	errno syscall.Errno       // the error; 0 = the one that calls has
	act   func()              // happens instead of an error
	ours  *os.File            // sockets to the launcher
	its   *os.File
	mu    sync.Mutex
	seen  []happened
	count int
	hit   happened
	done  chan struct{}
}

func newWatcher(p *place) *watcher {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	return &watcher{root: p.root, ours: os.NewFile(uintptr(pair[0]), "ours"), its: os.NewFile(uintptr(pair[1]), "its"), done: make(chan struct{})}
}

// watch answers until the process is gone.
func (w *watcher) watch(pid int) {
	w.its.Close()
	go func() {
		defer close(w.done)
		defer w.ours.Close()
		control := make([]byte, unix.CmsgSpace(4))
		n, cn, _, _, err := unix.Recvmsg(int(w.ours.Fd()), make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
		if err != nil || n == 0 {
			return
		}
		messages, err := unix.ParseSocketControlMessage(control[:cn])
		must(err)
		fds, err := unix.ParseUnixRights(&messages[0])
		must(err)
		defer unix.Close(fds[0])
		w.answer(fds[0], pid)
	}()
}

// notification and response are struct seccomp_notif and seccomp_notif_resp.
type notification struct {
	id         uint64
	pid, flags uint32
	number     int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type response struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

func (w *watcher) answer(fd, pid int) {
	for {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			if poll[0].Revents != 0 {
				return // nobody is left who could call
			}
			continue
		}
		var n notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
			continue // the process died meanwhile
		}
		r := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if errno := w.judge(n); errno != 0 {
			if w.kill {
				_ = unix.Kill(pid, unix.SIGKILL)
			} else {
				r.flags, r.errno = 0, -int32(errno)
			}
		}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
	}
}

// judge notes the call and returns the error that it gets, 0 for none.
func (w *watcher) judge(n notification) syscall.Errno {
	for _, c := range calls {
		if int32(c.number) != n.number {
			continue
		}
		h := happened{call: c.name}
		if c.file >= 0 {
			h.path, _ = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.pid, int32(n.args[c.file])))
		} else {
			if c.name == "create" && n.args[2]&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT) == 0 {
				return 0
			}
			h.path = pathOf(n, c.at)
			if c.name == "rename" || c.name == "link" {
				h.from = pathOf(n, 1)
			}
		}
		rel, err := filepath.Rel(w.root, h.path)
		if err != nil || strings.HasPrefix(rel, "..") {
			return 0
		}
		h.path = rel
		if from, err := filepath.Rel(w.root, h.from); err == nil {
			h.from = from
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen = append(w.seen, h)
		if w.only != nil && !w.only(h) {
			return 0
		}
		if w.count++; w.count == w.at {
			w.hit = h
			switch {
			case w.act != nil:
				w.act()
				return 0
			case w.errno != 0:
				return w.errno
			}
			return c.errno
		}
	}
	return 0
}

// pathOf is the path in the argument at of a call, with the descriptor of its
// directory in the argument before.
func pathOf(n notification, at int) string {
	b := make([]byte, 4096)
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", n.pid))
	if err != nil {
		return ""
	}
	defer memory.Close()
	read, _ := memory.ReadAt(b, int64(n.args[at]))
	name, _, _ := strings.Cut(string(b[:read]), "\x00")
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	dir := fmt.Sprintf("/proc/%d/cwd", n.pid)
	if fd := int32(n.args[at-1]); fd != unix.AT_FDCWD {
		dir = fmt.Sprintf("/proc/%d/fd/%d", n.pid, fd)
	}
	dir, err = os.Readlink(dir)
	if err != nil {
		return ""
	}
	return filepath.Join(dir, name)
}

// smallRun is a run to the destination of an image that is small.
func smallRun(p *place, d destination) command {
	input := p.file("image.tar.gz", gzipped(archive(plain()).tar()))
	if d.before != nil {
		d.before(p)
	}
	return command{args: append(append([]string{"-q", "--base", "1"}, d.args...), input)}
}

// writes are the calls that change files; where the reads fail is of less kinds.
func writes(h happened) bool { return h.call != "read" }
func reads(h happened) bool  { return h.call == "read" }

// syscallFault is one system call of a run that goes wrong.
type syscallFault struct {
	name string
	at   int // which of the calls that only lets through, from 1
	only func(happened) bool
	kill bool // the run is killed there, instead of being told of an error
	// errno is another error than the call's own in calls.
	errno syscall.Errno
}

// honestCalls is an honest run to a destination, and its system calls. ok is
// false where the kernel lets nobody watch them.
func honestCalls(t *testing.T, d destination) (all []happened, ok bool) {
	t.Helper()
	p := newPlace(t)
	c := smallRun(p, d)
	c.watch = newWatcher(p)
	r := p.run(c)
	if r.code == 99 {
		if os.Getenv("DOCKER_FLATTEN_PEERS") == "required" {
			t.Fatal(r.stderr)
		}
		t.Logf("the kernel lets nobody watch system calls here: %s", r.stderr)
		return nil, false
	}
	checkRun(t, r, c)
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, short(r.stderr))
	}
	return c.watch.seen, true
}

// syscallFaults are the faults of a run that makes these system calls: each that
// changes files fails in turn, and every eighth read, and at every sixth of the
// former the run is killed, and every fourth is interrupted by a signal, which a
// program has to get over.
func syscallFaults(t *testing.T, all []happened) []syscallFault {
	t.Helper()
	n := map[bool]int{}
	for _, h := range all {
		n[writes(h)]++
	}
	t.Logf("%d calls that change files, %d reads", n[true], n[false])
	if n[true] < 5 || n[false] < 3 {
		t.Fatalf("too few calls were seen: %v", all)
	}
	var faults []syscallFault
	for i := 1; i <= n[true]; i++ {
		faults = append(faults, syscallFault{name: fmt.Sprint("fails-", i), at: i, only: writes})
		if i%6 == 0 {
			faults = append(faults, syscallFault{name: fmt.Sprint("killed-", i), at: i, only: writes, kill: true})
		}
		if i%4 == 0 {
			faults = append(faults, syscallFault{name: fmt.Sprint("interrupted-", i), at: i, only: writes, errno: syscall.EINTR})
		}
	}
	for i := 1; i <= n[false]; i += 8 {
		faults = append(faults, syscallFault{name: fmt.Sprint("read-fails-", i), at: i, only: reads})
	}
	return faults
}

// countSyscallFaults tells how many faults of system calls a destination has.
func countSyscallFaults(t *testing.T, d destination) (n int, ok bool) {
	t.Helper()
	all, ok := honestCalls(t, d)
	if !ok {
		return 0, false
	}
	return len(syscallFaults(t, all)), true
}

func TestFaultSyscall(t *testing.T) {
	for _, d := range destinations() {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			all, ok := honestCalls(t, d)
			if !ok {
				t.Skip("system calls can't be watched")
			}
			checkSynced(t, all)
			for _, f := range syscallFaults(t, all) {
				t.Run(f.name, func(t *testing.T) { t.Parallel(); faultAt(t, d, f) })
			}
		})
	}
}

func faultAt(t *testing.T, d destination, f syscallFault) {
	p := newPlace(t)
	c := smallRun(p, d)
	before := p.listing()
	w := newWatcher(p)
	w.at, w.only, w.kill, w.errno = f.at, f.only, f.kill, f.errno
	c.watch = w
	r := p.run(c)
	c.watch = nil
	what := fmt.Sprintf("%s %s", w.hit.call, w.hit.path)
	if !f.kill {
		checkRun(t, r, c)
		switch {
		case r.code > 1, r.code == 1 && f.errno == syscall.EINTR:
			t.Errorf("%s: exit code %d: %s", what, r.code, short(r.stderr))
		case r.code == 1 && strings.Contains(r.stderr, "the image is stored"):
			// What follows the image's name has failed.
		case r.code == 1:
			checkUnchanged(t, before, p.listing())
		default:
			d.after(t, p, plain())
		}
	}
	again := p.run(c)
	checkRun(t, again, c)
	if again.code != 0 {
		t.Errorf("the run after it: exit code %d: %s", again.code, short(again.stderr))
	} else {
		d.after(t, p, plain())
		checkNoLeftovers(t, p.root)
	}
	if t.Failed() {
		t.Logf("%s; it said %q", what, short(r.stderr))
	}
}

// checkSynced holds the order of a run's calls against a power cut: what gets a
// name has been synced since it was last written to, and its directory is
// synced afterwards.
func checkSynced(t *testing.T, all []happened) {
	t.Helper()
	named := 0
	for i, h := range all {
		if h.call != "rename" && h.call != "link" || !strings.HasPrefix(h.path, "out") {
			continue
		}
		named++
		written, synced, dir := -1, -1, false
		for j, before := range all[:i] {
			if before.path == h.from && before.call == "write" {
				written = j
			} else if before.path == h.from && before.call == "sync" {
				synced = j
			}
		}
		for _, after := range all[i:] {
			dir = dir || after.call == "sync" && after.path == filepath.Dir(h.path)
		}
		if written > synced {
			t.Errorf("%s gets the name %s before it is synced", h.from, h.path)
		}
		if !dir {
			t.Errorf("the directory of %s isn't synced afterwards", h.path)
		}
	}
	if named == 0 {
		t.Errorf("nothing gets a name: %v", all)
	}
}
