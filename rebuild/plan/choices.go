package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"docker-flatten/history"
	"docker-flatten/rebuild/layer"
	"docker-flatten/templates"
)

// otherBases are the bases that the user could have instead of the chosen one,
// highest first: what the evidence says where the user said otherwise, the image
// that the base was built on, and scratch. The last is always among them, unless
// it was chosen.
func otherBases(config *history.Image, instructions []history.Instruction, chosen history.Base, evidence Evidence) []history.Base {
	var others []history.Base
	add := func(b history.Base) {
		same := func(o history.Base) bool { return o.Layers == b.Layers }
		if !same(chosen) && !slices.ContainsFunc(others, same) {
			others = append(others, b)
		}
	}
	found := func(im *history.Image, ins []history.Instruction) {
		b, err := FindBase(im, ins, nil, Base{}, evidence)
		if err == nil && b.Layers > 0 && b.Layers < len(im.RootFS.DiffIDs) {
			add(b)
		}
	}
	if chosen.Kind == "user" {
		found(config, instructions)
	}
	if n := chosen.Layers; n > 1 {
		below := *config
		below.RootFS.DiffIDs = config.RootFS.DiffIDs[:n]
		entries := min(chosen.Entries, len(config.History))
		below.History = config.History[:entries]
		found(&below, instructions[:entries])
	}
	add(history.Base{Name: "scratch"})
	slices.SortStableFunc(others, func(a, b history.Base) int { return b.Layers - a.Layers })
	return others
}

// choices are what the chosen base and the others give.
func (c *Config) choices(tree *layer.Merged, usage []layer.Usage) []templates.Choice {
	if len(usage) == 0 {
		return nil
	}
	of := func(b history.Base) templates.Choice {
		out := templates.Choice{Base: strconv.Itoa(b.Layers), Name: b.Name, Layers: b.Layers, SharedLayers: b.Layers, Evidence: b.Evidence}
		if b.Layers == 0 {
			out.Base = "scratch"
		}
		for _, u := range usage[:b.Layers] {
			out.SharedBytes += u.Bytes
		}
		if len(usage) > b.Layers {
			out.Layers++
		}
		if len(usage)-b.Layers < 2 { // nothing to merge
			out.Bytes = out.SharedBytes
			for _, u := range usage[b.Layers:] {
				out.Bytes += u.Bytes
			}
			return out
		}
		out.Bytes = tree.BytesAbove(b.Layers, usage)
		return out
	}
	all := []templates.Choice{of(c.Base)}
	all[0].Chosen, all[0].Evidence = true, "" // the report's base has it
	for _, b := range c.others {
		all = append(all, of(b))
	}
	return all
}

// savings sums the choices up.
func savings(choices []templates.Choice, usage []layer.Usage) templates.Savings {
	var s templates.Savings
	for _, u := range usage {
		s.Bytes += u.Bytes
		s.Wasted += u.Overwritten.Bytes + u.Deleted.Bytes
	}
	for _, choice := range choices {
		saved := max(s.Bytes-choice.Bytes, 0) // a copy of a file of the base may cost more than waste saves
		if choice.Chosen {
			s.Goes, s.BaseLayers = saved, choice.SharedLayers
		}
		if choice.SharedLayers == 0 {
			s.Scratch = saved
		}
	}
	s.More = max(s.Scratch-s.Goes, 0)
	if s.Bytes > 0 {
		s.WastedShare = float64(s.Wasted) / float64(s.Bytes)
		s.GoesShare = float64(s.Goes) / float64(s.Bytes)
	}
	return s
}

// estimate gives about what the source, the result and the new layer are when
// gzip has compressed the layers. shares are the parts that the layers' samples leave of
// them, by layer; where the manifest says how long a layer is compressed, that counts.
func (c *Config) estimate(tree *layer.Merged, usage []layer.Usage, shares []float64) (before, after, layer int64, err error) {
	if m := c.Source.Manifest; m != nil && len(m.Layers) == len(usage) {
		told := make([]float64, len(usage))
		copy(told, shares)
		for i, l := range m.Layers {
			compressed := strings.HasSuffix(string(l.MediaType), "gzip") || strings.HasSuffix(string(l.MediaType), "zstd")
			if n := tree.Length(i); n > 0 && compressed {
				told[i] = float64(l.Size) / float64(n)
			} else if shares == nil {
				return 0, 0, 0, nil
			}
		}
		shares = told
	}
	if shares == nil {
		return 0, 0, 0, nil
	}
	if len(shares) != len(usage) {
		return 0, 0, 0, fmt.Errorf("estimate compressed sizes: %d samples of %d layers", len(shares), len(usage))
	}
	var b, base, kept, packed float64
	for i, u := range usage {
		whole := shares[i] * float64(tree.Length(i))
		b += whole
		if i < c.Base.Layers {
			base += whole
			continue
		}
		// Headers count like contents, or a layer without contents would count
		// for nothing.
		weight := float64(u.Kept.Bytes) + 512*float64(u.Kept.Paths)
		kept += weight
		packed += weight * shares[i]
	}
	if c.Unchanged() {
		return int64(b), int64(b), 0, nil
	}
	merged := 0.0
	if kept > 0 {
		merged = float64(tree.Size()) * packed / kept
	}
	return int64(b), int64(base + merged), int64(merged), nil
}
