package plan

import (
	"testing"

	"docker-flatten/templates"
)

func TestParseGateReadsLimits(t *testing.T) {
	for _, c := range []struct {
		kind templates.GateKind
		text string
		unit templates.GateUnit
		most float64
	}{
		{templates.MaxWaste, "5%", templates.Share, 0.05},
		{templates.MaxWaste, "12.3%", templates.Share, 0.123},
		{templates.MaxWaste, "0%", templates.Share, 0},
		{templates.MaxWaste, "100%", templates.Share, 1},
		{templates.MaxWaste, "20MB", templates.Bytes, 20e6},
		{templates.MaxWaste, "0", templates.Bytes, 0},
		{templates.MaxSize, "1.5GB", templates.Bytes, 1.5e9},
		{templates.MaxSize, "20 kB", templates.Bytes, 20e3},
		{templates.MaxSize, "20MiB", templates.Bytes, 20 << 20},
		{templates.MaxSize, "512b", templates.Bytes, 512},
		{templates.MaxLayers, "0", templates.Layers, 0},
		{templates.MaxLayers, "127", templates.Layers, 127},
	} {
		g, err := ParseGate(c.kind, c.text)
		if want := (Gate{c.kind, c.text, c.unit, c.most}); err != nil || g != want {
			t.Errorf("%s %s: %+v, %v; want %+v", c.kind, c.text, g, err, want)
		}
	}
}

func TestParseGateRefuses(t *testing.T) {
	for kind, texts := range map[templates.GateKind][]string{
		templates.MaxWaste:  {"", "%", "101%", "-1%", "5 %", "1e1%", "NaN%", "0x1p1%", "much", "0.05", "0.5B"},
		templates.MaxLayers: {"", "-1", "1.5", "5%", "1e3", "99999999999"},
		templates.MaxSize:   {"", "5%", "-1", "1e30", "20XB", "NaN", "Inf", "9999999999999999999999", "9999999PB", ".5MB", "1.5"},
	} {
		for _, text := range texts {
			if g, err := ParseGate(kind, text); err == nil {
				t.Errorf("%s %q is taken for %v %s", kind, text, g.most, g.unit)
			}
		}
	}
}

func TestGatesAreExceededBeyondTheirLimitOnly(t *testing.T) {
	s := templates.Savings{Bytes: 1000, Wasted: 125, WastedShare: 0.125}
	for _, c := range []struct {
		kind   templates.GateKind
		text   string
		passed bool
		over   float64
	}{
		{templates.MaxWaste, "12.5%", true, 0},
		{templates.MaxWaste, "6.25%", false, 0.0625},
		{templates.MaxWaste, "125", true, 0},
		{templates.MaxWaste, "124b", false, 1},
		{templates.MaxSize, "1kB", true, 0},
		{templates.MaxSize, "999", false, 1},
		{templates.MaxLayers, "7", true, 0},
		{templates.MaxLayers, "5", false, 2},
	} {
		g, err := ParseGate(c.kind, c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.judge(s, 7); got.Passed != c.passed || got.Over != c.over {
			t.Errorf("%s %s: %+v", c.kind, c.text, got)
		}
	}
}

func TestAnImageWithoutBytesWastesNothing(t *testing.T) {
	g, err := ParseGate(templates.MaxWaste, "0%")
	if err != nil {
		t.Fatal(err)
	}
	if got := g.judge(savings(nil, nil), 0); !got.Passed {
		t.Errorf("%+v", got)
	}
}
