package examples

import (
	"os"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// TestDockerfiles has BuildKit's parser read the examples' Dockerfiles, whose
// bases no test can pull.
func TestDockerfiles(t *testing.T) {
	for file, stages := range map[string]int{"hello/Dockerfile": 1, "hello/base/Dockerfile": 1, "kubernetes/Dockerfile": 2, "../.release/Dockerfile": 2} {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		result, err := parser.Parse(f)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		got, _, err := instructions.Parse(result.AST, nil)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(got) != stages {
			t.Errorf("%s: %d stages", file, len(got))
		}
		for _, w := range result.Warnings {
			t.Errorf("%s: %s", file, w.Short)
		}
	}
}
