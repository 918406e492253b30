//go:build !amd64

package hostile

import (
	"os"
	"testing"
)

// System calls are watched on amd64 alone: their numbers differ elsewhere.

const launched = "DOCKER_FLATTEN_TEST_LAUNCH"

func launch() {}

type watcher struct {
	its  *os.File
	done chan struct{}
}

func (w *watcher) watch(int) {}

func countSyscallFaults(*testing.T, destination) (n int, ok bool) { return 0, false }

func changeFaults() []struct{} { return nil }
