// Package prototype holds the example image of the README, and the code that
// made it.
package prototype

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"docker-flatten/rebuild/imagetest"
)

var update = flag.Bool("update", false, "write image.tar again")

// TestImageIsWhatThisCodeMakes keeps image.tar and the code that explains it
// together.
func TestImageIsWhatThisCodeMakes(t *testing.T) {
	want := imagetest.Archive(image())
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

// image is the prototype's example as the classic builder would have made it: a
// small base that looks like Debian's, and above it a maintainer, seven RUNs and
// two lines of metadata.
func image() imagetest.Image {
	const author = "Jane Doe <jane@example.com>"
	nop := func(instruction string) imagetest.Step {
		return imagetest.Step{By: "/bin/sh -c #(nop)  " + instruction, Author: author}
	}
	run := func(command string, files ...imagetest.File) imagetest.Step {
		return imagetest.Step{By: "/bin/sh -c " + command, Author: author, Files: files}
	}
	script := imagetest.File{Name: "app/run", Mode: 0o755, Body: "#!/bin/sh\ncat /app/message\n"}
	return imagetest.Image{
		Names:   []string{"prototype:latest"},
		Created: time.Date(2013, 9, 17, 12, 0, 0, 0, time.UTC),
		Fields:  map[string]any{"author": author},
		Config: map[string]any{
			"Cmd":          []string{"/bin/sh", "-c", "/bin/hello"},
			"Env":          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			"ExposedPorts": map[string]any{"123/tcp": struct{}{}, "234/tcp": struct{}{}},
		},
		Steps: []imagetest.Step{
			{By: "/bin/sh -c #(nop) ADD file:3f1a40df75bc5673ce402476aedc2f87e9e4c4c9b7a19f3f8e5f4c8ff4d3c21b in / ", Files: []imagetest.File{
				{Name: "bin/"}, {Name: "etc/"},
				{Name: "etc/debian_version", Body: "7.1\n"},
				{Name: "etc/os-release", Body: "PRETTY_NAME=\"A small base, Debian-like\"\nID=debian\n"},
				{Name: "etc/motd", Body: strings.Repeat("Welcome to the base image.\n", 40)},
				{Name: "tmp/", Mode: 0o1777}, {Name: "var/"}, {Name: "var/cache/"},
			}},
			{By: `/bin/sh -c #(nop)  CMD ["/bin/bash"]`},
			nop("MAINTAINER " + author),
			run(`echo "a first line" > layerfile.txt`, imagetest.File{Name: "layerfile.txt", Body: "a first line\n"}),
			run(`dd if=/dev/zero of=/var/cache/download bs=1k count=48`, imagetest.File{Name: "var/cache/download", Body: string(make([]byte, 48<<10))}),
			run(`mkdir /app && tar -xf /var/cache/download -C /app`, imagetest.File{Name: "app/"}, script, imagetest.File{Name: "app/message", Body: "hello\n"}),
			run(`rm /var/cache/download`, imagetest.File{Name: "var/cache/.wh.download"}),
			run(`echo "hello from one layer" > /app/message`, imagetest.File{Name: "app/message", Body: "hello from one layer\n"}),
			run(`rm layerfile.txt`, imagetest.File{Name: ".wh.layerfile.txt"}),
			run(`rm /etc/motd && ln /app/run /bin/hello`, imagetest.File{Name: "etc/.wh.motd"}, script, imagetest.File{Name: "bin/hello", HardLink: "app/run"}),
			nop("EXPOSE 123 234"),
			nop(`CMD ["/bin/sh" "-c" "/bin/hello"]`),
		},
	}
}
