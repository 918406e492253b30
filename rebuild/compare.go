package rebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/layer"
	"docker-flatten/rebuild/plan"
	"docker-flatten/rebuild/progress"
	"docker-flatten/templates"
)

// CompareOptions are two images to be held against each other. The zero value of
// every field but the images is its default.
type CompareOptions struct {
	Image    image.Ref
	Other    image.Ref
	Platform string        // os/arch[/variant]; "" = every platform of an index
	Insecure bool          // registries may speak plain HTTP, and have any certificate
	Timeout  time.Duration // how long a registry or an engine may be silent; 0 = a minute

	Client  func() (*client.Client, error) // the Docker Engine, asked for when one is needed
	Display progress.Display               // nil = no display
}

// Validate says what is wrong with the options, as a *UsageError; nil if nothing
// is.
func (o *CompareOptions) Validate() error {
	if o.Image.Path == "-" && o.Other.Path == "-" {
		return &UsageError{errors.New("--compare -: only one of the images can come from stdin")}
	}
	if o.Platform != "" {
		if _, err := image.ParsePlatform(o.Platform); err != nil {
			return &UsageError{err}
		}
	}
	return nil
}

// Compare holds Image against Other, platform by platform: the config as
// plan.CompareConfigs does, and the root file system as layer.Compare does. Where
// each has one image these are compared, whatever their platforms; a platform
// that only one of two has is a difference. Layers, history, dates, names and
// compression don't count. Each layer is read once, and its digests are checked.
//
// That they differ is no error.
func Compare(ctx context.Context, o CompareOptions) (_ *templates.Comparison, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	display := o.Display
	if display == nil {
		display = progress.Silent
	}
	c := &templates.Comparison{}
	opt := image.Options{Platform: o.Platform, Client: o.Client, Timeout: o.Timeout, Insecure: o.Insecure, Display: display, Warn: func(line string) {
		c.Warnings = append(c.Warnings, line)
		display.Note("warning: " + line)
	}}
	this, err := place.Open(ctx, o.Image, opt)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, this.Close()) }()
	other, err := place.Open(ctx, o.Other, opt)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	c.Image, c.Other = this.Ref.String(), other.Ref.String()

	for _, p := range pair(this.Images, other.Images) {
		found, err := p.compare(ctx, display)
		if err != nil {
			return nil, err
		}
		c.Count += found.Count
		c.Platforms = append(c.Platforms, found)
	}
	c.Same = c.Count == 0
	return c, nil
}

// imagePair are the images of one platform; nil for one that there isn't.
type imagePair struct{ image, other *image.Image }

// pair finds the images that belong together: the only ones, or those of the same
// platform, in the order of images, and then what others has alone.
func pair(images, others []*image.Image) []imagePair {
	if len(images) == 1 && len(others) == 1 {
		return []imagePair{{images[0], others[0]}}
	}
	var pairs []imagePair
	taken := make([]bool, len(others))
	for _, im := range images {
		p := imagePair{image: im}
		for i, other := range others {
			if !taken[i] && image.SamePlatform(im.Platform, other.Platform) {
				p.other, taken[i] = other, true
				break
			}
		}
		pairs = append(pairs, p)
	}
	for i, other := range others {
		if !taken[i] {
			pairs = append(pairs, imagePair{other: other})
		}
	}
	return pairs
}

func (p imagePair) compare(ctx context.Context, display progress.Display) (templates.PlatformComparison, error) {
	switch { // an index tells its images' config documents when it is opened
	case p.other == nil:
		return templates.PlatformComparison{Platform: p.image.Platform.String(), Only: templates.SideImage, ImageID: plan.Digest(p.image.Config), Count: 1}, nil
	case p.image == nil:
		return templates.PlatformComparison{Platform: p.other.Platform.String(), Only: templates.SideOther, OtherID: plan.Digest(p.other.Config), Count: 1}, nil
	}
	fail := func(err error) (templates.PlatformComparison, error) { return templates.PlatformComparison{}, err }
	known := &knownLayers{indexes: map[v1.Hash]*layer.Index{}}
	this, have, err := known.read(ctx, p.image.PassingOver(), display)
	if err != nil {
		return fail(err)
	}
	other, want, err := known.read(ctx, p.other.PassingOver(p.image), display)
	if err != nil {
		return fail(err)
	}
	config, err := plan.CompareConfigs(other.Config, this.Config)
	if err != nil {
		return fail(err)
	}
	bar := display.Start(progress.Comparing, this.Ref.String(), 0)
	files, err := layer.Compare(ctx, want, have, this.Platform.OS == "windows")
	bar.Done(err)
	if side := (*layer.SideError)(nil); errors.As(err, &side) {
		ref := other.Ref
		if side.Have {
			ref = this.Ref
		}
		err = fmt.Errorf("%s: %w", ref, err)
	}
	if err != nil {
		return fail(err)
	}
	for _, d := range files.Differences {
		config = append(config, templates.Difference{Path: d.Path, What: d.What, Image: d.Have, Other: d.Want})
	}
	return templates.PlatformComparison{
		Platform: this.Platform.String(), ImageID: plan.Digest(this.Config), OtherID: plan.Digest(other.Config), Paths: files.Paths,
		Count: len(config) - len(files.Differences) + files.Count, Differences: config, Unlisted: files.Count - len(files.Differences),
	}, nil
}

// knownLayers are the indexes of layers by their diff IDs: what two images have
// in common is looked into once, and read once if it lies in one place.
type knownLayers struct {
	mu      sync.Mutex
	indexes map[v1.Hash]*layer.Index
}

// read reads every layer of an image once, but for those passed over. It returns the
// image with its config document, and the layers' indexes, lowest first.
func (k *knownLayers) read(ctx context.Context, im *image.Image, display progress.Display) (*image.Image, []*layer.Index, error) {
	indexes := make([]*layer.Index, len(im.DiffIDs))
	budget := new(layer.Budget)
	bar := display.Start(progress.Reading, im.Ref.String(), 0)
	read, err := im.Read(ctx, nil, func(i int, r io.Reader) error {
		r = io.TeeReader(r, progress.Counter{Bar: bar})
		k.mu.Lock()
		indexes[i] = k.indexes[im.DiffIDs[i]]
		k.mu.Unlock()
		if indexes[i] != nil {
			// The same bytes, once their digest turns out to be right.
			_, err := io.Copy(io.Discard, r)
			return err
		}
		var err error
		indexes[i], err = layer.Read(ctx, r, layer.ReadOptions{Layer: i, Content: true, Budget: budget})
		return err
	})
	bar.Done(err)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", im.Ref, err)
	}
	for i, x := range indexes {
		if x != nil {
			k.indexes[read.DiffIDs[i]] = x
		}
	}
	for i, x := range indexes {
		if x == nil { // passed over
			indexes[i] = k.indexes[read.DiffIDs[i]]
		}
	}
	return read, indexes, nil
}
