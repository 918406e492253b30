package archive

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/progress"
)

// Output is a file that a result is written to.
type Output struct {
	path    string // as it was given; "-" = stdout
	real    string // the file that it leads to, since renaming would put a file in the place of a link
	special bool   // no file may take its place: stdout, a device, a pipe
	outer   string // how the archive as a whole is compressed
	opt     image.Options

	judge   func(context.Context, *Tar) (Standing, error)
	was     os.FileInfo // of the file that stood there when it was judged; nil = none
	refused error       // it may not be replaced, but may be found to be what would be stored
}

// Standing is what is in a file where a result is to go.
type Standing struct {
	Images []*image.Image // one, or those of one index
	Names  []string       // that they have
	Get    []string       // the result's
}

// PrepareOutput makes sure that a file can be put at path, and that none is lost
// by it: judge tells what the archive that stands there holds. Nothing is made.
func PrepareOutput(ctx context.Context, path string, opt image.Options, judge func(context.Context, *Tar) (Standing, error)) (*Output, error) {
	o := &Output{path: path, real: path, outer: outerOf(path), opt: opt, judge: judge}
	if path == "-" {
		o.special = true
		return o, nil
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, &image.Error{Op: "write", Object: path, Err: errors.New("is a directory")}
	case err == nil && !info.Mode().IsRegular():
		o.special = true
		return o, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, image.PathError("write to", path, err)
	}
	if o.real, err = linkTarget(path); err != nil {
		return nil, image.PathError("write", path, err)
	}
	if err := CheckDir(o.real); err != nil {
		return nil, err
	}
	return o, o.look(ctx)
}

// look judges the file that stands there: an earlier result that shares a name
// with the new one, or has none where that has none, may be replaced; an image
// that this program didn't make may only be found; anything else is an error.
func (o *Output) look(ctx context.Context) error {
	o.was, o.refused = nil, nil
	info, err := os.Stat(o.real)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return image.PathError("write", o.path, err)
	}
	o.was = info
	if o.opt.Force {
		return nil
	}
	s, err := o.standing(ctx)
	var said *image.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &said):
		return o.lost("isn't an earlier result: " + said.Err.Error())
	case err != nil:
		return o.lost("isn't an earlier result: " + err.Error())
	case !slices.ContainsFunc(s.Images, image.IsResult):
		o.refused = o.lost("holds an image that isn't an earlier result")
	case len(s.Names) == 0 && len(s.Get) > 0:
		return o.lost("holds a result without a name")
	case len(s.Names) > 0 && !slices.ContainsFunc(s.Get, func(n string) bool { return slices.Contains(s.Names, n) || image.HasName(s.Names, n) }):
		return o.lost("holds the result " + s.Names[0])
	}
	return nil
}

// standing tells what the file that stands there holds.
func (o *Output) standing(ctx context.Context) (Standing, error) {
	ix, _, err := o.Tar(ctx)
	if err != nil {
		return Standing{}, err
	}
	s, err := o.judge(ctx, ix)
	return s, errors.Join(err, ix.Close())
}

// lost is the error for a file that would be lost.
func (o *Output) lost(why string) error {
	return &image.Error{Op: "write", Object: o.path, Err: errors.New("the file is there already, and " + why), Hint: "--force replaces it"}
}

// Exists tells whether a file stands there.
func (o *Output) Exists() bool { return o.was != nil }

// Tar opens the file that stands there. Right tells whether it is compressed as
// it is called.
func (o *Output) Tar(ctx context.Context) (ix *Tar, right bool, err error) {
	ix, err = OpenTar(ctx, o.real, image.Options{TempDir: o.opt.TempDir})
	return ix, err == nil && ix.Kind == o.outer, err
}

// Refused is the error for an image that stands there, and may be found to be
// what would be stored, but not be replaced; else nil.
func (o *Output) Refused() error { return o.refused }

// again makes sure that a file that was written since the first look isn't lost.
func (o *Output) again(ctx context.Context) error {
	was := o.was
	info, err := os.Stat(o.real)
	if errors.Is(err, fs.ErrNotExist) || o.opt.Force {
		return nil
	}
	if err == nil && was != nil && os.SameFile(was, info) && info.ModTime().Equal(was.ModTime()) && info.Size() == was.Size() {
		return nil
	}
	return cmp.Or(o.look(ctx), o.refused)
}

// CheckDir makes sure that there is a directory to put path in.
func CheckDir(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err != nil {
		return image.PathError("write to", dir, err)
	}
	if !info.IsDir() {
		return &image.Error{Op: "write to", Object: dir, Err: errors.New("not a directory")}
	}
	return nil
}

