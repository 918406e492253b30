package history_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"docker-flatten/history"
	"docker-flatten/rebuild/build"
	"docker-flatten/templates"
)

// TestCasesAsDockerfiles renders each of TestCases' images as its Dockerfile,
// which lies beside the plan, and has it interpreted: the config that the plan
// promises must come out.
func TestCasesAsDockerfiles(t *testing.T) {
	dirs, err := filepath.Glob("testdata/cases/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no cases", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			img := &history.Image{}
			readJSON(t, filepath.Join(dir, "config.json"), img)
			var candidates []history.Candidate
			base := &history.Image{}
			if readJSON(t, filepath.Join(dir, "base.json"), base) {
				candidates = []history.Candidate{{Name: "example/base:1", Kind: "local", Image: base}}
			}
			text, replay := render(t, img, candidates)

			made, err := build.Interpret(text, replay.Base)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if diff := history.Diff(replay.Result(), made); len(diff) > 0 {
				t.Errorf("the Dockerfile makes another config: %q\n%s", diff, text)
			}
			golden := filepath.Join(dir, "Dockerfile")
			if flag.Lookup("update").Value.String() == "true" {
				if err := os.WriteFile(golden, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if string(text) != string(want) {
				t.Errorf("got\n%s\nwant\n%s", text, want)
			}
		})
	}
}

func render(t *testing.T, img *history.Image, candidates []history.Candidate) ([]byte, *history.Replay) {
	t.Helper()
	instructions := history.Parse(img)
	base, err := history.FindBase(img, instructions, "auto", candidates, nil)
	if err != nil {
		t.Fatal(err)
	}
	replay, err := history.Plan(img, instructions, base)
	if err != nil {
		t.Fatal(err)
	}
	d := templates.Dockerfile{
		Image: "example/image:1", Base: templates.Base{Name: base.Name, Layers: base.Layers, Evidence: base.Evidence},
		Disagreements: replay.Disagreements, From: base.Name, Before: replay.Before, After: replay.After, Add: "layer.tar.gz",
	}
	if base.Name == "" {
		d.From = "example/nameless"
	}
	for _, in := range instructions {
		if in.Layer >= base.Layers {
			d.Merged = append(d.Merged, templates.Row{Text: in.Text, Layers: 1})
		}
	}
	text, err := d.Render()
	if err != nil {
		t.Fatal(err)
	}
	return text, &replay
}

// readJSON tells whether there is such a file.
func readJSON(t *testing.T, name string, into any) bool {
	t.Helper()
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
	return true
}
