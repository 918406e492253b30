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

// writeContext writes the build context of the one job to the directory
// o.Context, or as a tar to o.Stdout, and returns the directory. What it
// writes builds anywhere: the layer has no whiteouts, and a base that has no
// name comes along.
func writeContext(ctx context.Context, o *Options, jobs []*job) (string, error) {
	if len(jobs) != 1 {
		return "", &image.Error{Op: "write context", Object: o.Context,
			Err:  fmt.Errorf("the image has %d platforms, a context has one", len(jobs)),
			Hint: "choose one with --platform"}
	}
	j := jobs[0]
	dockerfile, err := j.portableDockerfile()
	if err != nil {
		return "", err
	}
	parent := os.TempDir()
	if o.Context != "-" {
		if entries, err := os.ReadDir(o.Context); err == nil && len(entries) > 0 {
			return "", &image.Error{Op: "write context", Object: o.Context, Err: errors.New("the directory isn't empty"), Hint: "name a new directory"}
		}
		parent = filepath.Dir(o.Context)
	}
	// Written beside its place and moved there when it is whole.
	staged, err := os.MkdirTemp(parent, ".docker-flatten-context-")
	if err != nil {
		return "", fmt.Errorf("write context: %w", err)
	}
	defer os.RemoveAll(staged)
	if err := os.Chmod(staged, 0o755); err != nil {
		return "", fmt.Errorf("write context: %w", err)
	}
	if err := os.WriteFile(filepath.Join(staged, "Dockerfile"), dockerfile, 0o644); err != nil {
		return "", fmt.Errorf("write context: %w", err)
	}
	portable, err := j.merged.Portable()
	if err != nil {
		return "", fmt.Errorf("write context: %w", err)
	}
	if portable.Paths() > 0 {
		if err := j.writeLayerFile(ctx, filepath.Join(staged, "layer.tar.gz"), portable); err != nil {
			return "", fmt.Errorf("write context: %w", err)
		}
	}
	if j.needsBaseArchive() {
		if err := j.writeBaseArchive(ctx, filepath.Join(staged, "base.tar")); err != nil {
			return "", fmt.Errorf("write context: %w", err)
		}
	}
	if o.Context == "-" {
		return "", tarDirectory(o.Stdout, staged)
	}
	// An empty directory may stand there already.
	if err := os.Remove(o.Context); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("write context: %w", err)
	}
	if err := os.Rename(staged, o.Context); err != nil {
		return "", fmt.Errorf("write context: %w", err)
	}
	return o.Context, nil
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
		base.History = nil
		document, err := encode(base)
		if err != nil {
			return nil, err
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(document, &fields); err != nil {
			return nil, err
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
