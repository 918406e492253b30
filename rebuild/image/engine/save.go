package engine

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
	"docker-flatten/rebuild/progress"
)

// savedImage reads an image by docker save.
type savedImage struct {
	engine   *engine
	id       string
	platform *ocispec.Platform // to save of an index; nil where there is but one
	ref      image.Ref
	opt      image.Options
	spools   *image.Spools
}

// from is the engine that has the image.
func (d *savedImage) from() *engine { return d.engine }

// Read is image.Image.Read: it has the engine save the image, once, and delivers
// its layers.
func (d *savedImage) Read(ctx context.Context, im *image.Image, keep func(i int) bool, visit func(i int, r io.Reader) error) (*image.Image, error) {
	var ahead image.Ahead
	if d.platform == nil { // else layers of other platforms may come, too
		ahead = im.Ahead()
	}
	s, err := d.read(ctx, im.DiffIDs, keep, visit, ahead)
	if err != nil {
		return nil, err
	}
	read := *im
	read.Config, read.Manifest = s.config, s.manifest
	if read.Platform.OS == s.told.OS && read.Platform.Architecture == s.told.Architecture {
		read.Platform = s.told
	}
	return image.Make(ctx, read, s.layers, d), nil
}

func (d *savedImage) read(ctx context.Context, diffIDs []v1.Hash, keep func(i int) bool, visit func(i int, r io.Reader) error, ahead image.Ahead) (*saving, error) {
	n := len(diffIDs)
	s := &saving{
		savedImage: d, diffIDs: diffIDs, layers: make([]*image.Layer, n), keep: keep, visit: visit, done: make([]bool, n),
		byDigest: map[string][]int{}, legacy: newLegacyNames(diffIDs),
		documents: map[string][]byte{}, unknown: map[string]*os.File{},
	}
	again := &savedAgain{savedImage: d, diffIDs: diffIDs, kept: make([]bool, n)}
	s.kept = again.kept
	for i, id := range diffIDs {
		s.byDigest[id.Hex] = append(s.byDigest[id.Hex], i)
		s.layers[i] = image.NewLayer(image.LayerName(i, n, id), id, func(ctx context.Context) (io.ReadCloser, error) { return again.stored(ctx, i) })
	}
	defer s.dropUnknown()
	s.ahead = newReadings(ctx, ahead)
	defer s.ahead.stop()
	body, err := d.save(ctx)
	if err != nil {
		return nil, err
	}
	err = s.stream(ctx, body)
	if s.bar != nil {
		s.bar.Done(err)
	}
	if err := errors.Join(err, body.Close()); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return s, s.finish(ctx)
}

func (d *savedImage) save(ctx context.Context) (io.ReadCloser, error) {
	var opts []client.ImageSaveOption
	if d.platform != nil {
		opts = append(opts, client.ImageSaveWithPlatforms(*d.platform))
	}
	body, err := d.engine.ImageSave(ctx, []string{d.id}, opts...)
	if d.platform != nil && (isNotFound(err) || cerrdefs.IsConflict(err)) {
		// An engine knows an image's platform by what the index says, and tells
		// what the config says. Where these differ only the whole can be had.
		body, err = d.engine.ImageSave(ctx, []string{d.id})
	}
	if err != nil {
		return nil, explain(d.engine.Client, "save", d.id, err)
	}
	return body, nil
}

// configDigest is the digest of the image's config document as far as its ID
// tells it.
func (d *savedImage) configDigest() string {
	if d.engine.store == containerdStore {
		return ""
	}
	if d.engine.store == podmanStore {
		return "sha256:" + strings.TrimPrefix(d.id, "sha256:")
	}
	return d.id
}

// savedAgain has the layers of an image that weren't kept when it was read: the
// engine saves the image once more, and then every such layer is spooled.
type savedAgain struct {
	*savedImage
	diffIDs []v1.Hash
	kept    []bool

	mu     sync.Mutex
	layers []*image.Layer // what the second docker save brought, nil before it
}

// stored returns the stored bytes of a layer.
func (a *savedAgain) stored(ctx context.Context, i int) (io.ReadCloser, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.layers == nil {
		s, err := a.read(ctx, a.diffIDs, func(j int) bool { return !a.kept[j] }, func(_ int, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		}, nil)
		if err != nil {
			return nil, err
		}
		a.layers = s.layers
	}
	return a.layers[i].Stored(ctx)
}

// saving is one docker save on its way from the engine.
//
// What the stream looks like depends on the engine: <v1 ID>/layer.tar (up to
// Docker 24; equal layers are symbolic links), blobs/sha256/<diff ID>
// (Docker 25 and newer), blobs/sha256/<digest> of stored, compressed layers
// (containerd's store), <diff ID>.tar (podman). Which file is which layer is
// said by manifest.json, at the end. Most names tell it earlier, and then the
// layer is visited as it passes; one whose name doesn't is spooled until then, and
// read ahead where that is wanted.
type saving struct {
	*savedImage
	diffIDs []v1.Hash
	layers  []*image.Layer
	keep    func(i int) bool
	visit   func(i int, r io.Reader) error
	done    []bool // visited
	kept    []bool // lies in a file that stays

	byDigest  map[string][]int // the layers that have a diff ID, by its hexadecimal part
	legacy    *legacyNames
	documents map[string][]byte
	unknown   map[string]*os.File // spooled files of which it isn't known what they are
	bar       progress.Bar        // of what is spooled so, nil before the first
	ahead     *readings           // of the unknown files

	config   []byte // these come at the end
	manifest *image.Manifest
	told     v1.Platform // by the config document
}

