package attestation

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

func hash(letter string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(letter, 64)}
}

func sample() Flattening {
	return Flattening{
		Name: "registry.example:5000/team/app:flat", Root: hash("a"), Version: "1.2.3", Commit: "c0ffee", Verify: "structure",
		Options: map[string]any{"base": "auto", "sourceDateEpoch": int64(1700000000)},
		Source:  Image{Name: "registry.example:5000/team/app:1", Digest: hash("d")},
		Images: []Image{
			{Digest: hash("b"), Platform: "linux/amd64", Source: hash("e"), DiffIDs: []v1.Hash{hash("1"), hash("2")}, KeptLayers: 1,
				Base: Base{Name: "debian:13", Digest: hash("f").String(), Evidence: "the image's manifest names it"}},
			{Digest: hash("c"), Platform: "linux/arm64", Source: hash("0"), DiffIDs: []v1.Hash{hash("3")}},
		},
	}
}

func TestStatementIsInTotos(t *testing.T) {
	raw, err := Statement(sample())
	if err != nil {
		t.Fatal(err)
	}
	var s intoto.Statement
	if err := protojson.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	if s.GetPredicateType() != "https://slsa.dev/provenance/v1" || s.GetSubject()[0].GetDigest()["sha256"] != hash("a").Hex || len(s.GetSubject()) != 3 {
		t.Errorf("statement: %s", raw)
	}
	var got struct {
		Predicate struct {
			BuildDefinition struct {
				ResolvedDependencies []struct {
					URI    string
					Digest map[string]string
				}
				InternalParameters struct {
					Verification struct {
						Method, Result string
						Compared       []string
					}
				}
			}
		}
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"pkg:docker/registry.example:5000/team/app@1":                        hash("d").Hex,
		"pkg:docker/registry.example:5000/team/app@1?platform=linux%2Famd64": hash("e").Hex,
		"pkg:docker/registry.example:5000/team/app@1?platform=linux%2Farm64": hash("0").Hex,
		"pkg:docker/debian@13?platform=linux%2Famd64":                        hash("f").Hex,
	}
	for _, d := range got.Predicate.BuildDefinition.ResolvedDependencies {
		if want[d.URI] != d.Digest["sha256"] {
			t.Errorf("material %+v", d)
		}
		delete(want, d.URI)
	}
	if len(want) > 0 {
		t.Errorf("materials are missing: %v", want)
	}
	if v := got.Predicate.BuildDefinition.InternalParameters.Verification; v.Method != "structure" || v.Result != "same" || len(v.Compared) != 2 {
		t.Errorf("verification: %+v", v)
	}
}

func TestSameFlatteningSameBytes(t *testing.T) {
	first, err := Statement(sample())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if again, err := Statement(sample()); err != nil || !bytes.Equal(first, again) {
			t.Fatalf("%v\n%s\n%s", err, first, again)
		}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, first); err != nil || compact.String()+"\n" != string(first) {
		t.Errorf("spaces of the library's whim are in it: %s", first)
	}
}

func TestWhatWasNotVerifiedIsNotClaimed(t *testing.T) {
	f := sample()
	f.Verify = "off"
	raw, err := Statement(f)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(raw); strings.Contains(s, `"same"`) || strings.Contains(s, "compared") || !strings.Contains(s, "not verified") {
		t.Errorf("%s", s)
	}
}

func TestOwnStatementIsKnown(t *testing.T) {
	raw, err := Statement(sample())
	if err != nil {
		t.Fatal(err)
	}
	if !IsOf(raw, sample().Name) || IsOf(raw, "other:1") || IsOf([]byte(`{"subject":[{"name":"x"}]}`), "x") || IsOf(nil, "") {
		t.Error("an own statement isn't known, or a foreign one is taken for one")
	}
}
