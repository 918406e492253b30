// Package place finds out which kind of place a reference means: it opens the
// images there, and prepares it for results.
package place

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/image/oci"
	"docker-flatten/rebuild/image/registry"
	"docker-flatten/rebuild/image/room"
)

// Open finds the image that ref names. Configs and manifests are read, and
// their digests checked; layers are left to Image.Read. Close the source when
// its images have been stored.
func Open(ctx context.Context, ref image.Ref, opt image.Options) (*image.Source, error) {
	switch ref.Transport {
	case image.Daemon:
		return engine.Open(ctx, ref, opt)
	case image.Registry:
		return registry.Open(ctx, ref, opt)
	case image.Layout:
		return openLayout(ctx, ref, opt)
	case image.Archive, image.LayoutArchive, image.AnyFile:
		return openFile(ctx, ref, opt)
	}
	return nil, fmt.Errorf("open %s: %w: transport %q", ref, image.ErrFormat, ref.Transport)
}

// openFile opens what a path leads to: an archive of the kind that its contents
// show, unless the transport says which, or a layout.
func openFile(ctx context.Context, ref image.Ref, opt image.Options) (*image.Source, error) {
	if info, err := os.Stat(ref.Path); err == nil && info.IsDir() && ref.Path != "-" {
		if ref.Transport != image.AnyFile {
			return nil, &image.Error{Op: "open", Object: ref.Path, Err: image.Detail(image.ErrNotArchive, "is a directory, not an archive"), Hint: "an OCI layout directory is opened with oci:" + ref.Path}
		}
		ref.Transport = image.Layout
		return openLayout(ctx, ref, opt)
	}
	ix, err := archive.OpenTar(ctx, ref.Path, opt)
	if err != nil {
		var missing *image.Error
		if ref.Transport == image.AnyFile && filepath.Base(ref.Path) == ref.Path && errors.Is(err, fs.ErrNotExist) && errors.As(err, &missing) {
			missing.Hint = "to name an image of the Docker Engine, write docker-daemon:" + ref.Path
		}
		return nil, err
	}
	open := archive.OpenIn
	if ref.Transport == image.LayoutArchive || ref.Transport == image.AnyFile && holdsLayout(ix) {
		open = oci.OpenIn
	}
	src, err := open(ctx, ix, ref, opt)
	if err != nil {
		return nil, errors.Join(err, ix.Close())
	}
	src.Beside = besideInTar(ix, src.Ref)
	return src, nil
}

func openLayout(ctx context.Context, ref image.Ref, opt image.Options) (*image.Source, error) {
	src, err := oci.Open(ctx, ref, opt)
	if err != nil {
		return nil, err
	}
	src.Beside = besideInLayout(src.Ref)
	return src, nil
}

// holdsLayout tells whether an archive is an OCI archive. Docker 25 and newer
// write both a layout and a manifest.json; the latter then says which images
// were saved, under which names.
func holdsLayout(ix *archive.Tar) bool { return ix.Has("index.json") && !ix.Has("manifest.json") }

// Prepare finds out whether images can be stored at ref, as far as that is
// possible without storing any: whether the engine answers, the directory is
// there, the registry lets us push, what stands there may be replaced. names are
// the result's names as the user gave them or as they follow from the source,
// normalised (reference.FamiliarString); where the place has names of its own,
// ref's comes on top. A name is there but once.
func Prepare(ctx context.Context, ref image.Ref, names []string, opt image.Options) (image.Place, error) {
	if ref.Transport == image.AnyFile {
		ref.Transport = kindOfPath(ctx, ref.Path, opt)
	}
	switch ref.Transport {
	case image.Daemon:
		return engine.Prepare(ctx, ref, names, opt)
	case image.Registry:
		return registry.Prepare(ctx, ref, names, opt)
	case image.Layout, image.LayoutArchive:
		return oci.Prepare(ctx, ref, names, opt)
	case image.Archive:
		return archive.Prepare(ctx, ref, names, opt)
	}
	return nil, fmt.Errorf("store to %s: %w: transport %q", ref, image.ErrFormat, ref.Transport)
}

// Room is what it takes to store images at ref, by directories. It is known
// without Prepare, for a run that is only planned.
func Room(ctx context.Context, ref image.Ref, images []image.NewImage, opt image.Options) ([]room.Need, error) {
	if ref.Transport == image.AnyFile {
		ref.Transport = kindOfPath(ctx, ref.Path, opt)
	}
	switch ref.Transport {
	case image.Daemon:
		return engine.Room(ctx, images, opt)
	case image.Registry:
		return registry.Room(images, opt), nil
	case image.Layout, image.LayoutArchive:
		return oci.Room(ctx, ref, images, opt)
	}
	return archive.Room(ctx, ref.Path, images, false, opt)
}

// RoomIn is Room for a place that has been prepared: an engine that was reached
// isn't asked again what it is.
func RoomIn(ctx context.Context, to image.Place, images []image.NewImage, opt image.Options) ([]room.Need, error) {
	if e, ok := to.(interface {
		Room(ctx context.Context, images []image.NewImage) ([]room.Need, error)
	}); ok {
		return e.Room(ctx, images)
	}
	return Room(ctx, to.Ref(), images, opt)
}

// kindOfPath is what a bare path means as a destination: what is there; a layout
// where the path ends like a directory's; else an archive, by its name.
func kindOfPath(ctx context.Context, path string, opt image.Options) string {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir(), strings.HasSuffix(path, "/"), strings.HasSuffix(path, string(filepath.Separator)):
		return image.Layout
	case err == nil && info.Mode().IsRegular():
		if ix, err := archive.OpenTar(ctx, path, opt); err == nil {
			defer ix.Close()
			if holdsLayout(ix) {
				return image.LayoutArchive
			}
			return image.Archive
		}
	}
	if strings.Contains(strings.ToLower(filepath.Base(path)), ".oci.tar") {
		return image.LayoutArchive
	}
	return image.Archive
}