// linkTarget is the file that path leads to through symbolic links, which may
// be missing.
func linkTarget(path string) (string, error) {
	for range 40 { // as many links as Linux follows
		dir, file := filepath.Split(path)
		real, err := filepath.EvalSymlinks(cmp.Or(dir, "."))
		if errors.Is(err, fs.ErrNotExist) {
			return path, nil // there is no directory, as CheckDir says
		}
		if err != nil {
			return "", err
		}
		path = filepath.Join(real, file)
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
		if err != nil || info.Mode().Type() != fs.ModeSymlink {
			return path, err
		}
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = real + string(filepath.Separator) + to // not cleaned: .. may come after a link
		}
		path = to
	}
	return "", errors.New("too many symbolic links")
}

// outerOf is how an archive is compressed as a whole, by its file's name.
func outerOf(path string) string {
	path = strings.ToLower(path)
	for _, c := range []struct{ kind, long, short string }{
		{image.Gzip, ".tar.gz", ".tgz"}, {image.Zstandard, ".tar.zst", ".tzst"},
		{image.XZ, ".tar.xz", ".txz"}, {image.Bzip2, ".tar.bz2", ".tbz2"}, {image.Bzip2, ".tbz", ".tbz"},
	} {
		if strings.HasSuffix(path, c.long) || strings.HasSuffix(path, c.short) {
			return c.kind
		}
	}
	return image.Uncompressed
}

// Compressed tells whether the archive is compressed as a whole.
func (o *Output) Compressed() bool { return o.outer != image.Uncompressed }

// Inner is the kind of compression of a new layer in the archive, where the
// layers that are kept have the kind kept, "" for none that is kept: the same,
// since some readers take the first layer's for that of all.
func (o *Output) Inner(kept string) string {
	switch {
	case kept != "":
		return kept
	case o.outer != image.Uncompressed:
		return image.Uncompressed // it isn't compressed twice
	}
	return image.Gzip
}

// Put writes an archive of the records beside the file, and returns what names
// and what discards it, for image.NewStored. Stdout, a device and a pipe get what
// is written at its naming. What the records read from is closed once they have
// been written, or never will be.
func (o *Output) Put(ctx context.Context, records []Record, from io.Closer) (name func(context.Context) (bool, error), discard func() error, err error) {
	if o.special {
		return func(ctx context.Context) (bool, error) {
			return true, errors.Join(o.stream(ctx, records), from.Close())
		}, from.Close, nil
	}
	temp, err := o.beside(ctx, records)
	if err := errors.Join(err, from.Close()); err != nil {
		if temp != "" {
			err = errors.Join(err, os.Remove(temp))
		}
		return nil, nil, err
	}
	return func(ctx context.Context) (bool, error) {
		if err := o.again(ctx); err != nil {
			return false, err
		}
		if err := os.Rename(temp, o.real); err != nil {
			return false, image.PathError("write", o.path, err)
		}
		return true, nil
	}, func() error { return os.Remove(temp) }, nil
}

// stream writes into what takes no renamed file.
func (o *Output) stream(ctx context.Context, records []Record) error {
	if o.path == "-" {
		out := o.opt.Stdout
		if out == nil {
			out = os.Stdout
		}
		if err := o.write(ctx, out, records); err != nil {
			return fmt.Errorf("write to stdout: %w", err)
		}
		return nil
	}
	f, err := os.OpenFile(o.real, os.O_WRONLY, 0)
	if err != nil {
		return image.PathError("write", o.path, err)
	}
	if err := errors.Join(o.write(ctx, f, records), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	return nil
}

// beside writes a file beside the final one and returns its path, "" if there is
// none.
func (o *Output) beside(ctx context.Context, records []Record) (temp string, err error) {
	f, err := CreateBeside(o.real)
	if err != nil {
		return "", image.PathError("write", o.path, err)
	}
	err = o.write(ctx, f, records)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return f.Name(), fmt.Errorf("write %s: %w", o.path, err)
	}
	return f.Name(), nil
}

// write writes the archive, compressed as the file is called.
func (o *Output) write(ctx context.Context, w io.Writer, records []Record) (err error) {
	bar := o.opt.Start(progress.Storing, o.path, Size(records))
	defer func() { bar.Done(err) }()
	b := bufio.NewWriterSize(w, 1<<20)
	z, err := image.Compression{Kind: o.outer}.Writer(b)
	if err != nil {
		return err
	}
	if err := errors.Join(Write(ctx, image.Counting(z, bar), records), z.Close(), b.Flush()); err != nil {
		return err
	}
	return ctx.Err()
}

// CreateBeside makes a temporary file in the directory of path, with the mode
// that a new file has there (os.CreateTemp's would be private).
func CreateBeside(path string) (*os.File, error) {
	for {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%08x", filepath.Base(path), rand.Uint32()))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}
