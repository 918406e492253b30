// Package rebuild does the job: it opens an image, has its history understood
// and its layers merged, builds the Dockerfile that comes of it, and stores
// the result.
package rebuild

import (
	"context"
	"fmt"

	"docker-flatten/rebuild/image"
	"docker-flatten/templates"
)

// Flatten carries out one job and reports on it. A layer.DifferenceError says
// that the result wasn't the same as the source; nothing has been stored then,
// as after any other error.
func Flatten(ctx context.Context, o Options) (*templates.Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	report := &templates.Report{DryRun: o.DryRun, Builder: o.builder(), Verify: o.verify()}

	// Where the image comes from and where it goes. Both ends are opened
	// before any work, so that a wrong one is found at once.
	src, err := image.Open(ctx, o.Image, o.imageOptions(report))
	if err != nil {
		return nil, err
	}
	defer src.Close()
	report.Source = src.Ref.String()
	names, err := o.names(src)
	if err != nil {
		return nil, err
	}
	jobs := make([]*job, len(src.Images))
	for i, im := range src.Images {
		jobs[i] = &job{Options: &o, src: src, im: im, report: &templates.ImageReport{}}
		if err := jobs[i].gatherEvidence(ctx); err != nil {
			return nil, err
		}
	}
	var output image.Ref
	var dest *image.Dest
	if !o.DryRun && !o.contextOnly() {
		if output, err = o.output(src, names); err != nil {
			return nil, err
		}
		report.Output, report.Tags = output.String(), names
		// An earlier run of the same job may have left its result there.
		if !o.NoCache && o.Context == "" {
			if done, err := reuse(ctx, &o, jobs, output, names, report); err != nil || done {
				return report, err
			}
		}
		if dest, err = image.OpenDest(ctx, output, o.imageOptions(report)); err != nil {
			return nil, err
		}
	}

	// What each platform's image is made of, and what it will be.
	unread := jobs[0].im.RawConfig == nil
	for _, j := range jobs {
		if err := j.plan(ctx); err != nil {
			if len(jobs) > 1 {
				err = fmt.Errorf("%s: %w", j.im.Platform, err)
			}
			return nil, err
		}
		report.Images = append(report.Images, *j.report)
	}
	var written *stagedContext
	if o.Context != "" {
		if written, err = stageContext(ctx, &o, jobs); err != nil {
			return nil, err
		}
		defer written.discard()
	}
	if dest == nil {
		if written != nil {
			report.Context, err = written.publish()
		}
		return report, err
	}

	// Now an earlier result can be known that couldn't be before.
	if unread && !o.NoCache && o.Context == "" {
		if done, err := reuse(ctx, &o, jobs, output, names, report); err != nil || done {
			return report, err
		}
	}

	// Build, verify while writing, and only then give it its names.
	made := make([]image.NewImage, len(jobs))
	for i, j := range jobs {
		defer j.cleanUp()
		if made[i], err = j.build(ctx); err != nil {
			return nil, err
		}
	}
	stored, err := dest.Store(ctx, src, made, names, o.Compression)
	if err != nil {
		return nil, err
	}
	if written != nil {
		if report.Context, err = written.publish(); err != nil {
			return nil, err
		}
	}
	report.ID = stored.ID
	for i := range jobs {
		jobs[i].stored(stored.Images[i], &report.Images[i])
	}
	return report, nil
}
