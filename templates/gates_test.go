package templates

import (
	"slices"
	"testing"
)

func TestExceededSaysByHowMuch(t *testing.T) {
	s := Savings{Bytes: 400_000_000, Wasted: 30_000_000, WastedShare: 0.075}
	im := ImageReport{Platform: "linux/amd64", Savings: s, Before: Totals{Layers: 12}, Gates: []Gate{
		{Kind: MaxWaste, Limit: "5%", Unit: Share, Most: 0.05, Actual: 0.075, Over: 0.025},
		{Kind: MaxWaste, Limit: "20MB", Unit: Bytes, Most: 20e6, Actual: 30e6, Over: 10e6},
		{Kind: MaxLayers, Limit: "10", Unit: Layers, Most: 10, Actual: 12, Over: 2},
		{Kind: MaxSize, Limit: "399.5MB", Unit: Bytes, Most: 399.5e6, Actual: 400e6, Over: 0.5e6},
		{Kind: MaxSize, Limit: "1GB", Unit: Bytes, Most: 1e9, Actual: 400e6, Passed: true},
	}}
	want := []string{
		"30MB of 400MB is wasted, 7.5%: 2.5% too much for --max-waste 5%",
		"30MB of 400MB is wasted: 10MB too much for --max-waste 20MB",
		"12 layers: 2 too many for --max-layers 10",
		"400MB in 12 layers: 500kB too much for --max-size 399.5MB",
	}
	if got := Exceeded(&Report{Images: []ImageReport{im}}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	one := ImageReport{Savings: Savings{Bytes: 1}, Before: Totals{Layers: 1}, Gates: []Gate{
		{Kind: MaxLayers, Limit: "0", Unit: Layers, Actual: 1, Over: 1}, {Kind: MaxSize, Limit: "0", Unit: Bytes, Actual: 1, Over: 1},
	}}
	want = []string{"1 layer: 1 too many for --max-layers 0", "1B in 1 layer: 1B too much for --max-size 0"}
	if got := Exceeded(&Report{Images: []ImageReport{one}}); !slices.Equal(got, want) {
		t.Errorf("of one layer: got %q, want %q", got, want)
	}
	fine := ImageReport{Platform: "linux/s390x", Gates: im.Gates[4:]}
	arm := ImageReport{Platform: "linux/arm64", Before: Totals{Layers: 12}, Gates: im.Gates[2:3]}
	want = []string{"linux/arm64: 12 layers: 2 too many for --max-layers 10"}
	if got := Exceeded(&Report{Images: []ImageReport{fine, arm}}); !slices.Equal(got, want) {
		t.Errorf("of several platforms: got %q, want %q", got, want)
	}
}

func TestExactShareTellsLittleFromNothing(t *testing.T) {
	for share, want := range map[float64]string{0: "0%", 0.05: "5%", 0.9984: "99.8%", 0.00021: "0.021%", 1: "100%"} {
		if got := exactShare(share); got != want {
			t.Errorf("%v: %s, want %s", share, got, want)
		}
	}
}
