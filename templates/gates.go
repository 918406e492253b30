package templates

import (
	"fmt"
	"strconv"
	"strings"

	"docker-flatten/history"
)

// GateKind is a gate's option without its dashes.
type GateKind string

const (
	MaxWaste  GateKind = "max-waste"  // bytes of the layers that the image doesn't show, the base's included
	MaxLayers GateKind = "max-layers" // how many layers
	MaxSize   GateKind = "max-size"   // bytes of the files in all layers, uncompressed
)

// GateUnit is what a gate counts.
type GateUnit string

const (
	Share  GateUnit = "share" // of the size, from 0 to 1
	Bytes  GateUnit = "bytes"
	Layers GateUnit = "layers"
)

// Gate is what came of one limit that an image had to keep.
type Gate struct {
	Kind   GateKind `json:"gate"`
	Limit  string   `json:"limit"` // as it was given
	Unit   GateUnit `json:"unit"`  // of the three that follow
	Most   float64  `json:"most"`
	Actual float64  `json:"actual"`
	Over   float64  `json:"over"` // Actual less Most; 0 where the gate is passed
	Passed bool     `json:"passed"`
}

// Exceeded says in a line each which gates a report's images don't pass, and by
// how much.
func Exceeded(r *Report) []string {
	var lines []string
	for i := range r.Images {
		im := &r.Images[i]
		for _, g := range im.Gates {
			if g.Passed {
				continue
			}
			line := g.over(im)
			if len(r.Images) > 1 {
				line = OneLine(im.Platform) + ": " + line
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// over says by how much an image exceeds the gate.
func (g *Gate) over(im *ImageReport) string {
	s := im.Savings
	option := fmt.Sprintf("--%s %s", g.Kind, OneLine(g.Limit))
	switch {
	case g.Unit == Share:
		return fmt.Sprintf("%s of %s is wasted, %s: %s too much for %s", size(s.Wasted), size(s.Bytes), exactShare(g.Actual), exactShare(g.Over), option)
	case g.Kind == MaxWaste:
		return fmt.Sprintf("%s of %s is wasted: %s too much for %s", size(s.Wasted), size(s.Bytes), size(int64(g.Over)), option)
	case g.Kind == MaxLayers:
		return fmt.Sprintf("%s: %.0f too many for %s", history.Count(int(g.Actual), "layer"), g.Over, option)
	}
	return fmt.Sprintf("%s in %s: %s too much for %s", size(s.Bytes), history.Count(im.Before.Layers, "layer"), size(int64(g.Over)), option)
}

// exactShare writes a share with the digits that tell it from 0, at least one
// behind the point.
func exactShare(share float64) string {
	p := share * 100
	text := strconv.FormatFloat(p, 'f', 1, 64)
	if p > 0 && p < 0.1 {
		text = strconv.FormatFloat(p, 'g', 2, 64)
	}
	return strings.TrimSuffix(text, ".0") + "%"
}
