package rebuild

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/mholt/archiver/v4"
	"github.com/opencontainers/go-digest"

	"docker-flatten/history"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/layer"
	"docker-flatten/rebuild/progress"
)

// stagedContext is a build context that is whole, but not yet where the user
// wants it.
type stagedContext struct {
	dir    string // where it is, "" once it is gone from there
	target string // Options.Context
	exists bool   // target is an empty directory already
	stdout io.Writer
}

// stageContext writes the build context of the one job, for the directory
// o.Context or, as a tar, for o.Stdout. What it writes builds anywhere: the
// layer has no whiteouts, and a base that has no name comes along.
func stageContext(ctx context.Context, o *Options, jobs []*job) (*stagedContext, error) {
	if len(jobs) != 1 {
		return nil, &image.Error{Op: "write context", Object: o.Context,
			Err:  fmt.Errorf("the image has %d platforms, a context has one", len(jobs)),
			Hint: "choose one with --platform"}
	}
	j := jobs[0]
	dockerfile, err := j.portableDockerfile()
	if err != nil {
		return nil, err
	}
	c := &stagedContext{target: o.Context, stdout: o.Stdout}
	if err := c.makeDir(); err != nil {
		return nil, err
	}
	if err := j.fillContext(ctx, c.dir, dockerfile); err != nil {
		c.discard()
		return nil, fmt.Errorf("write context: %w", err)
	}
	return c, nil
}

// checkContext says what is wrong with the directory for a context, before any
// work is done: nothing that exists may be overwritten.
func checkContext(dir string) (exists bool, err error) {
	fail := func(err error, hint string) (bool, error) {
		return false, &image.Error{Op: "write context", Object: dir, Err: err, Hint: hint}
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, err := os.Lstat(dir); err == nil {
			return fail(errors.New("a symbolic link to nothing"), "name a new directory")
		}
		return false, nil
	case err != nil:
		return fail(errors.Unwrap(err), "")
	case !info.IsDir():
		return fail(errors.New("not a directory"), "name a new directory")
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return fail(errors.Unwrap(err), "")
	case len(entries) > 0:
		return fail(errors.New("the directory isn't empty"), "name a new directory")
	}
	return true, nil
}

// makeDir makes the directory to write to: in the file system of the target, so
// that what is whole only has to be renamed.
func (c *stagedContext) makeDir() error {
	parent := os.TempDir()
	if c.target != "-" {
		var err error
		if c.exists, err = checkContext(c.target); err != nil {
			return err
		}
		if parent = filepath.Dir(c.target); c.exists {
			parent = c.target
		}
	}
	var err error
	if c.dir, err = os.MkdirTemp(parent, ".docker-flatten-context-"); err != nil {
		return fmt.Errorf("write context: %w", err)
	}
	if err := os.Chmod(c.dir, 0o755); err != nil {
		c.discard()
		return fmt.Errorf("write context: %w", err)
	}
	return nil
}

// fillContext writes the context's files.
func (j *job) fillContext(ctx context.Context, dir string, dockerfile []byte) error {
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), dockerfile, 0o644); err != nil {
		return err
	}
	portable, err := j.merged.Portable(ctx)
	if err != nil {
		return err
	}
	if portable.Paths() > 0 {
		if err := j.writeLayerFile(ctx, filepath.Join(dir, "layer.tar.gz"), portable); err != nil {
			return err
		}
	}
	if j.needsBaseArchive() {
		return j.writeBaseArchive(ctx, filepath.Join(dir, "base.tar"))
	}
	return nil
}

// discard removes what is staged; nothing once it has been published.
func (c *stagedContext) discard() {
	if c.dir != "" {
		os.RemoveAll(c.dir)
		c.dir = ""
	}
}

// publish moves the context to its place, or writes it to stdout, and returns
// the directory.
func (c *stagedContext) publish() (string, error) {
	if c.target == "-" {
		return "", tarDirectory(c.stdout, c.dir)
	}
	if !c.exists {
		if err := os.Rename(c.dir, c.target); err != nil {
			return "", fmt.Errorf("write context: %w", err)
		}
		c.dir = ""
		return c.target, nil
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return "", fmt.Errorf("write context: %w", err)
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(c.dir, e.Name()), filepath.Join(c.target, e.Name())); err != nil {
			return "", fmt.Errorf("write context: %w", err)
		}
	}
	return c.target, nil
}

