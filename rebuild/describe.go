package rebuild

import (
	"encoding/json"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/layer"
	"docker-flatten/templates"
)

// mostWasted is how many wasted paths a report lists.
const mostWasted = 50

// describe fills in what the report says about the plan.
func (j *job) describe() error {
	r := j.report
	r.Platform = j.im.Platform.String()
	r.SourceID = configDigest(j.im.RawConfig)
	r.Base = baseReport(j.base)
	r.Unchanged = j.flatAlready()
	r.Disagreements = j.replay.Disagreements
	r.Cleared = j.replay.Cleared
	r.Losses = j.losses()
	r.Dockerfile = string(j.dockerfile)

	dialects := map[int]string{}
	for _, ins := range j.instructions {
		dialects[ins.Layer] = ins.Dialect
	}
	for i, u := range j.merged.Usage() {
		l := templates.LayerReport{
			DiffID: j.im.DiffIDs[i].String(), Instruction: j.madeBy(i), Dialect: dialects[i], Fate: "base",
			Paths: u.Entries, Bytes: u.Bytes, KeptBytes: u.Kept.Bytes, OverwrittenBytes: u.Overwritten.Bytes, DeletedBytes: u.Deleted.Bytes,
		}
		if i >= j.base.Layers {
			l.Fate = "merged"
		} else {
			r.After.Bytes += u.Bytes
			r.After.Paths += u.Entries
		}
		r.Before.Bytes += u.Bytes
		r.Before.Paths += u.Entries
		r.Layers = append(r.Layers, l)
	}
	r.Before.Layers = len(j.im.DiffIDs)
	r.Before.Compressed = compressedSize(j.im)
	if r.Unchanged {
		r.After = r.Before
	} else {
		r.After.Layers = j.base.Layers + 1
		r.After.Bytes += j.merged.Bytes()
		r.After.Paths += j.merged.Paths()
		r.Merged = &templates.MergedReport{Paths: j.merged.Paths(), TarBytes: j.merged.Size(), FromLayers: len(j.im.DiffIDs) - j.base.Layers}
	}
	for _, d := range j.merged.Deletions() {
		r.Deleted = append(r.Deleted, templates.DeletedPath{Path: "/" + d.Path, Dir: d.Dir, Replaced: d.How != layer.Deleted, Paths: d.Paths, Bytes: d.Bytes})
	}
	for _, w := range j.merged.Wasted(mostWasted) {
		how := "overwritten"
		if w.Deleted {
			how = "deleted"
		}
		r.Wasted = append(r.Wasted, templates.WastedPath{Path: "/" + w.Path, Layer: w.Layer, By: w.By, How: how, Bytes: w.Bytes})
	}
	for i, h := range j.config.History {
		r.History = append(r.History, historyLine(h, j.instructions[i].Layer))
	}
	if r.Unchanged {
		r.NewHistory = r.History
		return nil
	}
	entries, err := j.newHistory()
	if err != nil {
		return err
	}
	next := 0
	for _, e := range entries {
		var h ocispec.History
		if err := json.Unmarshal(e, &h); err != nil {
			return err
		}
		owned := -1
		if !h.EmptyLayer {
			owned = next
			next++
		}
		r.NewHistory = append(r.NewHistory, historyLine(h, owned))
	}
	return nil
}

func baseReport(b history.Base) templates.BaseReport {
	return templates.BaseReport{Name: b.Name, Layers: b.Layers, Kind: b.Kind, Evidence: b.Evidence}
}

func historyLine(h ocispec.History, layer int) templates.HistoryLine {
	line := templates.HistoryLine{CreatedBy: h.CreatedBy, Comment: h.Comment, Layer: layer}
	if h.Created != nil {
		line.Created = h.Created.Format(time.RFC3339)
	}
	return line
}

// compressedSize is the length of an image's layer blobs, 0 if its source
// doesn't say.
func compressedSize(im *image.Image) (n int64) {
	if im.Manifest == nil {
		return 0
	}
	for _, l := range im.Manifest.Layers {
		n += l.Size
	}
	return n
}

// stored adds what the destination says about the image that it stored.
func (j *job) stored(s image.StoredImage, r *templates.ImageReport) {
	r.ID = s.ConfigDigest.String()
	if r.Merged == nil {
		return
	}
	r.Merged.DiffID = s.DiffID.String()
	r.Merged.MediaType = string(s.Layer.MediaType)
	if s.Layer.Size > 0 {
		r.Merged.Digest, r.Merged.Compressed = s.Layer.Digest.String(), s.Layer.Size
		if m := j.im.Manifest; m != nil {
			for _, l := range m.Layers[:j.base.Layers] {
				r.After.Compressed += l.Size
			}
			r.After.Compressed += s.Layer.Size
		}
	}
}
