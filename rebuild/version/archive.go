//go:build !release

package version

import "strings"

// archived is the commit of an archive that git made, which writes it here
// (gitattributes, export-subst); "" = this is none.
var archived = unlessUnwritten("$Format:%H$")

func unlessUnwritten(s string) string {
	if strings.HasPrefix(s, "$") {
		return ""
	}
	return s
}
