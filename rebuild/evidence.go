package rebuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/distribution/reference"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/plan"
)

// gather finds the images whose layers may turn out to be the base's: the one
// that the user names, or else what lies near the image, and what annotations and
// provenance lead to. An archive gives the same result wherever it is flattened,
// so neither an engine nearby nor a registry is asked about it. told is what the
// engine tells of the image itself, nil for another place's image.
func (o *Options) gather(ctx context.Context, src *image.Source, im *image.Image, opt image.Options) (evidence plan.Evidence, told *history.Image, err error) {
	if im.Ref.Transport == image.Daemon {
		cli, err := o.Client()
		if err != nil {
			return plan.Evidence{}, nil, err
		}
		survey, err := engine.Look(ctx, cli, im.ID)
		if err != nil {
			return plan.Evidence{}, nil, err
		}
		told = survey.Self.Image
		if o.Base.IsAuto() {
			evidence = surveyed(survey)
			evidence.Candidates = append(evidence.Candidates, knownBases(annotatedBases(im, nil, told), locals(survey))...)
		}
	} else if o.Base.IsAuto() {
		if evidence.Candidates, err = o.around(ctx, src, im, opt); err != nil {
			return plan.Evidence{}, nil, err
		}
	}
	if ref, named := o.Base.Image(); named {
		if evidence, err = o.namedBase(ctx, ref, im, opt); err != nil {
			return plan.Evidence{}, nil, baseError(err)
		}
	}
	return evidence, told, nil
}

// baseError says what else --base takes.
func baseError(err error) error {
	var known *image.Error
	hint := "--base N keeps the N lowest layers, --base scratch none; docker://NAME is an image in a registry"
	if errors.As(err, &known) && known.Hint != "" {
		hint = known.Hint + "; " + hint
	}
	return &image.Error{Op: "find", Object: "--base", Err: err, Hint: hint}
}

// around finds candidates for an image of a layout, an archive or a registry. A
// lookup that fails costs evidence, and a warning.
func (o *Options) around(ctx context.Context, src *image.Source, im *image.Image, opt image.Options) ([]history.Candidate, error) {
	config := &history.Image{}
	if err := json.Unmarshal(im.Config, config); err != nil || src.Beside == nil || len(im.DiffIDs) < 2 {
		return nil, nil // what is wrong with the document is said where it is needed
	}
	near := siblings(ctx, im, src.Beside)
	claims := annotatedBases(im, src.Index, config)
	if im.Ref.Transport != image.Registry {
		claims = append(claims, materials(ctx, im, src.Beside)...)
		found := knownBases(claims, near)
		for _, n := range near {
			found = append(found, n.Candidate)
		}
		return found, ctx.Err()
	}
	if o.Offline {
		return nil, nil
	}
	asked, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	l := newLookup(im, opt)
	var found []history.Candidate
	search := func(claims []claim) (matched bool) {
		for _, c := range claims {
			candidates, match := l.find(asked, c)
			found, matched = append(found, candidates...), matched || match
		}
		return matched
	}
	matched := search(claims) || search(materials(asked, im, src.Beside))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if asked.Err() != nil {
		l.failed = fmt.Errorf("no answer within %s", lookupTime)
	}
	if !matched && l.failed != nil {
		opt.Warnf("the base that the image names isn't known: %s", l.failed)
	}
	return found, nil
}

// locals are an engine's named images but the image itself, with the digests by
// which registries know them.
func locals(survey *engine.Survey) []nearImage {
	var near []nearImage
	for _, l := range survey.Locals {
		if names := plan.OwnNames(l.Names); len(names) > 0 && l.ID != survey.Self.ID {
			near = append(near, nearImage{history.Candidate{Name: names[0], Names: names, Kind: "local", Image: l.Image, ID: l.ID}, l.Digests})
		}
	}
	return near
}

// surveyed is an engine's evidence: its named images, and those of them that
// are the image's parents.
func surveyed(survey *engine.Survey) plan.Evidence {
	evidence := plan.Evidence{Digests: map[string]string{}}
	documents := map[string]*history.Image{}
	for _, l := range survey.Locals {
		names := plan.OwnNames(l.Names)
		if len(names) == 0 {
			continue
		}
		for _, name := range names {
			evidence.Digests[name] = registryDigest(name, l)
		}
		documents[l.ID] = l.Image
		if l.ID != survey.Self.ID {
			evidence.Candidates = append(evidence.Candidates, history.Candidate{Name: names[0], Names: names, Kind: "local", Image: l.Image, ID: l.ID})
		}
	}
	for _, p := range survey.Parents {
		if names := plan.OwnNames(p.Names); len(names) > 0 && documents[p.ID] != nil {
			evidence.Candidates = append(evidence.Candidates, history.Candidate{Name: names[0], Names: names, Kind: "parent", Image: documents[p.ID], ID: p.ID})
		}
	}
	return evidence
}

// namedBase reads the image that --base names, in any of the forms of IMAGE.
// What FROM calls it is the image's own name: a file's path is none.
func (o *Options) namedBase(ctx context.Context, ref image.Ref, im *image.Image, opt image.Options) (plan.Evidence, error) {
	written := o.Base.String()
	if ref.Transport == image.Daemon {
		cli, err := o.Client()
		if err != nil {
			return plan.Evidence{}, err
		}
		local, err := engine.Inspect(ctx, cli, ref.Name)
		if err != nil {
			return plan.Evidence{}, err
		}
		return plan.Evidence{
			Candidates: []history.Candidate{{Name: written, Names: local.Names, Kind: "user", Image: local.Image, ID: local.ID}},
			Named:      written,
			Digests:    map[string]string{written: registryDigest(written, *local)},
		}, nil
	}
	opt.Platform = im.Platform.String()
	src, err := place.Open(ctx, ref, opt)
	if err != nil {
		return plan.Evidence{}, err
	}
	defer src.Close()
	base := src.Images[0]
	config := &history.Image{}
	if err := json.Unmarshal(base.Config, config); err != nil {
		return plan.Evidence{}, fmt.Errorf("read config document: %w", err)
	}
	evidence := plan.Evidence{Candidates: []history.Candidate{{Name: written, Names: base.Names, Kind: "user", Image: config, ID: digestIn(src.Ref, base)}}}
	if len(base.Names) > 0 {
		evidence.Named = base.Names[0]
	}
	if src.Ref.Transport == image.Registry {
		evidence.Named = src.Ref.Name
	}
	if base.Manifest != nil && src.Ref.Transport != image.Archive { // an archive's manifest is its own
		evidence.Digests = map[string]string{evidence.Named: base.Manifest.Descriptor.Digest.String()}
	}
	return evidence, nil
}

// registryDigest is the digest by which an engine's image is known in the
// repository of name, "" if it isn't known by just one.
func registryDigest(name string, l engine.Local) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	found := ""
	for _, d := range l.Digests {
		known, err := reference.ParseNormalizedNamed(d)
		if err != nil || known.Name() != named.Name() {
			continue
		}
		if digested, ok := known.(reference.Digested); ok {
			if found != "" {
				return ""
			}
			found = digested.Digest().String()
		}
	}
	return found
}
