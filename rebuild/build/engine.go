package build

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/client"
)

// ErrNoClassicBuilder is the error of Engine when the daemon has only BuildKit
// left, which must not see whiteouts in a layer that ADD unpacks.
var ErrNoClassicBuilder = errors.New("the engine has no classic builder any more; the native builder needs none")

// RefusedError is what a daemon says of an instruction that it can't carry out.
type RefusedError struct{ Message string }

func (e *RefusedError) Error() string { return e.Message }

// ContextFile is a file of the build context besides the Dockerfile.
type ContextFile struct {
	Name string // as ADD names it
	Size int64  // exact number of bytes that Write writes
	// Write writes the content once, while the daemon reads it. ADD unpacks a
	// tar whether it is compressed or not, whatever its name ends in: for an
	// engine near by, an uncompressed one saves the time of compressing.
	Write func(ctx context.Context, w io.Writer) error
}

// EngineOptions says what Engine builds and how.
type EngineOptions struct {
	Dockerfile []byte        // its FROM names an image that the engine has, or scratch
	Files      []ContextFile // in the order in which they are sent
	Platform   string        // os/arch[/variant] of the result; "" leaves it to the daemon
	Stall      time.Duration // a fifth of the time for which the daemon may take none of the context; 0 = silence.Default
}

// Engine has the daemon's classic builder build the Dockerfile and returns the
// ID of the image, which gets no name. It uses no cache, pulls nothing, gives
// containers no network and leaves none behind. The builder turns whiteouts in
// an unpacked file into deletions, and adds PATH to a config without one.
//
// BuildKit would do no good: in every store but containerd's it makes literal
// .wh. files of the whiteouts, and its FROM takes no ID.
//
// An error of a file's Write is returned so that errors.As finds it, and so is a
// *RefusedError. Where ctx ends, the daemon has ended the build, too, when Engine
// returns, unless it takes longer than a minute. The error is ErrNoClassicBuilder
// if the daemon has only BuildKit.
func Engine(ctx context.Context, cli *client.Client, opt EngineOptions) (id string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cli, own, err := connect(ctx, cli, opt.Stall)
	if err != nil {
		return "", fmt.Errorf("build image with the engine: %w", err)
	}
	defer own.cancel()

	body, out := io.Pipe()
	written := make(chan error, 1)
	go func() {
		w := &sink{w: out}
		err := writeContext(ctx, w, opt)
		out.CloseWithError(err)
		if w.failed {
			err = nil
		}
		written <- err
	}()

	response, err := cli.ImageBuild(own.ctx, body, buildOptions(opt))
	if err == nil {
		id, err = follow(response.Body)
		response.Body.Close()
	}
	if errors.Is(err, ErrNoClassicBuilder) {
		cancel()
	}
	body.Close()
	if ctx.Err() != nil && !errors.Is(err, ErrNoClassicBuilder) {
		<-written
		return "", ctx.Err()
	}
	// A source that fails makes the request fail too; it is the cause.
	if werr := <-written; werr != nil {
		return "", werr
	}
	if err != nil {
		switch {
		case errdefs.IsNotImplemented(err):
			err = fmt.Errorf("%w: %w", ErrNoClassicBuilder, err)
		case errdefs.IsInvalidArgument(err): // a Dockerfile that the daemon can't parse
			err = &RefusedError{oneLine(err.Error())}
		}
		return "", fmt.Errorf("build image with the engine: %w", err)
	}
	return id, nil
}

// sink notes that the daemon stopped reading, so that the error which the
// writer makes of it isn't taken for one of the writer's own.
type sink struct {
	w      io.Writer
	failed bool
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.failed = true
	}
	return n, err
}

func buildOptions(opt EngineOptions) build.ImageBuildOptions {
	o := build.ImageBuildOptions{
		Version:     build.BuilderV1,
		Dockerfile:  "Dockerfile",
		NoCache:     true,
		Remove:      true,
		ForceRemove: true,
		NetworkMode: "none",
		Platform:    opt.Platform,
		BuildArgs:   map[string]*string{},
	}
	newline := "\n"
	for _, name := range newlineArguments(opt.Dockerfile) {
		o.BuildArgs[name] = &newline
	}
	return o
}

// writeContext writes the context as a tar. Its times are fixed, since no
// instruction keeps them.
func writeContext(ctx context.Context, w io.Writer, opt EngineOptions) error {
	tw := tar.NewWriter(w)
	header := func(name string, size int64) error {
		err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
		if err != nil {
			return fmt.Errorf("send build context: %s: %w", name, err)
		}
		return nil
	}
	if err := header("Dockerfile", int64(len(opt.Dockerfile))); err != nil {
		return err
	}
	if _, err := tw.Write(opt.Dockerfile); err != nil {
		return fmt.Errorf("send build context: Dockerfile: %w", err)
	}
	for _, f := range opt.Files {
		if err := header(f.Name, f.Size); err != nil {
			return err
		}
		if err := f.Write(ctx, tw); err != nil {
			return fmt.Errorf("send build context: %s: %w", f.Name, err)
		}
	}
	if err := tw.Close(); err != nil {
		return fmt.Errorf("send build context: %w", err)
	}
	return nil
}

// message is what the daemon streams: github.com/docker/docker/pkg/jsonmessage.
type message struct {
	ID     string `json:"id"`
	Error  string `json:"error"`
	Detail *struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
	Aux json.RawMessage `json:"aux"`
}

// follow reads the daemon's messages to their end and returns the image's ID.
func follow(r io.Reader) (string, error) {
	id := ""
	for d := json.NewDecoder(r); ; {
		var m message
		switch err := d.Decode(&m); {
		case err == io.EOF && id == "":
			return "", errors.New("the daemon ended the build without an image ID")
		case err == io.EOF:
			return id, nil
		case err != nil:
			return "", fmt.Errorf("read the daemon's messages: %w", err)
		}
		if strings.HasPrefix(m.ID, "moby.buildkit.") {
			return "", ErrNoClassicBuilder
		}
		switch {
		case m.Detail != nil && m.Detail.Message != "":
			return "", &RefusedError{oneLine(m.Detail.Message)}
		case m.Error != "":
			return "", &RefusedError{oneLine(m.Error)}
		case len(m.Aux) > 0:
			var aux struct{ ID string }
			if json.Unmarshal(m.Aux, &aux) == nil && aux.ID != "" {
				id = aux.ID
			}
		}
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
