// Package hello holds the image of the hello example, and the code that made it.
package hello

import (
	"bytes"
	"flag"
	"os"
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
		t.Error("image.tar is not what this code makes: go test ./examples/hello -update")
	}
}

// image is what BuildKit makes of the Dockerfile beside this file, with a base
// that has Alpine's shape: one layer, PATH and a shell as its command.
func image() imagetest.Image {
	const message1, message2, message3 = "hello from\n", "a few layers\n", "and one command\n"
	buildkit := func(by string, files ...imagetest.File) imagetest.Step {
		return imagetest.Step{By: by + " # buildkit", Comment: "buildkit.dockerfile.v0", Files: files}
	}
	message := func(body string) imagetest.File { return imagetest.File{Name: "message.txt", Body: body} }
	return imagetest.Image{
		Names:   []string{"hello:latest"},
		Created: time.Date(2025, 7, 15, 11, 0, 0, 0, time.UTC),
		Config: map[string]any{
			"Cmd":        []string{"/bin/sh", "-c", "cat message.txt"},
			"Env":        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			"Labels":     map[string]string{"org.opencontainers.image.title": "hello"},
			"WorkingDir": "/",
		},
		Steps: []imagetest.Step{
			buildkit("ADD alpine-minirootfs-3.22.1-x86_64.tar.gz /", []imagetest.File{
				{Name: "bin/"}, {Name: "bin/busybox", Mode: 0o755, Body: "the programs of a small base\n"}, {Name: "bin/sh", Link: "/bin/busybox"},
				{Name: "etc/"}, {Name: "etc/alpine-release", Body: "3.22.1\n"}, {Name: "tmp/", Mode: 0o1777},
			}...),
			buildkit(`CMD ["/bin/sh"]`),
			buildkit("LABEL org.opencontainers.image.title=hello"),
			buildkit(`RUN /bin/sh -c echo "hello from" > message.txt`, message(message1)),
			buildkit(`RUN /bin/sh -c echo "a few layers" >> message.txt`, message(message1+message2)),
			buildkit(`RUN /bin/sh -c echo "and one command" >> message.txt`, message(message1+message2+message3)),
			buildkit(`CMD ["/bin/sh" "-c" "cat message.txt"]`),
		},
	}
}
