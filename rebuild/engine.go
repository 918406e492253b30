package rebuild

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/build"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/layer"
)

// engineBuilt is what the engine builder leaves in the engine until the result
// is stored.
type engineBuilt struct {
	client *client.Client
	remove []string // images and names that were not there before
	src    *image.Source
}

// buildInEngine has the Docker Engine build the generated Dockerfile with its
// classic builder, which makes deletions of the whiteouts in the layer that it
// ADDs. What it built is verified as it lies in the engine; its config document
// is then replaced by the exact one, since a builder writes times, and a
// history, of its own.
func (j *job) buildInEngine(ctx context.Context) (image.NewImage, error) {
	if losses := j.losses(); len(losses) > 0 {
		return image.NewImage{}, &image.Error{Op: "build with the engine", Object: j.im.Ref.String(),
			Err: fmt.Errorf("ADD cannot keep %s", losses[0]), Hint: "--builder native keeps everything"}
	}
	if j.merged.Paths() == 0 {
		return j.nativeImage(), nil // nothing that ADD could unpack
	}
	listed, err := j.merged.Listed(ctx)
	if err != nil {
		return image.NewImage{}, err
	}
	cli, err := j.Client()
	if err != nil {
		return image.NewImage{}, err
	}
	j.engineMade = &engineBuilt{client: cli}
	dockerfile := j.dockerfile
	if j.needsBaseArchive() {
		name := passingName(j.baseRef())
		if err := j.loadBase(ctx, name); err != nil {
			return image.NewImage{}, err
		}
		dockerfile = fromAnother(dockerfile, j.baseRef(), name)
	}
	built, err := j.buildContext(ctx, dockerfile, listed)
	var refused *build.RefusedError
	if errors.As(err, &refused) {
		// What the other instructions do, the config document says.
		before, _ := fromLine(dockerfile)
		if built, err = j.buildContext(ctx, append(before, "ADD layer.tar.gz /\n"...), listed); err == nil {
			j.note("warning: of the Dockerfile the engine built FROM and ADD; the rest it can't: " + refused.Message)
		}
	}
	if err != nil {
		return image.NewImage{}, err
	}
	im := built.Images[0]
	top := j.base.Layers
	size := int64(0)
	elsewhere := j.carriesBase()
	err = im.Read(ctx, func(i int) bool { return elsewhere && i == top }, func(i int, r io.Reader) error {
		if i < top {
			_, err := io.Copy(io.Discard, r)
			return err
		}
		size = 0 // another reading may have failed
		r = io.TeeReader(r, lengthOf{&size})
		if j.verify() == "off" {
			_, err := io.Copy(io.Discard, r)
			return err
		}
		options := j.verifyOptions()
		options.Unpacked = true
		verifier, err := layer.NewVerifier(ctx, j.indexes, top, options)
		if err != nil {
			return err
		}
		if err := verifier.Check(ctx, r); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		return err
	})
	if err != nil {
		return image.NewImage{}, err
	}
	if !elsewhere {
		return image.NewImage{From: im, Keep: len(im.DiffIDs), Config: j.document, Annotations: j.annotations()}, nil
	}
	// Outside the engine the base stays as its source stores it, under the
	// manifest that it has there.
	return image.NewImage{
		From: j.im, Keep: top, Size: size, Config: j.document, Annotations: j.annotations(),
		Write: func(_ context.Context, w io.Writer) error {
			r, err := im.Layer(top).Open()
			if err != nil {
				return err
			}
			_, err = io.Copy(w, r)
			return errors.Join(err, r.Close())
		},
	}, nil
}

// buildContext builds a Dockerfile with the layer beside it and opens the
// result. One of other layers than the base's and the new one is refused, too:
// WORKDIR makes a directory that isn't there.
func (j *job) buildContext(ctx context.Context, dockerfile []byte, listed *layer.Merged) (*image.Source, error) {
	made := j.engineMade
	label := runLabel + "=" + strings.ToLower(rand.Text())
	id, err := build.Engine(ctx, made.client, build.EngineOptions{
		Dockerfile: labelled(dockerfile, label),
		Files: []build.ContextFile{{
			Name: "layer.tar.gz", Size: listed.Size(),
			Write: func(ctx context.Context, w io.Writer) error { return listed.Write(ctx, w, j.sources()) },
		}},
		Platform: enginePlatform(j.im),
	})
	if err != nil {
		made.sweep(ctx, label, listed.Size())
		return nil, err
	}
	made.remove = append(made.remove, id)
	built, err := image.Open(ctx, image.Ref{Transport: image.Daemon, Name: id}, j.imageOptions(nil))
	if err != nil {
		return nil, err
	}
	base := j.base.Layers
	if have := built.Images[0].DiffIDs; len(have) != base+1 || !slices.Equal(have[:base], j.im.DiffIDs[:base]) {
		return nil, errors.Join(&build.RefusedError{Message: fmt.Sprintf("it makes %d layers, not the base's %d and one", len(have), base)}, built.Close())
	}
	made.src = built
	return built, nil
}

