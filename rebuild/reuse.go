package rebuild

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/docker/docker/client"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
	"docker-flatten/templates"
)

// reuse looks for the result of an earlier run of the same job: an image whose
// merged layer's history entry has the mark of this source, this base and this
// program. If there is one it only gets its names, and reuse reports true.
func reuse(ctx context.Context, o *Options, jobs []*job, output image.Ref, names []string, report *templates.Report) (bool, error) {
	if output.Transport == image.Daemon {
		if len(jobs) != 1 || jobs[0].im.Ref.Transport != image.Daemon {
			return false, nil
		}
		return reuseInEngine(ctx, o, jobs[0], names, report)
	}
	if output.Path == "-" || o.Compression.Level != 0 {
		return false, nil // nothing to look at; a level that no image tells
	}
	// Elsewhere only what stands at the destination's own name is looked at.
	if output.Transport == image.Layout && output.Name == "" && len(names) > 0 {
		output.Name = names[0]
	}
	if len(names) != 1 {
		return false, nil
	}
	old, err := image.Open(ctx, output, image.Options{Platform: o.Platform, Client: o.Client})
	if err != nil {
		return false, nil // most likely there is none; if not, Store will say what is wrong
	}
	defer old.Close()
	if len(old.Images) != len(jobs) {
		return false, nil
	}
	for i, im := range old.Images {
		marks, err := jobs[i].earlyMark()
		if err != nil || marks == "" || !hasMark(im.RawConfig, marks) || !sameCompression(im, o.Compression) {
			return false, nil
		}
		if output.Transport == image.Archive && !slices.Equal(im.Names, names) {
			return false, nil
		}
	}
	report.Reused, report.ID = true, old.ID()
	for i, j := range jobs {
		j.reused(configDigest(old.Images[i].RawConfig), report)
	}
	return true, nil
}

// reused adds what is known of a job whose result was there already.
func (j *job) reused(id string, report *templates.Report) {
	r := templates.ImageReport{Platform: j.im.Platform.String(), ID: id, SourceID: j.im.ID}
	if j.im.RawConfig != nil {
		r.SourceID = configDigest(j.im.RawConfig)
	}
	if base, err := j.earlyBase(); err == nil {
		r.Base = baseReport(base)
		r.Before.Layers, r.After.Layers = len(j.im.DiffIDs), base.Layers+1
	}
	report.Images = append(report.Images, r)
}

// reuseInEngine looks among the engine's images.
func reuseInEngine(ctx context.Context, o *Options, j *job, names []string, report *templates.Report) (bool, error) {
	cli, err := o.Client()
	if err != nil {
		return false, err
	}
	early, err := j.earlyBase()
	if err != nil {
		return false, err
	}
	want := mark(j.im.ID, len(j.im.DiffIDs), early.Layers)
	for _, l := range j.locals {
		if len(l.Image.RootFS.DiffIDs) != early.Layers+1 {
			continue
		}
		for _, e := range l.Image.History {
			if e.Comment == want {
				j.reused(l.ID, report)
				return true, retag(ctx, cli, l, names, report)
			}
		}
	}
	return false, nil
}

func retag(ctx context.Context, cli *client.Client, l image.Local, names []string, report *templates.Report) error {
	for _, name := range names {
		if err := cli.ImageTag(ctx, l.ID, name); err != nil {
			return &image.Error{Op: "tag", Object: name, Err: err}
		}
	}
	report.Reused, report.ID = true, l.ID
	return nil
}

// earlyMark is the mark that the result will have, "" where that isn't known
// before the layers are read.
func (j *job) earlyMark() (string, error) {
	if j.im.RawConfig == nil {
		return "", nil
	}
	early, err := j.earlyBase()
	if err != nil {
		return "", err
	}
	return mark(configDigest(j.im.RawConfig), len(j.im.DiffIDs), early.Layers), nil
}

func hasMark(config []byte, mark string) bool {
	var im history.Image
	if json.Unmarshal(config, &im) != nil {
		return false
	}
	for _, h := range im.History {
		if h.Comment == mark {
			return true
		}
	}
	return false
}

// sameCompression tells whether an image's top layer is compressed as asked.
func sameCompression(im *image.Image, c image.Compression) bool {
	if c.Kind == "" {
		return true
	}
	if im.Manifest == nil || len(im.Manifest.Layers) == 0 {
		return false
	}
	top := string(im.Manifest.Layers[len(im.Manifest.Layers)-1].MediaType)
	kind := image.Uncompressed
	for suffix, k := range map[string]string{"gzip": image.Gzip, "zstd": image.Zstandard} {
		if strings.HasSuffix(top, suffix) {
			kind = k
		}
	}
	return kind == c.Kind
}