// stream takes in everything that the engine writes.
func (s *saving) stream(ctx context.Context, body io.Reader) error {
	b := bufio.NewReaderSize(image.Until(ctx, body), 1<<20)
	tr := tar.NewReader(b)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			// what follows the end of the tar is the rest of its padding
			_, err := io.Copy(io.Discard, b)
			return s.broken(err)
		}
		if err != nil {
			return s.broken(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := s.file(ctx, archive.CleanMember(h.Name), h.Size, tr); err != nil {
			return err
		}
	}
}

// broken explains the end of a stream in its middle.
func (s *saving) broken(err error) error {
	var own *image.Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = image.Detail(image.ErrTruncated, "the engine ended the stream early")
	}
	return &image.Error{Op: "save", Object: s.id, Err: err, Hint: image.SpaceHint(err)}
}

// file takes in one file of the stream.
func (s *saving) file(ctx context.Context, name string, size int64, r io.Reader) error {
	indexes := s.layersOf(name)
	if indexes != nil {
		return s.deliver(ctx, indexes, r)
	}
	b := bufio.NewReader(r)
	head, err := b.Peek(1)
	if err != nil && err != io.EOF {
		return s.broken(err)
	}
	if bytes.ContainsAny(head, "{[") && size <= image.LargestDocument || smallFiles[path.Base(name)] {
		doc, err := io.ReadAll(b)
		if err != nil {
			return s.broken(err)
		}
		if want, ok := blobDigest(name); ok && image.DigestOf(doc) != want {
			return &image.Error{Op: "save", Object: s.id, Err: image.Detail(image.ErrDigest, "digest mismatch: %s", name)}
		}
		s.documents[name] = doc
		if path.Base(name) == "json" {
			s.legacy.learn(path.Base(path.Dir(name)), doc)
		}
		return nil
	}
	f, err := s.spools.Create()
	if err != nil {
		return err
	}
	s.unknown[name] = f
	if s.bar == nil {
		s.bar = s.opt.Start(progress.Saving, s.ref.String(), 0)
	}
	ahead := s.ahead.start(f, name, size)
	_, err = io.Copy(image.Counting(ahead, s.bar), b)
	ahead.end()
	return s.broken(err)
}

// blobDigest is the digest of a file's bytes, where its name is that of a blob.
func blobDigest(name string) (digest v1.Hash, ok bool) {
	hex := archive.DigestInName(name)
	return v1.Hash{Algorithm: "sha256", Hex: hex}, strings.HasPrefix(name, "blobs/") && hex != ""
}

// smallFiles are the other files of a stream that aren't layers.
var smallFiles = map[string]bool{"VERSION": true, "oci-layout": true, "json": true, "repositories": true}

// layersOf are the layers that a file holds, as far as its name tells; nil if
// it doesn't.
func (s *saving) layersOf(name string) []int {
	digest := archive.DigestInName(name)
	if indexes, ok := s.byDigest[digest]; ok {
		return indexes
	}
	if path.Base(name) == "layer.tar" && digest != "" {
		if i, ok := s.legacy.find(digest); ok {
			return s.byDigest[s.diffIDs[i].Hex]
		}
	}
	return nil
}

// deliver visits a layer that is on its way. The same contents at several
// places of the image are in the stream once.
func (s *saving) deliver(ctx context.Context, indexes []int, r io.Reader) error {
	first := indexes[0]
	if s.done[first] {
		_, err := io.Copy(io.Discard, r)
		return s.broken(err)
	}
	var spool *os.File
	if len(indexes) > 1 || slices.ContainsFunc(indexes, s.keep) {
		f, err := s.spools.Create()
		if err != nil {
			return err
		}
		spool, r = f, io.TeeReader(r, f)
	}
	lr, err := s.layers[first].Verify(ctx, io.NopCloser(r))
	if err != nil {
		return err
	}
	err = image.VisitLayer(lr, first, s.visit)
	if err := errors.Join(err, lr.Close()); err != nil {
		return err
	}
	s.done[first] = true
	if spool == nil {
		return nil
	}
	return s.fromSpool(ctx, spool, indexes)
}

// fromSpool makes a spooled file the contents of layers, visits those that
// weren't visited yet, and keeps the file as long as one of them is kept.
func (s *saving) fromSpool(ctx context.Context, spool *os.File, indexes []int) error {
	info, err := spool.Stat()
	if err != nil {
		return err
	}
	contents := io.NewSectionReader(spool, 0, info.Size())
	kept := false
	for _, i := range indexes {
		l := s.layers[i].InFile(contents)
		if !s.done[i] {
			lr, err := l.Reader(ctx)
			if err != nil {
				return err
			}
			if err := errors.Join(image.VisitLayer(lr, i, s.visit), lr.Close()); err != nil {
				return err
			}
			s.done[i] = true
		}
		if s.keep(i) {
			s.layers[i], s.kept[i], kept = l, true, true
		}
	}
	if !kept {
		return s.spools.Drop(spool)
	}
	return nil
}

