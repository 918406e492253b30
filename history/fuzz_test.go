package history

import (
	"encoding/json"
	"slices"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Any line gives an instruction that can be shown.
func FuzzParse(f *testing.F) {
	for _, line := range []string{
		`/bin/sh -c #(nop)  ENV A=b c D=e`, `/bin/sh -c #(nop) ADD file:0123 in / `, `|2 A=b C=d e /bin/sh -c make`, `|9 A`, `RUN |1 A=b /bin/sh -c x # buildkit`,
		`HEALTHCHECK &{["CMD" "a"] "1s" "1s" '\n'}`, `HEALTHCHECK {Test:[CMD a] Interval:1s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}`, `EXPOSE 1-65535`,
		`SHELL [a b]`, `CMD ["a" "b"]`, `ENTRYPOINT &{["/x"]}`, `VOLUME [/a /b]`, `LABEL "a"="b c" d=$X`, `# debian.sh --arch`, `cmd /S /C #(nop) CMD ["a"]`, `ONBUILD RUN x`,
	} {
		f.Add(line, "", "", false)
		f.Add(line, "buildkit.dockerfile.v0", "kaniko", true)
		f.Add(line, "FROM a", "", true)
	}
	f.Fuzz(func(t *testing.T, createdBy, comment, author string, empty bool) {
		img := &Image{}
		img.Author = author
		img.Config.Env = []string{"A=" + createdBy}
		img.Config.Shell = []string{comment}
		img.History = []ocispec.History{{CreatedBy: createdBy, Comment: comment, Author: author, EmptyLayer: empty}}
		ins := Parse(img)
		if len(ins) != 1 {
			t.Fatalf("%d instructions", len(ins))
		}
		in := ins[0]
		if in.Text == "" {
			t.Fatalf("no text for %q", createdBy)
		}
		if in.Set != nil && (in.Set.Name != in.Name || in.Set.String() == "") {
			t.Fatalf("step %q of %q", in.Set, in.Name)
		}
	})
}

// Any config over any base gives steps that lead there, or says what doesn't.
func FuzzPlan(f *testing.F) {
	f.Add([]byte(`{"config":{"Env":["A=1","A=2","B"],"Cmd":["x"],"ExposedPorts":{"80":{}},"Volumes":{"":{}}},"history":[{"created_by":"ENV A=1"}],"rootfs":{"diff_ids":["sha256:a"]}}`),
		[]byte(`{"config":{"Env":["B=1","A=1"],"OnBuild":["RUN x"],"WorkingDir":"x/"}}`), 0)
	f.Add([]byte(`{"author":"a","config":{"Healthcheck":{"Test":["CMD"]},"Labels":{"":"x"},"Shell":[],"WorkingDir":"../a"}}`), []byte(`null`), 1)
	f.Fuzz(func(t *testing.T, config, baseConfig []byte, entries int) {
		img, baseImg := &Image{}, (*Image)(nil)
		if json.Unmarshal(config, img) != nil || json.Unmarshal(baseConfig, &baseImg) != nil {
			return
		}
		ins := Parse(img)
		base, err := FindBase(img, ins, "auto", []Candidate{{Name: "b", Kind: "local", Image: baseImg}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if entries >= 0 && entries <= len(ins) {
			base = Base{Entries: entries, Layers: layersBelow(ins)[entries], Image: baseImg}
		}
		r, err := Plan(img, ins, base)
		if err != nil {
			t.Fatal(err)
		}
		if d := Diff(img, r.Result()); len(d) > 0 && len(r.Inexpressible) == 0 {
			t.Fatalf("%q is left", d)
		}
		for _, s := range slices.Concat(r.Before, r.After) {
			if _, err := s.Dockerfile(); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
	})
}
