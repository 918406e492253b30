package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/progress"
)

func blobs(a *image.Attestation) []image.Item {
	if a == nil {
		return nil
	}
	return a.Blobs
}

// nameFound gives an earlier result, which the tag have means, its other tags,
// and the attestation where one is asked for.
func (p *place) nameFound(ctx context.Context, w image.Wanted, found *image.Found, have name.Tag) (seen bool, err error) {
	attestation, err := w.AttestFound(found)
	if err != nil {
		return true, err
	}
	pusher, err := remote.NewPusher(options(ctx, p.client)...)
	if err != nil {
		return true, &image.Error{Op: "push to", Object: p.ref.String(), Err: err}
	}
	for _, repo := range p.repositories() {
		for _, it := range blobs(attestation) {
			bar := p.opt.Start(progress.Pushing, p.ref.Name, it.Descriptor.Size)
			err := pusher.Upload(ctx, repo, &upload{ctx: ctx, item: it, bar: bar})
			bar.Done(err)
			if err != nil {
				return true, explain("push to", p.ref.String(), err)
			}
		}
	}
	return p.attached(ctx, attestation, func(ctx context.Context) (bool, error) { return p.addTags(ctx, have) })
}

// attached pushes the manifest of an attestation, whose blobs are there, to every
// repository before the result gets its tags. go-containerregistry lists it under
// the fallback tag where the registry doesn't list referrers itself (OCI
// distribution spec 1.1, "Referrers Tag Schema"). Put does so for a manifest that is
// there as well, Push doesn't: the tag may have been lost, or a run killed between the
// two. If anything fails before the first tag, it is taken back.
func (p *place) attached(ctx context.Context, a *image.Attestation, tag func(context.Context) (seen bool, err error)) (seen bool, err error) {
	interrupted := ctx.Err
	ctx, done := answered(ctx)
	defer done()
	if a == nil {
		if err := interrupted(); err != nil {
			return false, err
		}
		return tag(ctx)
	}
	var pushed []name.Digest
	pusher, err := remote.NewPusher(options(ctx, p.client)...)
	if err != nil {
		return false, &image.Error{Op: "push to", Object: p.ref.String(), Err: err}
	}
	for _, repo := range p.repositories() {
		if err = interrupted(); err != nil {
			break
		}
		ref := repo.Digest(a.Manifest.Descriptor.Digest.String())
		if _, headErr := remote.Head(ref, options(ctx, p.client)...); isMissing(headErr) {
			pushed = append(pushed, ref) // else an earlier run has pushed it
		}
		if err = pusher.Put(ctx, ref, remoteManifest{a.Manifest}); err != nil {
			err = explain("push attestation to", p.ref.String(), err)
			break
		}
	}
	if err = cmp.Or(err, interrupted()); err == nil {
		seen, err = tag(ctx)
	}
	if err == nil {
		err = p.listed(ctx, pusher, a.Manifest)
	}
	if err != nil && !seen {
		for _, ref := range pushed {
			p.detach(ctx, ref, a.Manifest)
		}
	}
	return seen, err
}

// answering is how long an interrupt waits for the answer to a request.
const answering = 2 * time.Second

// answered is the context of requests that change what others see. An interrupt
// doesn't cut them off at once: the registry would do what it has been asked, and
// nobody would know.
func answered(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(answering, cancel) })
	return late, func() { stop(); cancel() }
}

// listings is how often an attestation is listed again.
const listings = 3

// listed sees to it that every repository lists an attestation. Two clients that
// change a fallback tag at the same time don't hear of each other, and one entry is
// lost. A list that can't be read, or never has it, is the registry's own.
func (p *place) listed(ctx context.Context, pusher *remote.Pusher, manifest image.Item) error {
	subject, err := subjectOf(manifest)
	if err != nil {
		return err
	}
	for _, repo := range p.repositories() {
		for range listings {
			index, err := remote.Referrers(repo.Digest(subject.String()), options(ctx, p.client)...)
			if err != nil {
				break
			}
			list, err := index.IndexManifest()
			if err != nil || slices.ContainsFunc(list.Manifests, func(d v1.Descriptor) bool { return d.Digest == manifest.Descriptor.Digest }) {
				break
			}
			if err := pusher.Put(ctx, repo.Digest(manifest.Descriptor.Digest.String()), remoteManifest{manifest}); err != nil {
				return explain("push attestation to", p.ref.String(), err)
			}
		}
	}
	return nil
}

// subjectOf is what an attestation's manifest refers to.
func subjectOf(manifest image.Item) (v1.Hash, error) {
	var m struct{ Subject v1.Descriptor }
	err := json.Unmarshal(manifest.Document, &m)
	return m.Subject.Digest, err
}

// isMissing tells whether a registry said that it doesn't have something.
func isMissing(err error) bool {
	var said *transport.Error
	return errors.As(err, &said) && said.StatusCode == http.StatusNotFound
}

// detaching is how long taking back may take, also after an interrupt.
const detaching = 10 * time.Second

// detach takes an attestation back, as far as the registry lets images be
// deleted: one that doesn't keeps what nobody finds but by the result's digest.
func (p *place) detach(ctx context.Context, ref name.Digest, manifest image.Item) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), detaching)
	defer cancel()
	subject, err := subjectOf(manifest)
	if err != nil {
		return
	}
	opts := options(ctx, p.client)
	fallback := ref.Context().Tag(strings.Replace(subject.String(), ":", "-", 1))
	if got, err := remote.Get(fallback, opts...); err == nil {
		var index v1.IndexManifest
		if json.Unmarshal(got.Manifest, &index) == nil {
			index.Manifests = slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool { return d.Digest == manifest.Descriptor.Digest })
			if len(index.Manifests) == 0 {
				_ = remote.Delete(fallback, opts...) // some registries delete tags, others digests with all their tags
				_ = remote.Delete(ref.Context().Digest(got.Digest.String()), opts...)
			} else if raw, err := json.Marshal(index); err == nil {
				d := got.Descriptor
				d.Digest, d.Size = image.DigestOf(raw), int64(len(raw))
				_ = remote.Put(fallback, remoteManifest{image.Item{Descriptor: d, Document: raw}}, opts...)
			}
		}
	}
	_ = remote.Delete(ref, opts...)
}
