package imagetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"golang.org/x/sys/unix"
)

// Tree mounts an image of an engine on this machine as the engine itself would,
// with the kernel's overlay, and describes every path of it in one line: mode,
// owner, mtime, contents or target or device, xattrs, and of which other path it
// is a hard link. A time at or after since, of a directory, is only "now": the
// engine made it. So is a root's that has a fraction of a second, which no layer
// said. The engine must use overlay2 or containerd's overlayfs, and the test must be
// root.
func Tree(t testing.TB, cli *client.Client, image string, since time.Time) map[string]string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: cannot mount the engine's layers")
	}
	dirs := directories(t, cli, image)
	// t.TempDir has the test's name in its path, and a comma in that would end
	// the option.
	temp, err := os.MkdirTemp("", "docker-flatten-overlay-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(temp)
	mnt, empty := filepath.Join(temp, "mnt"), filepath.Join(temp, "empty")
	for _, d := range []string{mnt, empty} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dirs = append(dirs, empty) // an overlay without an upper directory wants two
	if err := syscall.Mount("overlay", mnt, "overlay", syscall.MS_RDONLY, "lowerdir="+strings.Join(dirs, ":")); err != nil {
		t.Fatalf("mount %s: %v", image, err)
	}
	defer syscall.Unmount(mnt, syscall.MNT_DETACH)
	tree := map[string]string{}
	inodes := map[uint64]string{}
	err = filepath.WalkDir(mnt, func(p string, _ fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // a whiteout that hides nothing: readdir has it
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err == unix.ENOENT {
			return nil
		} else if err != nil {
			return err
		}
		rel := strings.TrimPrefix(p, mnt)
		if rel == "" && st.Mtim.Nsec != 0 {
			st.Mtim.Sec = since.Unix() + 1
		}
		line, err := describe(p, &st, since)
		if err != nil {
			return err
		}
		// An overlay passes the lower file's inode number through, and its link
		// count, which includes names that are hidden.
		if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
			if first, ok := inodes[st.Ino]; ok {
				line += " = " + first
			} else {
				inodes[st.Ino] = rel
			}
		}
		tree[rel] = line
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// directories are where an engine on this machine has an image's layers, the
// uppermost first.
func directories(t testing.TB, cli *client.Client, image string) []string {
	t.Helper()
	inspect, err := cli.ImageInspect(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	switch inspect.GraphDriver.Name {
	case "overlay2":
		data := inspect.GraphDriver.Data
		dirs := []string{data["UpperDir"]}
		if low := data["LowerDir"]; low != "" {
			dirs = append(dirs, strings.Split(low, ":")...)
		}
		return dirs
	case "overlayfs":
		return snapshot(t, cli, inspect.RootFS.Layers)
	}
	t.Skipf("the engine's store is %s: only overlay2 and overlayfs can be mounted from outside", inspect.GraphDriver.Name)
	return nil
}

// snapshot asks the engine's containerd, which alone knows which directory is
// which layer's. Its ctr is part of it.
func snapshot(t testing.TB, cli *client.Client, diffIDs []string) []string {
	t.Helper()
	ctr, err := exec.LookPath("ctr")
	if err != nil {
		t.Skip("the engine has containerd's image store, and there is no ctr to ask it for the layers' directories")
	}
	info, err := cli.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Containerd == nil {
		t.Skip("the engine has containerd's image store, and doesn't say where its containerd is")
	}
	var chain []digest.Digest
	for _, id := range diffIDs {
		chain = append(chain, digest.Digest(id))
	}
	view := fmt.Sprintf("docker-flatten-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	cmd := exec.Command(ctr, "--address", info.Containerd.Address, "--namespace", info.Containerd.Namespaces.Containers,
		"snapshots", "--snapshotter", "overlayfs", "view", "--mounts", view, identity.ChainID(chain).String())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	// Nothing refers to the view: containerd collects it when it removes an image.
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", cmd, err, stderr.Bytes())
	}
	var mounts []struct {
		Type, Source string
		Options      []string
	}
	if err := json.Unmarshal(out, &mounts); err != nil || len(mounts) != 1 {
		t.Fatalf("%s is not one mount: %v", out, err)
	}
	if mounts[0].Type == "bind" { // a single layer
		return []string{mounts[0].Source}
	}
	for _, o := range mounts[0].Options {
		if low, ok := strings.CutPrefix(o, "lowerdir="); ok {
			return strings.Split(low, ":")
		}
	}
	t.Fatalf("%s names no layers", out)
	return nil
}

func describe(p string, st *unix.Stat_t, since time.Time) (string, error) {
	line := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
	mtime := time.Unix(st.Mtim.Unix())
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFDIR || mtime.Before(since) {
		line += " " + mtime.UTC().Format(time.RFC3339Nano)
	} else {
		line += " now"
	}
	switch kind {
	case unix.S_IFREG:
		b, err := os.ReadFile(p)
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" %d bytes %x", len(b), sha256.Sum256(b))
	case unix.S_IFLNK:
		l, err := os.Readlink(p)
		if err != nil {
			return "", err
		}
		line += " -> " + l
	case unix.S_IFCHR, unix.S_IFBLK:
		line += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	return line + xattrs(p), nil
}

func xattrs(p string) string {
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(p, buf)
	if err != nil || n == 0 {
		return ""
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	slices.Sort(names)
	s := ""
	for _, k := range names {
		n, err := unix.Lgetxattr(p, k, buf)
		if err != nil {
			continue
		}
		s += fmt.Sprintf(" %s=%q", k, buf[:n])
	}
	return s
}

// DiffTrees says where two trees differ, in the order of the paths.
func DiffTrees(want, got map[string]string) (diff []string) {
	for p, w := range want {
		if g, ok := got[p]; !ok {
			diff = append(diff, p+": is missing")
		} else if g != w {
			diff = append(diff, p+": "+w+" became "+g)
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			diff = append(diff, p+": is new")
		}
	}
	slices.Sort(diff)
	return diff
}
