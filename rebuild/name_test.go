package rebuild

import (
	"os"
	"strings"
	"testing"

	"docker-flatten/rebuild/image"
)

func TestFlattenedNameComesOfANameAndNoID(t *testing.T) {
	id := strings.Repeat("0af1", 16)
	names := []string{"team/app:2", "other:1"}
	for _, c := range []struct {
		ref   image.Ref
		names []string
		want  string
	}{
		{image.Ref{Transport: image.Daemon, Name: "other:1"}, names, "other_flatten:1"},
		{image.Ref{Transport: image.Daemon, Name: "other"}, names, "other_flatten:latest"},
		{image.Ref{Transport: image.Daemon, Name: "0af1"}, names, "team/app_flatten:2"},
		{image.Ref{Transport: image.Daemon, Name: id[:12]}, names, "team/app_flatten:2"},
		{image.Ref{Transport: image.Daemon, Name: id}, names, "team/app_flatten:2"},
		{image.Ref{Transport: image.Daemon, Name: "sha256:" + id}, names, "team/app_flatten:2"},
		{image.Ref{Transport: image.Daemon, Name: "sha256:" + id}, nil, ""},
		{image.Ref{Transport: image.Daemon, Name: "cafe"}, []string{"cafe:latest"}, "cafe_flatten:latest"},
		{image.Ref{Transport: image.Daemon, Name: "sha256:12"}, []string{"sha256:12"}, "sha256_flatten:12"},
		{image.Ref{Transport: image.Archive, Path: "/a/B.tar.gz"}, nil, "b_flatten:latest"},
	} {
		if got := flattenedName(c.ref, c.names); got != c.want {
			t.Errorf("%s, %v: %q, want %q", c.ref, c.names, got, c.want)
		}
	}
}

// A file in the working directory whose name is "-" is neither stdin nor stdout.
func TestStdinIsNoFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("-", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for paths, want := range map[[2]string]bool{{"-", "-"}: false, {"-", "./-"}: false, {"./-", "-"}: false, {"./-", "././-"}: true, {"./-", "./other"}: false} {
		if got := isSameFile(paths[0], paths[1]); got != want {
			t.Errorf("%v: %t", paths, got)
		}
	}
}
