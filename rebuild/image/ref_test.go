package image_test

import (
	"errors"
	"strings"
	"testing"

	"docker-flatten/rebuild/image"
)

func TestParseRef(t *testing.T) {
	for s, want := range map[string]image.Ref{
		"debian":                              {image.Daemon, "", "debian"},
		"debian:12":                           {image.Daemon, "", "debian:12"},
		"localhost:5000/a/b:c":                {image.Daemon, "", "localhost:5000/a/b:c"},
		"c4b00f24b6c5":                        {image.Daemon, "", "c4b00f24b6c5"},
		"sha256:" + strings.Repeat("a", 64):   {image.Daemon, "", "sha256:" + strings.Repeat("a", 64)},
		"docker-daemon:debian:12":             {image.Daemon, "", "debian:12"},
		"docker-archive:a.tar":                {image.Archive, "a.tar", ""},
		"docker-archive:/x/a.tar:demo:1":      {image.Archive, "/x/a.tar", "demo:1"},
		"docker-archive:-":                    {image.Archive, "-", ""},
		"docker-archive:a.tar:@1":             {image.Archive, "a.tar", "@1"},
		"-":                                   {image.Archive, "-", ""},
		"oci:dir":                             {image.Layout, "dir", ""},
		"oci:dir:v1":                          {image.Layout, "dir", "v1"},
		"oci-archive:x.tar:docker.io/a/b:v1":  {image.LayoutArchive, "x.tar", "docker.io/a/b:v1"},
		"docker://debian":                     {image.Registry, "", "debian:latest"},
		"docker://docker.io/library/debian:1": {image.Registry, "", "debian:1"},
		"docker://localhost:5000/a:b":         {image.Registry, "", "localhost:5000/a:b"},
		"image.tar":                           {image.AnyFile, "image.tar", ""},
		"image.TAR.GZ":                        {image.AnyFile, "image.TAR.GZ", ""},
		"sub/image.tar.zst":                   {image.AnyFile, "sub/image.tar.zst", ""},
		"./dir":                               {image.AnyFile, "./dir", ""},
		"../x:v1":                             {image.AnyFile, "../x", "v1"},
		"/abs/file":                           {image.AnyFile, "/abs/file", ""},
		`C:\x\image.tar`:                      {image.AnyFile, `C:\x\image.tar`, ""},
		`docker-archive:C:\x.tar:demo:1`:      {image.Archive, `C:\x.tar`, "demo:1"},
	} {
		got, err := image.ParseRef(s)
		if err != nil || got != want {
			t.Errorf("%s is %+v, %v", s, got, err)
			continue
		}
		if again, err := image.ParseRef(got.String()); err != nil || again != got {
			t.Errorf("%s written as %s is %+v, %v", s, got, again, err)
		}
	}
	for _, s := range []string{"", "docker-archive:", "docker-daemon:", "docker://", "oci:", "oci:-", "Debian", "a b", "docker://A", "docker-daemon:UPPER"} {
		if got, err := image.ParseRef(s); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is %+v, %v", s, got, err)
		}
	}
}

func TestParseCompression(t *testing.T) {
	for s, want := range map[string]image.Compression{
		"gzip": {image.Gzip, 0}, "gzip:1": {image.Gzip, 1}, "gzip:9": {image.Gzip, 9}, "zstd": {image.Zstandard, 0}, "zstd:22": {image.Zstandard, 22}, "none": {image.Uncompressed, 0},
	} {
		if got, err := image.ParseCompression(s); err != nil || got != want || got.String() != s {
			t.Errorf("%s is %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "xz", "gzip:", "gzip:0", "gzip:10", "zstd:23", "none:1", "gzip:a"} {
		if got, err := image.ParseCompression(s); err == nil {
			t.Errorf("%q is %+v", s, got)
		}
	}
}

func TestSlipsOfTransportsAreTold(t *testing.T) {
	for s, says := range map[string]string{
		"docker-archiv:foo.tar":   "did you mean docker-archive:?",
		"docker-deamon:app":       "did you mean docker-daemon:?",
		"oci-archiv:x":            "did you mean oci-archive:?",
		"docer://app":             "did you mean docker://?",
		"nosuchtransport:foo":     "the transports are",
		"s3://bucket/app":         "the transports are",
		"https://example.com/app": "did you mean docker://example.com/app?",
		"containers-storage:app":  "the transports are",
		"dir:/tmp/x":              "the transports are",
		"podman:./x.tar":          "the transports are",
		"file:foo.tar":            "the transports are",
	} {
		_, err := image.ParseRef(s)
		var hinted *image.Error
		if !errors.As(err, &hinted) || !strings.Contains(hinted.Hint, says) || !strings.Contains(err.Error(), s) {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"docker:24", "registry:2", "app:flat", "packer:1", "locker:2", "localhost:5000/app:1", "dir:latest", "oci:layout", "a/b:c", "debian:12", "x.tar:name", "C:\\x.tar", "app.tar.gz:ref", "docker://app", "docker://app:5000", "docker://localhost/app", "docker://registry.example/app"} {
		if _, err := image.ParseRef(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}
