package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// NewImage is an image to store: the lowest layers of another one, at most one
// more, and a config document.
type NewImage struct {
	From *Image
	Keep int // the number of From's layers, from the lowest, that the image has

	// Write writes the layer above them: an uncompressed tar of Size bytes, the
	// same at every call. It is called once, and a second time only where an
	// engine refused an archive without the base. Nil = no layer.
	Write func(ctx context.Context, w io.Writer) error
	Size  int64

	// Config returns the config document for an image of these layers.
	Config func(diffIDs []v1.Hash) ([]byte, error)

	// Annotations are for the manifest, besides From's own; an empty value takes
	// one of those away. Only OCI manifests are given any.
	Annotations map[string]string
}

// Stored says what was stored.
type Stored struct {
	ID     string // for people: an engine's image ID, a registry's name@digest, an archive's config or index digest
	Names  []string
	Images []StoredImage // as many as were to be stored
}

// StoredImage is one platform's image in its new place.
type StoredImage struct {
	ConfigDigest v1.Hash
	Manifest     v1.Descriptor // zero where the destination has no manifests
	Layer        v1.Descriptor // of the new layer as it is stored; zero without one
	DiffID       v1.Hash       // of the new layer; zero without one
	DiffIDs      []v1.Hash     // of all layers
	BaseOmitted  bool          // the destination had the base's layers, and they weren't sent
}

// Dest is a place to store an image in.
type Dest struct {
	Ref Ref

	opt    Options
	engine *engine        // of Daemon
	remote name.Reference // of Registry
}

// OpenDest finds out whether images can be stored at ref, as far as that is
// possible without storing any: whether the engine answers, the directory is
// there, the registry lets us push.
func OpenDest(ctx context.Context, ref Ref, opt Options) (*Dest, error) {
	d := &Dest{Ref: ref, opt: opt}
	if ref.Transport == AnyFile {
		d.Ref.Transport = kindOfPath(ref.Path)
	}
	var err error
	switch d.Ref.Transport {
	case Daemon:
		d.engine, err = newEngine(ctx, opt)
	case Archive, LayoutArchive:
		err = checkFile(d.Ref.Path)
	case Layout:
		err = checkLayout(d.Ref.Path)
	case Registry:
		err = d.openRegistry(ctx)
	default:
		err = fmt.Errorf("store to %s: %w: transport %q", ref, ErrFormat, ref.Transport)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// kindOfPath is what a bare path names as a destination: a layout where there
// is a directory or the path ends like one, else a docker-archive.
func kindOfPath(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() || strings.HasSuffix(path, "/") || strings.HasSuffix(path, string(filepath.Separator)) {
		return Layout
	}
	return Archive
}

// checkFile makes sure that a file can be put at path.
func checkFile(path string) error {
	if path == "-" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return &Error{Op: "write", Object: path, Err: errors.New("is a directory")}
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err != nil {
		return pathError("write to", dir, err)
	}
	if !info.IsDir() {
		return &Error{Op: "write to", Object: dir, Err: errors.New("not a directory")}
	}
	return nil
}

// Store stores images: one, or one a platform of src's index. Nothing is to be
// seen of them (no name, no file at its final place) before every Write and
// every Config has succeeded. names are for the destinations that keep names
// with images; in a registry, those of the same repository are further tags.
// An error of Write or Config can be found in what is returned with errors.As.
func (d *Dest) Store(ctx context.Context, src *Source, images []NewImage, names []string, c Compression) (*Stored, error) {
	if len(images) == 0 {
		return nil, errors.New("store: no image given")
	}
	temp := &spools{dir: d.opt.TempDir}
	w := &storing{Dest: d, src: src, names: d.allNames(names), compression: c, temp: temp}
	var stored *Stored
	var err error
	switch d.Ref.Transport {
	case Daemon:
		stored, err = w.toEngine(ctx, images)
	case Archive:
		stored, err = w.toDockerArchive(ctx, images)
	case Layout:
		stored, err = w.toLayout(ctx, images)
	case LayoutArchive:
		stored, err = w.toLayoutArchive(ctx, images)
	case Registry:
		stored, err = w.toRegistry(ctx, images)
	}
	err = errors.Join(err, temp.Close())
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return stored, nil
}

// storing is one call of Store.
type storing struct {
	*Dest
	src         *Source
	names       []string
	compression Compression
	temp        *spools
}

// allNames are the names for the image: those given, and the one that the
// destination's own reference has.
func (d *Dest) allNames(names []string) []string {
	var all []string
	if d.Ref.Name != "" && (d.Ref.Transport == Daemon || d.Ref.Transport == Archive) {
		all = append(all, d.Ref.Name)
	}
	for _, n := range names {
		if !hasName(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// onePlatform refuses several images where the destination holds only one.
func (w *storing) onePlatform(images []NewImage, what string) error {
	if len(images) == 1 {
		return nil
	}
	var list []string
	for _, n := range images {
		list = append(list, n.From.Platform.String())
	}
	return &Error{
		Op: "store to", Object: w.Ref.String(), Err: detail(ErrFormat, "%s holds one platform, these are %d: %s", what, len(images), strings.Join(list, ", ")),
		Hint: "choose one with --platform, or keep all with -o oci-archive:FILE",
	}
}
