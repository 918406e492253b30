package archive

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/temp"
	"docker-flatten/rebuild/progress"
)

// Output is a file that a result is written to.
type Output struct {
	standing
	special bool // no file may take its place: stdout, a device, a pipe
}

// PrepareOutput makes sure that a file can be put at path, and that none is lost
// by it: judge tells what the archive that stands there holds. Nothing is made.
func PrepareOutput(ctx context.Context, path string, opt image.Options, judge func(context.Context, *Tar) (Standing, error)) (*Output, error) {
	o := &Output{standing: standing{path: path, real: path, outer: outerOf(path), opt: opt, judge: judge}}
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
	if o.real, err = LinkTarget(path); err != nil {
		return nil, image.PathError("write", path, err)
	}
	if err := CheckDir(o.real); err != nil {
		return nil, err
	}
	temp.SweepBeside(o.real)
	if err := o.look(ctx); err != nil {
		return nil, err
	}
	return o, nil
}

// Compressed tells whether the archive is compressed as a whole.
func (o *Output) Compressed() bool { return o.outer != image.Uncompressed }

// Inner is the kind of compression of a new layer in the archive, where the
// layers that are kept have the kind kept, "" for none that is kept: the same,
// since some readers take the first layer's for that of all.
func (o *Output) Inner(kept string) string { return inner(o.outer, kept) }

func inner(outer, kept string) string {
	switch {
	case kept != "":
		return kept
	case outer != image.Uncompressed:
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
	f, err := o.beside(ctx, records)
	if err := errors.Join(err, from.Close()); err != nil {
		if f != nil {
			err = errors.Join(err, f.Discard())
		}
		return nil, nil, err
	}
	return func(ctx context.Context) (bool, error) {
		if err := o.again(ctx); err != nil {
			return false, err
		}
		if err := f.Place(o.real); err != nil {
			return false, image.PathError("write", o.path, err)
		}
		if err := temp.SyncDir(filepath.Dir(o.real)); err != nil {
			return true, image.NotSynced(o.path, err)
		}
		return true, nil
	}, f.Discard, nil
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
	f, stop, err := openPipe(ctx, o.real)
	if err != nil {
		return cmp.Or(ctx.Err(), image.PathError("write", o.path, err))
	}
	defer stop()
	if err := errors.Join(o.write(ctx, f, records), f.Close()); err != nil {
		return cmp.Or(ctx.Err(), fmt.Errorf("write %s: %w", o.path, err))
	}
	return nil
}

// beside writes a file beside the final one, nil if there is none.
func (o *Output) beside(ctx context.Context, records []Record) (*temp.File, error) {
	f, err := temp.Beside(o.real)
	if err != nil {
		return nil, image.PathError("write", o.path, err)
	}
	err = o.write(ctx, f, records)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return f, fmt.Errorf("write %s: %w", o.path, err)
	}
	return f, nil
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
