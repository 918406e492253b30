package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"docker-flatten/rebuild/imagetest"
)

// engine is a Docker Engine on this machine whose layer directories the test may
// mount.
type engine struct {
	cli   *client.Client
	since time.Time
	// It has containerd's image store, which takes some layers that others refuse,
	// and refuses others. doc.go says where it shows something else.
	containerd bool
}

func needEngine(t *testing.T) *engine {
	t.Helper()
	// An engine may still have a layer, and its directories' times, from a run
	// that was cut off.
	e := &engine{cli: imagetest.Engine(t), since: time.Now().AddDate(0, 0, -1)}
	info, err := e.cli.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e.containerd = slices.Contains(info.DriverStatus, [2]string{"driver-type", "io.containerd.snapshotter.v1"})
	return e
}

// imageDoc is a configuration for layers, and its digest.
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

// nameOf is what load calls the image of these layers. Its ID is another in each
// kind of store.
func nameOf(tars [][]byte) string {
	_, id := imageDoc(tars)
	return "flatten-test/layers:" + id[7:]
}

// load puts images into the engine with one request.
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
		m := manifest{Config: id[7:] + ".json", RepoTags: []string{nameOf(tars)}}
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
	// a containerd store has the image then, but can't run it
	if bytes.Contains(answer, []byte(`"error"`)) || bytes.Contains(answer, []byte("Error unpacking")) {
		return fmt.Errorf("load: %s", bytes.TrimSpace(answer))
	}
	return nil
}

func (e *engine) remove(ctx context.Context, tars [][]byte) {
	e.cli.ImageRemove(ctx, nameOf(tars), image.RemoveOptions{Force: true, PruneChildren: true})
}

// tree describes every path of the image of the given layers as the engine
// mounts it.
func (e *engine) tree(t *testing.T, tars [][]byte) map[string]string {
	t.Helper()
	return e.mounted(t, nameOf(tars))
}

func (e *engine) mounted(t *testing.T, name string) map[string]string {
	t.Helper()
	return imagetest.Tree(t, e.cli, name, e.since)
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
			loaded := part[:0:0]
			for _, c := range part { // which one?
				if err := e.load(t.Context(), [][][]byte{c.original}); err != nil {
					if e.containerd {
						t.Logf("%s: not compared: containerd refuses the original", c.name)
						continue
					}
					t.Errorf("%s: original: %v\n%s", c.name, err, c.text)
				} else if err := e.load(t.Context(), [][][]byte{c.merged}); err != nil {
					t.Errorf("%s: result: %v\n%s", c.name, err, c.text)
				}
				loaded = append(loaded, c)
			}
			if t.Failed() {
				t.FailNow()
			}
			part = loaded
		}
		for _, c := range part {
			if !e.same(t, c.name, c.original, e.tree(t, c.original), e.tree(t, c.merged)) {
				t.Logf("%s\nmerged:\n%s", c.text, listing(t, c.merged[len(c.merged)-1]))
			}
		}
	}
}

// same compares two mounted trees of an image with these layers.
func (e *engine) same(t *testing.T, name string, tars [][]byte, want, have map[string]string) bool {
	t.Helper()
	if e.containerd { // such a directory has other metadata there
		for p := range unlisted(tars) {
			for _, tree := range []map[string]string{want, have} {
				if strings.HasPrefix(tree[p], "4") {
					tree[p] = "a directory"
				}
			}
		}
	}
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
	if e.containerd {
		t.Skip("containerd has rules of its own for directories that a layer doesn't list, and random stacks are full of them: TestEngineCases judges its store")
	}
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	n := *stacksFlag
	if n == 0 {
		n = 100 // each run has others
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

// unlisted are the directories that a layer has entries in and doesn't list.
func unlisted(tars [][]byte) map[string]bool {
	all := map[string]bool{}
	for _, b := range tars {
		listed := map[string]bool{"/": true}
		parents := map[string]bool{}
		for r := tar.NewReader(bytes.NewReader(b)); ; {
			h, err := r.Next()
			if err != nil {
				break
			}
			p := path.Clean("/" + h.Name)
			listed[p] = h.Typeflag == tar.TypeDir
			for p != "/" {
				p = path.Dir(p)
				parents[p] = true
			}
		}
		for p := range parents {
			all[p] = all[p] || !listed[p]
		}
	}
	maps.DeleteFunc(all, func(_ string, un bool) bool { return !un })
	return all
}

// TestEngineCases has a real engine judge the named cases, those that it loads.
func TestEngineCases(t *testing.T) {
	e := needEngine(t)
	var cases []engineCase
	for _, c := range stackCases {
		if c.graphs && e.containerd {
			t.Logf("%s: not compared: containerd unpacks the original otherwise", c.name)
			continue
		}
		if c.refused {
			tars := tarsOf(t, c.layers)
			err := e.load(t.Context(), [][][]byte{tars})
			e.remove(t.Context(), tars)
			if err == nil && e.containerd {
				cases = append(cases, engineOf(t, c.name, c.layers, 0)...)
			} else if err == nil {
				t.Errorf("%s: the engine loads the original, which was said to be refused", c.name)
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
