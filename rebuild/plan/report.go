package plan

import (
	"encoding/json"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/rebuild/layer"
	"docker-flatten/templates"
)

// mostWasted is how many wasted paths a report lists.
const mostWasted = 50

// report is the account of the plan.
func (c *Config) report(tree *layer.Merged, dockerfile []byte) (templates.ImageReport, error) {
	r := templates.ImageReport{
		Platform:      c.Source.Platform.String(),
		SourceID:      c.digest,
		Base:          templates.BaseReport{Name: c.Base.Name, Layers: c.Base.Layers, Kind: c.Base.Kind, Evidence: c.Base.Evidence},
		Unchanged:     c.Unchanged(),
		Disagreements: c.Replay.Disagreements,
		Cleared:       c.Replay.Cleared,
		Losses:        losses(tree),
		Dockerfile:    string(dockerfile),
		Layers:        c.layers(tree),
	}
	for i, l := range r.Layers {
		if i < c.Base.Layers {
			r.After.Bytes += l.Bytes
			r.After.Paths += l.Paths
		}
		r.Before.Bytes += l.Bytes
		r.Before.Paths += l.Paths
	}
	r.Before.Layers, r.Before.Compressed = len(c.Source.DiffIDs), c.Source.CompressedSize()
	if r.Unchanged {
		r.After = r.Before
	} else {
		r.After.Layers = c.Base.Layers + 1
		r.After.Bytes += tree.Bytes()
		r.After.Paths += tree.Paths()
		r.Merged = &templates.MergedReport{Paths: tree.Paths(), TarBytes: tree.Size(), FromLayers: len(c.Source.DiffIDs) - c.Base.Layers}
	}
	for _, d := range tree.Deletions() {
		r.Deleted = append(r.Deleted, templates.DeletedPath{Path: "/" + d.Path, Dir: d.Dir, Replaced: d.How != layer.Deleted, Paths: d.Paths, Bytes: d.Bytes})
	}
	for _, w := range tree.Wasted(mostWasted) {
		how := "overwritten"
		if w.Deleted {
			how = "deleted"
		}
		r.Wasted = append(r.Wasted, templates.WastedPath{Path: "/" + w.Path, Layer: w.Layer, By: w.By, How: how, Bytes: w.Bytes})
	}
	for i, h := range c.config.History {
		r.History = append(r.History, historyLine(h, c.instructions[i].Layer))
	}
	if r.Unchanged {
		r.NewHistory = r.History
		return r, nil
	}
	next := 0
	for _, e := range c.history {
		var h ocispec.History
		if err := json.Unmarshal(e, &h); err != nil {
			return templates.ImageReport{}, err
		}
		owned := -1
		if !h.EmptyLayer {
			owned = next
			next++
		}
		r.NewHistory = append(r.NewHistory, historyLine(h, owned))
	}
	return r, nil
}

// layers is the account of the source's layers, lowest first.
func (c *Config) layers(tree *layer.Merged) []templates.LayerReport {
	dialects := map[int]string{}
	for _, ins := range c.instructions {
		dialects[ins.Layer] = ins.Dialect
	}
	var out []templates.LayerReport
	for i, u := range tree.Usage() {
		fate := "base"
		if i >= c.Base.Layers {
			fate = "merged"
		}
		out = append(out, templates.LayerReport{
			DiffID: c.Source.DiffIDs[i].String(), Instruction: c.madeBy[i], Dialect: dialects[i], Fate: fate,
			Paths: u.Entries, Bytes: u.Bytes, KeptBytes: u.Kept.Bytes, OverwrittenBytes: u.Overwritten.Bytes, DeletedBytes: u.Deleted.Bytes,
		})
	}
	return out
}

func historyLine(h ocispec.History, layer int) templates.HistoryLine {
	line := templates.HistoryLine{CreatedBy: h.CreatedBy, Comment: h.Comment, Layer: layer}
	if h.Created != nil {
		line.Created = h.Created.Format(time.RFC3339)
	}
	return line
}
