// Package attestation says of a result, in a form that travels with it, what it
// was made of and how that was verified.
package attestation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Names that the statement uses. They name things, and lead nowhere.
const (
	PredicateType = "https://slsa.dev/provenance/v1"
	BuildType     = "urn:docker-flatten:flatten:v1"
	builderID     = "urn:docker-flatten"
)

// What a verification compared, in words.
const (
	configCompared  = "the config, field by field"
	pathsCompared   = "every path: type, mode, owner, time, size, links, extended attributes"
	contentCompared = "the contents of every file, by SHA-256"
)

// A Flattening is what a statement says. The same one gives the same bytes: no
// time of day is in it.
type Flattening struct {
	Name    string  // of the result
	Root    v1.Hash // its digest: an index, a manifest, or where there is none a config document (an image ID)
	Images  []Image // one a platform
	Source  Image   // as it was asked for: with the digest of its index, if it is one
	Version string  // of this program
	Commit  string  // that it was built from; "" = not recorded
	Options map[string]any
	Verify  string // structure, content or off
}

// An Image is one of those that take part. Digest is that of a manifest, an
// index, or where there is none of a config document.
type Image struct {
	Name     string // "" = it has none
	Digest   v1.Hash
	Platform string // "" = several, or unknown

	// Of a result alone.
	Source     v1.Hash   // digest of the platform's image in the source
	Base       Base      // that its layers stand on
	DiffIDs    []v1.Hash // of all its layers
	KeptLayers int       // how many of them are the base's, from the lowest
}

// Base is an image whose layers were kept.
type Base struct {
	Name     string
	Digest   string // "" = not known
	Evidence string
}

// Statement is an in-toto statement v1 with a SLSA provenance v1, as JSON with
// sorted keys.
func Statement(f Flattening) ([]byte, error) {
	parameters, err := structpb.NewStruct(f.Options)
	if err != nil {
		return nil, fmt.Errorf("make attestation: options: %w", err)
	}
	verification := map[string]any{"method": f.Verify, "result": "same"}
	switch f.Verify {
	case "off":
		verification["result"] = "not verified"
	case "structure":
		verification["compared"] = []any{configCompared, pathsCompared}
	case "content":
		verification["compared"] = []any{configCompared, pathsCompared, contentCompared}
	}
	var platforms []any
	for _, im := range f.Images {
		var diffIDs []any
		for _, d := range im.DiffIDs {
			diffIDs = append(diffIDs, d.String())
		}
		platforms = append(platforms, map[string]any{
			"platform": im.Platform, "digest": im.Digest.String(), "source": im.Source.String(), "diffIDs": diffIDs,
			"base": map[string]any{"name": im.Base.Name, "layers": im.KeptLayers, "evidence": im.Base.Evidence},
		})
	}
	internal, err := structpb.NewStruct(map[string]any{"verification": verification, "platforms": platforms})
	if err != nil {
		return nil, fmt.Errorf("make attestation: %w", err)
	}
	version := map[string]string{"docker-flatten": f.Version}
	if f.Commit != "" {
		version["commit"] = f.Commit
	}
	predicate := &provenance.Provenance{
		BuildDefinition: &provenance.BuildDefinition{
			BuildType: BuildType, ExternalParameters: parameters, InternalParameters: internal, ResolvedDependencies: f.materials(),
		},
		RunDetails: &provenance.RunDetails{Builder: &provenance.Builder{Id: builderID, Version: version}},
	}
	if err := predicate.Validate(); err != nil {
		return nil, fmt.Errorf("make attestation: %w", err)
	}
	fields := &structpb.Struct{}
	raw, err := protojson.Marshal(predicate)
	if err == nil {
		err = protojson.Unmarshal(raw, fields)
	}
	if err != nil {
		return nil, fmt.Errorf("make attestation: %w", err)
	}
	statement := &intoto.Statement{Type: intoto.StatementTypeUri, Subject: f.subjects(), PredicateType: PredicateType, Predicate: fields}
	if err := statement.Validate(); err != nil {
		return nil, fmt.Errorf("make attestation: %w", err)
	}
	return sorted(statement)
}

