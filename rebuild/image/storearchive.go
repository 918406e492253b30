package image

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// toDockerArchive writes the file that docker save would write: the layers, the
// config document, manifest.json, and repositories for what is older than that.
func (w *storing) toDockerArchive(ctx context.Context, images []NewImage) (*Stored, error) {
	if err := w.onePlatform(images, "a docker-archive"); err != nil {
		return nil, err
	}
	kept := kindOfKept(images[0])
	c := w.compression.or(kept)
	if c.Kind == Zstandard || kept == Zstandard {
		w.opt.warn("layers compressed with zstd can't be loaded by Docker older than 23.0")
	} else if images[0].Keep > 0 && images[0].Write != nil && c.Kind != kept {
		w.opt.warn("layers compressed in different ways can't be read by every tool: --compression %s is the base's", kept)
	}
	n, err := w.make(ctx, images[0], c)
	if err != nil {
		return nil, err
	}
	id := digestOfBytes(n.config)
	err = w.toFile(ctx, func(out io.Writer) error { return w.writeDockerArchive(ctx, out, n) })
	if err != nil {
		return nil, err
	}
	return &Stored{ID: id.String(), Names: w.names, Images: []StoredImage{n.stored(v1.Descriptor{}, v1.Descriptor{})}}, nil
}

// kindOfKept is the compression of the layers that an image keeps, Gzip where it
// keeps none: some readers take the first layer's for that of all.
func kindOfKept(n NewImage) string {
	if n.Keep == 0 {
		return Gzip
	}
	b := n.From.layers[0]
	if b == nil {
		return Uncompressed // an engine's
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kind == Gzip || b.kind == Zstandard {
		return b.kind
	}
	return Uncompressed
}

// toFile writes a file beside its final name, and renames it once it is
// complete. Stdout, a device and a pipe get what is written as it comes.
func (w *storing) toFile(ctx context.Context, write func(io.Writer) error) (err error) {
	if w.Ref.Path == "-" {
		b := bufio.NewWriterSize(os.Stdout, 1<<20)
		if err := errors.Join(write(b), b.Flush()); err != nil {
			return fmt.Errorf("write to stdout: %w", err)
		}
		return nil
	}
	path, special, err := destinationOf(w.Ref.Path)
	if err != nil {
		return pathError("write", w.Ref.Path, err)
	}
	if special {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return pathError("write", w.Ref.Path, err)
		}
		b := bufio.NewWriterSize(f, 1<<20)
		if err := errors.Join(write(b), b.Flush(), f.Close()); err != nil {
			return fmt.Errorf("write %s: %w", w.Ref.Path, err)
		}
		return nil
	}
	f, err := createBeside(path)
	if err != nil {
		return pathError("write", w.Ref.Path, err)
	}
	defer func() {
		if err != nil {
			f.Close() // the cause is known, and nothing will be read from it
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	b := bufio.NewWriterSize(f, 1<<20)
	if err := errors.Join(write(b), b.Flush()); err != nil {
		return fmt.Errorf("write %s: %w", w.Ref.Path, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", w.Ref.Path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write %s: %w", w.Ref.Path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return pathError("write", w.Ref.Path, err)
	}
	return nil
}

// destinationOf is the file that path leads to, since renaming would put a file
// in the place of a symbolic link. special tells that it is one that no file
// may take the place of, as /dev/null is.
func destinationOf(path string) (real string, special bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, false, nil
	}
	if err != nil {
		return "", false, err
	}
	if !info.Mode().IsRegular() {
		return path, true, nil
	}
	real, err = filepath.EvalSymlinks(path)
	return real, false, err
}

// createBeside makes a temporary file in the directory of path, with the mode
// that a new file has there (os.CreateTemp's would be private).
func createBeside(path string) (*os.File, error) {
	for {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%08x", filepath.Base(path), rand.Uint32()))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// tarball writes a tar file whose bytes depend on nothing but the contents.
type tarball struct {
	*tar.Writer
}

// header starts a member of size bytes.
func (t tarball) header(name string, size int64) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if size >= 8<<30 { // what 11 octal digits can't say
		h.Format = tar.FormatGNU
	}
	return t.WriteHeader(h)
}

func (t tarball) document(name string, doc []byte) error {
	if err := t.header(name, int64(len(doc))); err != nil {
		return err
	}
	_, err := t.Write(doc)
	return err
}

func (t tarball) file(name string, f sizedReaderAt) error {
	if err := t.header(name, f.Size()); err != nil {
		return err
	}
	_, err := io.Copy(t, io.NewSectionReader(f, 0, f.Size()))
	return err
}

func (t tarball) blob(ctx context.Context, name string, b *blob) error {
	size, err := b.storedSize(ctx)
	if err != nil {
		return err
	}
	if err := t.header(name, size); err != nil {
		return err
	}
	return b.copyTo(ctx, t, size)
}

// writeDockerArchive writes the layers under their diff IDs, as skopeo does:
// equal ones are one file.
func (w *storing) writeDockerArchive(ctx context.Context, out io.Writer, n *newImage) error {
	t := tarball{tar.NewWriter(out)}
	id := digestOfBytes(n.config)
	saved := savedImage{Config: id.Hex + ".json", RepoTags: tagNames(w.names), Layers: []string{}}
	written := map[string]bool{}
	for i, d := range n.diffIDs {
		name := d.Hex + ".tar"
		saved.Layers = append(saved.Layers, name)
		if written[name] {
			continue
		}
		written[name] = true
		var err error
		if i < n.Keep {
			err = t.blob(ctx, name, n.base()[i])
		} else {
			err = t.file(name, n.layer.file)
		}
		if err != nil {
			return err
		}
	}
	if err := t.document(saved.Config, n.config); err != nil {
		return err
	}
	manifest, err := json.Marshal([]savedImage{saved})
	if err != nil {
		return err
	}
	if err := t.document("manifest.json", append(manifest, '\n')); err != nil {
		return err
	}
	return t.Close()
}

// tagNames are names in the form that docker shows: without docker.io and
// library, with a tag. What is no name, such as <none>:<none>, is left out.
func tagNames(names []string) []string {
	var tags []string
	for _, n := range names {
		named, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			continue
		}
		if tagged, ok := reference.TagNameOnly(named).(reference.Tagged); ok {
			tags = append(tags, reference.FamiliarName(named)+":"+tagged.Tag())
		}
	}
	return tags
}

// stored is the account of the image for Stored.
func (n *newImage) stored(manifest, layer v1.Descriptor) StoredImage {
	s := StoredImage{ConfigDigest: digestOfBytes(n.config), Manifest: manifest, Layer: layer, DiffIDs: n.diffIDs}
	if n.layer != nil {
		s.DiffID = n.layer.diffID
		if layer.Digest == (v1.Hash{}) {
			s.Layer = v1.Descriptor{Digest: n.layer.digest, Size: n.layer.size, MediaType: layerType(n.layer.kind, true)}
		}
	}
	return s
}
