package image

import (
	"context"
	"errors"
	"io"
)

type registrySource struct{}

func (s *Source) openRegistry(ctx context.Context, opt Options) error { return errors.New("x") }
func (s *Source) openLegacyArchive(ctx context.Context, ix *tarIndex, opt Options) error {
	return errors.New("x")
}
func (d *Dest) openRegistry(ctx context.Context) error { return errors.New("x") }
func (im *Image) readSpooled(ctx context.Context, b *blob, i int, visit func(int, io.Reader) error) error {
	return errors.New("x")
}
func checkLayout(p string) error { return nil }
func (w *storing) toLayout(ctx context.Context, images []NewImage) (*Stored, error) {
	return nil, errors.New("x")
}
func (w *storing) toContainerd(ctx context.Context, images []NewImage) (*Stored, error) {
	return nil, errors.New("x")
}
func (w *storing) toLayoutArchive(ctx context.Context, images []NewImage) (*Stored, error) {
	return nil, errors.New("x")
}
func (w *storing) toRegistry(ctx context.Context, images []NewImage) (*Stored, error) {
	return nil, errors.New("x")
}
