package oci

import (
	"context"

	"docker-flatten/rebuild/image"
)

// Prepare makes sure that a layout, or an archive of one, by the transport, can
// be put at the reference's path.
func Prepare(ctx context.Context, ref image.Ref, given []string, opt image.Options) (image.Place, error) {
	n := newNames(ref, given)
	if ref.Transport == image.Layout {
		return prepareDir(ref, n, opt)
	}
	return prepareArchive(ctx, ref, n, opt)
}
