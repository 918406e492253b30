// Package oci reads and writes OCI image layouts, as directories and as archives.
package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
)

// Open opens the image that the reference names in a layout, a directory or an
// archive by its transport, or the only one.
func Open(ctx context.Context, ref image.Ref, opt image.Options) (*image.Source, error) {
	if ref.Transport == image.Layout {
		return openDir(ctx, ref, opt)
	}
	ix, err := archive.OpenTar(ctx, ref.Path, opt)
	if err != nil {
		return nil, err
	}
	src, err := OpenIn(ctx, ix, ref, opt)
	if err != nil {
		return nil, errors.Join(err, ix.Close())
	}
	return src, nil
}

func openDir(ctx context.Context, ref image.Ref, opt image.Options) (*image.Source, error) {
	st := &dirStore{root: ref.Path}
	raw, err := st.indexJSON()
	if err != nil {
		return nil, err
	}
	src, err := openIndexJSON(ctx, st, raw, ref, opt)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	src.OnClose(st)
	return src, nil
}

// OpenIn is Open for an archive whose tar is open. The source closes it.
func OpenIn(ctx context.Context, ix *archive.Tar, ref image.Ref, opt image.Options) (*image.Source, error) {
	ref.Transport = image.LayoutArchive
	if !ix.Has("index.json") {
		e := &image.Error{Op: "open", Object: ix.Name, Err: image.Detail(image.ErrNotLayout, "not an OCI archive: it has no index.json")}
		if ix.Has("manifest.json") {
			e.Hint = "it is a docker-archive: docker-archive:" + ref.Path
		}
		return nil, e
	}
	raw, err := ix.Document("index.json")
	if err != nil {
		return nil, err
	}
	src, err := openIndexJSON(ctx, &tarStore{ix}, raw, ref, opt)
	if err != nil {
		return nil, err
	}
	src.OnClose(ix)
	return src, nil
}

// indexJSON reads the layout's index.json.
func (s *dirStore) indexJSON() ([]byte, error) {
	info, err := os.Stat(s.root)
	if err != nil {
		return nil, image.PathError("open", s.root, err)
	}
	if !info.IsDir() {
		return nil, &image.Error{Op: "open", Object: s.root, Err: image.Detail(image.ErrNotLayout, "is a file, not an OCI layout directory"), Hint: "a layout in a tar file is opened with oci-archive:" + s.root}
	}
	f, err := openRegular(filepath.Join(s.root, marker))
	if err != nil {
		return nil, &image.Error{Op: "open", Object: s.root, Err: image.Detail(image.ErrNotLayout, "not an OCI layout: the file %s %s", marker, err)}
	}
	f.Close()
	raw, err := readRegular(filepath.Join(s.root, indexFile))
	if err != nil {
		return nil, &image.Error{Op: "open", Object: s.root, Err: fmt.Errorf("the layout's %s %w", indexFile, err)}
	}
	return raw, nil
}

// openIndexJSON opens the image that the reference names in a layout's
// index.json, or the only one.
func openIndexJSON(ctx context.Context, st image.BlobStore, raw []byte, ref image.Ref, opt image.Options) (*image.Source, error) {
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, &image.Error{Op: "open", Object: st.Object(), Err: image.Detail(image.ErrNotLayout, "index.json: %s", err)}
	}
	var found []v1.Descriptor
	var list []string
	seen := map[string]bool{}
	for i, d := range index.Manifests {
		names := entryNames(d)
		if again := strings.Join(append(names, d.Digest.String(), platformOf(d)), " "); seen[again] {
			continue
		} else {
			seen[again] = true
		}
		if ref.Name == "" || entryMatches(d, names, ref.Name, i) {
			found = append(found, d)
		}
		list = append(list, called(d))
	}
	if len(found) == 0 {
		return nil, image.NotChosen(st.Object(), ref, list)
	}
	o := image.Opening{Ref: ref, Store: st, Reader: image.SideBySide{}, Options: opt}
	if !oneDigest(found) && !platforms(found) {
		found, list = onlyImages(ctx, o, found)
	}
	o.Names = wholeNames(allNames(found))
	switch {
	case oneDigest(found):
		return o.Descriptor(ctx, found[0])
	case platforms(found):
		return openUnnamedIndex(ctx, o, found)
	}
	if ref.Name != "" {
		return nil, &image.Error{Op: "open", Object: st.Object(), Err: image.Detail(image.ErrSeveral, "%d images in it are called %s", len(found), ref.Name), Hint: "choose one by its digest: " + found[0].Digest.String()}
	}
	return nil, image.NotChosen(st.Object(), ref, list)
}

func platformOf(d v1.Descriptor) string {
	if d.Platform == nil {
		return ""
	}
	return d.Platform.String()
}

// called is what an entry is asked for by: its first name, or its digest.
func called(d v1.Descriptor) string { return append(entryNames(d), d.Digest.String())[0] }

// mostLookedAt is how many entries are looked at to find the images among them.
const mostLookedAt = 1000

// onlyImages leaves out the entries that are no images, such as signatures and
// attestations, unless none is one. List has what those that stay are called.
func onlyImages(ctx context.Context, o image.Opening, found []v1.Descriptor) (images []v1.Descriptor, list []string) {
	why := map[v1.Hash]string{}
	for _, d := range found[:min(len(found), mostLookedAt)] {
		if _, known := why[d.Digest]; !known {
			why[d.Digest] = o.NoImage(ctx, d)
		}
	}
	images = slices.DeleteFunc(slices.Clone(found), func(d v1.Descriptor) bool { return why[d.Digest] != "" })
	if len(images) == 0 {
		images = found
	} else {
		for _, d := range found {
			if text := why[d.Digest]; text != "" {
				o.Options.Warnf("left out %s: %s", called(d), text)
			}
		}
	}
	for _, d := range images {
		list = append(list, called(d))
	}
	return images, list
}

// oneDigest tells whether all entries are the same image, under several names.
func oneDigest(entries []v1.Descriptor) bool {
	return !slices.ContainsFunc(entries, func(d v1.Descriptor) bool { return d.Digest != entries[0].Digest })
}

// openUnnamedIndex opens entries that are one image for several platforms.
func openUnnamedIndex(ctx context.Context, o image.Opening, found []v1.Descriptor) (*image.Source, error) {
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, d := range found {
		for _, key := range []string{containerdNameAnnotation, refNameAnnotation} {
			delete(d.Annotations, key)
		}
		index.Manifests = append(index.Manifests, d)
	}
	made, err := json.Marshal(index)
	if err != nil {
		return nil, err
	}
	return o.Index(ctx, v1.Descriptor{MediaType: types.OCIImageIndex, Digest: image.DigestOf(made), Size: int64(len(made))}, made)
}
