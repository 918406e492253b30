package image

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

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
)

// openInPlace finds the image's config document and layers in the engine's own
// directories: docker save makes a copy of every layer before it sends the
// first byte, and this needs none. It works where the engine stores layers with
// overlay2 on this machine and we may read there, as root may; elsewhere it
// changes nothing. An engine keeps a layer as a directory and the rest of its
// tar (headers, padding, the order of the files) in tar-split.json.gz, from
// which docker save puts the same tar together (moby layer/layer_store.go,
// assembleTarTo). Whatever is read is only believed for its digest.
func (im *Image) openInPlace() {
	e := im.daemon.engine
	if e.overlay == "" || len(im.DiffIDs) == 0 {
		return
	}
	id := digest.Digest(im.ID)
	if id.Validate() != nil {
		return
	}
	raw, err := os.ReadFile(filepath.Join(e.overlay, "image/overlay2/imagedb/content", id.Algorithm().String(), id.Encoded()))
	if err != nil || digest.FromBytes(raw) != id {
		return
	}
	chain := make([]digest.Digest, len(im.DiffIDs))
	for i, d := range im.DiffIDs {
		chain[i] = digest.Digest(d.String())
	}
	layers := make([]*blob, len(im.DiffIDs))
	for i, c := range identity.ChainIDs(chain) {
		stored := filepath.Join(e.overlay, "image/overlay2/layerdb", c.Algorithm().String(), c.Encoded())
		cache, err := os.ReadFile(filepath.Join(stored, "cache-id"))
		if err != nil {
			return
		}
		split := filepath.Join(stored, "tar-split.json.gz")
		diff := filepath.Join(e.overlay, "overlay2", strings.TrimSpace(string(cache)), "diff")
		if _, err := os.Stat(split); err != nil {
			return
		}
		layers[i] = &blob{
			object: layerName(i, len(im.DiffIDs), im.DiffIDs[i]), diffID: im.DiffIDs[i], dir: diff,
			open: func(context.Context) (io.ReadCloser, error) { return assembleTar(split, diff) },
		}
	}
	im.RawConfig, im.layers, im.daemon.inPlace = raw, layers, true
}

// leavePlace gives up reading in place: the image is read by docker save then.
func (im *Image) leavePlace() {
	im.daemon.inPlace = false
	im.layers = make([]*blob, len(im.DiffIDs))
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

var _ storage.FileGetter = (*layerFiles)(nil)

// UnpackedLayer is a layer that an engine has unpacked to a directory, and whose
// tar has been read and found right.
type UnpackedLayer struct {
	storedLayer
	files *layerFiles
}

// OpenFile opens the file that the layer has at a path without a leading slash.
// That it is what the tar has is for the caller to find out.
func (l *UnpackedLayer) OpenFile(name string) (io.ReadCloser, error) {
	if l.files == nil {
		files, err := openFiles(l.blob.dir)
		if err != nil {
			return nil, err
		}
		l.files = files
	}
	return l.files.Get(name)
}

// Close closes the layer's directory, which OpenFile has opened.
func (l *UnpackedLayer) Close() error {
	if l.files == nil {
		return nil
	}
	err := l.files.Close()
	l.files = nil
	return err
}
