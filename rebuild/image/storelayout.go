package image

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layoutFile is the contents of a layout's file oci-layout.
const layoutFile = `{"imageLayoutVersion":"1.0.0"}`

// checkLayout makes sure that path is a layout, or can become one.
func checkLayout(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return checkFile(filepath.Clean(path))
	case err != nil:
		return pathError("write to", path, err)
	case len(entries) == 0:
		return nil
	}
	if _, err := os.Stat(filepath.Join(path, "oci-layout")); err != nil {
		return &Error{Op: "write to", Object: path, Err: detail(ErrNotLayout, "the directory has other things in it, and no OCI layout")}
	}
	return nil
}

// toLayout adds the image to a layout directory, which it makes if there is
// none. Blobs come first; index.json, which makes them an image, comes last and
// at once.
func (w *storing) toLayout(ctx context.Context, images []NewImage) (stored *Stored, err error) {
	b, err := w.bundle(ctx, images, false)
	if err != nil {
		return nil, err
	}
	root := filepath.Clean(w.Ref.Path)
	_, statErr := os.Stat(root)
	isNew := errors.Is(statErr, os.ErrNotExist)
	var added []string
	defer func() {
		if err == nil {
			return
		}
		if isNew {
			err = errors.Join(err, os.RemoveAll(root))
			return
		}
		for _, name := range added {
			err = errors.Join(err, os.Remove(name))
		}
	}()
	if err := os.MkdirAll(filepath.Join(root, "blobs", "sha256"), 0o777); err != nil {
		return nil, pathError("write to", root, err)
	}
	for _, it := range b.all() {
		name := filepath.Join(root, filepath.FromSlash(blobPath(it.desc.Digest)))
		if info, err := os.Stat(name); err == nil && info.Size() == it.desc.Size {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return nil, pathError("write to", root, err)
		}
		if err := replaceFile(name, func(f io.Writer) error { return it.writeTo(ctx, f) }); err != nil {
			return nil, fmt.Errorf("write to %s: %w", root, err)
		}
		added = append(added, name)
	}
	if err := replaceFile(filepath.Join(root, "oci-layout"), func(f io.Writer) error {
		_, err := io.WriteString(f, layoutFile)
		return err
	}); err != nil {
		return nil, fmt.Errorf("write to %s: %w", root, err)
	}
	old, err := os.ReadFile(filepath.Join(root, "index.json"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, pathError("write to", root, err)
	}
	index, err := w.indexJSON(old, b.root)
	if err != nil {
		return nil, fmt.Errorf("write to %s: %w", root, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := replaceFile(filepath.Join(root, "index.json"), func(f io.Writer) error {
		_, err := f.Write(index)
		return err
	}); err != nil {
		return nil, fmt.Errorf("write to %s: %w", root, err)
	}
	return &Stored{ID: b.root.Digest.String(), Names: w.names, Images: b.images}, nil
}

// replaceFile puts a file at name once write has succeeded.
func replaceFile(name string, write func(io.Writer) error) error {
	f, err := createBeside(name)
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

// indexJSON is the layout's index.json with the new image in it. Images under
// other names stay; the same names now mean the new one.
func (w *storing) indexJSON(old []byte, root v1.Descriptor) ([]byte, error) {
	index, err := parseDocument(old)
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	var had struct {
		Manifests []json.RawMessage `json:"manifests"`
	}
	if len(old) > 0 {
		if err := json.Unmarshal(old, &had); err != nil {
			return nil, fmt.Errorf("index.json: %w", err)
		}
	}
	added := w.layoutEntries(root)
	list := []json.RawMessage{}
	for _, raw := range had.Manifests {
		var d v1.Descriptor
		if err := json.Unmarshal(raw, &d); err != nil {
			return nil, fmt.Errorf("index.json: %w", err)
		}
		if !replaced(d, added) {
			list = append(list, raw)
		}
	}
	for _, d := range added {
		raw, err := marshal(d)
		if err != nil {
			return nil, err
		}
		list = append(list, raw)
	}
	if err := index.set("schemaVersion", 2); err != nil {
		return nil, err
	}
	if len(old) == 0 || index["mediaType"] != nil {
		if err := index.set("mediaType", types.OCIImageIndex); err != nil {
			return nil, err
		}
	}
	if err := index.set("manifests", list); err != nil {
		return nil, err
	}
	return index.bytes(), nil
}

// replaced tells whether one of added takes the place of d: one with its name,
// or, where it has none, with its digest.
func replaced(d v1.Descriptor, added []v1.Descriptor) bool {
	for _, a := range added {
		name, full := d.Annotations[refNameAnnotation], d.Annotations[containerdNameAnnotation]
		sameName := name == a.Annotations[refNameAnnotation] && full == a.Annotations[containerdNameAnnotation]
		if sameName && (name+full != "" || d.Digest == a.Digest) {
			return true
		}
		if w := a.Annotations[containerdNameAnnotation]; w == "" && name != "" && name == a.Annotations[refNameAnnotation] {
			return true
		}
	}
	return false
}

// layoutEntries are index.json's entries for the image: one a name. The name
// that the destination's reference gives is the annotation that skopeo and
// umoci look for; other names are split as BuildKit and containerd do it, into
// the whole one and its tag.
func (w *storing) layoutEntries(root v1.Descriptor) []v1.Descriptor {
	if w.Ref.Name != "" {
		d := root
		d.Annotations = map[string]string{refNameAnnotation: w.Ref.Name}
		return []v1.Descriptor{d}
	}
	var entries []v1.Descriptor
	for _, n := range w.names {
		named, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			continue
		}
		named = reference.TagNameOnly(named)
		d := root
		d.Annotations = map[string]string{containerdNameAnnotation: named.String()}
		if tagged, ok := named.(reference.Tagged); ok {
			d.Annotations[refNameAnnotation] = tagged.Tag()
		}
		entries = append(entries, d)
	}
	if entries == nil {
		entries = []v1.Descriptor{root}
	}
	return entries
}

// toLayoutArchive writes a layout as a tar file.
func (w *storing) toLayoutArchive(ctx context.Context, images []NewImage) (*Stored, error) {
	b, err := w.bundle(ctx, images, false)
	if err != nil {
		return nil, err
	}
	err = w.toFile(ctx, func(out io.Writer) error { return w.writeLayout(ctx, out, b, nil) })
	if err != nil {
		return nil, err
	}
	return &Stored{ID: b.root.Digest.String(), Names: w.names, Images: b.images}, nil
}

// writeLayout writes a layout's tar without the layers that omit is true for.
func (w *storing) writeLayout(ctx context.Context, out io.Writer, b *bundle, omit func(*resultLayer) bool) error {
	t := tarball{tar.NewWriter(out)}
	if err := t.document("oci-layout", []byte(layoutFile)); err != nil {
		return err
	}
	for _, it := range b.all() {
		if it.layer != nil && omit != nil && omit(it.layer) {
			continue
		}
		if err := t.header(blobPath(it.desc.Digest), it.desc.Size); err != nil {
			return err
		}
		if err := it.writeTo(ctx, t); err != nil {
			return err
		}
	}
	index, err := w.indexJSON(nil, b.root)
	if err != nil {
		return err
	}
	if err := t.document("index.json", index); err != nil {
		return err
	}
	return t.Close()
}
