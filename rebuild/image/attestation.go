package image

import (
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types and annotation of attestations (in-toto/attestation,
// spec/v1/bundle.md; BuildKit, docs/attestations/attestation-storage.md).
const (
	InToto        = types.MediaType("application/vnd.in-toto+json")
	PredicateType = "in-toto.io/predicate-type"
)

// Attestation is a statement about a result, as a place keeps it beside the
// result: an artefact whose manifest names the result as its subject (OCI image
// spec 1.1, manifest.md, "Guidelines for Artifact Usage").
type Attestation struct {
	Blobs    []Item // the statement, and the empty config
	Manifest Item
}

// Entry is how an index lists the attestation.
func (a *Attestation) Entry() v1.Descriptor {
	d := a.Manifest.Descriptor
	d.ArtifactType = string(InToto)
	return d
}

// Items lists all of it so that each item comes after those that it refers to.
func (a *Attestation) Items() []Item { return append(a.Blobs[:len(a.Blobs):len(a.Blobs)], a.Manifest) }

// attestation has the statement made about the result that root describes; nil
// where none is wanted. The same statement gives the same bytes.
func (w Wanted) attestation(root v1.Descriptor, images []StoredImage) (*Attestation, error) {
	if w.Attest == nil {
		return nil, nil
	}
	statement, err := w.Attest(root.Digest, images)
	if err != nil {
		return nil, err
	}
	blob := Item{Descriptor: v1.Descriptor{MediaType: InToto, Digest: DigestOf(statement), Size: int64(len(statement))}, Document: statement}
	empty := Item{
		Descriptor: v1.Descriptor{MediaType: ocispec.MediaTypeEmptyJSON, Digest: DigestOf(ocispec.DescriptorEmptyJSON.Data), Size: ocispec.DescriptorEmptyJSON.Size},
		Document:   ocispec.DescriptorEmptyJSON.Data,
	}
	var says struct {
		PredicateType string `json:"predicateType"`
	}
	if err := json.Unmarshal(statement, &says); err != nil {
		return nil, err
	}
	layer, subject := ociDescriptor(blob.Descriptor), ociDescriptor(root)
	layer.Annotations = map[string]string{PredicateType: says.PredicateType}
	raw, err := Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: string(InToto),
		Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{layer}, Subject: &subject,
		Annotations: map[string]string{PredicateType: says.PredicateType},
	})
	if err != nil {
		return nil, err
	}
	manifest := Item{Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: DigestOf(raw), Size: int64(len(raw))}, Document: raw}
	return &Attestation{Blobs: []Item{blob, empty}, Manifest: manifest}, nil
}

// AttestFound is the attestation for an earlier result, nil where none is wanted.
func (w Wanted) AttestFound(f *Found) (*Attestation, error) {
	return w.attestation(f.Source.Root(), f.Stored.Images)
}

func ociDescriptor(d v1.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: string(d.MediaType), Digest: digest.Digest(d.Digest.String()), Size: d.Size}
}
