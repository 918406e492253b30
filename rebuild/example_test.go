package rebuild_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"docker-flatten/rebuild"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
	"docker-flatten/rebuild/plan"
)

// archive writes what docker save would write of a small image, to a new directory.
func archive() (path string, err error) {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "app.tar")
	return path, os.WriteFile(path, imagetest.Archive(imagetest.Image{
		Names: []string{"app:1"}, Created: time.Unix(1_700_000_000, 0).UTC(), Config: map[string]any{"Cmd": []string{"/app"}, "Env": []string{"PATH=/bin"}},
		Steps: []imagetest.Step{
			{By: "/bin/sh -c #(nop) ADD file:e5d1e1b3ab4f in / ", Files: []imagetest.File{{Name: "bin/"}, {Name: "bin/sh", Body: "a shell"}}},
			{By: `/bin/sh -c #(nop)  CMD ["/bin/sh"]`},
			{By: "/bin/sh -c make app", Files: []imagetest.File{{Name: "app", Body: "first"}}},
			{By: "/bin/sh -c make app", Files: []imagetest.File{{Name: "app", Body: "second"}}},
			{By: `/bin/sh -c #(nop)  CMD ["/app"]`},
		},
	}), 0o644)
}

func ExampleFlatten() {
	path, err := archive()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(filepath.Dir(path))
	source, err := image.ParseRef("docker-archive:" + path)
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := image.ParseRef("oci:" + filepath.Join(filepath.Dir(path), "layout") + ":flat")
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := rebuild.Flatten(context.Background(), rebuild.Options{Image: source, Output: &out})
	if err != nil {
		fmt.Println(err)
		return
	}
	im := report.Images[0]
	fmt.Println(im.Before.Layers, "layers,", im.After.Layers, "after, of which", im.Base.Layers, "the base's")
	fmt.Println(report.Checked)
	// Output:
	// 3 layers, 2 after, of which 1 the base's
	// now
}

// A dry run reads the image and makes nothing.
func ExampleFlatten_dockerfile() {
	path, err := archive()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(filepath.Dir(path))
	source := image.Ref{Transport: image.Archive, Path: path}
	base, err := plan.ParseBase("1")
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := rebuild.Flatten(context.Background(), rebuild.Options{Image: source, Base: base, DryRun: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, instructions, _ := strings.Cut(report.Images[0].Dockerfile, "\n\n") // behind the comment at its head
	fmt.Print(instructions)
	// Output:
	// FROM docker-flatten/base:ae45e595d075
	//
	// #      11B | 2 × RUN make app
	// ADD layer.tar.gz /
	//
	// CMD ["/app"]
}

func ExampleFlatten_errors() {
	missing := image.Ref{Transport: image.Archive, Path: "missing.tar"}
	_, err := rebuild.Flatten(context.Background(), rebuild.Options{Image: missing, DryRun: true})
	fmt.Println(errors.Is(err, os.ErrNotExist), err)

	_, err = rebuild.Flatten(context.Background(), rebuild.Options{Image: missing, DryRun: true, Context: "-"})
	var usage *rebuild.UsageError
	fmt.Println(errors.As(err, &usage), err)
	// Output:
	// true open missing.tar: no such file or directory
	// true --dry-run and --context - both write to stdout: choose one
}
