package oci

import (
	"context"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/archive"
)

// layoutFile is the contents of a layout's file oci-layout.
const layoutFile = `{"imageLayoutVersion":"1.0.0"}`

// Records are the files of a layout of the bundle, under the whole names given, or
// none, without the items that omit is true for; omit nil leaves none out.
func Records(b *image.Bundle, names []string, omit func(image.Item) bool) ([]archive.Record, error) {
	return records(b, entries(b.Root, "", names), omit)
}

func records(b *image.Bundle, entries []v1.Descriptor, omit func(image.Item) bool) ([]archive.Record, error) {
	list := []archive.Record{archive.Doc("oci-layout", []byte(layoutFile))}
	for _, it := range b.All() {
		if omit != nil && omit(it) {
			continue
		}
		list = append(list, archive.Record{
			Name: image.BlobPath(it.Descriptor.Digest), Size: it.Descriptor.Size,
			Write: func(ctx context.Context, w io.Writer) error { return it.WriteTo(ctx, w) },
		})
	}
	index, err := indexJSON(nil, entries, nil)
	return append(list, archive.Doc("index.json", index)), err
}
