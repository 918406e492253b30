package rebuild

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
	"docker-flatten/templates"
)

// reuse looks for the result of an earlier run of the same job: an image whose
// merged layer's history entry has the mark of this source and this base, and
// which is in all else what this run would make. If there is one it only gets
// its names, and reuse reports true. What an engine tells of an image may not be
// enough to know by, before the image has been read.
func reuse(ctx context.Context, o *Options, jobs []*job, output image.Ref, names []string, report *templates.Report) (bool, error) {
	if output.Transport == image.Daemon {
		if len(jobs) != 1 {
			return false, nil
		}
		return reuseInEngine(ctx, o, jobs[0], names, report)
	}
	if output.Path == "-" || o.Compression.Level != 0 {
		return false, nil // nothing to look at; a level that no image tells
	}
	if info, err := os.Stat(output.Path); err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		return false, nil // a device or a pipe, from which nothing comes
	}
	// Elsewhere only what stands at the destination's own name is looked at.
	if output.Transport == image.Layout && output.Name == "" && len(names) > 0 {
		output.Name = names[0]
	}
	if len(names) != 1 {
		return false, nil
	}
	for _, j := range jobs {
		if j.im.RawConfig == nil {
			return false, nil
		}
	}
	old, err := image.Open(ctx, output, image.Options{Client: o.Client})
	if err != nil {
		return false, nil // most likely there is none; if not, Store will say what is wrong
	}
	defer old.Close()
	if len(old.Images) != len(jobs) {
		return false, nil
	}
	want := make([]image.NewImage, len(jobs))
	for i, im := range old.Images {
		if output.Transport == image.Archive && !slices.Equal(im.Names, names) {
			return false, nil
		}
		early, err := jobs[i].foreseen()
		if err != nil {
			return false, err
		}
		if early.flatAlready() {
			want[i] = early.unchangedImage()
			continue
		}
		if !hasMark(im.RawConfig, early.mark()) || !sameCompression(im, o.Compression) {
			return false, nil
		}
		want[i] = early.nativeImage()
	}
	if same, err := jobs[0].src.Equals(want, old); err != nil || !same {
		return false, err
	}
	ids := make([]string, len(old.Images))
	for i, im := range old.Images {
		ids[i] = configDigest(im.RawConfig)
	}
	return true, reused(jobs, ids, old.ID(), report)
}

// reused makes the report one of jobs whose results were there already.
func reused(jobs []*job, ids []string, id string, report *templates.Report) error {
	report.Reused, report.ID, report.Images = true, id, nil
	for i, j := range jobs {
		r := templates.ImageReport{Platform: j.im.Platform.String(), ID: ids[i], SourceID: j.im.ID}
		if j.im.RawConfig != nil {
			r.SourceID = configDigest(j.im.RawConfig)
		}
		base, err := j.earlyBase()
		if err != nil {
			return err
		}
		r.Base = baseReport(base)
		r.Before.Layers, r.After.Layers = len(j.im.DiffIDs), min(base.Layers+1, len(j.im.DiffIDs))
		report.Images = append(report.Images, r)
	}
	return nil
}

// foreseen is the job as far as it can be planned without its layers: enough
// for the result's config document and annotations.
func (j *job) foreseen() (*job, error) {
	early := &job{
		Options: j.Options, src: j.src, im: j.im, report: &templates.ImageReport{},
		candidates: j.candidates, locals: j.locals, itself: j.itself, baseDigest: j.baseDigest, config: &history.Image{},
	}
	if err := json.Unmarshal(j.im.RawConfig, early.config); err != nil {
		return nil, fmt.Errorf("read config document: %w", err)
	}
	early.instructions = history.Parse(early.config)
	var err error
	if early.base, err = early.findBase(early.config, early.instructions); err != nil {
		return nil, err
	}
	if early.replay, err = history.Plan(early.config, early.instructions, early.base); err != nil {
		return nil, fmt.Errorf("replay history: %w", err)
	}
	return early, nil
}

// flatAlready tells whether there is nothing to merge.
func (j *job) flatAlready() bool { return len(j.im.DiffIDs)-j.base.Layers < 2 }

