package image

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

	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// saving is one docker save on its way from the engine.
//
// What the stream looks like depends on the engine: <v1 ID>/layer.tar (up to
// Docker 24; equal layers are symbolic links), blobs/sha256/<diff ID>
// (Docker 25 and newer), blobs/sha256/<digest> of stored, compressed layers
// (containerd's store), <diff ID>.tar (podman). Which file is which layer is
// said by manifest.json, at the end. Most names tell it earlier, and then the
// layer is visited as it passes; one whose name doesn't is spooled until then.
type saving struct {
	im    *Image
	keep  func(i int) bool
	visit func(i int, r io.Reader) error
	done  []bool // visited

	byDigest  map[string][]int // the layers that have a diff ID, by its hexadecimal part
	legacy    *legacyNames
	documents map[string][]byte
	unknown   map[string]*os.File // spooled files of which it isn't known what they are
}

// read has the engine save the image, once, and delivers its layers.
func (d *daemonImage) read(ctx context.Context, im *Image, keep func(i int) bool, visit func(i int, r io.Reader) error) error {
	s := &saving{
		im: im, keep: keep, visit: visit, done: make([]bool, len(im.DiffIDs)),
		byDigest: map[string][]int{}, legacy: newLegacyNames(im.DiffIDs),
		documents: map[string][]byte{}, unknown: map[string]*os.File{},
	}
	for i, id := range im.DiffIDs {
		s.byDigest[id.Hex] = append(s.byDigest[id.Hex], i)
		b := &blob{object: layerName(i, len(im.DiffIDs), id), diffID: id}
		b.open = func(ctx context.Context) (io.ReadCloser, error) { return d.saveAgain(ctx, im, i) }
		im.layers[i] = b
	}
	defer s.dropUnknown()
	body, err := d.save(ctx)
	if err != nil {
		return err
	}
	err = s.stream(ctx, body)
	if err := errors.Join(err, body.Close()); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	return s.finish(ctx)
}

func (d *daemonImage) save(ctx context.Context) (io.ReadCloser, error) {
	var opts []client.ImageSaveOption
	if d.platform != nil {
		opts = append(opts, client.ImageSaveWithPlatforms(*d.platform))
	}
	body, err := d.engine.ImageSave(ctx, []string{d.id}, opts...)
	if err != nil {
		return nil, engineError(d.engine.Client, "save", d.id, err)
	}
	return body, nil
}

// stream takes in everything that the engine writes.
func (s *saving) stream(ctx context.Context, body io.Reader) error {
	b := bufio.NewReaderSize(&cancelled{ctx, body}, 1<<20)
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
		if err := s.file(ctx, cleanMember(h.Name), h.Size, tr); err != nil {
			return err
		}
	}
}

// broken explains the end of a stream in its middle.
func (s *saving) broken(err error) error {
	var own *Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = detail(ErrTruncated, "the engine ended the stream early")
	}
	return &Error{Op: "save", Object: s.im.ID, Err: err, Hint: spaceHint(err)}
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
	if bytes.ContainsAny(head, "{[") && size <= largestDocument || smallFiles[path.Base(name)] {
		doc, err := io.ReadAll(b)
		if err != nil {
			return s.broken(err)
		}
		if want := digestInName(name); strings.HasPrefix(name, "blobs/") && want != "" && digestOfBytes(doc).Hex != want {
			return &Error{Op: "save", Object: s.im.ID, Err: detail(ErrDigest, "digest mismatch: %s", name)}
		}
		s.documents[name] = doc
		if path.Base(name) == "json" {
			s.legacy.learn(path.Base(path.Dir(name)), doc)
		}
		return nil
	}
	f, err := s.im.temp.create()
	if err != nil {
		return err
	}
	s.unknown[name] = f
	if _, err := io.Copy(f, b); err != nil {
		return s.broken(err)
	}
	return nil
}

// smallFiles are the other files of a stream that aren't layers.
var smallFiles = map[string]bool{"VERSION": true, "oci-layout": true, "json": true, "repositories": true}

