// Package version says which version of docker-flatten this is, and which commit
// it was built from.
package version

import (
	"cmp"
	"regexp"
	"runtime/debug"
	"strings"
)

// What the source says of itself. A release, and a packager who builds from
// neither a git checkout nor an archive that git made, set both:
//
//	go build -tags release -ldflags "-X docker-flatten/rebuild/version.number=1.2.3
//	                                 -X docker-flatten/rebuild/version.commit=…"
//
// The tag leaves out what git archive writes into the source, so that the same
// bytes come of a checkout and of an archive.
var (
	number = "0.1.0-dev" // of the release that comes next
	commit string
)

// Number is the version: the tag that the go command recorded where it built
// exactly that, else what the source says.
func Number() string {
	info, _ := debug.ReadBuildInfo()
	return numberOf(info)
}

// Commit is the commit that this binary is known to be built from, with
// " (modified)" behind it where the checkout had changes; "" = not recorded.
func Commit() string {
	info, _ := debug.ReadBuildInfo()
	return commitOf(info)
}

// String is version and commit in one line. Where the build recorded no commit,
// as go run and -buildvcs=false have it, the line names the one that the source's
// directory has now, and says that.
func String() string {
	line := "docker-flatten " + Number()
	if c := Commit(); c != "" {
		return line + ", commit " + c
	}
	if c := checkedOut(); c != "" {
		return line + ", commit not recorded; its source directory is at " + c
	}
	return line + ", commit not recorded"
}

// pseudo is how versions end that the go command makes up for a commit without a
// tag (go.dev/ref/mod#pseudo-versions), or for a checkout with changes.
var pseudo = regexp.MustCompile(`[-.]\d{14}-[0-9a-f]{12}(\+\w+)?$|\+dirty$`)

func numberOf(info *debug.BuildInfo) string {
	if info == nil || !strings.HasPrefix(info.Main.Version, "v") || pseudo.MatchString(info.Main.Version) {
		return number
	}
	return strings.TrimPrefix(info.Main.Version, "v")
}

func commitOf(info *debug.BuildInfo) string {
	recorded, modified := "", false
	if info != nil {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				recorded = s.Value
			case "vcs.modified":
				modified = s.Value == "true"
			}
		}
	}
	switch {
	case recorded != "" && modified:
		return recorded + " (modified)"
	case recorded != "":
		return recorded
	}
	return cmp.Or(commit, archived)
}
