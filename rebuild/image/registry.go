package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// registrySource is a repository of a registry, as a blobStore. Credentials
// come from docker's configuration and its helpers; a registry on a loopback
// address is spoken to over plain HTTP (go-containerregistry, name.Registry).
type registrySource struct {
	ref    name.Reference
	puller *remote.Puller
}

func (s *Source) openRegistry(ctx context.Context, opt Options) error {
	ref, err := name.ParseReference(s.Ref.Name)
	if err != nil {
		return &Error{Op: "open", Object: s.Ref.String(), Err: err}
	}
	puller, err := remote.NewPuller(registryOptions(ctx)...)
	if err != nil {
		return &Error{Op: "open", Object: s.Ref.String(), Err: err}
	}
	reg := &registrySource{ref: ref, puller: puller}
	got, err := puller.Get(ctx, ref)
	if err != nil {
		return registryError("open", s.Ref.String(), err)
	}
	if err := s.openDescriptor(ctx, reg, got.Descriptor, opt); err != nil {
		return err
	}
	for _, im := range s.Images {
		im.registry = reg
		if _, ok := ref.(name.Tag); ok {
			im.Names = []string{s.Ref.Name}
		}
	}
	return nil
}

func registryOptions(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithContext(ctx), remote.WithUserAgent("docker-flatten"),
	}
}

func (r *registrySource) name() string { return "docker://" + r.ref.Name() }

func (r *registrySource) manifest(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	got, err := r.puller.Get(ctx, r.ref.Context().Digest(d.Digest.String()))
	if err != nil {
		return nil, registryError("read", fmt.Sprintf("%s %s of %s", kindOf(d.MediaType), d.Digest, r.name()), err)
	}
	return got.Manifest, nil
}

func (r *registrySource) open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	layer, err := r.puller.Layer(ctx, r.ref.Context().Digest(d.Digest.String()))
	if err == nil {
		var body io.ReadCloser
		if body, err = layer.Compressed(); err == nil {
			return body, nil
		}
	}
	return nil, registryError("read", fmt.Sprintf("%s %s of %s", kindOf(d.MediaType), d.Digest, r.name()), err)
}

func (r *registrySource) file(v1.Descriptor) (sizedReaderAt, error) { return nil, nil }

// registryError explains what a registry said.
func registryError(op, object string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &Error{Op: op, Object: object, Err: err}
	var said *transport.Error
	var dial *net.OpError
	if !errors.As(err, &said) {
		if errors.As(err, &dial) && dial.Op == "dial" {
			e.Err = fmt.Errorf("the registry isn't reachable: %w", dial)
		}
		return e
	}
	switch said.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Err = detail(ErrUnauthorized, "the registry denies access")
		if said.Request != nil {
			e.Hint = "docker login " + said.Request.URL.Host + " stores credentials"
		}
	case http.StatusNotFound:
		e.Err = detail(ErrNoImage, "the registry has no such image")
	}
	return e
}

// readSpooled delivers a layer that is read over the network, and keeps its
// stored bytes for later readings.
func (im *Image) readSpooled(ctx context.Context, b *blob, i int, visit func(i int, r io.Reader) error) error {
	spool, err := im.temp.create()
	if err != nil {
		return err
	}
	raw, err := b.open(ctx)
	if err != nil {
		return err
	}
	r, err := b.verify(ctx, teeCloser{io.TeeReader(raw, spool), raw})
	if err != nil {
		return err
	}
	if err := errors.Join(visitLayer(r, i, visit), r.Close()); err != nil {
		return err
	}
	info, err := spool.Stat()
	if err != nil {
		return err
	}
	contents := io.NewSectionReader(spool, 0, info.Size())
	b.file, b.open = contents, section(contents)
	return nil
}

type teeCloser struct {
	io.Reader
	io.Closer
}
