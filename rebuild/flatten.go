package rebuild

import (
	"context"
	"errors"
	"fmt"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/maker"
	"docker-flatten/rebuild/plan"
	"docker-flatten/rebuild/progress"
	"docker-flatten/templates"
)

// Flatten carries out one job and reports on it.
//
// After an error the place, the context's directory and the pages are as they
// were before. There is one exception: a *PublishError says that the image has its
// names, and that something which comes after that failed. The package's comment
// lists the errors that can be told apart.
func Flatten(ctx context.Context, o Options) (_ *templates.Report, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	report := &templates.Report{DryRun: o.DryRun, Recovered: o.Recover, Builder: o.Builder.String(), Verify: o.Verify.String()}
	opt := o.imageOptions(report)
	cleanUp := func(discard func() error) { err = errors.Join(err, discard()) }

	// Where the image comes from, and where everything goes. Wrong ends are found
	// before any work.
	src, err := place.Open(ctx, o.Image, opt)
	if err != nil {
		return nil, err
	}
	defer cleanUp(src.Close)
	report.Source = src.Ref.String()
	to, err := o.prepare(ctx, src, opt)
	if err != nil {
		return nil, err
	}
	pages, err := o.preparePages(report.Source, to)
	if err != nil {
		return nil, err
	}
	defer cleanUp(pages.discard)
	var written *maker.Context
	if o.Context != "" {
		if written, err = maker.PrepareContext(o.Context, o.Stdout); err != nil {
			return nil, err
		}
		defer cleanUp(written.Discard)
	}

	if to != nil {
		o.tellReferrers(ctx, src, opt)
	}

	// What each platform's image is made of, and what it becomes.
	var orders []maker.Order
	for _, im := range src.Images {
		order, err := o.order(ctx, src, im, to, opt)
		if err != nil {
			if len(src.Images) > 1 {
				err = fmt.Errorf("%s: %w", im.Platform, err)
			}
			return nil, err
		}
		orders = append(orders, order)
		report.Images = append(report.Images, order.Plan.Report)
	}
	var recovered []*plan.Recovery
	if o.Recover {
		if recovered, err = thought(ctx, func() ([]*plan.Recovery, error) { return maker.Recover(ctx, orders, written != nil) }); err != nil {
			return nil, err
		}
		for i, r := range recovered {
			report.Images[i].Dockerfile = string(r.Dockerfile)
		}
	} else if len(orders) > 1 {
		if report.Stages, err = thought(ctx, func() (string, error) { return stages(orders) }); err != nil {
			return nil, err
		}
	}

	// What it will take, known before the first byte is written.
	needs, err := o.needs(ctx, src, orders, to, opt)
	if err != nil {
		return nil, err
	}
	report.Needs = accountOf(orders, needs)

	// The image in its place, without a name: an earlier run's, or a new one.
	var result *image.Stored
	var statement []byte
	attest := o.attestor(src, to, orders)
	if to != nil {
		report.Output, report.Tags = to.Ref().String(), to.Names()
		found, err := o.earlier(ctx, to, orders, image.Wanted{Images: natives(orders), Index: src.Index, Attest: attest}, opt)
		if err != nil {
			return nil, err
		}
		if found != nil {
			defer cleanUp(found.Source.Close)
			result, report.Reused, report.Checked = found.Stored, true, found.checked
		} else {
			if err := o.checkRoom(needs, opt); err != nil {
				return nil, err
			}
			if report.Needs.WriteBytes >= longRun {
				opt.Note("this run " + report.Needs.String())
			}
			builder, err := o.newBuilder(opt)
			if err != nil {
				return nil, err
			}
			defer builder.Close()
			made, err := builder.build(ctx, orders, to.Ref().Transport == image.Daemon)
			if err != nil {
				return nil, err
			}
			if result, err = to.Store(ctx, image.Wanted{Images: made, Index: src.Index, Attest: attest}); err != nil {
				return nil, err
			}
			report.Checked = checkedNow(o.Verify)
		}
		defer cleanUp(result.Discard)
		report.ID = result.ID
		for i := range orders {
			report.Images[i] = stored(report.Images[i], result.Images[i])
		}
		if statement, err = o.statementOf(src, to, orders, result); err != nil {
			return nil, err
		}
	}

	if to == nil {
		if err := o.checkRoom(needs, opt); err != nil {
			return nil, err
		}
	}

	// All that goes with it, whole before the image gets its names.
	if written != nil {
		report.Context = written.Dir()
		if o.Recover {
			err = written.WriteRecovery(ctx, orders, recovered, opt)
		} else {
			err = written.Write(ctx, orders, opt)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := pages.write(report, statement); err != nil {
		return nil, err
	}
	if result != nil {
		if err := result.Name(ctx); err != nil {
			return nil, err
		}
	}
	if err := publish(written, pages); err != nil {
		if result == nil {
			return nil, err
		}
		return nil, &PublishError{ID: result.ID, Names: report.Tags, Err: err}
	}
	return report, nil
}

// stages is the Dockerfile of several platforms.
func stages(orders []maker.Order) (string, error) {
	var plans []*plan.Plan
	for _, o := range orders {
		plans = append(plans, o.Plan)
	}
	text, err := plan.Stages(plans)
	return string(text), err
}

// imageOptions are the options for opening and preparing places. Warnings go to
// the display and into the report.
func (o *Options) imageOptions(report *templates.Report) image.Options {
	display := o.Display
	if display == nil {
		display = progress.Silent
	}
	return image.Options{
		Platform: o.Platform, Client: o.Client, Timeout: o.Timeout, Insecure: o.Insecure, Display: display, Compression: o.Compression, Force: o.Force, Stdout: o.Stdout,
		Warn: func(line string) {
			report.Warnings = append(report.Warnings, line)
			display.Note("warning: " + line)
		},
	}
}
