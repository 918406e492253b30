package rebuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
)

// prepare finds the place where the result goes, nil if none is made.
func (o *Options) prepare(ctx context.Context, src *image.Source, opt image.Options) (image.Place, error) {
	if o.DryRun || o.contextOnly() {
		return nil, nil
	}
	names, err := o.names(src)
	if err != nil {
		return nil, err
	}
	output, err := o.output(src.Ref, names)
	if err != nil {
		return nil, err
	}
	to, err := place.Prepare(ctx, output, names, opt)
	if err != nil || !o.Attest {
		return to, err
	}
	if err := canAttest(to); err != nil {
		return to, &UsageError{err}
	}
	return to, nil
}

// names are the names of the result, besides the one that --output has.
func (o *Options) names(src *image.Source) ([]string, error) {
	var names []string
	for _, tag := range o.Tags {
		name, err := normalName(tag)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if len(names) > 0 || o.Output != nil && o.Output.Name != "" {
		return names, nil
	}
	var known []string
	for _, im := range src.Images {
		known = append(known, im.Names...)
	}
	if name := flattenedName(src.Ref, known); name != "" {
		return []string{name}, nil
	}
	return nil, &image.Error{Op: "name the result", Object: src.Ref.String(), Err: errors.New("the image has no name to derive one from"), Hint: "give one with --tag"}
}

// output is where the result goes: where the user says, or else to the engine
// for an engine's image, and beside the input for a file, but never in place of
// the input.
func (o *Options) output(source image.Ref, names []string) (image.Ref, error) {
	if o.Output != nil {
		if isSameFile(source.Path, o.Output.Path) {
			return image.Ref{}, &image.Error{Op: "write", Object: o.Output.Path, Err: errors.New("it is the image to flatten, which stays as it is"), Hint: "give the result another name with -o"}
		}
		return *o.Output, nil
	}
	if source.Transport == image.Daemon {
		return image.Ref{Transport: image.Daemon, Name: names[0]}, nil
	}
	dir, file := filepath.Split(filepath.Clean(source.Path))
	if i := strings.Index(file, ".tar"); i > 0 {
		file = file[:i]
	}
	return image.Ref{Transport: image.Archive, Path: dir + file + "_flatten.tar"}, nil
}

// noDefaultOutput says that it must be said where the result goes.
func (o *Options) noDefaultOutput() error {
	if o.Image.Transport != image.Registry {
		return &image.Error{Op: "choose", Object: "a destination", Err: errors.New("the image comes from stdin"),
			Hint: "say where the result goes: -o - for stdout, or a file"}
	}
	name := flattenedName(o.Image, nil)
	if len(o.Tags) > 0 {
		name = o.Tags[0]
	}
	return &image.Error{Op: "choose", Object: "a destination", Err: fmt.Errorf("%s comes from a registry", o.Image),
		Hint: "say where the result goes: -o docker://" + name + ", or a file"}
}

// isSameFile tells whether two paths lead to one file, but not directory: a
// layout can hold both images.
func isSameFile(a, b string) bool {
	if a == "-" || b == "-" { // stdin or stdout, whatever file has that name
		return false
	}
	x, err := os.Stat(a)
	if err != nil || !x.Mode().IsRegular() {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
