package image

import (
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
)

// TagNames are names in the form that docker shows: without docker.io and
// library, with a tag. What is no name, such as <none>:<none>, is left out.
func TagNames(names []string) []string {
	var tags []string
	for _, n := range names {
		named, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			continue
		}
		if tagged, ok := reference.TagNameOnly(named).(reference.Tagged); ok {
			tags = append(tags, reference.FamiliarName(named)+":"+tagged.Tag())
		}
	}
	return tags
}

// HasName tells whether one of names is name, however either is abbreviated.
func HasName(names []string, name string) bool {
	want, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false
	}
	want = reference.TagNameOnly(want)
	return slices.ContainsFunc(names, func(n string) bool {
		got, err := reference.ParseNormalizedNamed(n)
		return err == nil && reference.TagNameOnly(got).String() == want.String()
	})
}

// AllNames are own, unless it is "", and names, every one once.
func AllNames(own string, names []string) []string {
	var all []string
	if own != "" {
		all = append(all, own)
	}
	for _, n := range names {
		if !slices.Contains(all, n) && !HasName(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// NameOrIndex is how the i-th image of a file is asked for: by the first of its
// names, or by its place.
func NameOrIndex(names []string, i int) string {
	if len(names) > 0 {
		return names[0]
	}
	return "@" + strconv.Itoa(i)
}

// NotChosen is the error for a file of several images of which none was named,
// or none has the name that was asked for. List has what each can be asked for
// by.
func NotChosen(object string, ref Ref, list []string) error {
	if len(list) == 0 {
		return &Error{Op: "open", Object: object, Err: Detail(ErrNoImage, "it holds no image")}
	}
	if ref.Name != "" {
		return &Error{Op: "open", Object: object, Err: Detail(ErrNoImage, "no such image in it: %s", ref.Name), Hint: "it holds " + strings.Join(list, ", ")}
	}
	return &Error{
		Op: "open", Object: object,
		Err:  Detail(ErrSeveral, "it holds %d images: %s", len(list), strings.Join(list, ", ")),
		Hint: "choose one: " + ref.Transport + ":" + ref.Path + ":" + list[0],
	}
}
