package archive

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"

	"docker-flatten/rebuild/image"
)

// standing is a file where a result is to go, and what stands there before.
type standing struct {
	path  string // as it was given; "-" = stdout
	real  string // the file that it leads to, since renaming would put a file in the place of a link
	outer string // how the archive as a whole is compressed
	opt   image.Options

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

// look judges the file that stands there: an earlier result that shares a name
// with the new one, or has none where that has none, may be replaced; an image
// that this program didn't make may only be found; anything else is an error.
func (o *standing) look(ctx context.Context) error {
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
	s, err := o.holds(ctx)
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

// holds tells what the file that stands there holds.
func (o *standing) holds(ctx context.Context) (Standing, error) {
	ix, err := o.open(ctx)
	if err != nil {
		return Standing{}, err
	}
	s, err := o.judge(ctx, ix)
	return s, errors.Join(err, ix.Close())
}

// lost is the error for a file that would be lost.
func (o *standing) lost(why string) error {
	return &image.Error{Op: "write", Object: o.path, Err: image.Detail(image.ErrExists, "the file is there already, and %s", why), Hint: "--force replaces it"}
}

// Find opens the file that stands there if it is compressed as it is called and
// compare tells that it holds what would be stored; else it returns nil. An image
// that stands there and may not be replaced is an error then.
func (o *standing) Find(ctx context.Context, compare func(*Tar) (*image.Source, bool, error)) (*image.Source, error) {
	if o.was == nil {
		return nil, nil
	}
	ix, err := o.open(ctx)
	if err != nil {
		return nil, cmp.Or(ctx.Err(), o.refused) // with --force anything may be there
	}
	if ix.Kind == o.outer {
		old, same, err := compare(ix)
		if err == nil && same {
			return old, nil
		}
		if err != nil {
			return nil, errors.Join(err, ix.Close())
		}
	}
	return nil, cmp.Or(o.refused, ix.Close())
}

// open opens the file that stands there.
func (o *standing) open(ctx context.Context) (*Tar, error) {
	return OpenTar(ctx, o.real, image.Options{TempDir: o.opt.TempDir})
}

// Refused is the error for an image that stands there, and may be found to be
// what would be stored, but not be replaced; else nil.
func (o *standing) Refused() error { return o.refused }

// again makes sure that a file that was written since the first look isn't lost.
func (o *standing) again(ctx context.Context) error {
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
