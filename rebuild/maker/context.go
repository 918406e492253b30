package maker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/mholt/archiver/v4"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/image/temp"
	"docker-flatten/rebuild/layer"
	"docker-flatten/rebuild/plan"
	"docker-flatten/rebuild/progress"
)

// Context is a build context on its way to the directory, or to stdout, where
// the user wants it. It is written whole to a directory beside that place, and
// Publish moves it there.
type Context struct {
	dir    string          // where it goes; "" = stdout, as a tar
	exists bool            // dir is a directory already: an empty one, or what an earlier run left
	there  map[string]bool // what dir has of it, and so isn't moved there
	stdout io.Writer
	staged *temp.Dir // where it is written; nil once it is gone from there
}

// contextKind is in the name of the directory where a context is written.
const contextKind = "context"

// PrepareContext says what is wrong with the directory for a context, before
// any work is done: nothing that exists is overwritten. A directory that has a
// context already is for a run that makes the same one: it turns out once it is
// written. A dir of "-" is stdout. Discard the context in the end.
func PrepareContext(dir string, stdout io.Writer) (*Context, error) {
	x := &Context{there: map[string]bool{}, stdout: stdout}
	parent := os.TempDir()
	if dir != "-" {
		x.dir = filepath.Clean(dir) // the name of new/ is new
		var err error
		if x.exists, err = isFree(x.dir); err != nil {
			return nil, &image.Error{Op: "write context", Object: dir, Err: err, Hint: "name a new directory"}
		}
		if parent = filepath.Dir(x.dir); x.exists {
			parent = x.dir // to rename is all that is left then
		}
	}
	temp.Sweep(parent, contextKind)
	var err error
	if x.staged, err = temp.MakeDir(parent, contextKind); err != nil {
		return nil, image.PathError("write context", dir, err)
	}
	return x, nil
}

// isFree tells a directory for a context, true, from nothing at all. Anything else
// is an error.
func isFree(dir string) (bool, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Lstat(dir); err == nil {
			return false, errors.New("a symbolic link to nothing")
		}
		return false, nil
	}
	if err != nil {
		return false, cause(err)
	}
	if !info.IsDir() {
		return false, errors.New("not a directory")
	}
	begun := isBegun(dir)
	temp.Sweep(dir, contextKind)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, cause(err)
	}
	if len(entries) > 0 && !begun && !hasContext(dir) || isBegun(dir) {
		return false, image.Detail(image.ErrExists, "the directory isn't empty")
	}
	return true, nil
}

// cause is an error of the os package without the path, which the caller says.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Write writes the orders' build context: the Dockerfile, and for each order the
// layer without whiteouts, and the base where FROM names one that nobody else
// has. What it writes builds anywhere. opt is for writing the bases' archives.
func (x *Context) Write(ctx context.Context, orders []Order, opt image.Options) error {
	var plans []*plan.Plan
	for _, o := range orders {
		plans = append(plans, o.Plan)
	}
	dockerfile, parts, err := plan.Contexts(plans)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(x.staged.Path, "Dockerfile"), dockerfile, 0o644); err != nil {
		return fmt.Errorf("write context: %w", err)
	}
	for i, o := range orders {
		if err := fill(ctx, x.staged.Path, o, parts[i], opt); err != nil {
			return fmt.Errorf("write context: %w", err)
		}
	}
	return x.complete()
}

// fill writes the files that a context has for one order.
func fill(ctx context.Context, dir string, o Order, part *plan.Context, opt image.Options) error {
	portable, err := o.Plan.Tree.Portable(ctx)
	if err != nil {
		return err
	}
	if portable.Paths() > 0 {
		if err := writeLayerFile(ctx, filepath.Join(dir, part.Layer), o, portable); err != nil {
			return err
		}
	}
	if !part.NeedsBase {
		return nil
	}
	return writeBase(ctx, filepath.Join(dir, part.Base), o, part.From, part.BaseDocument, opt)
}

// writeBase writes the base to file, as a docker-archive that an engine loads
// under the name that FROM has.
func writeBase(ctx context.Context, file string, o Order, from string, document func([]v1.Hash) ([]byte, error), opt image.Options) error {
	opt.Compression = image.Compression{}
	to, err := place.Prepare(ctx, image.Ref{Transport: image.Archive, Path: file}, []string{from}, opt)
	if err != nil {
		return err
	}
	stored, err := to.Store(ctx, image.Wanted{Images: []image.NewImage{o.base(document)}})
	if err != nil {
		return err
	}
	return errors.Join(stored.Name(ctx), stored.Discard())
}

// writeLayerFile writes the layer, compressed with gzip, to a new file.
func writeLayerFile(ctx context.Context, name string, o Order, merged *layer.Merged) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	gz, err := archiver.Gz{Multithreaded: true}.OpenWriter(f)
	if err != nil {
		return err
	}
	bar := o.start(progress.Writing, merged.Size())
	err = merged.Write(ctx, io.MultiWriter(gz, progress.Counter{Bar: bar}), o.sources())
	bar.Done(err)
	return errors.Join(err, gz.Close(), f.Close())
}

// Discard removes what was written; nothing once it is in its place.
func (x *Context) Discard() error {
	staged := x.staged
	x.staged = nil
	if staged == nil {
		return nil
	}
	return staged.Discard()
}

// Dir is the directory that the context goes to; "" = stdout.
func (x *Context) Dir() string { return x.dir }

// Publish moves the context to its place, or writes it to stdout.
func (x *Context) Publish() error {
	switch {
	case x.dir == "":
		if err := tarDirectory(x.stdout, x.staged.Path); err != nil {
			return fmt.Errorf("write context to stdout: %w", err)
		}
		return nil
	case !x.exists:
		err := x.staged.Publish(x.dir)
		if err == nil {
			x.staged = nil
			return nil
		}
		if _, is := os.Lstat(x.dir); is != nil || x.staged.Path == x.dir {
			return fmt.Errorf("write context: %w", err)
		}
		// Another run was faster: it may have made the same.
		x.exists = true
		if err := x.complete(); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(x.staged.Path)
	if err != nil {
		return fmt.Errorf("write context: %w", err)
	}
	slices.Reverse(entries) // the Dockerfile last: what has one is whole
	var moved []string
	for _, e := range entries {
		to := filepath.Join(x.dir, e.Name())
		if x.there[e.Name()] {
			continue
		}
		_, err := os.Lstat(to)
		if err == nil {
			err = x.has(e.Name() + " by now")
		} else {
			err = os.Rename(filepath.Join(x.staged.Path, e.Name()), to)
		}
		if err != nil {
			for _, m := range moved {
				err = errors.Join(err, os.RemoveAll(m))
			}
			return fmt.Errorf("write context: %w", err)
		}
		moved = append(moved, to)
	}
	return nil
}

// tarDirectory writes the files of dir as a tar with fixed times and owners.
func tarDirectory(w io.Writer, dir string) error {
	out := tar.NewWriter(w)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := tarFile(out, dir, e.Name()); err != nil {
			return err
		}
	}
	return out.Close()
}

func tarFile(out *tar.Writer, dir, name string) error {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: info.Size(), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return err
}
