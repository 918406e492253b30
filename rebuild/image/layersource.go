package image

import (
	"context"
	"io"
)

// LayerSource is a layer that can be read as often as one likes: Open returns
// its uncompressed tar. One whose tar lies uncompressed in a file is an
// io.ReaderAt too, and one that an engine here has unpacked an *UnpackedLayer.
type LayerSource interface {
	Open() (io.ReadCloser, error)
}

// source returns the layer as something that can be read again.
func (l *Layer) source(ctx context.Context) LayerSource {
	kind := l.Kind()
	switch {
	case kind != "" && l.files != nil:
		return &UnpackedLayer{storedLayer: storedLayer{l, ctx}}
	case kind == Uncompressed && l.file != nil:
		return plainLayer{l.file}
	case kind != "" && l.file != nil:
		return packedLayer{file: l.file}
	}
	return &storedLayer{l, ctx}
}

// plainLayer is a layer whose tar lies in a file as it is.
type plainLayer struct{ File }

func (l plainLayer) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(l, 0, l.Size())), nil
}

// packedLayer is a layer that lies compressed in a file, and whose digests have
// been found right. They aren't taken again: whoever reads bodies a second time
// knows a hash of each.
type packedLayer struct{ file File } // whose bytes aren't the tar: no io.ReaderAt

func (l packedLayer) Open() (io.ReadCloser, error) {
	plain, _, err := Decompress(io.NewSectionReader(l.file, 0, l.file.Size()))
	return plain, err
}

// storedLayer is a layer that is read through its source each time.
type storedLayer struct {
	layer *Layer
	ctx   context.Context
}

func (l *storedLayer) Open() (io.ReadCloser, error) { return l.layer.Reader(l.ctx) }

// UnpackedLayer is a layer that an engine has unpacked to a directory, and whose
// tar has been read and found right.
type UnpackedLayer struct {
	storedLayer
	files Files
}

// OpenFile opens the file that the layer has at a path without a leading slash.
// That it is what the tar has is for the caller to find out.
func (l *UnpackedLayer) OpenFile(name string) (io.ReadCloser, error) {
	if l.files == nil {
		files, err := l.layer.files()
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
