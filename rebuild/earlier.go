package rebuild

import (
	"context"
	"fmt"
	"io"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/maker"
	"docker-flatten/rebuild/progress"
	"docker-flatten/templates"
)

// earlierResult is the result of an earlier run of the same job.
type earlierResult struct {
	*image.Found
	checked templates.Checked
}

// earlier looks for the result of an earlier run of the same job, and believes it
// as far as it is known. Its config document, manifest and index are, to the
// letter, what this run would make. Where its layers lie in files they are read:
// their digests, and the new layer, are held against the source. Elsewhere only
// --verify content does that, and --attest, which says what was verified. nil = no
// result, or none that is right: a new one takes its place.
func (o *Options) earlier(ctx context.Context, to image.Place, orders []maker.Order, want image.Wanted, opt image.Options) (*earlierResult, error) {
	inFiles := to.Ref().Path != ""
	if o.NoCache && !inFiles {
		return nil, nil
	}
	found, err := to.Existing(ctx, want) // also says whether a file may be replaced
	if err != nil || found == nil {
		return nil, err
	}
	if o.NoCache {
		return nil, found.Source.Close()
	}
	if !inFiles && o.Verify != maker.Content && !o.attests() {
		return &earlierResult{found, templates.CheckedBefore}, nil
	}
	for i, im := range found.Source.Images {
		err := check(ctx, im, orders[i], o.Builder == Engine)
		if err == nil {
			continue
		}
		closing := found.Source.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		opt.Warn(fmt.Sprintf("an earlier result isn't what it was, and is made anew: %v", err))
		return nil, closing
	}
	if o.Verify == maker.Off {
		return &earlierResult{found, templates.CheckedNot}, nil
	}
	return &earlierResult{found, templates.CheckedAgain}, nil
}

// check reads the whole of a found image, and holds its new layer against the
// order.
func check(ctx context.Context, im *image.Image, o maker.Order, byEngine bool) error {
	bar := o.Display.Start(progress.Verifying, im.Ref.String(), 0)
	_, err := im.Read(ctx, nil, func(i int, r io.Reader) error {
		r = io.TeeReader(r, progress.Counter{Bar: bar})
		if i == o.Plan.Base.Layers && !o.Plan.Unchanged() {
			return o.Check(ctx, r, byEngine)
		}
		_, err := io.Copy(io.Discard, r)
		return err
	})
	bar.Done(err)
	return err
}

// checkedNow is how a new result is known to be right.
func checkedNow(v maker.Verify) templates.Checked {
	if v == maker.Off {
		return templates.CheckedNot
	}
	return templates.CheckedNow
}

// stored is a platform's report with what the place says of the stored image.
func stored(r templates.ImageReport, s image.StoredImage) templates.ImageReport {
	r.ID = s.ConfigDigest.String()
	if r.Before.Compressed > 0 { // else there is nothing to compare it with
		r.After.Compressed = s.Compressed
	}
	if r.Merged == nil {
		return r
	}
	merged := *r.Merged
	merged.DiffID = s.DiffID.String()
	merged.MediaType = string(s.Layer.MediaType)
	if s.Layer.Size > 0 {
		merged.Digest, merged.Compressed = s.Layer.Digest.String(), s.Layer.Size
	}
	r.Merged = &merged
	return r
}
