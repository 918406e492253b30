package image

import (
	"context"
	"encoding/json"
	"io"

	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/progress"
)

type Options struct {
	Platform    string
	Client      func() (*client.Client, error)
	TempDir     string
	Warn        func(string)
	Display     progress.Display
	Compression Compression
	Force       bool
	Stdout      io.Writer
}
type Source struct {
	Ref    Ref
	ID     string
	Images []*Image
	Index  *Index
}

func (s *Source) Close() error { return nil }

type Index struct{}
type LayerSource interface {
	Open() (io.ReadCloser, error)
}
type Image struct {
	Ref      Ref
	Names    []string
	ID       string
	Platform v1.Platform
	DiffIDs  []v1.Hash
	Config   []byte
	Manifest *Manifest
}
type Manifest struct {
	v1.Manifest
	Raw        json.RawMessage
	Descriptor v1.Descriptor
}

func (im *Image) Read(ctx context.Context, keep func(i int) bool, visit func(i int, r io.Reader) error) (*Image, error) {
	return im, nil
}
func (im *Image) Layer(i int) LayerSource { return nil }
func (im *Image) CompressedSize() int64   { return 0 }

type NewImage struct {
	From        *Image
	Keep        int
	Write       func(ctx context.Context, w io.Writer) error
	Size        int64
	Config      func(diffIDs []v1.Hash) ([]byte, error)
	Annotations map[string]string
	Mark        string
}
type StoredImage struct {
	ConfigDigest v1.Hash
	Layer        v1.Descriptor
	DiffID       v1.Hash
	DiffIDs      []v1.Hash
	Compressed   int64
}
type Stored struct {
	ID     string
	Images []StoredImage
}

func (s *Stored) Name(ctx context.Context) error { return nil }
func (s *Stored) Discard() error                 { return nil }

type Found struct {
	Source *Source
	Stored *Stored
}
type Place interface {
	Ref() Ref
	Names() []string
	ReadsBase(ctx context.Context, im *Image, keep int) (bool, error)
	Existing(ctx context.Context, images []NewImage, index *Index) (*Found, error)
	Store(ctx context.Context, images []NewImage, index *Index) (*Stored, error)
}

func ParsePlatform(s string) (v1.Platform, error) { return v1.Platform{}, nil }

const MarkPrefix = "docker-flatten: "