// lengthOf counts what is written to it.
type lengthOf struct{ n *int64 }

func (l lengthOf) Write(p []byte) (int, error) {
	*l.n += int64(len(p))
	return len(p), nil
}

// loadBase loads the base for the time of the build, under a name of this
// run's own: another run with the same base removes only its own.
func (j *job) loadBase(ctx context.Context, name string) error {
	ref := image.Ref{Transport: image.Daemon, Name: name}
	dest, err := image.OpenDest(ctx, ref, j.imageOptions(nil))
	if err != nil {
		return err
	}
	j.engineMade.remove = append(j.engineMade.remove, ref.Name)
	base := j.baseImage()
	document := base.Config
	// Of one image that two runs load and remove, one would miss it.
	base.Config = func(diffIDs []v1.Hash) ([]byte, error) {
		raw, err := document(diffIDs)
		if err != nil {
			return nil, err
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			return nil, err
		}
		if fields["comment"], err = json.Marshal(name); err != nil {
			return nil, err
		}
		return encode(fields)
	}
	_, err = dest.Store(ctx, j.src, []image.NewImage{base}, []string{ref.Name}, image.Compression{})
	return err
}

// passingName is a name for the base during one run.
func passingName(base string) string { return base + "-" + strings.ToLower(rand.Text()) }

// isPassing tells whether an image has its name from a run that builds, or that
// was killed: it is nobody's base.
func isPassing(name string) bool { return passing.MatchString(name) }

var passing = regexp.MustCompile(`^docker-flatten/base:[0-9a-f]{12}-[a-z2-7]{26}$`)

// fromAnother is the Dockerfile with another name for the same base.
func fromAnother(dockerfile []byte, name, other string) []byte {
	return bytes.Replace(dockerfile, []byte("\nFROM "+name+"\n"), []byte("\nFROM "+other+"\n"), 1)
}

// runLabel marks what one build makes until its end, so that it can be found
// if the build doesn't get there. The result has it not: its config document is
// the exact one.
const runLabel = "docker-flatten.run"

// labelled is the Dockerfile with a label set first of all.
func labelled(dockerfile []byte, label string) []byte {
	from, rest := fromLine(dockerfile)
	return slices.Concat(from, []byte("LABEL "+label+"\n"), rest)
}

// fromLine cuts the Dockerfile after its FROM.
func fromLine(dockerfile []byte) (from, rest []byte) {
	at := bytes.Index(dockerfile, []byte("\nFROM ")) + 1
	at += bytes.IndexByte(dockerfile[at:], '\n') + 1
	return slices.Clone(dockerfile[:at]), dockerfile[at:]
}

// sweepFor is how long sweep waits for an engine to end a build of size bytes
// that it was told to give up: a second interrupt doesn't wait.
func sweepFor(size int64) time.Duration {
	return min(3*time.Second+time.Duration(size/50_000_000)*time.Second, 30*time.Second)
}

// sweep removes what is left of a build that failed: the classic builder keeps
// an image an instruction, and when it is told to give up finishes the one that
// it is at.
func (e *engineBuilt) sweep(ctx context.Context, label string, size int64) {
	givenUp := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepFor(size))
	defer cancel()
	mark := filters.NewArgs(filters.Arg("label", label))
	for ctx.Err() == nil {
		list, err := e.client.ImageList(ctx, dockerimage.ListOptions{All: true, Filters: mark})
		if err != nil || len(list) == 0 && !givenUp {
			return
		}
		slices.SortFunc(list, func(a, b dockerimage.Summary) int { return cmp.Compare(b.Created, a.Created) }) // children first
		for _, im := range list {
			_, _ = e.client.ImageRemove(ctx, im.ID, dockerimage.RemoveOptions{PruneChildren: true}) // one with children goes with them, or next time
		}
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// cleanUp removes what the engine builder needed on the way. The result's
// layers stay, since the result has them by then.
func (j *job) cleanUp() {
	if j.engineMade == nil {
		return
	}
	if j.engineMade.src != nil {
		j.engineMade.src.Close()
	}
	ctx := context.Background() // an interrupted run cleans up as well
	for _, name := range slices.Backward(j.engineMade.remove) {
		_, err := j.engineMade.client.ImageRemove(ctx, name, dockerimage.RemoveOptions{PruneChildren: true}) // a build leaves an image an instruction
		if err != nil && !errors.Is(err, context.Canceled) && !errdefs.IsNotFound(err) {
			j.note("warning: remove " + name + ": " + err.Error())
		}
	}
}

// enginePlatform is the platform to build for, "" where the image doesn't say. A
// builder takes no version of the system.
func enginePlatform(im *image.Image) string {
	if im.Platform.OS == "" || im.Platform.Architecture == "" {
		return ""
	}
	p := im.Platform
	p.OSVersion = ""
	return p.String()
}
