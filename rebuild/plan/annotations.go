package plan

import (
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/history"
)

// annotations name the base in the manifest, with its digest where that is
// known (OCI image spec, annotations.md). What the source's manifest says of
// another base is taken away.
func annotations(base history.Base, evidence Evidence) map[string]string {
	if base.Layers == 0 {
		return baseAnnotations("", "")
	}
	if base.Name == "" || base.Kind == "annotation" {
		return nil // unknown, or what the manifest has already
	}
	named, err := reference.ParseNormalizedNamed(base.Name)
	if err != nil {
		return nil // an ID
	}
	digest := evidence.Digests[base.Name]
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
