package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/image"
)

// TestEngineAdd has a Dockerfile ADD the portable form over the base, with the
// removals made before, and compares what comes out with the original. What
// Losses names is left out of the layers.
func TestEngineAdd(t *testing.T) {
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
		n = 40
	}
	t.Logf("seed %d, %d stacks", seed, n)
	for i := range n {
		s := seed + uint64(i)
		stack := randomStack(rand.New(rand.NewPCG(s, 2)))
		for _, l := range stack {
			for k := range l {
				for key := range l[k].pax {
					if strings.HasPrefix(key, xattrPrefix+"user.") {
						delete(l[k].pax, key)
					}
				}
				l[k].mtime = time.Unix(l[k].mtime.Unix(), 0)
				if l[k].name == "/" {
					l[k].name = "./"
				}
			}
		}
		if len(stack) < 2 {
			continue
		}
		e.add(t, fmt.Sprintf("-seed %d", s), stack)
	}
}

func (e *engine) add(t *testing.T, name string, stack [][]ent) {
	t.Helper()
	tars := tarsOf(t, stack)
	m, _ := merge(t, tars, 1)
	if l := m.Losses(); len(l) > 0 {
		t.Fatalf("%s: %v", name, l)
	}
	p, err := m.Portable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p.Paths() == 0 {
		return // an empty tar is none to ADD: it would copy the file
	}
	var sources []Source
	for _, b := range tars {
		sources = append(sources, stream(b))
	}
	var layer bytes.Buffer
	if err := p.Write(t.Context(), &layer, sources); err != nil {
		t.Fatal(err)
	}
	// What rm -rf leaves, an engine records as whiteouts and the directories
	// around them as they are in the base.
	removals := m.Removals()
	from := [][]byte{tars[0]}
	if len(removals) > 0 {
		from = append(from, removed(t, tars[0], removals))
	}
	defer e.remove(context.WithoutCancel(t.Context()), tars)
	defer e.remove(context.WithoutCancel(t.Context()), from)
	if err := e.load(t.Context(), [][][]byte{tars, from}); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, show(stack))
	}
	var c bytes.Buffer
	w := tar.NewWriter(&c)
	for _, f := range []struct {
		name string
		b    []byte
	}{{"Dockerfile", []byte("FROM " + nameOf(from) + "\nADD layer.tar /\n")}, {"layer.tar", layer.Bytes()}} {
		w.WriteHeader(&tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f.b))})
		w.Write(f.b)
	}
	w.Close()
	r, err := e.cli.ImageBuild(t.Context(), &c, build.ImageBuildOptions{Version: build.BuilderV1, NoCache: true, Remove: true, ForceRemove: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var built string
	for d := json.NewDecoder(r.Body); ; {
		var line struct {
			Error string
			Aux   struct{ ID string }
		}
		if err := d.Decode(&line); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if line.Error != "" {
			t.Errorf("%s: %s\n%s\nportable:\n%s", name, line.Error, show(stack), listing(t, layer.Bytes()))
			return
		}
		if line.Aux.ID != "" {
			built = line.Aux.ID
		}
	}
	defer e.cli.ImageRemove(context.WithoutCancel(t.Context()), built, image.RemoveOptions{Force: true, PruneChildren: true})
	if !e.same(t, name, tars, e.tree(t, tars), e.mounted(t, built)) {
		t.Logf("%s\nremoved %q, portable:\n%s", show(stack), removals, listing(t, layer.Bytes()))
	}
}

// removed is the layer that rm -rf of some paths makes of a base.
func removed(t *testing.T, base []byte, paths []string) []byte {
	ref, err := applyAll([][]byte{base}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var out []ent
	done := map[string]bool{}
	for _, p := range paths {
		at, parts := ref.root, strings.Split(p[1:], "/")
		for i, part := range parts[:len(parts)-1] {
			at = at.children[part]
			if dir := strings.Join(parts[:i+1], "/"); !done[dir] {
				done[dir] = true
				d := dirE(dir).chmod(at.mode).chown(at.uid, at.gid)
				d.pax = at.records
				out = append(out, d)
			}
		}
		out = append(out, gone(p[1:]))
	}
	return tarOf(t, out...)
}
