// Package image opens images and stores them: in a Docker Engine, in
// docker-archives, in OCI layouts and their archives, in registries. Layers and
// configs pass through it byte for byte, and every digest is checked on reading.
package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// Options are what opening a source and opening a destination have in common.
// The zero value is usable.
type Options struct {
	Platform string                         // os/arch[/variant]; "" = every platform of an index, an engine's own
	Client   func() (*client.Client, error) // the engine, asked for only when one is needed; nil = NewClient("", "")
	TempDir  string                         // for temporary files; "" = os.TempDir()
	Warn     func(string)                   // takes one line for the user; nil = the line is dropped
}

func (o Options) warn(format string, args ...any) {
	if o.Warn != nil {
		o.Warn(fmt.Sprintf(format, args...))
	}
}

func (o Options) engine() (*client.Client, error) {
	if o.Client != nil {
		return o.Client()
	}
	return NewClient("", "")
}

// Source is an image, or an index of images for several platforms, that was
// found and can be read.
type Source struct {
	Ref    Ref        // with the transport that a bare path turned out to be
	Images []*Image   // one a platform, in the index's order
	Index  *IndexInfo // nil unless the reference named an index and no platform was chosen of it

	temp   spools
	closer []io.Closer
}

// IndexInfo is the index that a reference named.
type IndexInfo struct {
	MediaType   types.MediaType
	Annotations map[string]string
	Raw         []byte // as stored; nil when it was made up of a layout's unnamed entries

	descriptor v1.Descriptor
	entries    []indexEntry
}

// indexEntry is what an index lists: an image, or another index.
type indexEntry struct {
	raw   json.RawMessage // the descriptor to the letter
	image *Image
	index *IndexInfo
}

// Image is one image for one platform.
type Image struct {
	Ref        Ref
	Names      []string // repo:tag names that the source gives it
	ID         string   // what the source calls it: engine image ID, manifest digest, or config digest
	Platform   v1.Platform
	DiffIDs    []v1.Hash     // of its layers, lowest first
	RawConfig  []byte        // the config document byte for byte; of an engine's image it may be known only after Read
	Manifest   *v1.Manifest  // as stored; nil where the source has none
	Descriptor v1.Descriptor // the manifest's, as its index has it; zero where there is none
	Parents    []Parent      // engine images only: what it was built on, nearest first, as far as the engine still knows

	rawManifest []byte
	layers      []*blob // as many as DiffIDs; of an engine's image that can't be read in place nil before Read
	daemon      *daemonImage
	registry    *registrySource
	temp        *spools
	ctx         context.Context // of Open: for readings that no call's context covers
}

// Parent is an image that another was built on by the classic builder.
type Parent struct {
	ID      string
	Names   []string
	DiffIDs []v1.Hash
}

// Open finds the image that ref names. Configs and manifests are read, and
// their digests checked; layers are left to Image.Read. Close the source when
// its images have been stored.
func Open(ctx context.Context, ref Ref, opt Options) (*Source, error) {
	src := &Source{Ref: ref, temp: spools{dir: opt.TempDir}}
	var err error
	switch ref.Transport {
	case Daemon:
		err = src.openDaemon(ctx, opt)
	case Archive, LayoutArchive, Layout, AnyFile:
		err = src.openPath(ctx, opt)
	case Registry:
		err = src.openRegistry(ctx, opt)
	default:
		err = fmt.Errorf("open %s: %w: transport %q", ref, ErrFormat, ref.Transport)
	}
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	for _, im := range src.Images {
		im.temp, im.ctx = &src.temp, ctx
		im.Ref = src.Ref
	}
	return src, nil
}

// ID is what Store would have called the image when it stored it where this
// source is: a registry's name@digest, the digest of an index or a manifest, or
// an engine's or docker-archive's image ID.
func (s *Source) ID() string {
	id := s.Images[0].ID
	if s.Index != nil {
		id = s.Index.descriptor.Digest.String()
	}
	if s.Ref.Transport == Registry {
		if r, err := name.ParseReference(s.Ref.Name); err == nil {
			return r.Context().Digest(id).String()
		}
	}
	return id
}

// Close gives back the source's files and temporary space.
func (s *Source) Close() error {
	errs := []error{s.temp.Close()}
	for _, c := range s.closer {
		errs = append(errs, c.Close())
	}
	s.closer = nil
	return errors.Join(errs...)
}

// Read delivers the uncompressed tar of every layer exactly once, in the order
// and with the parallelism that the source allows: visit is called from several
// goroutines at a time, and reads to EOF. The digests of blobs and tars are
// checked; a mismatch is an ErrDigest that names the layer. Layers for which
// keep is true can be read again through Layer cheaply; where the source can
// only be read in one stream, or over a network, they are spooled for that.
func (im *Image) Read(ctx context.Context, keep func(i int) bool, visit func(i int, r io.Reader) error) error {
	if keep == nil {
		keep = func(int) bool { return false }
	}
	if im.daemon == nil {
		return im.readLayers(ctx, keep, visit)
	}
	if im.daemon.inPlace {
		err := im.readLayers(ctx, keep, visit)
		if err == nil || ctx.Err() != nil {
			return err
		}
		// What docker save sends has the last word.
		im.leavePlace()
	}
	return im.daemon.read(ctx, im, keep, visit)
}

// readLayers reads the layers of a source that has them side by side.
func (im *Image) readLayers(ctx context.Context, keep func(i int) bool, visit func(i int, r io.Reader) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, min(runtime.GOMAXPROCS(0), len(im.layers))))
	for i, b := range im.layers {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if im.registry != nil && keep(i) {
				return im.readSpooled(ctx, b, i, visit)
			}
			r, err := b.reader(ctx)
			if err != nil {
				return err
			}
			return errors.Join(visitLayer(r, i, visit), r.Close())
		})
	}
	return g.Wait()
}

// visitLayer has one layer visited and makes sure that it was read to its end,
// where the digests are checked. The reader's own error comes before the
// visitor's, which is usually its consequence.
func visitLayer(r io.Reader, i int, visit func(i int, r io.Reader) error) error {
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

// Layer returns the i-th layer for another reading, nil if that is impossible.
// Of an engine's image, a layer that Read wasn't told to keep costs another
// docker save, which happens at its first Open.
func (im *Image) Layer(i int) LayerSource {
	if i < 0 || i >= len(im.layers) || im.layers[i] == nil {
		return nil
	}
	return im.layers[i].source(im.ctx)
}

// parseConfig reads the two things of a config document that this package
// needs to know.
func parseConfig(raw []byte) (platform v1.Platform, diffIDs []v1.Hash, err error) {
	var c struct {
		OS           string   `json:"os"`
		Architecture string   `json:"architecture"`
		Variant      string   `json:"variant"`
		OSVersion    string   `json:"os.version"`
		OSFeatures   []string `json:"os.features"`
		RootFS       struct {
			DiffIDs []v1.Hash `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return v1.Platform{}, nil, fmt.Errorf("config document: %w", err)
	}
	return v1.Platform{
		OS: c.OS, Architecture: c.Architecture, Variant: c.Variant, OSVersion: c.OSVersion, OSFeatures: c.OSFeatures,
	}, c.RootFS.DiffIDs, nil
}
