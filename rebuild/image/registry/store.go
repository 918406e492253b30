package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/progress"
)

// place is a repository that gets an image.
type place struct {
	ref    image.Ref
	tags   []name.Tag // that of ref first
	opt    image.Options
	client *client
}

// Prepare finds out whether the registry lets us push, to every repository that
// a name is in.
func Prepare(ctx context.Context, ref image.Ref, names []string, opt image.Options) (image.Place, error) {
	fail := func(err error, hint string) (image.Place, error) {
		return nil, &image.Error{Op: "store to", Object: ref.String(), Err: err, Hint: hint}
	}
	own, err := name.ParseReference(ref.Name, naming(opt)...)
	if err != nil {
		return fail(err, "")
	}
	tag, ok := own.(name.Tag)
	if !ok {
		return fail(errors.New("the digest follows from the image, it can't be given"), "give a tag: docker://"+own.Context().Name()+":TAG")
	}
	p := &place{ref: ref, tags: []name.Tag{tag}, opt: opt, client: newClient(opt)}
	for _, n := range image.AllNames(ref.Name, names)[1:] {
		tag, err := name.NewTag(n, naming(opt)...)
		if err != nil {
			return fail(fmt.Errorf("name %s: %w", n, err), "")
		}
		if tag.Context().Registry != own.Context().Registry {
			return fail(fmt.Errorf("%s isn't a name in this registry", n), "a tag there is called "+own.Context().Name()+":TAG")
		}
		p.tags = append(p.tags, tag)
	}
	for _, repo := range p.repositories() {
		if err := p.checkPush(ctx, repo); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// checkPush asks whether the registry lets us push to the tag's repository.
func (p *place) checkPush(ctx context.Context, repo name.Repository) error {
	checked := make(chan error, 1)
	go func() {
		checked <- remote.CheckPushPermission(repo.Tag(p.tags[0].TagStr()), authn.DefaultKeychain, p.client.forChecks(ctx))
	}()
	select {
	case err := <-checked:
		if err != nil {
			return explain("store to", p.ref.String(), err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// repositories are those that the tags are in, the reference's own first.
func (p *place) repositories() []name.Repository {
	var list []name.Repository
	for _, tag := range p.tags {
		if !slices.Contains(list, tag.Context()) {
			list = append(list, tag.Context())
		}
	}
	return list
}

func (p *place) Ref() image.Ref { return p.ref }

func (p *place) Names() []string {
	var names []string
	for _, tag := range p.tags {
		names = append(names, tag.String())
	}
	return names
}

// ReadsBase is false for an image of the same registry: its layers are there, or
// are mounted from its repository.
func (p *place) ReadsBase(_ context.Context, im *image.Image, keep int) (bool, error) {
	_, same := p.origin(im)
	return keep > 0 && !same, nil
}

// origin is the reference that im was opened by, where it is in this registry.
func (p *place) origin(im *image.Image) (name.Reference, bool) {
	if im == nil || im.Ref.Transport != image.Registry {
		return nil, false
	}
	ref, err := name.ParseReference(im.Ref.Name, naming(p.opt)...)
	return ref, err == nil && ref.Context().Registry == p.tags[0].Context().Registry
}

// Existing looks at what the tags mean.
func (p *place) Existing(ctx context.Context, w image.Wanted) (*image.Found, error) {
	for _, tag := range p.tags {
		old, err := Open(ctx, image.Ref{Transport: image.Registry, Name: tag.String()}, image.Options{TempDir: p.opt.TempDir, Timeout: p.opt.Timeout, Insecure: p.opt.Insecure})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			continue // there is none, or none that can be read
		}
		same, err := image.Same(ctx, w.Images, w.Index, old, p.opt.Compression.Or(image.Gzip))
		if err == nil && same {
			var found *image.Found
			found = image.NewFound(old, w.Images, func(ctx context.Context) (bool, error) { return p.nameFound(ctx, w, found, tag) })
			return found, nil
		}
		if err := errors.Join(err, old.Close()); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// uploadsAtOnce is how many blobs are on their way at a time; docker push has
// five.
const uploadsAtOnce = 4

// Store pushes blobs, then manifests by digest: nobody sees anything before
// there is a tag.
func (p *place) Store(ctx context.Context, w image.Wanted) (*image.Stored, error) {
	temp := &image.Spools{Dir: p.opt.TempDir}
	b, err := image.Bundling{Options: p.opt, Spools: temp, CompressPlain: true}.Bundle(ctx, w)
	if err == nil {
		err = p.push(ctx, b)
	}
	if err := errors.Join(err, temp.Close()); err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	root := remoteManifest{b.Manifests[len(b.Manifests)-1]}
	id := p.tags[0].Context().Digest(b.Root.Digest.String()).String()
	return image.NewStored(id, b.Images, func(ctx context.Context) (bool, error) {
		return p.attached(ctx, b.Attestation, func(ctx context.Context) (bool, error) { return p.tag(ctx, root) })
	}, nil), nil
}

// push pushes all of the bundle to every repository.
func (p *place) push(ctx context.Context, b *image.Bundle) (err error) {
	pusher, err := remote.NewPusher(options(ctx, p.client)...)
	if err != nil {
		return &image.Error{Op: "push to", Object: p.ref.String(), Err: err}
	}
	bar := p.opt.Start(progress.Pushing, p.ref.Name, 0)
	defer func() { bar.Done(err) }()
	for _, repo := range p.repositories() {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(uploadsAtOnce)
		for _, it := range slices.Concat(b.Layers, b.Configs, blobs(b.Attestation)) {
			g.Go(func() error { return pusher.Upload(ctx, repo, p.layer(ctx, it, repo, bar)) })
		}
		if err := g.Wait(); err != nil {
			return explain("push to", p.ref.String(), err)
		}
	}
	for _, repo := range p.repositories() {
		for _, it := range b.Manifests {
			if err := pusher.Push(ctx, repo.Digest(it.Descriptor.Digest.String()), remoteManifest{it}); err != nil {
				return explain("push to", p.ref.String(), err)
			}
		}
	}
	return nil
}

// tag pushes the tags, and tells whether the first one is there.
func (p *place) tag(ctx context.Context, root remote.Taggable) (seen bool, err error) {
	pusher, err := remote.NewPusher(options(ctx, p.client)...)
	if err != nil {
		return false, &image.Error{Op: "push to", Object: p.ref.String(), Err: err}
	}
	for i, tag := range p.tags {
		if err := pusher.Push(ctx, tag, root); err != nil {
			return i > 0, explain("push to", "docker://"+tag.Name(), err)
		}
	}
	return true, nil
}

// addTags gives the image that one of the tags means the others, in whatever
// repositories they are. It is seen already.
func (p *place) addTags(ctx context.Context, have name.Tag) (seen bool, err error) {
	fail := func(err error) (bool, error) { return true, explain("push to", p.ref.String(), err) }
	got, err := remote.Get(have, options(ctx, p.client)...)
	if err != nil {
		return fail(err)
	}
	pusher, err := remote.NewPusher(options(ctx, p.client)...)
	if err != nil {
		return fail(err)
	}
	for _, tag := range p.tags {
		var root remote.Taggable = got
		if tag.Context() != have.Context() {
			if got.MediaType.IsIndex() {
				root, err = got.ImageIndex()
			} else {
				root, err = got.Image()
			}
		}
		if err == nil {
			err = pusher.Push(ctx, tag, root)
		}
		if err != nil {
			return fail(err)
		}
	}
	return true, nil
}

// layer is the item for an upload. A base's layer that lies in another
// repository of the same registry is mounted from there, without a byte sent;
// what this run has pushed to one repository, the others mount from that.
func (p *place) layer(ctx context.Context, it image.Item, repo name.Repository, bar progress.Bar) v1.Layer {
	l := &upload{ctx: ctx, item: it, bar: bar}
	if ref, same := p.origin(it.From); same {
		return &remote.MountableLayer{Layer: l, Reference: ref}
	}
	if repo != p.tags[0].Context() {
		return &remote.MountableLayer{Layer: l, Reference: p.tags[0]}
	}
	return l
}

// upload is an item as go-containerregistry pushes it.
type upload struct {
	ctx  context.Context
	item image.Item
	bar  progress.Bar
}

func (u *upload) Digest() (v1.Hash, error)             { return u.item.Descriptor.Digest, nil }
func (u *upload) Size() (int64, error)                 { return u.item.Descriptor.Size, nil }
func (u *upload) MediaType() (types.MediaType, error)  { return u.item.Descriptor.MediaType, nil }
func (u *upload) DiffID() (v1.Hash, error)             { return v1.Hash{}, errNotUploaded }
func (u *upload) Uncompressed() (io.ReadCloser, error) { return nil, errNotUploaded }

// errNotUploaded answers for what pushing never asks for.
var errNotUploaded = errors.New("only the stored form of a layer is uploaded")

// Compressed is called again where an upload is tried again.
func (u *upload) Compressed() (io.ReadCloser, error) {
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(u.item.WriteTo(u.ctx, image.Counting(pw, u.bar))) }()
	return pr, nil
}

// remoteManifest is a manifest or index to push.
type remoteManifest struct{ item image.Item }

func (m remoteManifest) RawManifest() ([]byte, error) { return m.item.Document, nil }
func (m remoteManifest) MediaType() (types.MediaType, error) {
	return m.item.Descriptor.MediaType, nil
}
func (m remoteManifest) Digest() (v1.Hash, error) { return m.item.Descriptor.Digest, nil }
func (m remoteManifest) Size() (int64, error)     { return m.item.Descriptor.Size, nil }

var _ remote.Taggable = remoteManifest{}