// sorted is a message as JSON. The protobuf library's own form differs in spaces
// from one build to another, on purpose.
func sorted(m proto.Message) ([]byte, error) {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("make attestation: %w", err)
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, fmt.Errorf("make attestation: %w", err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, fmt.Errorf("make attestation: %w", err)
	}
	return b.Bytes(), nil
}

// subjects are the result, and the images of its index: a platform's image is
// what many who hold the statement have.
func (f Flattening) subjects() []*intoto.ResourceDescriptor {
	list := []*intoto.ResourceDescriptor{{Name: f.Name, Digest: digestSet(f.Root)}}
	for _, im := range f.Images {
		if im.Digest != f.Root {
			list = append(list, &intoto.ResourceDescriptor{Name: f.Name, Uri: packageURL(f.Name, im.Platform), Digest: digestSet(im.Digest)})
		}
	}
	return list
}

// materials are the source, each platform's image of it, and the bases.
func (f Flattening) materials() []*intoto.ResourceDescriptor {
	var list []*intoto.ResourceDescriptor
	seen := map[string]bool{}
	add := func(name, platform string, digest v1.Hash) {
		d := &intoto.ResourceDescriptor{Uri: packageURL(name, platform)}
		if digest != (v1.Hash{}) {
			d.Digest = digestSet(digest)
		}
		if key := d.Uri + " " + digest.String(); !seen[key] && (d.Uri != "" || d.Digest != nil) {
			seen[key] = true
			list = append(list, d)
		}
	}
	add(f.Source.Name, f.Source.Platform, f.Source.Digest)
	for _, im := range f.Images {
		if im.Source != f.Source.Digest {
			add(f.Source.Name, im.Platform, im.Source)
		}
	}
	for _, im := range f.Images {
		digest, err := v1.NewHash(im.Base.Digest)
		if err != nil {
			digest = v1.Hash{}
		}
		if im.KeptLayers > 0 {
			add(im.Base.Name, im.Platform, digest)
		}
	}
	return list
}

func digestSet(h v1.Hash) map[string]string { return map[string]string{h.Algorithm: h.Hex} }

// packageURL is the package URL of an image (package-url/purl-spec, types/docker,
// in the form that BuildKit's provenance has); "" for what has no name.
func packageURL(name, platform string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if name == "" || err != nil {
		return ""
	}
	parts := strings.Split(reference.FamiliarName(named), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	u := "pkg:docker/" + strings.Join(parts, "/")
	if tagged, ok := reference.TagNameOnly(named).(reference.Tagged); ok {
		u += "@" + url.PathEscape(tagged.Tag())
	} else if digested, ok := named.(reference.Digested); ok {
		u += "@" + url.PathEscape(digested.Digest().String())
	}
	if platform != "" {
		u += "?platform=" + url.QueryEscape(platform)
	}
	return u
}

// IsOurs tells whether a file is a statement that this program made.
func IsOurs(file []byte) bool {
	_, ours := subjectName(file)
	return ours
}

// IsOf tells whether a file is a statement that this program made about a result
// of the name.
func IsOf(file []byte, name string) bool {
	subject, ours := subjectName(file)
	return ours && subject == name
}

// subjectName is what a statement of this program's calls its result.
func subjectName(file []byte) (name string, ours bool) {
	var s struct {
		Subject []struct {
			Name string `json:"name"`
		} `json:"subject"`
		Predicate struct {
			BuildDefinition struct {
				BuildType string `json:"buildType"`
			} `json:"buildDefinition"`
		} `json:"predicate"`
	}
	if json.Unmarshal(file, &s) != nil || s.Predicate.BuildDefinition.BuildType != BuildType || len(s.Subject) == 0 {
		return "", false
	}
	return s.Subject[0].Name, true
}
