package image

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
)

// longestName is more than any name has with its tag and digest.
const longestName = 1024

// parseName parses a name that comes from a file. Long ones, which can't be names,
// would take their time.
func parseName(n string) (reference.Named, error) {
	if len(n) > longestName {
		return nil, reference.ErrNameTooLong
	}
	return reference.ParseNormalizedNamed(n)
}

// TagNames are names in the form that docker shows: without docker.io and
// library, with a tag. What is no name, such as <none>:<none>, is left out.
func TagNames(names []string) []string {
	var tags []string
	for _, n := range names {
		named, err := parseName(n)
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
	want, err := parseName(name)
	if err != nil {
		return false
	}
	want = reference.TagNameOnly(want)
	return slices.ContainsFunc(names, func(n string) bool {
		got, err := parseName(n)
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
		return &Error{Op: "open", Object: object, Err: Detail(ErrNoImage, "no such image in it: %s", short(ref.Name)), Hint: "it holds " + few(list)}
	}
	choice := list[0]
	if short(choice) != choice {
		choice = "@0"
	}
	return &Error{
		Op: "open", Object: object,
		Err:  Detail(ErrSeveral, "it holds %d images: %s", len(list), few(list)),
		Hint: "choose one: " + ref.Transport + ":" + ref.Path + ":" + choice,
	}
}

// few names the first of a list, and how many more there are.
func few(list []string) string {
	const most = 8
	var named []string
	for _, s := range list[:min(most, len(list))] {
		named = append(named, short(s))
	}
	text := strings.Join(named, ", ")
	if more := len(list) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// short is the beginning of a long name.
func short(s string) string {
	const most = 200
	if r := []rune(s); len(s) > most && len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
