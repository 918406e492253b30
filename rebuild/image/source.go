package image

import (
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Source is an image, or an index of images for several platforms, that was
// found and can be read.
type Source struct {
	Ref    Ref      // with the transport that a bare path turned out to be
	ID     string   // what Store would have called it there: a registry's name@digest, the digest of an index or manifest, an engine's or docker-archive's image ID
	Images []*Image // one a platform, in the index's order
	Index  *Index   // nil unless the reference named an index and no platform was chosen of it
	Beside Beside   // what lies around the images in the same place; nil for an engine's image

	closers []io.Closer
}

// Root describes what the reference led to, in a place that keeps manifests.
func (s *Source) Root() v1.Descriptor {
	if s.Index != nil {
		return s.Index.Descriptor
	}
	return s.Images[0].Manifest.Descriptor
}

// OnClose has Close close c, too.
func (s *Source) OnClose(c io.Closer) { s.closers = append(s.closers, c) }

// Close gives back the source's files and temporary space.
func (s *Source) Close() error {
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	s.closers = nil
	return errors.Join(errs...)
}
