package engine

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"

	"docker-flatten/rebuild/image"
)

// inPlace reads an image's layers where the engine has them, unpacked or as blobs,
// and by docker save if that fails: what it sends has the last word.
type inPlace struct{ *savedImage }

// Read is image.Image.Read.
func (p inPlace) Read(ctx context.Context, im *image.Image, keep func(i int) bool, visit func(i int, r io.Reader) error) (*image.Image, error) {
	read, err := image.SideBySide{}.Read(ctx, im, keep, visit)
	if err == nil || ctx.Err() != nil {
		return read, err
	}
	return p.savedImage.Read(ctx, im, keep, visit)
}

// findInPlace finds the image's config document and layers in the engine's own
// directories: docker save makes a copy of every layer before it sends the
// first byte, and this needs none. It works where the engine stores layers with
// overlay2 on this machine and we may read there, as root may; elsewhere it
// returns nothing. An engine keeps a layer as a directory and the rest of its
// tar (headers, padding, the order of the files) in tar-split.json.gz, from
// which docker save puts the same tar together (moby layer/layer_store.go,
// assembleTarTo). Whatever is read is only believed for its digest.
func (e *engine) findInPlace(imageID string, diffIDs []v1.Hash) (config []byte, layers []*image.Layer) {
	if e.overlay == "" || len(diffIDs) == 0 {
		return nil, nil
	}
	id := digest.Digest(imageID)
	if id.Validate() != nil {
		return nil, nil
	}
	config, err := os.ReadFile(filepath.Join(e.overlay, "image/overlay2/imagedb/content", id.Algorithm().String(), id.Encoded()))
	if err != nil || digest.FromBytes(config) != id {
		return nil, nil
	}
	chain := make([]digest.Digest, len(diffIDs))
	for i, d := range diffIDs {
		chain[i] = digest.Digest(d.String())
	}
	for i, c := range identity.ChainIDs(chain) {
		stored := filepath.Join(e.overlay, "image/overlay2/layerdb", c.Algorithm().String(), c.Encoded())
		cache, err := os.ReadFile(filepath.Join(stored, "cache-id"))
		if err != nil {
			return nil, nil
		}
		split := filepath.Join(stored, "tar-split.json.gz")
		diff := filepath.Join(e.overlay, "overlay2", strings.TrimSpace(string(cache)), "diff")
		if _, err := os.Stat(split); err != nil {
			return nil, nil
		}
		l := image.NewLayer(image.LayerName(i, len(diffIDs), diffIDs[i]), diffIDs[i], func(context.Context) (io.ReadCloser, error) { return assembleTar(split, diff) })
		layers = append(layers, l.At(diff).Unpacked(func() (image.Files, error) { return openFiles(diff) }))
	}
	return config, layers
}

// assembleTar puts a layer's tar together from its directory and the rest of
// the tar.
func assembleTar(split, diff string) (io.ReadCloser, error) {
	f, err := os.Open(split)
	if err != nil {
		return nil, err
	}
	metadata, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	files, err := openFiles(diff)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	pr, pw := io.Pipe()
	go func() {
		w := bufio.NewWriterSize(pw, 1<<20) // headers come in small pieces
		err := asm.WriteOutputTarStream(files, splitEntries{json.NewDecoder(metadata)}, w)
		if err == nil {
			err = w.Flush()
		}
		pw.CloseWithError(errors.Join(err, files.Close(), f.Close()))
	}()
	return pr, nil
}

// splitEntries reads the entries of a tar-split.json.gz. The library's own reader
// also keeps every name, to refuse one that comes twice; the digest of what is
// put together tells that, and more, without the memory.
type splitEntries struct{ *json.Decoder }

func (s splitEntries) Next() (*storage.Entry, error) {
	e := &storage.Entry{}
	return e, s.Decode(e)
}

// layerFiles opens the files of a layer's directory, and no others: links in
// the layer don't lead out of it.
type layerFiles struct {
	root *os.Root
	dir  string   // the directory of the file before, which is nearly always the next one's …
	in   *os.Root // … and stays open
}

func openFiles(dir string) (*layerFiles, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &layerFiles{root: root, in: root}, nil
}

// Get opens one file.
func (l *layerFiles) Get(name string) (io.ReadCloser, error) {
	dir, base := path.Split(path.Clean("/" + name)[1:])
	if dir != l.dir {
		in := l.root
		if dir != "" {
			var err error
			if in, err = l.root.OpenRoot(dir); err != nil {
				return nil, err
			}
		}
		if err := l.leave(); err != nil {
			return nil, errors.Join(err, in.Close())
		}
		l.dir, l.in = dir, in
	}
	return l.in.Open(base)
}

func (l *layerFiles) leave() error {
	if l.in == l.root {
		return nil
	}
	return l.in.Close()
}

// Close closes the directories.
func (l *layerFiles) Close() error { return errors.Join(l.leave(), l.root.Close()) }

var (
	_ storage.FileGetter = (*layerFiles)(nil)
	_ image.Files        = (*layerFiles)(nil)
)
