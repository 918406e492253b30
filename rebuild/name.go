package rebuild

import (
	"errors"
	"path"
	"strings"

	"github.com/distribution/reference"

	"docker-flatten/rebuild/image"
)

// normalName returns a tag as the engine would show it: the name as people
// write it, with :latest when no tag is given. A digest can't be a tag.
func normalName(tag string) (string, error) {
	named, err := reference.ParseNormalizedNamed(tag)
	if err != nil {
		return "", err
	}
	if _, ok := named.(reference.Digested); ok {
		return "", errors.New("a digest follows from the image, it can't be given")
	}
	return reference.FamiliarString(reference.TagNameOnly(named)), nil
}

// flattenedName is the name of the result when the user gives none:
// NAME_flatten[:TAG], with the name that the image was asked for by, or else
// the first that it has. It is "" for an image that has no name at all.
func flattenedName(ref image.Ref, names []string) string {
	candidates := append([]string{ref.Name}, names...)
	if ref.Path != "" && ref.Name != "" && !strings.ContainsAny(ref.Name, ":/") {
		candidates[0] = fileName(ref.Path) + ":" + ref.Name // a tag of a layout
	}
	if ref.Transport != image.Daemon && ref.Transport != image.Registry {
		candidates = append(candidates, fileName(ref.Path))
	}
	for i, c := range candidates {
		named, err := reference.ParseNormalizedNamed(c)
		if err != nil {
			continue // an image ID
		}
		if i == 0 && isID(c, names) {
			continue
		}
		name := reference.FamiliarName(named) + "_flatten"
		if tagged, ok := named.(reference.Tagged); ok {
			name += ":" + tagged.Tag()
		}
		if normal, err := normalName(name); err == nil {
			return normal
		}
	}
	return ""
}

// isID tells whether c, with which an image was found that has names, was an
// ID of it: a hexadecimal word, maybe with the algorithm in front, that is none
// of the names.
func isID(c string, names []string) bool {
	if hex := strings.TrimPrefix(c, "sha256:"); hex == "" || strings.Trim(hex, "0123456789abcdef") != "" {
		return false
	}
	for _, n := range names {
		if n == c || strings.HasPrefix(n, c+":") {
			return false
		}
	}
	return true
}

// fileName makes a repository name of an archive's file name.
func fileName(p string) string {
	base := strings.ToLower(path.Base(strings.ReplaceAll(p, `\`, "/")))
	if i := strings.Index(base, ".tar"); i > 0 {
		base = base[:i]
	}
	return base
}
