package oci

import (
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
)

// Annotations of an index.json's entries that name an image: the OCI image
// spec's, which may be a bare tag, and the one with which BuildKit and
// containerd write the whole name.
const (
	refNameAnnotation        = "org.opencontainers.image.ref.name"
	containerdNameAnnotation = "io.containerd.image.name"
)

// wholeNames are those of an entry's names that name a repository: a mere tag,
// as skopeo and umoci write it, isn't a name outside its layout.
func wholeNames(names []string) []string {
	return image.TagNames(slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.ContainsAny(n, "/:") }))
}

// allNames are the names that several entries give one image.
func allNames(entries []v1.Descriptor) (names []string) {
	for _, d := range entries {
		names = append(names, entryNames(d)...)
	}
	return names
}

// entryNames are the names that an entry of index.json gives its image.
func entryNames(d v1.Descriptor) []string {
	var names []string
	for _, key := range []string{containerdNameAnnotation, refNameAnnotation} {
		if n := d.Annotations[key]; n != "" && !(len(names) > 0 && strings.HasSuffix(names[0], ":"+n)) && !(len(names) > 0 && names[0] == n) {
			names = append(names, n)
		}
	}
	return names
}

// entryMatches tells whether name means the i-th entry: by one of its names, by
// digest, or by place.
func entryMatches(d v1.Descriptor, names []string, name string, i int) bool {
	if name == d.Annotations[refNameAnnotation] || image.HasName(names, name) || name == fmt.Sprintf("@%d", i) {
		return true
	}
	hex := strings.TrimPrefix(name, "sha256:")
	return len(hex) >= 6 && strings.HasPrefix(d.Digest.Hex, hex)
}

// platforms tells whether entries are one image for several platforms: layouts
// of older tools list it so, without an index of its own.
func platforms(entries []v1.Descriptor) bool {
	seen := map[string]bool{}
	for _, d := range entries {
		if d.Platform == nil || d.Annotations[refNameAnnotation] != entries[0].Annotations[refNameAnnotation] {
			return false
		}
		p := d.Platform.String()
		if seen[p] && p != "unknown/unknown" {
			return false
		}
		seen[p] = true
	}
	return len(entries) > 1
}
