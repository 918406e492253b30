package rebuild

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
)

// recoverable are more images, whose files come from COPY.
var recoverable = map[string]string{
	"files of several owners": `
COPY a /srv/one/a
COPY --chown=1000:1000 a b /srv/two/
COPY ["b", "/srv/with blank/b"]
ADD files.tar /srv/three/
RUN chmod 4755 /srv/one/a && ln /srv/two/a /srv/link
COPY --chown=9:9 b /srv/two/a
ENV A="x y" B='$z'
`,
	"build arguments": `
ARG VERSION=1.2 NAME="two words"
RUN echo $VERSION $NAME > /version
ARG MORE=3
RUN echo $MORE >> /version && rm /etc/motd
CMD ["cat", "/version"]
`,
}

// TestRecoveredDockerfileRebuilds has the engine build what --dockerfile original
// wrote, of images whose RUNs do the same each time.
func TestRecoveredDockerfileRebuilds(t *testing.T) {
	cli := imagetest.Engine(t)
	since := time.Now().Add(-time.Second)
	for name, dockerfile := range bases {
		buildImage(t, cli, dockerfile, "flatten-test/recovery-"+name+":1", false)
	}
	sources := map[string][2]string{}
	for name, c := range engineImages {
		sources[name] = [2]string{c.base, c.dockerfile}
	}
	for name, dockerfile := range recoverable {
		sources[name] = [2]string{"base", dockerfile}
	}
	for name, c := range sources {
		t.Run(name, func(t *testing.T) {
			const original, rebuilt = "flatten-test/recovery:original", "flatten-test/recovery:rebuilt"
			buildImage(t, cli, "FROM flatten-test/recovery-"+c[0]+":1"+c[1], original, false)
			tree := treeInSeconds(t, cli, original, since)
			dir := filepath.Join(t.TempDir(), "context")
			report, err := Flatten(t.Context(), Options{
				Image: image.Ref{Transport: image.Daemon, Name: original}, Context: dir, Recover: true,
				Client: func() (*client.Client, error) { return cli, nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			text := report.Images[0].Dockerfile
			if base, err := os.ReadFile(filepath.Join(dir, "base.tar")); err == nil {
				r, err := cli.ImageLoad(t.Context(), bytes.NewReader(base))
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
				defer removeImage(cli, regexp.MustCompile(`(?m)^FROM (\S+)$`).FindStringSubmatch(text)[1])
			}
			if err := buildDirectory(t.Context(), cli, dir, rebuilt); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			defer removeImage(cli, rebuilt)
			if diff := imagetest.DiffTrees(withoutNow(tree, since), withoutNow(treeInSeconds(t, cli, rebuilt, since), since)); len(diff) > 0 {
				t.Errorf("trees differ:\n%s\n%s", strings.Join(diff, "\n"), text)
			}
			if was, is := config(t, cli, original), config(t, cli, rebuilt); was != is {
				t.Errorf("config %s\nbecame %s\n%s", was, is, text)
			}
		})
	}
}

var stamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// withoutNow is a tree without the times of the test itself, which differ
// wherever a RUN runs again.
func withoutNow(tree map[string]string, since time.Time) map[string]string {
	out := map[string]string{}
	for path, is := range tree {
		out[path] = stamp.ReplaceAllStringFunc(is, func(s string) string {
			if at, err := time.Parse(time.RFC3339, s); err == nil && at.After(since) {
				return "now"
			}
			return s
		})
	}
	return out
}

// buildDirectory has the classic builder make an image of a context.
func buildDirectory(ctx context.Context, cli *client.Client, dir, tag string) error {
	var body bytes.Buffer
	tw := tar.NewWriter(&body)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir || e.Name() == "base.tar" {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		link, _ := os.Readlink(path)
		h, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		h.Name = strings.TrimPrefix(path, dir+"/")
		if err := tw.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = tw.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return buildBody(ctx, cli, &body, tag, false)
}