// reuseInEngine looks among the engine's images.
func reuseInEngine(ctx context.Context, o *Options, j *job, names []string, report *templates.Report) (bool, error) {
	cli, err := o.Client()
	if err != nil {
		return false, err
	}
	base, err := j.earlyBase()
	if err != nil {
		return false, err
	}
	source := j.im.ID // the config's digest, where it is one that marks are made of
	var early *job
	if j.im.RawConfig != nil {
		source = configDigest(j.im.RawConfig)
		if early, err = j.foreseen(); err != nil {
			return false, err
		}
	}
	locals := j.locals
	if j.im.Ref.Transport != image.Daemon {
		if locals, err = image.Locals(ctx, cli); err != nil {
			return false, err
		}
	}
	want := j.markOf(source, base.Layers)
	for _, l := range locals {
		if len(l.Image.RootFS.DiffIDs) != base.Layers+1 {
			continue
		}
		made := slices.IndexFunc(l.Image.History, func(e ocispec.History) bool { return e.Comment == want })
		if made < 0 {
			continue
		}
		config, err := j.sameAsLocal(l, made, early)
		if err != nil {
			return false, err
		}
		if config != "" {
			if err := reused([]*job{j}, []string{config}, l.ID, report); err != nil {
				return false, err
			}
			return true, retag(ctx, cli, l, names)
		}
	}
	return false, nil
}

// sameAsLocal returns the config's digest of an engine's image, whose history
// entry made has the mark, if it is the result to the letter, and "" if it is
// something that was built on it. Of what an engine doesn't tell there is nothing
// to compare.
func (j *job) sameAsLocal(l image.Local, made int, early *job) (string, error) {
	im := l.Image
	if early == nil {
		created, err := (&job{Options: j.Options, config: j.itself.Image}).createdForAdditions()
		if err != nil || !sameSecond(im.History[made].Created, created) || !sameSecond(im.Created, j.itself.Image.Created) ||
			im.Author != j.itself.Image.Author || !sameConfig(im, j.itself.Image) {
			return "", err
		}
		return l.ID, nil
	}
	diffIDs := make([]v1.Hash, len(im.RootFS.DiffIDs))
	for i, d := range im.RootFS.DiffIDs {
		var err error
		if diffIDs[i], err = v1.NewHash(d.String()); err != nil {
			return "", err
		}
	}
	raw, err := early.document(diffIDs)
	if err != nil {
		return "", err
	}
	var want history.Image
	if err := json.Unmarshal(raw, &want); err != nil {
		return "", fmt.Errorf("read config document: %w", err)
	}
	same := slices.EqualFunc(im.History, want.History, func(a, b ocispec.History) bool {
		return a.CreatedBy == b.CreatedBy && a.Comment == b.Comment && sameSecond(a.Created, b.Created)
	})
	config := &want
	if j.itself != nil {
		config = j.itself.Image // told by an engine in the same way
	}
	if !same || !sameSecond(im.Created, want.Created) || im.Author != want.Author || !sameConfig(im, config) {
		return "", nil
	}
	return configDigest(raw), nil
}

// sameSecond compares times as engines tell them. A time that the config
// doesn't have, engines make up.
func sameSecond(told, want *time.Time) bool {
	return want == nil || told != nil && told.Unix() == want.Unix()
}

func sameConfig(a, b *history.Image) bool {
	x, errX := json.Marshal(a.Config)
	y, errY := json.Marshal(b.Config)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func retag(ctx context.Context, cli *client.Client, l image.Local, names []string) error {
	for _, name := range names {
		if err := cli.ImageTag(ctx, l.ID, name); err != nil {
			return &image.Error{Op: "tag", Object: name, Err: err}
		}
	}
	return nil
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

// sameCompression tells whether an image's top layer is compressed as asked, or
// as it would be without being asked.
func sameCompression(im *image.Image, c image.Compression) bool {
	if im.Manifest == nil || len(im.Manifest.Layers) == 0 {
		return c.Kind == "" // nothing that tells
	}
	if c.Kind == "" {
		c.Kind = image.Gzip
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
