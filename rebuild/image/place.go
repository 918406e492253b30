package image

import (
	"context"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Place is where results go.
type Place interface {
	// Ref is the place's reference, with the transport that a bare path means.
	Ref() Ref
	// Names are all names that a result gets, as people write them.
	Names() []string
	// ReadsBase tells whether Store reads the lowest keep layers of im from its
	// source.
	ReadsBase(ctx context.Context, im *Image, keep int) (bool, error)
	// Existing looks for an earlier result that is, to the letter of config
	// documents, manifests and index, what Store would make of the images for the
	// diff IDs that it has; nil = none. Bytes of layers aren't compared: the caller
	// reads the images where it wants to know. It is an error if something stands
	// there that may not be replaced.
	Existing(ctx context.Context, w Wanted) (*Found, error)
	// Store puts the images there. Nothing is seen of them before Stored.Name, and
	// nothing stays behind after an error. An error of Write, Config or Attest can be
	// found in what is returned with errors.As.
	Store(ctx context.Context, w Wanted) (*Stored, error)
}

// Wanted is what a place is to hold.
type Wanted struct {
	Images []NewImage // one, or one a platform of Index, in its order
	Index  *Index     // nil = the image stands by itself
	// Attest makes the statement that registries and layouts keep beside the result
	// with this digest and these images; nil = none.
	Attest func(root v1.Hash, images []StoredImage) ([]byte, error)
}

// Found is an earlier result of the same job.
type Found struct {
	*Source // its images, to be read and checked; Close it
	*Stored // Name gives it the names that it lacks
}

// Stored is a result that lies in its place and has no name there yet.
type Stored struct {
	ID     string // for people: an engine's image ID, a registry's name@digest, an archive's config or index digest
	Images []StoredImage

	name    func(ctx context.Context) (seen bool, err error)
	discard func() error
}

// NewStored returns a result that name gives its names: it tells whether
// anything can be seen of the result after it, also where it fails. Discard
// removes the result, nil if it stays in any case.
func NewStored(id string, images []StoredImage, name func(ctx context.Context) (seen bool, err error), discard func() error) *Stored {
	return &Stored{ID: id, Images: images, name: name, discard: discard}
}

// Name gives the result all its names: it tags it, renames the file, writes
// index.json, pushes the tags, or writes to stdout or a pipe. After it the
// result is seen.
func (s *Stored) Name(ctx context.Context) error {
	seen, err := s.name(ctx)
	if err == nil || seen {
		s.discard = nil
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Discard removes a result that was not named. It does nothing after Name, even
// one that failed once the first name was given, and nothing for a found result.
func (s *Stored) Discard() error {
	discard := s.discard
	s.discard = nil
	if discard == nil {
		return nil
	}
	return discard()
}

// OnePlatform refuses several images for a place that holds only one. What names
// such a place.
func OnePlatform(ref Ref, images []NewImage, what string) error {
	if len(images) == 1 {
		return nil
	}
	var list []string
	for _, n := range images {
		list = append(list, n.From.Platform.String())
	}
	return &Error{
		Op: "store to", Object: ref.String(), Err: Detail(ErrFormat, "%s holds one platform, these are %d: %s", what, len(images), strings.Join(list, ", ")),
		Hint: "choose one with --platform, or keep all with -o oci-archive:FILE",
	}
}
