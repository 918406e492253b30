package image

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// SideBySide reads the layers of a source that has them side by side, several
// at a time. With Spools it spools those that are kept, since the source reads
// them over a network.
type SideBySide struct{ Spools *Spools }

// Read is Image.Read, but for the layers that Image.PassingOver leaves out.
func (s SideBySide) Read(ctx context.Context, im *Image, keep func(i int) bool, visit func(i int, r io.Reader) error) (*Image, error) {
	read := *im
	read.layers = slices.Clone(im.layers)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, min(runtime.GOMAXPROCS(0), len(im.layers))))
	for i, l := range im.layers {
		if l.passed {
			continue
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if s.Spools != nil && keep(i) && l.file == nil {
				spooled, err := s.spool(ctx, l, i, visit)
				read.layers[i] = spooled
				return err
			}
			r, err := l.Reader(ctx)
			if err != nil {
				return err
			}
			return errors.Join(VisitLayer(r, i, visit), r.Close())
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return &read, nil
}

// spool delivers a layer and returns it with its stored bytes in a file.
func (s SideBySide) spool(ctx context.Context, l *Layer, i int, visit func(i int, r io.Reader) error) (*Layer, error) {
	f, err := s.Spools.Create()
	if err != nil {
		return nil, err
	}
	raw, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	r, err := l.Verify(ctx, teeCloser{io.TeeReader(raw, f), raw})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(VisitLayer(r, i, visit), r.Close()); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return l.InFile(io.NewSectionReader(f, 0, info.Size())), nil
}

type teeCloser struct {
	io.Reader
	io.Closer
}

// VisitLayer has one layer visited and makes sure that it was read to its end,
// where the digests are checked. The reader's own error comes before the
// visitor's, which is usually its consequence.
func VisitLayer(r io.Reader, i int, visit func(i int, r io.Reader) error) error {
	failed := &errorKeeper{r: r}
	err := visit(i, failed)
	if failed.err != nil {
		return failed.err
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return err
}

// errorKeeper remembers the error that ended the reading of r.
type errorKeeper struct {
	r   io.Reader
	err error
}

func (k *errorKeeper) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	if err != nil && err != io.EOF {
		k.err = err
	}
	return n, err
}
