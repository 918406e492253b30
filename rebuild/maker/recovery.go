package maker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/layer"
	"docker-flatten/rebuild/plan"
	"docker-flatten/rebuild/progress"
)

// What each layer of a recovery brings shows over those below it, which are merged
// again for each. An image with no more layers than engines run costs a fixed number
// of merges; of one with more, so many entries are gone through, in all.
const (
	fewLayers   = 128
	mostEntries = 1 << 25
)

// Recover plans the Dockerfiles that made the orders' images. written says that
// their files are written as well.
func Recover(ctx context.Context, orders []Order, written bool) ([]*plan.Recovery, error) {
	var plans []*plan.Plan
	var facts [][]plan.LayerFacts
	for _, o := range orders {
		if err := recoverable(o.Indexes, o.Plan.Base.Layers); err != nil {
			return nil, &image.Error{Op: "recover the dockerfile of", Object: o.Image.Ref.String(), Err: err}
		}
		var of []plan.LayerFacts
		for l := o.Plan.Base.Layers; l < len(o.Indexes); l++ {
			alone, err := layer.Merge(ctx, o.Indexes[:l], o.Indexes[l:l+1])
			if err != nil {
				return nil, err
			}
			of = append(of, plan.Facts(alone))
		}
		plans, facts = append(plans, o.Plan), append(facts, of)
	}
	return plan.Recover(plans, facts, written)
}

// recoverable says whether the layers above the base are too much to look at one
// by one.
func recoverable(layers []*layer.Index, base int) error {
	below, all := 0, 0
	for l, x := range layers {
		below += x.Len()
		if l >= base {
			all += below
		}
	}
	if len(layers)-base > fewLayers && all > mostEntries {
		return fmt.Errorf("%d layers of %d entries: %w", len(layers), below, layer.ErrLimit)
	}
	return nil
}

// WriteRecovery writes the build contexts of recoveries: the Dockerfile, the files
// of each COPY in a directory, and the base where FROM names one that nobody else
// has. Each of several platforms has a directory of its own.
func (x *Context) WriteRecovery(ctx context.Context, orders []Order, recoveries []*plan.Recovery, opt image.Options) error {
	for i, o := range orders {
		r, dir := recoveries[i], filepath.Join(x.staged.Path, recoveries[i].Dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("write context: %w", err)
		}
		if err := writeRecovery(ctx, dir, o, r, opt); err != nil {
			return fmt.Errorf("write context: %w", err)
		}
	}
	return x.complete()
}

func writeRecovery(ctx context.Context, dir string, o Order, r *plan.Recovery, opt image.Options) error {
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), r.Dockerfile, 0o644); err != nil {
		return err
	}
	byLayer := map[int][]plan.Copy{}
	for _, c := range r.Copies {
		byLayer[c.Layer] = append(byLayer[c.Layer], c)
	}
	for l := range o.Indexes {
		if copies := byLayer[l]; len(copies) > 0 {
			if err := takeOut(ctx, dir, o, l, copies, opt.Warn); err != nil {
				return fmt.Errorf("take the files out of layer %d: %w", l+1, err)
			}
		}
	}
	if r.NeedsBase {
		return writeBase(ctx, filepath.Join(dir, plan.BaseFile), o, r.From, r.BaseDocument, opt)
	}
	return nil
}

// takeOut takes what a layer brings out of it, to the directories of copies in
// the context.
func takeOut(ctx context.Context, dir string, o Order, l int, copies []plan.Copy, warn func(string)) error {
	alone, err := layer.Merge(ctx, o.Indexes[:l], o.Indexes[l:l+1])
	if err != nil {
		return err
	}
	out := &takingOut{ctx: ctx, at: map[string]*takenDir{}, warn: warn}
	defer out.close()
	byOwner := map[[2]uint32]*takenDir{}
	for _, c := range copies {
		to := filepath.Join(dir, c.Dir)
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		root, err := os.OpenRoot(to)
		if err != nil {
			return err
		}
		d := &takenDir{root: root, below: c.Below}
		out.dirs = append(out.dirs, d)
		byOwner[[2]uint32{c.UID, c.GID}] = d
	}
	for b := range alone.Brought() {
		out.at[b.Path] = byOwner[[2]uint32{b.UID, b.GID}]
	}
	source := o.Image.Layer(l)
	if source == nil {
		return layer.ErrSource
	}
	r, err := source.Open()
	if err != nil {
		return err
	}
	bar := o.start(progress.Writing, 0)
	err = out.all(tar.NewReader(io.TeeReader(r, progress.Counter{Bar: bar})))
	bar.Done(err)
	return errors.Join(err, r.Close())
}

// takingOut is a layer whose files are taken out.
type takingOut struct {
	ctx  context.Context
	dirs []*takenDir
	at   map[string]*takenDir // where the path goes; nil = the layer doesn't bring it
	warn func(string)
	left int // what couldn't be taken out
}

// takenDir is a directory that files are taken out to. Nothing leads out of it.
type takenDir struct {
	root  *os.Root
	below string
	made  []madeDir
}

// madeDir is a directory whose mode and time are set when all is in it.
type madeDir struct {
	name string
	mode os.FileMode
	time time.Time
}

func (t *takingOut) all(r *tar.Reader) error {
	for {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		p := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if d := t.at[p]; d != nil {
			if err := t.entry(d, d.name(p), h, r); err != nil {
				return fmt.Errorf("%s: %w", layer.Display("/"+p), err)
			}
		}
	}
	for _, d := range t.dirs {
		for i := len(d.made) - 1; i >= 0; i-- {
			m := d.made[i]
			if err := errors.Join(d.root.Chmod(m.name, m.mode), d.root.Chtimes(m.name, m.time, m.time)); err != nil {
				return err
			}
		}
	}
	if t.left > 0 {
		t.warn(fmt.Sprintf("a build context can't hold %d devices, pipes and links of the layers: they are missing in the recovery", t.left))
	}
	return nil
}

// name is where a path of the image lies in the directory.
func (d *takenDir) name(p string) string {
	if d.below == "" {
		return p
	}
	return strings.TrimPrefix(p, d.below+"/")
}

func (t *takingOut) entry(d *takenDir, name string, h *tar.Header, r io.Reader) error {
	if dir := path.Dir(name); dir != "." {
		if err := d.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	mode := h.FileInfo().Mode() & (os.ModePerm | os.ModeSetuid | os.ModeSetgid | os.ModeSticky)
	switch h.Typeflag {
	case tar.TypeDir:
		if err := d.root.MkdirAll(name, 0o755); err != nil {
			return err
		}
		d.made = append(d.made, madeDir{name, mode, h.ModTime})
		return nil
	case tar.TypeReg:
		f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, image.Until(t.ctx, r))
		return errors.Join(err, f.Chmod(mode), f.Close(), d.root.Chtimes(name, h.ModTime, h.ModTime))
	case tar.TypeSymlink:
		return d.root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		target := strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")
		if t.at[target] == d && d.root.Link(d.name(target), name) == nil {
			return nil
		}
	}
	t.left++
	return nil
}

func (t *takingOut) close() {
	for _, d := range t.dirs {
		d.root.Close()
	}
}
