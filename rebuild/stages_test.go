package rebuild

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"docker-flatten/rebuild/image"
	"docker-flatten/templates"
)

// A dry run of several platforms gives one Dockerfile with a stage for each: a
// builder that is told none builds the last, whatever it is.
func TestDryRunOfSeveralPlatformsHasAStageForEach(t *testing.T) {
	l := platforms(t)
	ref, err := image.ParseRef("oci:" + l.dir)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Flatten(context.Background(), Options{Image: ref, DryRun: true, Client: noEngine})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := templates.WriteDockerfiles(&b, report); err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	var stages, layers []string
	for _, n := range parsed.AST.Children {
		switch strings.ToUpper(n.Value) {
		case "FROM":
			_, name, _ := strings.Cut(n.Original, " AS ")
			stages = append(stages, name)
		case "ADD":
			layers = append(layers, n.Next.Value)
		}
	}
	if have := fmt.Sprint(stages, layers); have != "[linux-arm64-v8 linux-amd64 linux-s390x] [layer-linux-arm64-v8.tar.gz layer-linux-amd64.tar.gz layer-linux-s390x.tar.gz]" {
		t.Errorf("%s\n%s", have, b.String())
	}
	for _, im := range report.Images {
		if !strings.Contains(im.Dockerfile, "# Platform: "+im.Platform+"\n") {
			t.Errorf("the Dockerfile for %s:\n%s", im.Platform, im.Dockerfile)
		}
		if want := fmt.Sprintf(" --platform %s .\n", im.Platform); !strings.Contains(b.String(), want) {
			t.Errorf("%q isn't in\n%s", want, b.String())
		}
	}
}
