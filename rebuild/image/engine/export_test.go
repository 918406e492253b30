package engine

import (
	"context"

	"docker-flatten/rebuild/image"
)

// What the tests of this package look at, which belongs to nobody else.
var (
	AssembleTar = assembleTar
	OpenFiles   = openFiles
	IsNotFound  = isNotFound
	DiffIDs     = inspectedLayers
)

// The stores that an engine may have.
type Store = engineStore

const (
	Graphdriver = graphdriverStore
	Containerd  = containerdStore
	Podman      = podmanStore
)

// StoreOf is the store of the engine that the options lead to.
func StoreOf(ctx context.Context, opt image.Options) (Store, error) {
	e, err := newEngine(ctx, opt)
	if err != nil {
		return 0, err
	}
	return e.store, nil
}

// BySave is the image to be read by docker save, nil if it isn't read in place.
func BySave(im *image.Image) *image.Image {
	p, ok := im.Reader().(inPlace)
	if !ok {
		return nil
	}
	return image.Make(context.Background(), *im.WithConfig(nil), nil, p.savedImage)
}
