package image

import (
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Index is the index that a reference named.
type Index struct {
	MediaType   types.MediaType
	Annotations map[string]string
	Raw         []byte        // as stored; where it was made up of a layout's unnamed entries, what was made up
	Descriptor  v1.Descriptor // as its own index has it; without a digest where it was made up

	entries []indexEntry
}

// indexEntry is what an index lists: an image, or another index.
type indexEntry struct {
	raw   json.RawMessage // the descriptor to the letter
	index *Index          // nil for an image
}

// images is how many images the index lists, those of inner indexes included.
func (ix *Index) images() (n int) {
	for _, e := range ix.entries {
		if e.index != nil {
			n += e.index.images()
		} else {
			n++
		}
	}
	return n
}

// rebuild makes the index anew with the images' new manifests, in the index's
// order, in the places of the old ones. It returns the documents of all indexes,
// innermost first.
func (ix *Index) rebuild(manifests []v1.Descriptor, convert bool) (docs [][]byte, root v1.Descriptor, err error) {
	fail := func(err error) ([][]byte, v1.Descriptor, error) {
		return nil, v1.Descriptor{}, fmt.Errorf("make index: %w", err)
	}
	if n := ix.images(); n != len(manifests) {
		return fail(fmt.Errorf("it lists %d images, not %d", n, len(manifests)))
	}
	index, err := ParseDocument(ix.Raw)
	if err != nil {
		return fail(err)
	}
	list := []json.RawMessage{}
	for _, e := range ix.entries {
		var d v1.Descriptor
		if e.index != nil {
			n := e.index.images()
			inner, innerRoot, err := e.index.rebuild(manifests[:n], convert)
			if err != nil {
				return nil, v1.Descriptor{}, err
			}
			docs, d, manifests = append(docs, inner...), innerRoot, manifests[n:]
		} else {
			d, manifests = manifests[0], manifests[1:]
		}
		entry, err := ParseDocument(e.raw)
		if err != nil {
			return fail(err)
		}
		delete(entry, "data") // the old manifest, embedded
		for key, value := range map[string]any{"mediaType": d.MediaType, "digest": d.Digest, "size": d.Size} {
			if err := entry.Set(key, value); err != nil {
				return fail(err)
			}
		}
		list = append(list, entry.Bytes())
	}
	mediaType := ix.MediaType
	if convert {
		mediaType = ociType(mediaType)
	}
	if err := index.Set("manifests", list); err != nil {
		return fail(err)
	}
	if index["mediaType"] != nil || convert {
		if err := index.Set("mediaType", mediaType); err != nil {
			return fail(err)
		}
	}
	raw := index.Bytes()
	return append(docs, raw), v1.Descriptor{MediaType: mediaType, Digest: DigestOf(raw), Size: int64(len(raw))}, nil
}
