// Package prototype holds the example image of the README, and the code that
// made it.
package prototype

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var update = flag.Bool("update", false, "write image.tar again")

// TestImageIsWhatThisCodeMakes keeps image.tar and the code that explains it
// together.
func TestImageIsWhatThisCodeMakes(t *testing.T) {
	want := makeImage(t)
	if *update {
		if err := os.WriteFile("image.tar", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("image.tar")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("image.tar is not what this code makes: go test ./examples/prototype -update")
	}
}

var built = time.Date(2013, 9, 17, 12, 0, 0, 0, time.UTC)

// makeImage returns a docker-archive of the prototype's example as the classic
// builder would have made it: a small base that looks like Debian's, and above
// it a maintainer, seven RUNs and two lines of metadata.
func makeImage(t *testing.T) []byte {
	step := func(created_by string, files ...file) entry { return entry{created_by, files} }
	entries := []entry{
		step("/bin/sh -c #(nop) ADD file:3f1a40df75bc5673ce402476aedc2f87e9e4c4c9b7a19f3f8e5f4c8ff4d3c21b in / ",
			file{name: "bin/"}, file{name: "etc/"},
			file{name: "etc/debian_version", body: "7.1\n"},
			file{name: "etc/os-release", body: "PRETTY_NAME=\"A small base, Debian-like\"\nID=debian\n"},
			file{name: "etc/motd", body: strings.Repeat("Welcome to the base image.\n", 40)},
			file{name: "tmp/", mode: 0o1777}, file{name: "var/"}, file{name: "var/cache/"}),
		step(`/bin/sh -c #(nop)  CMD ["/bin/bash"]`),
		step("/bin/sh -c #(nop)  MAINTAINER Jane Doe <jane@example.com>"),
		step(`/bin/sh -c echo "a first line" > layerfile.txt`, file{name: "layerfile.txt", body: "a first line\n"}),
		step(`/bin/sh -c dd if=/dev/zero of=/var/cache/download bs=1k count=48`, file{name: "var/cache/download", body: string(make([]byte, 48<<10))}),
		step(`/bin/sh -c mkdir /app && tar -xf /var/cache/download -C /app`,
			file{name: "app/"}, file{name: "app/run", mode: 0o755, body: "#!/bin/sh\ncat /app/message\n"}, file{name: "app/message", body: "hello\n"}),
		step(`/bin/sh -c rm /var/cache/download`, file{name: "var/cache/.wh.download"}),
		step(`/bin/sh -c echo "hello from one layer" > /app/message`, file{name: "app/message", body: "hello from one layer\n"}),
		step(`/bin/sh -c rm layerfile.txt`, file{name: ".wh.layerfile.txt"}),
		step(`/bin/sh -c rm /etc/motd && ln /app/run /bin/hello`, file{name: "etc/.wh.motd"}, file{name: "app/run", mode: 0o755, body: "#!/bin/sh\ncat /app/message\n"}, file{name: "bin/hello", link: "app/run"}),
		step("/bin/sh -c #(nop)  EXPOSE 123 234"),
		step(`/bin/sh -c #(nop)  CMD ["/bin/sh" "-c" "hello"]`),
	}

	config := struct {
		Architecture string            `json:"architecture"`
		Author       string            `json:"author"`
		Config       map[string]any    `json:"config"`
		Created      time.Time         `json:"created"`
		History      []ocispec.History `json:"history"`
		OS           string            `json:"os"`
		RootFS       map[string]any    `json:"rootfs"`
	}{
		Architecture: "amd64", OS: "linux", Created: built, Author: "Jane Doe <jane@example.com>",
		Config: map[string]any{
			"Cmd":          []string{"/bin/sh", "-c", "hello"},
			"Env":          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			"ExposedPorts": map[string]any{"123/tcp": struct{}{}, "234/tcp": struct{}{}},
		},
	}
	var archive bytes.Buffer
	out := tar.NewWriter(&archive)
	var diffIDs, names []string
	for i, e := range entries {
		when := built.Add(time.Duration(i) * time.Second)
		h := ocispec.History{Created: &when, CreatedBy: e.createdBy, EmptyLayer: e.files == nil}
		if strings.Contains(e.createdBy, "MAINTAINER") || i > 2 {
			h.Author = config.Author
		}
		config.History = append(config.History, h)
		if e.files == nil {
			continue
		}
		blob := layerTar(t, when, e.files)
		digest := fmt.Sprintf("%x", sha256.Sum256(blob))
		diffIDs = append(diffIDs, "sha256:"+digest)
		names = append(names, digest+".tar")
		put(t, out, digest+".tar", blob)
	}
	config.RootFS = map[string]any{"type": "layers", "diff_ids": diffIDs}
	document, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("%x.json", sha256.Sum256(document))
	put(t, out, id, document)
	manifest, err := json.Marshal([]any{map[string]any{"Config": id, "RepoTags": []string{"prototype:latest"}, "Layers": names}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, out, "manifest.json", manifest)
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// entry is one history entry; without files it made no layer.
type entry struct {
	createdBy string
	files     []file
}

// file is a directory if its name ends in /, else a regular file, or a hard
// link if it has a link.
type file struct {
	name, body, link string
	mode             int64
}

func layerTar(t *testing.T, when time.Time, files []file) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, ModTime: when, Size: int64(len(f.body)), Typeflag: tar.TypeReg}
		switch {
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag = tar.TypeDir
			h.Mode = max(h.Mode, 0o755)
		case f.link != "":
			h.Typeflag, h.Linkname = tar.TypeLink, f.link
		}
		h.Mode = max(h.Mode, 0o644)
		write(t, w, h, []byte(f.body))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func put(t *testing.T, w *tar.Writer, name string, body []byte) {
	write(t, w, &tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), ModTime: built, Typeflag: tar.TypeReg}, body)
}

func write(t *testing.T, w *tar.Writer, h *tar.Header, body []byte) {
	t.Helper()
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
}