// portableDockerfile is the Dockerfile of a written context.
func (j *job) portableDockerfile() ([]byte, error) {
	if n := len(j.merged.Removals()); n > 0 && !j.baseHasRm() {
		return nil, &image.Error{Op: "write context", Object: j.im.Ref.String(),
			Err:  fmt.Errorf("the image deletes of its base (%s), which has no rm that a Dockerfile could run", count(n, "path")),
			Hint: "use --base scratch, which has nothing to delete"}
	}
	text, err := j.renderDockerfile(true)
	if err != nil {
		return nil, err
	}
	return text, j.proveConfig(text)
}

// baseHasRm tells whether RUN ["rm", …] finds a program on the base.
func (j *job) baseHasRm() bool {
	search := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" // the engines' default
	if j.replay.Base != nil {
		for _, v := range j.replay.Base.Config.Env {
			if value, ok := strings.CutPrefix(v, "PATH="); ok {
				search = value
			}
		}
	}
	for _, dir := range strings.Split(search, ":") {
		if j.merged.BaseHas(strings.TrimPrefix(path.Join("/", dir, "rm"), "/")) {
			return true
		}
	}
	return false
}

// writeLayerFile writes a layer, compressed with gzip, to a new file.
func (j *job) writeLayerFile(ctx context.Context, name string, merged *layer.Merged) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	gz, err := archiver.Gz{Multithreaded: true}.OpenWriter(f)
	if err != nil {
		return err
	}
	bar := j.start(progress.Writing, merged.Size())
	err = merged.Write(ctx, io.MultiWriter(gz, counter{bar}), j.sources())
	bar.Done(err)
	return errors.Join(err, gz.Close(), f.Close())
}

// writeBaseArchive writes the base as a docker-archive that an engine loads
// under the name that FROM has.
func (j *job) writeBaseArchive(ctx context.Context, name string) error {
	dest, err := image.OpenDest(ctx, image.Ref{Transport: image.Archive, Path: name}, j.imageOptions(nil))
	if err != nil {
		return err
	}
	_, err = dest.Store(ctx, j.src, []image.NewImage{j.baseImage()}, []string{j.baseRef()}, image.Compression{})
	return err
}

// baseImage is the base alone, with the config that the Dockerfile needs.
func (j *job) baseImage() image.NewImage {
	return image.NewImage{From: j.im, Keep: j.base.Layers, Config: func(diffIDs []v1.Hash) ([]byte, error) {
		base := history.Image{}
		if j.replay.Base != nil {
			base = *j.replay.Base
		}
		base.Platform = j.config.Platform
		base.RootFS.Type, base.RootFS.DiffIDs = "layers", nil
		for _, d := range diffIDs {
			base.RootFS.DiffIDs = append(base.RootFS.DiffIDs, digest.Digest(d.String()))
		}
		base.History = nil // as it stands in the source, below
		document, err := encode(base)
		if err != nil {
			return nil, err
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(document, &fields); err != nil {
			return nil, err
		}
		var old struct{ History []json.RawMessage }
		if err := json.Unmarshal(j.im.RawConfig, &old); err != nil {
			return nil, err
		}
		entries, err := j.baseHistory(old.History)
		if err != nil {
			return nil, err
		}
		if len(entries) > 0 {
			if fields["history"], err = encode(entries); err != nil {
				return nil, err
			}
		}
		return encode(fields)
	}}
}

// tarDirectory writes the files of dir as a tar with fixed times and owners.
func tarDirectory(w io.Writer, dir string) error {
	out := tar.NewWriter(w)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if err := out.WriteHeader(&tar.Header{Name: e.Name(), Mode: 0o644, Size: info.Size(), Typeflag: tar.TypeReg}); err != nil {
			return fmt.Errorf("write context: %w", err)
		}
		if _, err := io.Copy(out, f); err != nil {
			return fmt.Errorf("write context: %w", err)
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write context: %w", err)
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
