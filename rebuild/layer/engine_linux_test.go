package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"golang.org/x/sys/unix"
)

// engine is a Docker Engine on this machine whose layer directories the test may
// mount.
type engine struct {
	cli   *client.Client
	since time.Time
}

func needEngine(t *testing.T) *engine {
	t.Helper()
	host := os.Getenv("DOCKER_FLATTEN_ENGINE")
	if host == "" {
		t.Skip("DOCKER_FLATTEN_ENGINE is not set: no engine to compare with")
	}
	if os.Geteuid() != 0 {
		t.Skip("not root: cannot mount the engine's layers")
	}
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if host != "default" {
		opts = append(opts, client.WithHost(host))
	}
	cli, err := client.NewClientWithOpts(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	info, err := cli.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Driver != "overlay2" {
		t.Skipf("the engine's store is %s: only overlay2 can be mounted from outside", info.Driver)
	}
	return &engine{cli, time.Now().Add(-time.Minute)}
}

// imageDoc is a configuration for layers, and the image's ID.
func imageDoc(tars [][]byte) (doc []byte, id string) {
	var diffs []string
	for _, b := range tars {
		diffs = append(diffs, fmt.Sprintf("sha256:%x", sha256.Sum256(b)))
	}
	doc, _ = json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	return doc, fmt.Sprintf("sha256:%x", sha256.Sum256(doc))
}

// load puts images into the engine, without names, with one request.
func (e *engine) load(ctx context.Context, images [][][]byte) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	done := map[string]bool{}
	put := func(name string, data []byte) {
		if done[name] {
			return
		}
		done[name] = true
		w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))})
		w.Write(data)
	}
	type manifest struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var list []manifest
	for _, tars := range images {
		doc, id := imageDoc(tars)
		m := manifest{Config: id[7:] + ".json"}
		put(m.Config, doc)
		for _, l := range tars {
			name := fmt.Sprintf("%x.tar", sha256.Sum256(l))
			put(name, l)
			m.Layers = append(m.Layers, name)
		}
		list = append(list, m)
	}
	doc, err := json.Marshal(list)
	if err != nil {
		return err
	}
	put("manifest.json", doc)
	if err := w.Close(); err != nil {
		return err
	}
	r, err := e.cli.ImageLoad(ctx, &b, client.ImageLoadWithQuiet(true))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if bytes.Contains(answer, []byte(`"error"`)) {
		return fmt.Errorf("load: %s", bytes.TrimSpace(answer))
	}
	return nil
}

func (e *engine) remove(ctx context.Context, tars [][]byte) {
	_, id := imageDoc(tars)
	e.cli.ImageRemove(ctx, id, image.RemoveOptions{Force: true, PruneChildren: true})
}

// tree mounts an image as the engine would and describes every path.
func (e *engine) tree(t *testing.T, tars [][]byte) map[string]string {
	t.Helper()
	_, id := imageDoc(tars)
	return e.mounted(t, id)
}

