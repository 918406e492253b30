package rebuild

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
)

// A provenance with all its Dockerfile and metadata in it is some 100 kB.
const (
	largestStatement  = 8 << 20
	largestManifest   = 1 << 20
	mostAttestations  = 16
	mostStatements    = 16
	inToto            = types.MediaType("application/vnd.in-toto+json")
	envelope          = types.MediaType("application/vnd.dsse.envelope.v1+json")
	slsaProvenance    = "https://slsa.dev/provenance/"
	predicateTypeName = "in-toto.io/predicate-type"
)

// materials are the images that an image was made of, as far as a provenance
// attached to it says so: to be looked up, and believed where the layers match.
func materials(ctx context.Context, im *image.Image, beside image.Beside) []claim {
	if im.Manifest == nil {
		return nil
	}
	var claims []claim
	statements := 0
	attached := beside.Around(ctx, im.Manifest.Descriptor.Digest)
	for _, d := range attached[:min(len(attached), mostAttestations)] {
		raw, err := beside.Document(ctx, d, largestManifest)
		if err != nil {
			continue
		}
		var m v1.Manifest
		if json.Unmarshal(raw, &m) != nil {
			continue
		}
		for _, l := range m.Layers {
			predicate, says := l.Annotations[predicateTypeName]
			if l.MediaType != inToto && l.MediaType != envelope || says && !strings.HasPrefix(predicate, slsaProvenance) || statements == mostStatements {
				continue
			}
			statements++
			if statement, err := beside.Document(ctx, l, largestStatement); err == nil {
				claims = append(claims, statedMaterials(statement)...)
			}
		}
	}
	return claims
}

// statement is an in-toto statement with a SLSA provenance of version 0.2 or 1
// (slsa.dev/spec), or the DSSE envelope of one.
type statement struct {
	Payload       []byte `json:"payload"`
	PredicateType string `json:"predicateType"`
	Predicate     struct {
		Materials       []material `json:"materials"`
		BuildDefinition struct {
			ResolvedDependencies []material `json:"resolvedDependencies"`
		} `json:"buildDefinition"`
	} `json:"predicate"`
}

type material struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest"`
}

// statedMaterials are the images among a statement's materials.
func statedMaterials(raw []byte) []claim {
	var s statement
	if json.Unmarshal(raw, &s) != nil {
		return nil
	}
	if len(s.Payload) > 0 {
		raw, s = s.Payload, statement{}
		if json.Unmarshal(raw, &s) != nil {
			return nil
		}
	}
	if !strings.HasPrefix(s.PredicateType, slsaProvenance) {
		return nil
	}
	var claims []claim
	for _, m := range append(s.Predicate.Materials, s.Predicate.BuildDefinition.ResolvedDependencies...) {
		if c, ok := m.image(); ok {
			claims = append(claims, c)
		}
	}
	return claims
}

// image is the image that a material is, by its package URL
// (package-url/purl-spec, types/docker; BuildKit, util/purl):
// pkg:docker/NAMESPACE/NAME@TAG?digest=sha256:…, where either may be missing.
func (m material) image() (claim, bool) {
	purl, ok := strings.CutPrefix(m.URI, "pkg:docker/")
	if !ok {
		return claim{}, false
	}
	purl, _, _ = strings.Cut(purl, "#")
	path, query, _ := strings.Cut(purl, "?")
	name, version, _ := strings.Cut(path, "@")
	name, errName := url.PathUnescape(name)
	version, errVersion := url.PathUnescape(version)
	qualifiers, errQuery := url.ParseQuery(query)
	if errName != nil || errVersion != nil || errQuery != nil {
		return claim{}, false
	}
	c := claim{kind: "provenance", by: "the image's provenance names it", digest: qualifiers.Get("digest")}
	if strings.HasPrefix(version, "sha256:") {
		c.digest, version = version, ""
	}
	if hex := m.Digest["sha256"]; c.digest == "" && hex != "" {
		c.digest = "sha256:" + hex
	}
	if version != "" {
		name += ":" + version
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return claim{}, false
	}
	c.name = reference.FamiliarString(named)
	return c, true
}
