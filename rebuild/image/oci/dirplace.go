package oci

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
	"docker-flatten/rebuild/image/temp"
)

// dirPlace is a layout directory that gets an image.
type dirPlace struct {
	ref   image.Ref
	root  string
	names names
	opt   image.Options
}

// prepareDir makes sure that the path is a layout, or can become one.
func prepareDir(ref image.Ref, n names, opt image.Options) (image.Place, error) {
	p := &dirPlace{ref: ref, root: filepath.Clean(ref.Path), names: n, opt: opt}
	fail := func(format string, args ...any) (image.Place, error) {
		return nil, &image.Error{Op: "write to", Object: ref.Path, Err: image.Detail(image.ErrNotLayout, format, args...)}
	}
	found, err := os.ReadDir(p.root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if info, err := os.Lstat(p.root); err == nil && info.Mode().Type() == fs.ModeSymlink {
			return fail("a symbolic link to nothing")
		}
		return p, archive.CheckDir(p.root)
	case err != nil:
		return nil, image.PathError("write to", ref.Path, err)
	}
	for _, file := range []string{marker, indexFile} {
		f, err := openRegular(filepath.Join(p.root, file))
		switch {
		case err == nil:
			f.Close()
		case !errors.Is(err, fs.ErrNotExist):
			return fail("%s %s", file, err)
		case file == marker && !halfMade(p.root, found):
			return fail("the directory has other things in it, and no OCI layout")
		}
	}
	p.sweep()
	return p, nil
}

// halfMade tells whether a directory without the file oci-layout has nothing but
// what a run leaves of a new layout that is killed, or has written by now.
func halfMade(root string, found []fs.DirEntry) bool {
	for _, e := range found {
		if e.Name() != "blobs" && !temp.IsName(e.Name()) {
			return false
		}
	}
	blobs, err := os.ReadDir(filepath.Join(root, "blobs"))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	for _, e := range blobs {
		if e.Name() != "sha256" && !temp.IsName(e.Name()) {
			return false
		}
	}
	return true
}

// sweep removes what killed runs left.
func (p *dirPlace) sweep() {
	temp.Sweep(filepath.Join(p.root, "blobs"), stagedKind)
	for _, file := range []string{marker, indexFile} {
		if real, err := archive.LinkTarget(filepath.Join(p.root, file)); err == nil {
			temp.SweepBeside(real)
		}
	}
}

func (p *dirPlace) Ref() image.Ref  { return p.ref }
func (p *dirPlace) Names() []string { return p.names.all() }

// ReadsBase is true: a layout has all layers.
func (p *dirPlace) ReadsBase(_ context.Context, _ *image.Image, keep int) (bool, error) {
	return keep > 0, nil
}

// Existing looks at what the layout has under one of the names.
func (p *dirPlace) Existing(ctx context.Context, w image.Wanted) (*image.Found, error) {
	raw, err := readRegular(filepath.Join(p.root, indexFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &image.Error{Op: "open", Object: p.root, Err: fmt.Errorf("%s %w", indexFile, err)}
	}
	var listed v1.IndexManifest
	if err := json.Unmarshal(raw, &listed); err != nil {
		return nil, &image.Error{Op: "open", Object: p.root, Err: fmt.Errorf("index.json: %w", err)}
	}
	want := p.names.entries(v1.Descriptor{}, nil)
	for _, d := range listed.Manifests {
		if !slices.ContainsFunc(want, func(w v1.Descriptor) bool { return sameName(w, d) }) {
			continue
		}
		ref := p.ref
		ref.Name = d.Digest.String()
		old, err := openDir(ctx, ref, image.Options{})
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue // it is damaged, and will be replaced
		}
		old.Ref = p.ref
		same, err := image.Same(ctx, w.Images, w.Index, old, p.opt.Compression.Or(image.Gzip))
		if err == nil && same {
			var found *image.Found
			found = image.NewFound(old, w.Images, func(ctx context.Context) (bool, error) { return p.nameFound(ctx, w, found) })
			return found, nil
		}
		if err := errors.Join(err, old.Close()); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// nameFound gives an earlier result the names, and the attestation, that it lacks.
func (p *dirPlace) nameFound(ctx context.Context, w image.Wanted, found *image.Found) (seen bool, err error) {
	attestation, err := w.AttestFound(found)
	if err != nil {
		return false, err
	}
	if attestation == nil {
		return p.name(ctx, found.Root(), nil, nil)
	}
	s, err := p.stage(ctx, attestation.Items())
	if err == nil {
		seen, err = p.name(ctx, found.Root(), attestation, s)
	}
	return seen, errors.Join(err, s.discard())
}

// Store writes the blobs that the layout lacks into a directory of its own in the
// layout. They get their places, and the image its names, with Stored.Name.
func (p *dirPlace) Store(ctx context.Context, w image.Wanted) (*image.Stored, error) {
	spools := &image.Spools{Dir: p.opt.TempDir}
	b, err := image.Bundling{Options: p.opt, Spools: spools}.Bundle(ctx, w)
	var s *staging
	if err == nil {
		s, err = p.stage(ctx, b.All())
	}
	if err := errors.Join(err, spools.Close()); err != nil {
		return nil, cmp.Or(ctx.Err(), errors.Join(err, s.discard()))
	}
	return image.NewStored(b.Root.Digest.String(), b.Images,
		func(ctx context.Context) (bool, error) { return p.name(ctx, b.Root, b.Attestation, s) }, s.discard), nil
}

// name puts the blobs in their places, and the image into index.json, which makes
// it one, at once. The layout's lock is held meanwhile, so that of several runs
// none undoes what another one does. Attestation is nil where there is none, staged
// where no blobs are new.
func (p *dirPlace) name(ctx context.Context, root v1.Descriptor, attestation *image.Attestation, staged *staging) (seen bool, err error) {
	fail := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("write to %s: %w", p.root, plainError(err))
	}
	lock, err := p.lock(ctx)
	if err != nil {
		return false, fail(err)
	}
	defer lock.Release()
	path, err := archive.LinkTarget(filepath.Join(p.root, indexFile))
	if err != nil {
		return false, fail(err)
	}
	old, err := readRegular(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fail(fmt.Errorf("%s %w", indexFile, err))
	}
	index, err := indexJSON(old, p.names.entries(root, attestation), statementsIn(p.root))
	if err != nil {
		return false, fail(err)
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	undo, err := staged.place()
	if err != nil {
		return false, fail(errors.Join(err, undo()))
	}
	if bytes.Equal(index, old) {
		if err := staged.placed(); err != nil {
			return true, image.NotSynced(p.root, err)
		}
		return true, nil
	}
	f, err := document(path, index)
	if err != nil {
		return false, fail(errors.Join(err, undo()))
	}
	if err := f.Place(path); err != nil {
		return false, fail(errors.Join(err, f.Discard(), undo()))
	}
	if err := errors.Join(temp.SyncDir(filepath.Dir(path)), staged.placed()); err != nil {
		return true, image.NotSynced(p.root, err)
	}
	return true, nil
}

// lock takes the layout's lock: that of its directory, which leaves no file
// behind, or where directories can't be locked that of its file oci-layout.
func (p *dirPlace) lock(ctx context.Context) (*temp.Lock, error) {
	if temp.LocksDirs {
		return temp.Acquire(ctx, p.root)
	}
	path := filepath.Join(p.root, marker)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := writeDocument(path, []byte(layoutFile)); err != nil {
			return nil, err
		}
	}
	return temp.Acquire(ctx, path)
}
