// Package archive reads and writes docker-archives, the files that docker save
// writes and docker load takes, and the tar files that other formats are in,
// too.
package archive

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"docker-flatten/rebuild/image"
)

// SavedImage is an entry of a docker-archive's manifest.json.
type SavedImage struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// chooseSaved picks an image by name, by the ID of its config, or by its place
// in the list (@0 is the first, as in skopeo's docker-archive references). Where
// none is named, only those are meant that onlyImages leaves of several; nil
// leaves all.
func chooseSaved(saved []SavedImage, ref image.Ref, object string, onlyImages func([]placed) []placed) (SavedImage, error) {
	if n, err := strconv.Atoi(strings.TrimPrefix(ref.Name, "@")); strings.HasPrefix(ref.Name, "@") && err == nil && n >= 0 && n < len(saved) {
		return saved[n], nil
	}
	different := distinct(saved)
	if ref.Name == "" && len(different) > 1 && onlyImages != nil {
		different = onlyImages(different)
	}
	if ref.Name == "" && len(different) == 1 {
		return different[0].SavedImage, nil
	}
	var list []string
	for _, m := range different {
		if ref.Name != "" && (image.HasName(m.RepoTags, ref.Name) || isIDOf(ref.Name, m.Config)) {
			return m.SavedImage, nil
		}
		list = append(list, image.NameOrIndex(m.RepoTags, m.place))
	}
	return SavedImage{}, image.NotChosen(object, ref, list)
}

// placed is an entry of manifest.json, and its place there.
type placed struct {
	SavedImage
	place int
}

// distinct are the images that are listed. Entries of one config and the same
// layers are one image, with all their names.
func distinct(saved []SavedImage) (list []placed) {
	at := map[string]int{}
	for i, m := range saved {
		key := strings.Join(append([]string{m.Config}, m.Layers...), "\x00")
		n, known := at[key]
		if !known {
			at[key] = len(list)
			m.RepoTags = slices.Clone(m.RepoTags)
			list = append(list, placed{m, i})
			continue
		}
		list[n].RepoTags = append(list[n].RepoTags, m.RepoTags...)
	}
	return list
}

// isIDOf tells whether id is the beginning, of 6 digits or more, of the digest
// in a config file's name.
func isIDOf(id, config string) bool {
	id = strings.TrimPrefix(id, "sha256:")
	return len(id) >= 6 && strings.HasPrefix(DigestInName(config), id)
}

// DigestInName is the sha256 that the name of a file in an archive consists of:
// HEX.json, HEX.tar, HEX.tar.gz, HEX/layer.tar, sha256:HEX, blobs/sha256/HEX;
// "" if there is none.
func DigestInName(name string) string {
	base := path.Base(name)
	if base == "layer.tar" {
		base = path.Base(path.Dir(name))
	}
	base = strings.TrimPrefix(base, "sha256:")
	base, _, _ = strings.Cut(base, ".")
	if len(base) != 64 || strings.Trim(base, "0123456789abcdef") != "" {
		return ""
	}
	return base
}
