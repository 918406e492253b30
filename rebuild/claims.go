package rebuild

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/plan"
)

// A claim is what something says of an image's base. It is worth as much as the
// layers of the image that it leads to.
type claim struct {
	name   string // "" where only the digest is given
	digest string // "" where only the name is given
	kind   string // of a history.Candidate
	by     string // of a history.Candidate
}

// What is asked of registries is evidence, not the job: it is bounded in number
// and in time.
const (
	mostLookups = 16
	lookupTime  = 20 * time.Second
)

// annotatedBases are the bases that an image's annotations name, the most specific
// first. A label is inherited, so that it may name the base of a base.
func annotatedBases(im *image.Image, ix *image.Index, config *history.Image) []claim {
	var claims []claim
	add := func(by string, said map[string]string) {
		c := claim{name: said[ocispec.AnnotationBaseImageName], digest: said[ocispec.AnnotationBaseImageDigest], kind: "annotation", by: by + " names it"}
		if plan.IsBaseName(c.name) || c.name == "" && c.digest == "" {
			return
		}
		if _, err := reference.ParseNormalizedNamed(c.name); c.name != "" && err != nil {
			return
		}
		if c.digest != "" && digest.Digest(c.digest).Validate() != nil {
			return
		}
		if !slices.ContainsFunc(claims, func(had claim) bool { return had.name == c.name && had.digest == c.digest }) {
			claims = append(claims, c)
		}
	}
	if im.Manifest != nil {
		add("the manifest's annotation", im.Manifest.Annotations)
		add("the index's annotation", im.Manifest.Descriptor.Annotations)
	}
	if ix != nil {
		add("the index's annotation", ix.Annotations)
		add("the index's annotation", ix.Descriptor.Annotations)
	}
	if config != nil {
		add("the config's label", config.Config.Labels)
	}
	return claims
}

// means tells whether the claim means an image that has the names and digests.
func (c claim) means(names, digests []string) bool {
	if c.digest != "" && slices.ContainsFunc(digests, func(d string) bool { return d == c.digest || strings.HasSuffix(d, "@"+c.digest) }) {
		return true
	}
	want := normal(c.name)
	return want != "" && slices.ContainsFunc(names, func(n string) bool { return normal(n) == want })
}

// normal is a whole name with its tag and without its digest, "" if it is none.
func normal(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	if tagged, ok := named.(reference.Tagged); ok {
		return reference.TrimNamed(named).Name() + ":" + tagged.Tag()
	}
	return reference.TagNameOnly(reference.TrimNamed(named)).String()
}

// pinned is the claim's name with its digest, as far as both are known; in is
// the repository of an image that has only a digest.
func (c claim) pinned(in string) string {
	name := c.name
	if name == "" {
		name = in
	}
	if c.digest == "" || name == "" || strings.Contains(name, "@") {
		return name
	}
	return name + "@" + c.digest
}

// knownBases are the candidates among the images that lie near which a claim
// means: the same images, with better evidence.
func knownBases(claims []claim, near []nearImage) []history.Candidate {
	var found []history.Candidate
	for _, c := range claims {
		for _, n := range near {
			if c.means(n.Names, n.digests) {
				candidate := n.Candidate
				candidate.Kind, candidate.By = c.kind, c.by
				if candidate.Name == "" {
					candidate.Name = c.pinned("")
				}
				found = append(found, candidate)
			}
		}
	}
	return found
}

// A nearImage is a candidate with the digests by which it is known.
type nearImage struct {
	history.Candidate
	digests []string
}

// siblings are the images for the same platform that lie in the same layout or
// archive and whose layers are the image's lowest.
func siblings(ctx context.Context, im *image.Image, beside image.Beside) []nearImage {
	var near []nearImage
	for _, s := range beside.Images(ctx) {
		config := &history.Image{}
		if s.ID == im.ID || !image.PlatformMatches(im.Platform, s.Platform) || !below(s.DiffIDs, im.DiffIDs) || json.Unmarshal(s.Config, config) != nil {
			continue
		}
		n := nearImage{Candidate: history.Candidate{Names: plan.OwnNames(s.Names), Kind: "sibling", Image: config, ID: digestIn(im.Ref, s)}, digests: []string{s.ID}}
		if len(n.Names) > 0 {
			n.Name = n.Names[0]
		}
		if s.Manifest != nil {
			n.digests = append(n.digests, s.Manifest.Descriptor.Digest.String())
		}
		near = append(near, n)
	}
	return near
}

// lookup asks registries for what claims name: for the digest in the repository
// that the image came from, then for it under its name, at last for the name.
type lookup struct {
	registry   string // of the image
	repository string // of the image
	diffIDs    []v1.Hash
	opt        image.Options
	left       int
	failed     error // the last lookup that found neither an image nor that there is none
}

func newLookup(im *image.Image, opt image.Options) *lookup {
	l := &lookup{diffIDs: im.DiffIDs, left: mostLookups}
	if named, err := reference.ParseNormalizedNamed(im.Ref.Name); err == nil {
		l.registry, l.repository = reference.Domain(named), reference.FamiliarName(named)
	}
	l.opt = image.Options{Platform: im.Platform.String(), TempDir: opt.TempDir, Insecure: opt.Insecure}
	return l
}

// find returns what a claim leads to: the image whose layers match, or if there
// is none, those that don't, and whether they do.
func (l *lookup) find(ctx context.Context, c claim) ([]history.Candidate, bool) {
	var refs []string
	if c.digest != "" {
		refs = append(refs, l.repository+"@"+c.digest)
		if named, err := reference.ParseNormalizedNamed(c.name); err == nil {
			refs = append(refs, named.Name()+"@"+c.digest)
		}
	}
	if c.name != "" {
		refs = append(refs, c.name)
	}
	var others []history.Candidate
	for i, ref := range refs {
		if slices.Contains(refs[:i], ref) {
			continue
		}
		im, config := l.read(ctx, ref)
		if im == nil {
			continue
		}
		candidate := history.Candidate{Name: c.name, Kind: c.kind, By: c.by, Image: config, ID: digestOf(im).String()}
		if c.digest != "" && strings.HasSuffix(ref, "@"+c.digest) {
			candidate.Name = c.pinned(l.repository)
		}
		if below(im.DiffIDs, l.diffIDs) {
			return []history.Candidate{candidate}, true
		}
		others = append(others, candidate)
	}
	return others, false
}

// read returns a registry's image and its config document, nil if it can't be
// had.
func (l *lookup) read(ctx context.Context, ref string) (*image.Image, *history.Image) {
	if l.left--; l.left < 0 || ctx.Err() != nil {
		return nil, nil
	}
	opt := l.opt
	if named, err := reference.ParseNormalizedNamed(ref); err != nil || reference.Domain(named) != l.registry {
		opt.Insecure = false // the user spoke of the registries named on the command line, the image may name any
	}
	src, err := place.Open(ctx, image.Ref{Transport: image.Registry, Name: ref}, opt)
	if err != nil {
		if !errors.Is(err, image.ErrNoImage) && !errors.Is(err, image.ErrUnauthorized) { // a hub denies what isn't there
			l.failed = err
		}
		return nil, nil
	}
	defer src.Close()
	config := &history.Image{}
	if json.Unmarshal(src.Images[0].Config, config) != nil {
		return nil, nil
	}
	return src.Images[0], config
}

// below tells whether layers are the lowest of others, or all of them.
func below(layers, others []v1.Hash) bool {
	return len(layers) > 0 && len(layers) <= len(others) && slices.Equal(layers, others[:len(layers)])
}
