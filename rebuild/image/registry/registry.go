// Package registry reads images from registries and pushes them there.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/silence"
)

// repository is a repository of a registry, as an image.BlobStore. Credentials
// come from docker's configuration and its helpers; a registry on a loopback
// address may speak plain HTTP (go-containerregistry, name.Registry), others only
// if they are called insecure.
type repository struct {
	ref    name.Reference
	client *client
	puller *remote.Puller
}

// Open opens the image or index that the reference names.
func Open(ctx context.Context, ref image.Ref, opt image.Options) (*image.Source, error) {
	named, err := name.ParseReference(ref.Name, naming(opt)...)
	if err != nil {
		return nil, &image.Error{Op: "open", Object: ref.String(), Err: err}
	}
	client := newClient(opt)
	puller, err := remote.NewPuller(options(ctx, client)...)
	if err != nil {
		return nil, &image.Error{Op: "open", Object: ref.String(), Err: err}
	}
	got, err := puller.Get(ctx, named)
	if err != nil {
		return nil, explain("open", ref.String(), err)
	}
	spools := &image.Spools{Dir: opt.TempDir}
	repository := &repository{named, client, puller}
	o := image.Opening{Ref: ref, Store: repository, Reader: image.SideBySide{Spools: spools}, Options: opt}
	if _, ok := named.(name.Tag); ok {
		o.Names = []string{ref.Name}
	}
	src, err := o.Descriptor(ctx, got.Descriptor)
	if err != nil {
		return nil, err
	}
	src.ID = named.Context().Digest(src.ID).String()
	src.Beside = beside{repository}
	src.OnClose(spools)
	return src, nil
}

func options(ctx context.Context, c *client) []remote.Option {
	return append(c.options(),
		remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithContext(ctx), remote.WithUserAgent("docker-flatten"))
}

// Object is what errors call the image.
func (r *repository) Object() string { return "docker://" + r.ref.Name() }

// Document fetches a manifest or an index.
func (r *repository) Document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	got, err := r.puller.Get(ctx, r.ref.Context().Digest(d.Digest.String()))
	if err != nil {
		return nil, r.failed(d, err)
	}
	return got.Manifest, nil
}

// Open fetches a blob.
func (r *repository) Open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	digest := r.ref.Context().Digest(d.Digest.String())
	b := &blob{
		ctx: ctx, size: d.Size,
		open: func(ctx context.Context) (io.ReadCloser, error) {
			layer, err := r.puller.Layer(ctx, digest)
			if err == nil {
				var body io.ReadCloser
				if body, err = layer.Compressed(); err == nil {
					return body, nil
				}
			}
			return nil, r.failed(d, err)
		},
		failed: func() { r.client.failed(digest.Context().RegistryStr(), 0) },
	}
	if err := b.next(); err != nil {
		return nil, err
	}
	return b, nil
}

func (r *repository) failed(d v1.Descriptor, err error) error {
	return explain("read", fmt.Sprintf("%s %s of %s", image.KindOfType(d.MediaType), d.Digest, r.Object()), err)
}

// File is nil: blobs come over the network.
func (r *repository) File(v1.Descriptor) (image.File, error) { return nil, nil }

// explain says what a registry said, in a line of bounded length.
func explain(op, object string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &image.Error{Op: op, Object: object, Err: err}
	var body *silence.BodyError
	var own *image.Error
	var silent *silence.Error
	var dial *net.OpError
	var said *transport.Error
	switch {
	case errors.As(err, &body): // what was to be sent couldn't be had
		return body.Err
	case errors.As(err, &own):
		return own
	case errors.As(err, &silent):
		e.Err, e.Hint = fmt.Errorf("the registry doesn't answer: %w", silent), silence.Hint
		return e
	case errors.As(err, &dial) && dial.Op == "dial":
		e.Err = fmt.Errorf("the registry isn't reachable: %w", dial)
		return e
	case !errors.As(err, &said):
		if e.Err = (briefError{err}); isUntrusted(err) {
			e.Hint = insecureHint
		}
		return e
	}
	switch said.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Err = image.Detail(image.ErrUnauthorized, "the registry denies access")
		if said.Request != nil {
			e.Hint = "docker login " + said.Request.URL.Host + " stores credentials"
		}
	case http.StatusNotFound:
		e.Err = image.Detail(image.ErrNoImage, "the registry has no such image")
	default:
		e.Err = briefError{said}
	}
	return e
}

// briefError is an error with a text of bounded length. The URL of a request
// that failed, which a redirect may have made long, isn't in it.
type briefError struct{ error }

func (e briefError) Unwrap() error { return e.error }

func (e briefError) Error() string {
	var request *url.Error
	if errors.As(e.error, &request) {
		return shortened(request.Err.Error())
	}
	return shortened(e.error.Error())
}
