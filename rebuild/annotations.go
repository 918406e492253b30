package rebuild

import (
	"slices"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/rebuild/image"
)

// annotations name the base in the manifest, with its digest where that is
// known (OCI image spec, annotations.md). What the source's manifest says of
// another base is taken away.
func (j *job) annotations() map[string]string {
	if j.base.Layers == 0 {
		return baseAnnotations("", "")
	}
	if j.base.Name == "" || j.base.Kind == "annotation" {
		return nil // unknown, or what the manifest has already
	}
	named, err := reference.ParseNormalizedNamed(j.base.Name)
	if err != nil {
		return nil // an ID
	}
	digest := j.baseDigest
	for _, l := range j.locals {
		if digest == "" && slices.Contains(l.Names, j.base.Name) {
			digest = registryDigest(named, l)
		}
	}
	if digested, ok := named.(reference.Digested); ok && digest == "" {
		digest = digested.Digest().String()
	}
	// Of NAME:TAG@DIGEST the tag is what will name a newer base.
	if tagged, ok := named.(reference.Tagged); ok {
		if named, err = reference.WithTag(reference.TrimNamed(named), tagged.Tag()); err != nil {
			return nil
		}
	}
	return baseAnnotations(reference.TagNameOnly(named).String(), digest)
}

func baseAnnotations(name, digest string) map[string]string {
	return map[string]string{ocispec.AnnotationBaseImageName: name, ocispec.AnnotationBaseImageDigest: digest}
}

// registryDigest is the digest by which an engine's image is known in the
// repository of name, "" if it isn't known by just one.
func registryDigest(name reference.Named, l image.Local) string {
	found := ""
	for _, d := range l.Digests {
		known, err := reference.ParseNormalizedNamed(d)
		if err != nil || known.Name() != name.Name() {
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
