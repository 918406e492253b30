package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// openRegistry finds out whether the registry lets us push.
func (d *Dest) openRegistry(ctx context.Context) error {
	ref, err := name.ParseReference(d.Ref.Name)
	if err != nil {
		return &Error{Op: "store to", Object: d.Ref.String(), Err: err}
	}
	d.remote = ref
	if _, ok := ref.(name.Tag); !ok {
		return &Error{Op: "store to", Object: d.Ref.String(), Err: errors.New("the digest follows from the image, it can't be given"), Hint: "give a tag: docker://" + ref.Context().Name() + ":TAG"}
	}
	checked := make(chan error, 1)
	go func() {
		checked <- remote.CheckPushPermission(ref, authn.DefaultKeychain, withContext{ctx, remote.DefaultTransport})
	}()
	select {
	case err = <-checked:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err != nil {
		return registryError("store to", d.Ref.String(), err)
	}
	return nil
}

// withContext ends requests with a context that they weren't made with.
type withContext struct {
	ctx context.Context
	rt  http.RoundTripper
}

func (w withContext) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	return w.rt.RoundTrip(r)
}

// uploadsAtOnce is how many blobs are on their way at a time; docker push has
// five.
const uploadsAtOnce = 4

// toRegistry pushes blobs, then manifests by digest, and tags last: until then
// nobody sees anything.
func (w *storing) toRegistry(ctx context.Context, images []NewImage) (*Stored, error) {
	tags, err := w.tags()
	if err != nil {
		return nil, err
	}
	b, err := w.bundle(ctx, images, true)
	if err != nil {
		return nil, err
	}
	pusher, err := remote.NewPusher(registryOptions(ctx)...)
	if err != nil {
		return nil, &Error{Op: "push to", Object: w.Ref.String(), Err: err}
	}
	repo := w.remote.Context()
	fail := func(err error) (*Stored, error) { return nil, registryError("push to", w.Ref.String(), err) }

	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(uploadsAtOnce)
	for _, it := range append(b.layers, b.configs...) {
		g.Go(func() error { return pusher.Upload(gctx, repo, w.remoteLayer(gctx, it)) })
	}
	if err := g.Wait(); err != nil {
		return fail(err)
	}
	for _, it := range b.manifests {
		if err := pusher.Push(ctx, repo.Digest(it.desc.Digest.String()), remoteManifest{it}); err != nil {
			return fail(err)
		}
	}
	root := remoteManifest{b.manifests[len(b.manifests)-1]}
	for _, tag := range tags {
		if err := pusher.Push(ctx, tag, root); err != nil {
			return fail(err)
		}
	}
	names := []string{}
	for _, tag := range tags {
		names = append(names, tag.String())
	}
	return &Stored{ID: repo.Digest(b.root.Digest.String()).String(), Names: names, Images: b.images}, nil
}

// tags are the destination's own tag and those names that are of the same
// repository.
func (w *storing) tags() ([]name.Reference, error) {
	tags := []name.Reference{w.remote}
	for _, n := range w.names {
		tag, err := name.NewTag(n)
		if err != nil {
			return nil, &Error{Op: "push to", Object: w.Ref.String(), Err: fmt.Errorf("name %s: %w", n, err)}
		}
		if tag.Context() == w.remote.Context() && tag.String() != w.remote.String() {
			tags = append(tags, tag)
		}
	}
	return tags, nil
}

// remoteLayer is the item for an upload. A base's layer that lies in another
// repository of the same registry is mounted from there, without a byte sent.
func (w *storing) remoteLayer(ctx context.Context, it item) v1.Layer {
	l := &upload{ctx: ctx, item: it}
	if it.layer == nil || it.layer.from == nil || it.layer.from.registry == nil || it.layer.file != nil {
		return l
	}
	source := it.layer.from.registry.ref
	if source.Context().Registry.String() != w.remote.Context().Registry.String() {
		return l
	}
	return &remote.MountableLayer{Layer: l, Reference: source}
}

// upload is an item as go-containerregistry pushes it.
type upload struct {
	ctx context.Context
	item
}

func (u *upload) Digest() (v1.Hash, error)             { return u.desc.Digest, nil }
func (u *upload) Size() (int64, error)                 { return u.desc.Size, nil }
func (u *upload) MediaType() (types.MediaType, error)  { return u.desc.MediaType, nil }
func (u *upload) DiffID() (v1.Hash, error)             { return v1.Hash{}, errNotUploaded }
func (u *upload) Uncompressed() (io.ReadCloser, error) { return nil, errNotUploaded }

// errNotUploaded answers for what pushing never asks for.
var errNotUploaded = errors.New("only the stored form of a layer is uploaded")

// Compressed is called again where an upload is tried again.
func (u *upload) Compressed() (io.ReadCloser, error) {
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(u.writeTo(u.ctx, pw)) }()
	return pr, nil
}

// remoteManifest is a manifest or index to push.
type remoteManifest struct{ item }

func (m remoteManifest) RawManifest() ([]byte, error)        { return m.doc, nil }
func (m remoteManifest) MediaType() (types.MediaType, error) { return m.desc.MediaType, nil }
func (m remoteManifest) Digest() (v1.Hash, error)            { return m.desc.Digest, nil }
func (m remoteManifest) Size() (int64, error)                { return m.desc.Size, nil }
