package plan

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"docker-flatten/templates"
)

// Gate is a limit on the source image, at which a pipeline stops.
type Gate struct {
	kind templates.GateKind
	text string // the limit as it was given
	unit templates.GateUnit
	most float64
}

// ParseGate reads the limit of a gate: a share such as 5% or a size such as 20MB
// for the waste, a number of layers, a size.
func ParseGate(kind templates.GateKind, text string) (Gate, error) {
	g := Gate{kind: kind, text: text}
	number, isShare := strings.CutSuffix(text, "%")
	switch {
	case kind == templates.MaxLayers:
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return Gate{}, errors.New("must be a number of layers")
		}
		g.unit, g.most = templates.Layers, float64(n)
	case kind == templates.MaxWaste && isShare:
		// The exponent divides by 100 before anything is rounded.
		share, err := strconv.ParseFloat(number+"e-2", 64)
		if err != nil || !decimal.MatchString(number) || share > 1 {
			return Gate{}, errors.New("must be a share such as 5%, from 0% to 100%")
		}
		g.unit, g.most = templates.Share, share
	default:
		n, err := parseSize(text)
		if err != nil {
			if kind == templates.MaxWaste {
				return Gate{}, errors.New("must be a share such as 5%, or a size such as 20MB")
			}
			return Gate{}, errors.New("must be a size such as 300MB")
		}
		g.unit, g.most = templates.Bytes, float64(n)
	}
	return g, nil
}

var (
	decimal  = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	sizeText = regexp.MustCompile(`(?i)^([0-9]+ ?b?|[0-9]+(\.[0-9]+)? ?[kmgtp]i?b?)$`)
)

// parseSize reads a size: kB, MB, GB count in thousands, as sizes are shown,
// and KiB, MiB, GiB in 1024s. A fraction of a byte is none: 0.05 is meant for 5%, as
// other tools have it.
func parseSize(text string) (int64, error) {
	if !sizeText.MatchString(text) {
		return 0, strconv.ErrSyntax
	}
	parse := units.FromHumanSize
	if strings.HasSuffix(strings.ToLower(text), "ib") {
		parse = units.RAMInBytes
	}
	n, err := parse(text)
	if err == nil && (n < 0 || n == math.MaxInt64) { // beyond int64
		err = strconv.ErrRange
	}
	return n, err
}

// judge holds an image of so many layers against the gate.
func (g Gate) judge(s templates.Savings, layers int) templates.Gate {
	out := templates.Gate{Kind: g.kind, Limit: g.text, Unit: g.unit, Most: g.most}
	switch {
	case g.unit == templates.Share:
		out.Actual = s.WastedShare
	case g.kind == templates.MaxWaste:
		out.Actual = float64(s.Wasted)
	case g.kind == templates.MaxSize:
		out.Actual = float64(s.Bytes)
	case g.kind == templates.MaxLayers:
		out.Actual = float64(layers)
	}
	out.Passed = out.Actual <= out.Most
	if !out.Passed {
		out.Over = out.Actual - out.Most
	}
	return out
}