// layersOf are the layers that a file holds, as far as its name tells; nil if
// it doesn't.
func (s *saving) layersOf(name string) []int {
	digest := digestInName(name)
	if indexes, ok := s.byDigest[digest]; ok {
		return indexes
	}
	if path.Base(name) == "layer.tar" && digest != "" {
		if i, ok := s.legacy.find(digest); ok {
			return s.byDigest[s.im.DiffIDs[i].Hex]
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
		f, err := s.im.temp.create()
		if err != nil {
			return err
		}
		spool, r = f, io.TeeReader(r, f)
	}
	b := s.im.layers[first]
	lr, err := b.verify(ctx, io.NopCloser(r))
	if err != nil {
		return err
	}
	err = visitLayer(lr, first, s.visit)
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
		b := s.im.layers[i]
		again := b.open
		b.open = section(contents)
		if !s.done[i] {
			lr, err := b.reader(ctx)
			if err != nil {
				return err
			}
			if err := errors.Join(visitLayer(lr, i, s.visit), lr.Close()); err != nil {
				return err
			}
			s.done[i] = true
		}
		if s.keep(i) {
			b.file, kept = contents, true
		} else {
			b.open = again
		}
	}
	if !kept {
		return s.im.temp.drop(spool)
	}
	return nil
}

// finish reads the config document and delivers what has been waiting for
// manifest.json.
func (s *saving) finish(ctx context.Context) error {
	fail := func(err error) error { return &Error{Op: "save", Object: s.im.ID, Err: err} }
	var saved []savedImage
	if err := json.Unmarshal(s.documents["manifest.json"], &saved); err != nil {
		return fail(fmt.Errorf("the engine's manifest.json: %w", err))
	}
	if len(saved) != 1 {
		return fail(fmt.Errorf("the engine's manifest.json lists %d images, not one", len(saved)))
	}
	config, ok := s.documents[cleanMember(saved[0].Config)]
	if !ok {
		return fail(errors.New("the engine's stream has no config document"))
	}
	if want := s.im.daemon.configDigest(); want != "" && digestOfBytes(config).String() != want {
		return fail(detail(ErrDigest, "digest mismatch: the config document is %s", digestOfBytes(config)))
	}
	platform, diffIDs, err := parseConfig(config)
	if err != nil {
		return fail(err)
	}
	if !slices.Equal(diffIDs, s.im.DiffIDs) {
		return fail(errors.New("the config document lists other layers than the engine said"))
	}
	if len(saved[0].Layers) != len(diffIDs) {
		return fail(fmt.Errorf("the engine's manifest.json lists %d layers, the config has %d", len(saved[0].Layers), len(diffIDs)))
	}
	s.im.RawConfig = config
	if s.im.Platform.OS == platform.OS && s.im.Platform.Architecture == platform.Architecture {
		s.im.Platform = platform
	}
	if err := s.deliverWaiting(ctx, saved[0].Layers); err != nil {
		return err
	}
	for i, done := range s.done {
		if !done {
			return fail(fmt.Errorf("%s isn't in the engine's stream", s.im.layers[i].object))
		}
	}
	return s.findManifest()
}

// deliverWaiting visits the layers that had to wait for manifest.json, in
// parallel, for they lie in files now.
func (s *saving) deliverWaiting(ctx context.Context, layers []string) error {
	places := map[string][]int{}
	for i, name := range layers {
		if name = cleanMember(name); !s.done[i] && s.unknown[name] != nil {
			places[name] = append(places[name], i)
		}
	}
	// a layer without a file of its own is a symbolic link to an equal one
	for i, name := range layers {
		if s.done[i] || s.unknown[cleanMember(name)] != nil {
			continue
		}
		for other, indexes := range places {
			if s.im.DiffIDs[indexes[0]] == s.im.DiffIDs[i] {
				places[other] = append(indexes, i)
				break
			}
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for name, indexes := range places {
		spool := s.unknown[name]
		delete(s.unknown, name)
		if want := digestInName(name); strings.HasPrefix(name, "blobs/") && want != "" {
			for _, i := range indexes {
				s.im.layers[i].desc.Digest = v1.Hash{Algorithm: "sha256", Hex: want}
			}
		}
		g.Go(func() error { return s.fromSpool(ctx, spool, indexes) })
	}
	return g.Wait()
}

// findManifest looks for the image's manifest in the layout that newer engines
// write besides. A graphdriver store has none, and makes one up.
func (s *saving) findManifest() error {
	raw, ok := s.documents["index.json"]
	if !ok || s.im.daemon.engine.store != containerdStore {
		return nil
	}
	err := findManifest(raw, s.im, digestOfBytes(s.im.RawConfig), func(h v1.Hash) ([]byte, bool, error) {
		doc, ok := s.documents[blobPath(h)]
		return doc, ok, nil
	})
	if err != nil {
		return &Error{Op: "save", Object: s.im.ID, Err: err}
	}
	return nil
}

func (s *saving) dropUnknown() {
	for _, f := range s.unknown {
		_ = s.im.temp.drop(f) // the space comes back with Source.Close at the latest
	}
}
