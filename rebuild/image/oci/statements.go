package oci

import (
	"encoding/json"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/attestation"
	"docker-flatten/rebuild/image"
)

// statementsIn returns what tells the digest of the image that an entry of a
// layout's index.json is this program's statement about; the zero Hash of any other
// entry. Each blob is read once, however many entries name it.
func statementsIn(root string) func(v1.Descriptor) v1.Hash {
	read := func(d v1.Descriptor) []byte {
		raw, err := readRegular(filepath.Join(root, filepath.FromSlash(image.BlobPath(d.Digest))))
		if err != nil || image.DigestOf(raw) != d.Digest {
			return nil
		}
		return raw
	}
	ours, subjects := map[v1.Hash]bool{}, map[v1.Hash]v1.Hash{}
	isOurs := func(statement v1.Descriptor) bool {
		is, known := ours[statement.Digest]
		if !known {
			is = attestation.IsOurs(read(statement))
			ours[statement.Digest] = is
		}
		return is
	}
	return func(d v1.Descriptor) v1.Hash {
		if d.ArtifactType != string(image.InToto) {
			return v1.Hash{}
		}
		subject, known := subjects[d.Digest]
		if known {
			return subject
		}
		var m struct {
			Subject v1.Descriptor   `json:"subject"`
			Layers  []v1.Descriptor `json:"layers"`
		}
		if json.Unmarshal(read(d), &m) == nil && len(m.Layers) == 1 && isOurs(m.Layers[0]) {
			subject = m.Subject.Digest
		}
		subjects[d.Digest] = subject
		return subject
	}
}
