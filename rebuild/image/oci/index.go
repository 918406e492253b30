package oci

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
)

// indexJSON is a layout's index.json old, nil for none, with the entries added.
// Images under other names stay; the same names now mean the new one. A statement
// of ours goes with the image that it is about: ours returns that one's digest, and
// the zero Hash of anything else. Nothing changes where it has all of them.
func indexJSON(old []byte, added []v1.Descriptor, ours func(v1.Descriptor) v1.Hash) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("index.json: %w", err) }
	index, err := image.ParseDocument(old)
	if err != nil {
		return fail(err)
	}
	var had struct {
		Manifests []json.RawMessage `json:"manifests"`
	}
	if len(old) > 0 {
		if err := json.Unmarshal(old, &had); err != nil {
			return fail(err)
		}
	}
	list := []json.RawMessage{}
	there := 0
	var stay []v1.Descriptor // what each of list is
	gone := map[v1.Hash]bool{}
	for _, raw := range had.Manifests {
		var d v1.Descriptor
		if err := json.Unmarshal(raw, &d); err != nil {
			return fail(err)
		}
		if slices.ContainsFunc(added, func(a v1.Descriptor) bool { return a.Digest == d.Digest && sameName(a, d) }) {
			there++
		}
		if replaced(d, added) {
			gone[d.Digest] = true
			continue
		}
		list, stay = append(list, raw), append(stay, d)
	}
	if len(old) > 0 && there == len(added) {
		return old, nil
	}
	for _, d := range slices.Concat(stay, added) {
		delete(gone, d.Digest) // it has another name, or is what is added
	}
	if len(gone) > 0 {
		for i, d := range slices.Backward(stay) {
			if gone[ours(d)] {
				list = slices.Delete(list, i, i+1)
			}
		}
	}
	for _, d := range added {
		raw, err := image.Marshal(d)
		if err != nil {
			return fail(err)
		}
		list = append(list, raw)
	}
	fields := []struct {
		key   string
		value any
		set   bool
	}{
		{"schemaVersion", 2, true},
		{"mediaType", types.OCIImageIndex, len(old) == 0 || index["mediaType"] != nil},
		{"manifests", list, true},
	}
	for _, f := range fields {
		if f.set {
			if err := index.Set(f.key, f.value); err != nil {
				return fail(err)
			}
		}
	}
	return index.Bytes(), nil
}

func sameName(a, b v1.Descriptor) bool {
	return a.Annotations[refNameAnnotation] == b.Annotations[refNameAnnotation] &&
		a.Annotations[containerdNameAnnotation] == b.Annotations[containerdNameAnnotation]
}

// replaced tells whether one of added takes the place of d: one with its name,
// or, where it has none, with its digest.
func replaced(d v1.Descriptor, added []v1.Descriptor) bool {
	name, full := d.Annotations[refNameAnnotation], d.Annotations[containerdNameAnnotation]
	return slices.ContainsFunc(added, func(a v1.Descriptor) bool {
		return sameName(a, d) && (name+full != "" || d.Digest == a.Digest) ||
			a.Annotations[containerdNameAnnotation] == "" && name != "" && name == a.Annotations[refNameAnnotation]
	})
}

// entries are index.json's entries for the image that root describes: one a
// name. The name that the destination's reference gives, own, is the annotation
// that skopeo and umoci look for; other names are split as BuildKit and
// containerd do it, into the whole one and its tag.
func entries(root v1.Descriptor, own string, names []string) []v1.Descriptor {
	root = v1.Descriptor{MediaType: root.MediaType, Digest: root.Digest, Size: root.Size}
	var list []v1.Descriptor
	add := func(annotations map[string]string) {
		d := root
		d.Annotations = annotations
		list = append(list, d)
	}
	if own != "" {
		add(map[string]string{refNameAnnotation: own})
	}
	for _, n := range names {
		named, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			continue
		}
		named = reference.TagNameOnly(named)
		annotations := map[string]string{containerdNameAnnotation: named.String()}
		if tagged, ok := named.(reference.Tagged); ok {
			annotations[refNameAnnotation] = tagged.Tag()
		}
		add(annotations)
	}
	if list == nil {
		add(nil)
	}
	return list
}

// names are what a result in a layout is called.
type names struct {
	own   string   // by the destination's reference
	other []string // whole names
}

func newNames(ref image.Ref, given []string) names {
	all := image.AllNames(ref.Name, given)
	if ref.Name == "" {
		return names{other: all}
	}
	return names{own: ref.Name, other: all[1:]}
}

func (n names) all() []string {
	if n.own == "" {
		return n.other
	}
	return append([]string{n.own}, n.other...)
}

// entries are index.json's entries for the image, and for the attestation beside
// it, nil for none. That one has no name: its subject is what it is found by.
func (n names) entries(root v1.Descriptor, attestation *image.Attestation) []v1.Descriptor {
	list := entries(root, n.own, n.other)
	if attestation != nil {
		list = append(list, attestation.Entry())
	}
	return list
}
