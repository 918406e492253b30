package rebuild

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"docker-flatten/rebuild/image"
	"docker-flatten/templates"
)

func (o *Options) builder() string {
	if o.Builder == "engine" {
		return "engine"
	}
	return "native"
}

func (o *Options) verify() string {
	if o.Verify == "" {
		return "structure"
	}
	return o.Verify
}

// imageOptions are the options for opening an end of the job. Warnings go to
// the display and, if there is one, into the report.
func (o *Options) imageOptions(report *templates.Report) image.Options {
	return image.Options{Platform: o.Platform, Client: o.Client, Warn: func(line string) {
		if report != nil {
			report.Warnings = append(report.Warnings, line)
		}
		o.note("warning: " + line)
	}}
}

func (o *Options) note(line string) {
	if o.Display != nil {
		o.Display.Note(line)
	}
}

// names are the names of the result.
func (o *Options) names(src *image.Source) ([]string, error) {
	var names []string
	for _, tag := range o.Tags {
		name, err := normalName(tag)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if len(names) > 0 {
		return names, nil
	}
	if o.Output != nil && o.Output.Name != "" {
		return []string{o.Output.Name}, nil
	}
	var known []string
	for _, im := range src.Images {
		known = append(known, im.Names...)
	}
	if name := flattenedName(src.Ref, known); name != "" {
		return []string{name}, nil
	}
	if o.DryRun || o.contextOnly() {
		return nil, nil
	}
	return nil, &image.Error{Op: "name the result", Object: src.Ref.String(), Err: errors.New("the image has no name to derive one from"), Hint: "give one with --tag"}
}

// output is where the result goes: where the user says, or else to the engine
// for an engine's image, back to the registry for a registry's, and beside the
// input for a file, but never in place of the input.
func (o *Options) output(src *image.Source, names []string) (image.Ref, error) {
	if o.Output != nil {
		out := *o.Output
		if out.Transport == image.AnyFile {
			out.Transport = image.Archive
		}
		if isSameFile(src.Ref.Path, out.Path) {
			return image.Ref{}, &image.Error{Op: "write", Object: out.Path, Err: errors.New("it is the image to flatten, which stays as it is"), Hint: "give the result another name with -o"}
		}
		return out, nil
	}
	switch src.Ref.Transport {
	case image.Daemon:
		return image.Ref{Transport: image.Daemon, Name: names[0]}, nil
	case image.Registry:
		return image.Ref{}, &image.Error{Op: "choose a destination", Object: src.Ref.String(), Err: errors.New("the image comes from a registry"),
			Hint: "say where the result goes: -o docker://" + names[0] + ", or a file"}
	}
	if src.Ref.Path == "-" {
		return image.Ref{}, &image.Error{Op: "choose a destination", Object: src.Ref.String(), Err: errors.New("the image comes from stdin"),
			Hint: "say where the result goes: -o - for stdout, or a file"}
	}
	dir, file := filepath.Split(filepath.Clean(src.Ref.Path))
	if i := strings.Index(file, ".tar"); i > 0 {
		file = file[:i]
	}
	return image.Ref{Transport: image.Archive, Path: dir + file + "_flatten.tar"}, nil
}

// isSameFile tells whether two paths lead to one file, but not directory: a
// layout can hold both images.
func isSameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil || !x.Mode().IsRegular() {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// carriesBase tells whether the result needs the base's blobs from the source:
// always, unless it goes back into the engine that it came from.
func (j *job) carriesBase() bool {
	if j.DryRun {
		return false
	}
	return j.Output != nil && j.Output.Transport != image.Daemon
}

// configDigest is the digest of a config document.
func configDigest(raw []byte) string {
	return digest.FromBytes(raw).String()
}

// shortHash names a base by its layers and its config.
func shortHash(diffIDs []v1.Hash, config any) string {
	b, err := json.Marshal([]any{diffIDs, config})
	if err != nil {
		b = fmt.Append(nil, diffIDs) // a config that came from JSON always goes back
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}
