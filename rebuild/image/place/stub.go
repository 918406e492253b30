package place

import (
	"context"

	"docker-flatten/rebuild/image"
)

func Open(ctx context.Context, ref image.Ref, opt image.Options) (*image.Source, error) { return nil, nil }
func Prepare(ctx context.Context, ref image.Ref, names []string, opt image.Options) (image.Place, error) {
	return nil, nil
}
