package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/cli/cli/config"
	"github.com/docker/docker/client"
)

func TestParseRef(t *testing.T) {
	for s, want := range map[string]Ref{
		"debian":                              {Daemon, "", "debian"},
		"debian:12":                           {Daemon, "", "debian:12"},
		"localhost:5000/a/b:c":                {Daemon, "", "localhost:5000/a/b:c"},
		"c4b00f24b6c5":                        {Daemon, "", "c4b00f24b6c5"},
		"sha256:" + strings.Repeat("a", 64):   {Daemon, "", "sha256:" + strings.Repeat("a", 64)},
		"docker-daemon:debian:12":             {Daemon, "", "debian:12"},
		"docker-archive:a.tar":                {Archive, "a.tar", ""},
		"docker-archive:/x/a.tar:demo:1":      {Archive, "/x/a.tar", "demo:1"},
		"docker-archive:-":                    {Archive, "-", ""},
		"docker-archive:a.tar:@1":             {Archive, "a.tar", "@1"},
		"-":                                   {Archive, "-", ""},
		"oci:dir":                             {Layout, "dir", ""},
		"oci:dir:v1":                          {Layout, "dir", "v1"},
		"oci-archive:x.tar:docker.io/a/b:v1":  {LayoutArchive, "x.tar", "docker.io/a/b:v1"},
		"docker://debian":                     {Registry, "", "debian:latest"},
		"docker://docker.io/library/debian:1": {Registry, "", "debian:1"},
		"docker://localhost:5000/a:b":         {Registry, "", "localhost:5000/a:b"},
		"image.tar":                           {AnyFile, "image.tar", ""},
		"image.TAR.GZ":                        {AnyFile, "image.TAR.GZ", ""},
		"sub/image.tar.zst":                   {AnyFile, "sub/image.tar.zst", ""},
		"./dir":                               {AnyFile, "./dir", ""},
		"../x:v1":                             {AnyFile, "../x", "v1"},
		"/abs/file":                           {AnyFile, "/abs/file", ""},
		`C:\x\image.tar`:                      {AnyFile, `C:\x\image.tar`, ""},
		`docker-archive:C:\x.tar:demo:1`:      {Archive, `C:\x.tar`, "demo:1"},
	} {
		got, err := ParseRef(s)
		if err != nil || got != want {
			t.Errorf("%s is %+v, %v", s, got, err)
			continue
		}
		if again, err := ParseRef(got.String()); err != nil || again != got {
			t.Errorf("%s written as %s is %+v, %v", s, got, again, err)
		}
	}
	for _, s := range []string{"", "docker-archive:", "docker-daemon:", "docker://", "oci:", "oci:-", "Debian", "a b", "docker://A", "docker-daemon:UPPER"} {
		if got, err := ParseRef(s); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is %+v, %v", s, got, err)
		}
	}
}

func TestParseCompression(t *testing.T) {
	for s, want := range map[string]Compression{
		"gzip": {Gzip, 0}, "gzip:1": {Gzip, 1}, "gzip:9": {Gzip, 9}, "zstd": {Zstandard, 0}, "zstd:22": {Zstandard, 22}, "none": {Uncompressed, 0},
	} {
		if got, err := ParseCompression(s); err != nil || got != want || got.String() != s {
			t.Errorf("%s is %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "xz", "gzip:", "gzip:0", "gzip:10", "zstd:23", "none:1", "gzip:a"} {
		if got, err := ParseCompression(s); err == nil {
			t.Errorf("%q is %+v", s, got)
		}
	}
}

func TestClientFindsTheEngine(t *testing.T) {
	dir := t.TempDir()
	config.SetDir(dir)
	t.Cleanup(func() { config.SetDir("") })
	meta := filepath.Join(dir, "contexts", "meta", digestOfBytes([]byte("there")).Hex)
	must(os.MkdirAll(meta, 0o755))
	must(os.WriteFile(filepath.Join(meta, "meta.json"), []byte(`{"Name":"there","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://192.0.2.7:2376","SkipTLSVerify":true}}}`), 0o644))
	for name, c := range map[string]struct {
		context, host, envHost, envContext, current string
		want                                        string
	}{
		"the local one":            {want: client.DefaultDockerHost},
		"DOCKER_HOST":              {envHost: "tcp://192.0.2.1:2375", current: "there", want: "tcp://192.0.2.1:2375"},
		"DOCKER_CONTEXT":           {envContext: "there", want: "tcp://192.0.2.7:2376"},
		"the current context":      {current: "there", want: "tcp://192.0.2.7:2376"},
		"a context by name":        {context: "there", envHost: "tcp://192.0.2.1:2375", want: "tcp://192.0.2.7:2376"},
		"a host by name":           {host: "192.0.2.2:2375", envHost: "tcp://192.0.2.1:2375", want: "tcp://192.0.2.2:2375"},
		"the context default":      {envContext: "default", current: "there", want: client.DefaultDockerHost},
		"a context that isn't":     {context: "nowhere"},
		"ssh":                      {host: "ssh://me@192.0.2.3", want: "http://docker.example.com"},
		"an address that can't be": {host: "tcp://%zz"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_HOST", c.envHost)
			t.Setenv("DOCKER_CONTEXT", c.envContext)
			must(os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"currentContext":"`+c.current+`"}`), 0o644))
			cli, err := NewClient(c.context, c.host)
			if c.want == "" {
				if err == nil {
					t.Errorf("is %s", cli.DaemonHost())
				}
				return
			}
			if err != nil || cli.DaemonHost() != c.want {
				t.Errorf("is %v, %v", cli, err)
			}
		})
	}
}