// finish reads the config document and delivers what has been waiting for
// manifest.json.
func (s *saving) finish(ctx context.Context) error {
	fail := func(err error) error { return &image.Error{Op: "save", Object: s.id, Err: err} }
	var saved []archive.SavedImage
	if err := json.Unmarshal(s.documents["manifest.json"], &saved); err != nil {
		return fail(fmt.Errorf("the engine's manifest.json: %w", err))
	}
	if len(saved) > 1 {
		saved = slices.DeleteFunc(saved, func(other archive.SavedImage) bool { // another platform's
			_, diffIDs, err := image.ParseConfig(s.documents[archive.CleanMember(other.Config)])
			return err != nil || !slices.Equal(diffIDs, s.diffIDs)
		})
	}
	if len(saved) != 1 {
		return fail(fmt.Errorf("the engine's manifest.json lists %d such images, not one", len(saved)))
	}
	config, ok := s.documents[archive.CleanMember(saved[0].Config)]
	if !ok {
		return s.lacks("the config document")
	}
	if want := s.configDigest(); want != "" && image.DigestOf(config).String() != want {
		return fail(image.Detail(image.ErrDigest, "digest mismatch: the config document is %s", image.DigestOf(config)))
	}
	platform, diffIDs, err := image.ParseConfig(config)
	if err != nil {
		return fail(err)
	}
	if !slices.Equal(diffIDs, s.diffIDs) {
		return fail(errors.New("the config document lists other layers than the engine said"))
	}
	if len(saved[0].Layers) != len(diffIDs) {
		return fail(fmt.Errorf("the engine's manifest.json lists %d layers, the config has %d", len(saved[0].Layers), len(diffIDs)))
	}
	s.config, s.told = config, platform
	if err := s.deliverWaiting(ctx, saved[0].Layers); err != nil {
		return err
	}
	for i, done := range s.done {
		if !done {
			return s.lacks(s.layers[i].String())
		}
	}
	return s.findManifest()
}

// lacks says that the stream is whole, but without a part. A containerd store leaves
// out layers that may not be distributed, and everything where it lacks one blob: it
// pulls no layer that it has unpacked from another blob.
func (s *saving) lacks(part string) error {
	err := &image.Error{Op: "save", Object: s.id, Err: fmt.Errorf("%s isn't in the engine's stream", part)}
	if s.engine.store == containerdStore {
		err.Hint = "the engine doesn't have, or doesn't give away, all that the image consists of; docker://NAME reads it from its registry"
	}
	return err
}

// deliverWaiting visits the layers that had to wait for manifest.json, in
// parallel, for they lie in files now. Those that were read ahead are settled.
func (s *saving) deliverWaiting(ctx context.Context, layers []string) error {
	places := map[string][]int{}
	for i, name := range layers {
		if name = archive.CleanMember(name); !s.done[i] && s.unknown[name] != nil {
			places[name] = append(places[name], i)
		}
	}
	// a layer without a file of its own is a symbolic link to an equal one
	for i, name := range layers {
		if s.done[i] || s.unknown[archive.CleanMember(name)] != nil {
			continue
		}
		for other, indexes := range places {
			if s.diffIDs[indexes[0]] == s.diffIDs[i] {
				places[other] = append(indexes, i)
				break
			}
		}
	}
	for name, spool := range s.unknown {
		if places[name] == nil {
			s.ahead.drop(spool)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for name, indexes := range places {
		spool := s.unknown[name]
		delete(s.unknown, name)
		if digest, ok := blobDigest(name); ok {
			for _, i := range indexes {
				s.layers[i].Describe(v1.Descriptor{Digest: digest}, nil)
			}
		}
		if first := indexes[0]; s.ahead.settle(spool, s.layers[first], first) {
			s.done[first] = true
		}
		g.Go(func() error { return s.fromSpool(ctx, spool, indexes) })
	}
	return g.Wait()
}

// findManifest looks for the image's manifest in the layout that newer engines
// write besides. A graphdriver store has none, and makes one up.
func (s *saving) findManifest() error {
	raw, ok := s.documents["index.json"]
	if !ok || s.engine.store != containerdStore {
		return nil
	}
	var err error
	s.manifest, err = image.FindManifest(raw, image.DigestOf(s.config), s.diffIDs, func(h v1.Hash) ([]byte, bool, error) {
		doc, ok := s.documents[image.BlobPath(h)]
		return doc, ok, nil
	})
	if err == nil && s.manifest != nil {
		err = s.manifest.Describe(s.layers)
	}
	if err != nil {
		return &image.Error{Op: "save", Object: s.id, Err: err}
	}
	return nil
}

func (s *saving) dropUnknown() {
	for _, f := range s.unknown {
		_ = s.spools.Drop(f) // the space comes back with Source.Close at the latest
	}
}
