package plan

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// What stands in another form at its path isn't deleted.
func TestReplacedIsNotDeleted(t *testing.T) {
	im := imageOf(nil,
		made("base", "etc/motd", "var/", "var/a", "dir/", "dir/b", "file"),
		made("/bin/sh -c one", "etc/.wh.motd", "var/", "var/.wh..wh..opq", "var/c"),
		made("/bin/sh -c two", "dir", "file/", "file/d"))
	p := planOf(t, im, 1, v1.Platform{})
	want := "# Deleted from the base: 1 path\n#   /etc/motd\n# Replaced in the base: 3 paths\n#   /var/ by a new directory\n#   /dir/ by what is no directory\n#   /file by a directory\n"
	if !strings.Contains(string(p.Dockerfile), want) {
		t.Errorf("%s\nwant\n%s", p.Dockerfile, want)
	}
}

func TestLossOfTheRootsMetadata(t *testing.T) {
	im := imageOf(nil, made("base", "etc/"), made("/bin/sh -c one", "a"), made("/bin/sh -c two", "/", "b"))
	p := planOf(t, im, 1, v1.Platform{})
	if want := "#   metadata of /\n"; !strings.Contains(string(p.Dockerfile), want) {
		t.Errorf("%s\nwant\n%s", p.Dockerfile, want)
	}
}
