package oci

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
	"docker-flatten/rebuild/progress"
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
	found, err := os.ReadDir(p.root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := archive.CheckDir(p.root); err != nil {
			return nil, err
		}
		return p, nil
	case err != nil:
		return nil, image.PathError("write to", ref.Path, err)
	case len(found) == 0:
		return p, nil
	}
	if _, err := os.Stat(filepath.Join(p.root, "oci-layout")); err != nil {
		return nil, &image.Error{Op: "write to", Object: ref.Path, Err: image.Detail(image.ErrNotLayout, "the directory has other things in it, and no OCI layout")}
	}
	return p, nil
}

func (p *dirPlace) Ref() image.Ref  { return p.ref }
func (p *dirPlace) Names() []string { return p.names.all() }

// ReadsBase is true: a layout has all layers.
func (p *dirPlace) ReadsBase(_ context.Context, _ *image.Image, keep int) (bool, error) {
	return keep > 0, nil
}

// Existing looks at what the layout has under one of the names.
func (p *dirPlace) Existing(ctx context.Context, images []image.NewImage, index *image.Index) (*image.Found, error) {
	raw, err := os.ReadFile(filepath.Join(p.root, "index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, image.PathError("open", p.root, err)
	}
	var listed v1.IndexManifest
	if err := json.Unmarshal(raw, &listed); err != nil {
		return nil, &image.Error{Op: "open", Object: p.root, Err: fmt.Errorf("index.json: %w", err)}
	}
	want := p.names.entries(v1.Descriptor{})
	for _, d := range listed.Manifests {
		if !slices.ContainsFunc(want, func(w v1.Descriptor) bool { return sameName(w, d) }) {
			continue
		}
		ref := p.ref
		ref.Name = d.Digest.String()
		old, err := openDir(ctx, ref, image.Options{})
		if err != nil {
			continue // it is damaged, and will be replaced
		}
		old.Ref = p.ref
		same, err := image.Same(ctx, images, index, old, p.opt.Compression.Or(image.Gzip))
		if err == nil && same {
			return image.NewFound(old, images, func(ctx context.Context) (bool, error) { return p.name(ctx, rootOf(old)) }), nil
		}
		if err := errors.Join(err, old.Close()); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// Store writes the blobs, which nothing names before index.json does.
func (p *dirPlace) Store(ctx context.Context, images []image.NewImage, index *image.Index) (*image.Stored, error) {
	temp := &image.Spools{Dir: p.opt.TempDir}
	b, err := image.Bundling{Options: p.opt, Spools: temp}.Bundle(ctx, images, index)
	var added made
	if err == nil {
		err = p.write(ctx, b, &added)
	}
	if err := errors.Join(err, temp.Close()); err != nil {
		return nil, cmp.Or(ctx.Err(), errors.Join(err, added.remove()))
	}
	return image.NewStored(b.Root.Digest.String(), b.Images, func(ctx context.Context) (bool, error) { return p.name(ctx, b.Root) }, added.remove), nil
}

// made are the files and directories that a Store made, in their order.
type made []string

// remove removes them. A directory in which there is something else by now
// stays.
func (m *made) remove() error {
	var errs []error
	for _, name := range slices.Backward(*m) {
		if err := os.Remove(name); err != nil && !isDir(name) {
			errs = append(errs, err)
		}
	}
	*m = nil
	return errors.Join(errs...)
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// dir makes a directory, and those above it.
func (m *made) dir(path string) error {
	if isDir(path) {
		return nil
	}
	if err := m.dir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o777); err != nil && !isDir(path) {
		return err
	} else if err == nil {
		*m = append(*m, path)
	}
	return nil
}

// write writes what the layout lacks.
func (p *dirPlace) write(ctx context.Context, b *image.Bundle, added *made) (err error) {
	if err := added.dir(filepath.Join(p.root, "blobs", "sha256")); err != nil {
		return image.PathError("write to", p.root, err)
	}
	var lacking []image.Item
	total := int64(0)
	for _, it := range b.All() {
		if info, err := os.Stat(p.blob(it)); err == nil && info.Size() == it.Descriptor.Size {
			continue
		}
		lacking, total = append(lacking, it), total+it.Descriptor.Size
	}
	bar := p.opt.Start(progress.Storing, p.root, total)
	defer func() { bar.Done(err) }()
	for _, it := range lacking {
		name := p.blob(it)
		if err := added.dir(filepath.Dir(name)); err != nil {
			return image.PathError("write to", p.root, err)
		}
		if err := replaceFile(name, func(f io.Writer) error { return it.WriteTo(ctx, image.Counting(f, bar)) }); err != nil {
			return fmt.Errorf("write to %s: %w", p.root, err)
		}
		*added = append(*added, name)
	}
	marker := filepath.Join(p.root, "oci-layout")
	if _, err := os.Stat(marker); err == nil {
		return ctx.Err()
	}
	if err := replaceFile(marker, func(f io.Writer) error {
		_, err := io.WriteString(f, layoutFile)
		return err
	}); err != nil {
		return fmt.Errorf("write to %s: %w", p.root, err)
	}
	*added = append(*added, marker)
	return ctx.Err()
}

func (p *dirPlace) blob(it image.Item) string {
	return filepath.Join(p.root, filepath.FromSlash(image.BlobPath(it.Descriptor.Digest)))
}

// name puts the image into index.json, which makes it one, at once.
func (p *dirPlace) name(ctx context.Context, root v1.Descriptor) (bool, error) {
	fail := func(err error) (bool, error) { return false, fmt.Errorf("write to %s: %w", p.root, err) }
	path := filepath.Join(p.root, "index.json")
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, image.PathError("write to", p.root, err)
	}
	index, err := indexJSON(old, p.names.entries(root))
	if err != nil {
		return fail(err)
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if bytes.Equal(index, old) {
		return true, nil
	}
	if err := replaceFile(path, func(f io.Writer) error {
		_, err := f.Write(index)
		return err
	}); err != nil {
		return fail(err)
	}
	return true, nil
}

// replaceFile puts a file at name once write has succeeded.
func replaceFile(name string, write func(io.Writer) error) error {
	f, err := archive.CreateBeside(name)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 256<<10)
	err = errors.Join(write(b), b.Flush(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
