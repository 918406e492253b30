package archive

import (
	"bufio"
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
	exists  bool
	outer   string // how the archive as a whole is compressed
	opt     image.Options
}

// PrepareOutput makes sure that a file can be put at path. Nothing is made.
func PrepareOutput(path string, opt image.Options) (*Output, error) {
	o := &Output{path: path, real: path, outer: outerOf(path), opt: opt}
	if path == "-" {
		o.special = true
		return o, nil
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, &image.Error{Op: "write", Object: path, Err: errors.New("is a directory")}
	case err == nil && info.Mode().IsRegular():
		o.exists = true
		if o.real, err = filepath.EvalSymlinks(path); err != nil {
			return nil, image.PathError("write", path, err)
		}
		return o, nil
	case err == nil:
		o.special = true
		return o, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, image.PathError("write to", path, err)
	}
	if o.real, err = linkTarget(path); err != nil {
		return nil, image.PathError("write", path, err)
	}
	return o, CheckDir(o.real)
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

// linkTarget is the path of the file that is missing at path, through links
// that lead nowhere yet.
func linkTarget(path string) (string, error) {
	for range 40 { // as many as Linux follows
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			return path, nil
		}
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
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

// Kind is how the archive is compressed as a whole.
func (o *Output) Kind() string { return o.outer }

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

// Readable tells whether a file is there that could be an earlier result.
func (o *Output) Readable() bool { return o.exists }

// Standing judges what is in the file: images under some names, which are to be
// replaced by images that get others. An earlier result that shares a name, or
// has none where the new one has none, may be replaced; what has no mark may
// only be found, and refused says why. Anything else is an error.
func (o *Output) Standing(images []*image.Image, have, get []string) (refused, err error) {
	shares := len(have)+len(get) == 0 || slices.ContainsFunc(get, func(n string) bool { return slices.Contains(have, n) || image.HasName(have, n) })
	marked := slices.ContainsFunc(images, image.IsResult)
	switch {
	case !marked:
		return o.Refused("holds an image that isn't an earlier result"), nil
	case !shares && len(have) == 0:
		return nil, o.Refused("holds a result without a name")
	case !shares:
		return nil, o.Refused("holds the result " + have[0])
	}
	return nil, nil
}

// Refused is the error for a file that would be lost if the output took its
// place.
func (o *Output) Refused(why string) error {
	return &image.Error{Op: "write", Object: o.path, Err: fmt.Errorf("the file is there already, and %s", why), Hint: "--force replaces it"}
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
	return func(context.Context) (bool, error) {
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
