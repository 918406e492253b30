package plan

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/rebuild/layer"
	"docker-flatten/templates"
)

// How many entries a report lists: an image may have millions of paths. The sums
// beside the lists have all of them.
const (
	mostWasted      = 200
	mostCauses      = 200
	mostDirectories = 400
	mostDeleted     = 1000
	mostFiles       = 2000 // of all layers
	mostLayerFiles  = 50   // of a layer
)

// report is the account of the plan. shares are what estimate takes.
func (c *Config) report(tree *layer.Merged, dockerfile []byte, shares []float64) (templates.ImageReport, error) {
	usage := tree.Usage()
	account := tree.Account(layer.Limits{
		Causes: mostCauses, Wasted: mostWasted, Dirs: mostDirectories, Root: cacheRoot,
		Files: max(5, min(mostLayerFiles, mostFiles/max(len(usage), 1))),
	})
	choices := c.choices(tree, usage)
	r := templates.ImageReport{
		Savings:       savings(choices, usage),
		Choices:       choices,
		Causes:        c.causes(account.Causes),
		OtherCauses:   templates.Sum{Count: account.Other.Paths, Bytes: account.Other.Bytes},
		WastedTotal:   templates.Sum{Count: account.AllWasted.Paths, Bytes: account.AllWasted.Bytes},
		AllDirs:       account.DirCount,
		Platform:      c.Source.Platform.String(),
		SourceID:      c.digest,
		Base:          templates.BaseReport{Name: c.Base.Name, Layers: c.Base.Layers, Kind: c.Base.Kind, Evidence: c.Base.Evidence},
		Unchanged:     c.Unchanged(),
		Disagreements: c.Replay.Disagreements,
		Cleared:       c.Replay.Cleared,
		Losses:        losses(tree),
		Dockerfile:    string(dockerfile),
		Layers:        c.layers(usage, account),
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
	for _, g := range c.gates {
		r.Gates = append(r.Gates, g.judge(r.Savings, r.Before.Layers))
	}
	if r.Unchanged {
		r.After = r.Before
	} else {
		r.After.Layers = c.Base.Layers + 1
		r.After.Bytes += tree.Bytes()
		r.After.Paths += tree.Paths()
		r.Merged = &templates.MergedReport{Paths: tree.Paths(), TarBytes: tree.Size(), FromLayers: len(c.Source.DiffIDs) - c.Base.Layers}
	}
	var newLayer int64
	var err error
	if r.Before.Estimate, r.After.Estimate, newLayer, err = c.estimate(tree, usage, shares); err != nil {
		return templates.ImageReport{}, err
	}
	if r.Merged != nil {
		r.Merged.Estimate = newLayer
	}
	r.Deleted, r.DeletedTotal = deleted(tree.Deletions())
	for _, w := range account.Wasted {
		r.Wasted = append(r.Wasted, templates.WastedPath{Path: "/" + w.Path, Layer: w.Layer, By: w.By, How: how(w.Deleted), Bytes: w.Bytes, InBase: w.Layer < c.Base.Layers})
	}
	for _, d := range account.Dirs {
		r.Directories = append(r.Directories, templates.Directory{
			Path: "/" + d.Path, Files: d.Kept.Paths + d.Overwritten.Paths + d.Deleted.Paths,
			KeptBytes: d.Kept.Bytes, OverwrittenBytes: d.Overwritten.Bytes, DeletedBytes: d.Deleted.Bytes,
		})
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
func (c *Config) layers(usage []layer.Usage, account *layer.Account) []templates.LayerReport {
	dialects := map[int]string{}
	for _, ins := range c.instructions {
		dialects[ins.Layer] = ins.Dialect
	}
	var out []templates.LayerReport
	for i, u := range usage {
		fate := "base"
		if i >= c.Base.Layers {
			fate = "merged"
		}
		var files []templates.File
		for _, f := range account.Files[i] {
			file := templates.File{Path: "/" + f.Path, Bytes: f.Bytes, Fate: "kept"}
			if !f.Kept {
				file.Fate, file.By = how(f.Deleted), f.By
			}
			files = append(files, file)
		}
		out = append(out, templates.LayerReport{
			Files: files, FileCount: account.FileCount[i],
			DiffID: c.Source.DiffIDs[i].String(), Instruction: c.madeBy[i], Dialect: dialects[i], Fate: fate,
			Paths: u.Entries, Bytes: u.Bytes, KeptBytes: u.Kept.Bytes, OverwrittenBytes: u.Overwritten.Bytes, DeletedBytes: u.Deleted.Bytes,
		})
	}
	return out
}

func how(deleted bool) string {
	if deleted {
		return "deleted"
	}
	return "overwritten"
}

// deleted lists what the image no longer has of its base: of very many the
// largest, in the order of the base.
func deleted(all []layer.Deletion) (listed []templates.DeletedPath, total templates.Sum) {
	for _, d := range all {
		total.Count += max(d.Paths, 1)
		total.Bytes += d.Bytes
	}
	if len(all) > mostDeleted {
		bySize := slices.Clone(all)
		slices.SortStableFunc(bySize, func(a, b layer.Deletion) int { return cmp.Compare(b.Bytes, a.Bytes) })
		all = bySize[:mostDeleted]
	}
	for _, d := range all {
		listed = append(listed, templates.DeletedPath{Path: "/" + d.Path, Dir: d.Dir, Replaced: d.How != layer.Deleted, How: string(d.How), Paths: d.Paths, Bytes: d.Bytes})
	}
	return listed, total
}

func historyLine(h ocispec.History, layer int) templates.HistoryLine {
	line := templates.HistoryLine{CreatedBy: h.CreatedBy, Comment: h.Comment, Layer: layer}
	if h.Created != nil {
		line.Created = h.Created.Format(time.RFC3339)
	}
	return line
}