func (e *engine) mounted(t *testing.T, id string) map[string]string {
	t.Helper()
	info, err := e.cli.ImageInspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	data := info.GraphDriver.Data
	dirs := []string{data["UpperDir"]}
	if low := data["LowerDir"]; low != "" {
		dirs = append(dirs, strings.Split(low, ":")...)
	}
	dirs = append(dirs, t.TempDir()) // an overlay without an upper directory wants two
	mnt := t.TempDir()
	if err := syscall.Mount("overlay", mnt, "overlay", syscall.MS_RDONLY, "lowerdir="+strings.Join(dirs, ":")); err != nil {
		t.Fatalf("mount: %v", err)
	}
	defer syscall.Unmount(mnt, syscall.MNT_DETACH)
	out := map[string]string{}
	groups := map[uint64]string{}
	err = filepath.WalkDir(mnt, func(p string, d fs.DirEntry, err error) error {
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
		what := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
		mtime := time.Unix(st.Mtim.Unix())
		if dir := st.Mode&unix.S_IFMT == unix.S_IFDIR; !dir || mtime.Before(e.since) {
			what += " " + mtime.UTC().Format(time.RFC3339Nano)
		} else {
			what += " now"
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %d bytes %x", len(b), sha256.Sum256(b))
		case unix.S_IFLNK:
			l, err := os.Readlink(p)
			if err != nil {
				return err
			}
			what += " -> " + l
		case unix.S_IFCHR, unix.S_IFBLK:
			what += fmt.Sprintf(" %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		what += xattrs(p)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
			// An overlay passes the lower file's number through, and its link
			// count, which includes names that are hidden.
			if first, ok := groups[st.Ino]; ok {
				what += " = " + first
			} else {
				groups[st.Ino] = rel
			}
		}
		out[rel] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
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

// engineCase is a stack and the merged form of it over one base.
type engineCase struct {
	name     string
	original [][]byte
	merged   [][]byte
	text     string
}

// compare loads originals and results and compares what overlays of them show.
func (e *engine) compare(t *testing.T, cases []engineCase) {
	const batch = 25
	for len(cases) > 0 {
		part := cases[:min(batch, len(cases))]
		cases = cases[len(part):]
		var images [][][]byte
		for _, c := range part {
			images = append(images, c.original, c.merged)
		}
		defer func() {
			for _, im := range images {
				e.remove(context.WithoutCancel(t.Context()), im)
			}
		}()
		if err := e.load(t.Context(), images); err != nil {
			for _, c := range part { // which one?
				for what, im := range map[string][][]byte{"original": c.original, "result": c.merged} {
					if err := e.load(t.Context(), [][][]byte{im}); err != nil {
						t.Errorf("%s: %s: %v\n%s", c.name, what, err, c.text)
					}
				}
			}
			t.FailNow()
		}
		for _, c := range part {
			if !e.same(t, c.name, e.tree(t, c.original), e.tree(t, c.merged)) {
				t.Logf("%s\nmerged:\n%s", c.text, listing(t, c.merged[len(c.merged)-1]))
			}
		}
	}
}

// same compares two mounted trees.
func (e *engine) same(t *testing.T, name string, want, have map[string]string) bool {
	ok := true
	for _, p := range slices.Sorted(maps.Keys(want)) {
		w, h := want[p], have[p]
		if strings.Contains(w, " now") {
			w, h = timeless(w), timeless(h)
		}
		if w != h {
			t.Errorf("%s: %s\n  original %s\n  result   %s", name, Display(p), w, h)
			ok = false
		}
	}
	for p := range have {
		if _, there := want[p]; !there {
			t.Errorf("%s: %s is only in the result", name, Display(p))
			ok = false
		}
	}
	return ok
}

// timeless takes the time, the third word, out of a description.
func timeless(s string) string {
	words := strings.SplitN(s, " ", 4)
	if len(words) < 3 {
		return s
	}
	words[2] = ""
	return strings.Join(words, " ")
}

// TestEngineRandomStacks has a real engine judge: what it mounts for the merged
// image is what it mounts for the original.
func TestEngineRandomStacks(t *testing.T) {
	e := needEngine(t)
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	n := *stacksFlag
	if n == 0 {
		n = 300
	}
	t.Logf("seed %d, %d stacks", seed, n)
	var cases []engineCase
	for i := range n {
		s := seed + uint64(i)
		stack := randomStack(rand.New(rand.NewPCG(s, 1)))
		cases = append(cases, engineOf(t, fmt.Sprintf("-seed %d", s), stack, i%(len(stack)))...)
	}
	e.compare(t, cases)
}

func engineOf(t *testing.T, name string, stack [][]ent, bases ...int) []engineCase {
	tars := tarsOf(t, stack)
	var out []engineCase
	for _, base := range bases {
		_, merged := merge(t, tars, base)
		out = append(out, engineCase{fmt.Sprintf("%s base %d", name, base), tars, append(slices.Clone(tars[:base]), merged), show(stack)})
	}
	return out
}

// TestEngineCases has a real engine judge the named cases, those that it loads.
func TestEngineCases(t *testing.T) {
	e := needEngine(t)
	var cases []engineCase
	for _, c := range stackCases {
		if c.refused {
			tars := tarsOf(t, c.layers)
			if err := e.load(t.Context(), [][][]byte{tars}); err == nil {
				t.Errorf("%s: the engine loads the original, which was said to be refused", c.name)
				e.remove(t.Context(), tars)
			}
			continue
		}
		bases := []int{0, 1}
		if len(c.layers) > 2 {
			bases = append(bases, 2)
		}
		cases = append(cases, engineOf(t, c.name, c.layers, bases...)...)
	}
	e.compare(t, cases)
}
