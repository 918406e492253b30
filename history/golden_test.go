package history

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each directory of testdata/cases is one image: config.json is its config
// document, base.json, if there, that of a local image example/base:1, README
// what the case shows, plan.txt all that the package makes of it.
func TestCases(t *testing.T) {
	dirs, err := filepath.Glob("testdata/cases/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no cases", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			img := readImage(t, filepath.Join(dir, "config.json"))
			var candidates []Candidate
			if b := readImage(t, filepath.Join(dir, "base.json")); b != nil {
				candidates = append(candidates, Candidate{Name: "example/base:1", Kind: "local", Image: b})
			}
			got := describe(t, img, candidates)
			golden := filepath.Join(dir, "plan.txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// readImage is nil where there is no such file.
func readImage(t *testing.T, path string) *Image {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	img := &Image{}
	if err := json.Unmarshal(data, img); err != nil {
		t.Fatal(err)
	}
	return img
}

func describe(t *testing.T, img *Image, candidates []Candidate) string {
	ins := Parse(img)
	base, err := FindBase(img, ins, "auto", candidates, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Plan(img, ins, base)
	if err != nil {
		t.Fatal(err)
	}
	if d := Diff(img, r.Result()); len(d) > 0 && len(r.Inexpressible) == 0 {
		t.Errorf("the steps leave %q", d)
	}
	var b strings.Builder
	name := base.Name
	if name == "" {
		name = "without a name"
	}
	fmt.Fprintf(&b, "base: %s, %s, %d of the history's entries\n      %s\n", name, Count(base.Layers, "layer"), base.Entries, base.Evidence)
	b.WriteString("\nhistory\n")
	for i, in := range ins {
		if i == base.Entries {
			b.WriteString("  --- the base ends here\n")
		}
		layer, dialect := "", in.Dialect
		if in.Layer >= 0 {
			layer = fmt.Sprint(in.Layer)
		}
		if dialect == "" {
			dialect = "?"
		}
		line := fmt.Sprintf("  %-2s %-14s %s", layer, dialect, strings.ReplaceAll(in.Text, "\n", "\n                    "))
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	steps := func(title string, steps []Step) {
		fmt.Fprintf(&b, "\n%s\n", title)
		for _, s := range steps {
			fmt.Fprintf(&b, "  %s\n", s)
			if s.Why != "" {
				fmt.Fprintf(&b, "    # %s\n", s.Why)
			}
		}
	}
	steps("before the layer", r.Before)
	steps("after the layer", r.After)
	lines := func(title string, l []string) {
		if len(l) > 0 {
			fmt.Fprintf(&b, "\n%s\n  %s\n", title, strings.Join(l, "\n  "))
		}
	}
	lines("taken from the base's config, since no Dockerfile can", r.Cleared)
	lines("carried over, since no Dockerfile can say it", r.Inexpressible)
	lines("config and history disagree", r.Disagreements)
	return b.String()
}
