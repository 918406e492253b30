// Package inspect holds the images of the inspect example, and the code that
// made them.
package inspect

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"time"

	"docker-flatten/rebuild/imagetest"
)

var update = flag.Bool("update", false, "write the archives again")

// TestImagesAreWhatThisCodeMakes keeps the archives and the code that explains
// them together.
func TestImagesAreWhatThisCodeMakes(t *testing.T) {
	app, base := images()
	for name, want := range map[string][]byte{
		"app.tar":  imagetest.Archive(app),
		"base.tar": imagetest.Archive(base),
	} {
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what this code makes: go test ./examples/inspect -update", name)
		}
	}
}

// images are a web application, and the runtime that it was built on: an image
// of two layers whose end the application's history doesn't show.
func images() (app, base imagetest.Image) {
	run := func(command string, files ...imagetest.File) imagetest.Step {
		return step("RUN /bin/sh -c "+command+" # buildkit", files...)
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	base = imagetest.Image{
		Names:   []string{"runtime:3"},
		Created: time.Date(2025, 7, 15, 11, 0, 0, 0, time.UTC),
		Config:  map[string]any{"Cmd": []string{"runtime"}, "Env": env},
		Steps: []imagetest.Step{
			{By: "# debian.sh --arch 'amd64' out/ 'trixie' '@1752537600'", Comment: "debuerreotype 0.15", Files: []imagetest.File{
				{Name: "bin/"}, {Name: "bin/rm", Mode: 0o755, Body: "removes files\n"},
				{Name: "etc/"}, {Name: "etc/debian_version", Body: "13.0\n"}, {Name: "usr/"}, {Name: "usr/bin/"},
			}},
			step("ENV LANG=C.UTF-8"),
			run("install-runtime 3", imagetest.File{Name: "usr/bin/runtime", Mode: 0o755, Body: "runs programs\n"},
				imagetest.File{Name: "etc/runtime.conf", Body: "debug = on\n"}),
			step(`CMD ["runtime"]`),
		},
	}
	app = base
	app.Names = []string{"app:1"}
	app.Config = map[string]any{
		"Cmd": []string{"runtime", "/app/main"}, "Env": env, "ExposedPorts": map[string]any{"8080/tcp": struct{}{}}, "User": "nobody",
	}
	app.Steps = append(base.Steps[:len(base.Steps):len(base.Steps)],
		run("install-tools", imagetest.File{Name: "usr/bin/compiler", Mode: 0o755, Body: string(make([]byte, 30_000))}),
		step("COPY src /app/src # buildkit", imagetest.File{Name: "app/"}, imagetest.File{Name: "app/src/"},
			imagetest.File{Name: "app/src/main", Body: string(make([]byte, 4_000))}),
		run("compile /app/src /app/main && rm -r /app/src", imagetest.File{Name: "app/.wh.src"},
			imagetest.File{Name: "app/main", Mode: 0o755, Body: "a program\n"}),
		run("remove-tools && rm /etc/runtime.conf", imagetest.File{Name: "usr/bin/.wh.compiler"}, imagetest.File{Name: "etc/.wh.runtime.conf"}),
		step("EXPOSE map[8080/tcp:{}]"),
		step("USER nobody"),
		step(`CMD ["runtime" "/app/main"]`),
	)
	return app, base
}

// step is a step as BuildKit notes it.
func step(by string, files ...imagetest.File) imagetest.Step {
	return imagetest.Step{By: by, Comment: "buildkit.dockerfile.v0", Files: files}
}
