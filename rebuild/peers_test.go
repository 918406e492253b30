package rebuild

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"docker-flatten/rebuild/image"
	"docker-flatten/templates"
)

// These tests hand what was written to the tools that people read it with.
// DOCKER_FLATTEN_PEERS=required makes a missing tool a failure; without it the
// tool's tests are skipped.

// peer runs a tool and returns what it printed.
func peer(t *testing.T, tool string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peerPath(t, tool), args...)
	// None of the user's own settings and stores.
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home, "XDG_RUNTIME_DIR="+home)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.Bytes()
}

func peerPath(t *testing.T, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err == nil {
		return path
	}
	if os.Getenv("DOCKER_FLATTEN_PEERS") == "required" {
		t.Fatalf("%s is not installed, and DOCKER_FLATTEN_PEERS=required", tool)
	}
	t.Skipf("%s is not installed", tool)
	return ""
}

// flattenedFor flattens appImage, keeping its base of one layer, into a
// destination in a new directory, and returns that directory.
func flattenedFor(t *testing.T, transport, file string, c image.Compression) (*templates.Report, string) {
	t.Helper()
	dir := t.TempDir()
	out := image.Ref{Transport: transport, Path: filepath.Join(dir, file)}
	o := Options{Image: archiveRef(write(t, appImage())), Output: &out, Tags: []string{"app:flat"}, Base: keep("1"), Compression: c, Client: noEngine}
	report, err := Flatten(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report, out.Path
}

var everyCompression = []image.Compression{{Kind: image.Gzip}, {Kind: image.Zstandard}, {Kind: image.Uncompressed}}

func readJSON(t *testing.T, raw []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
}

// Skopeo checks every digest on the way, decompresses the layers, and sees the
// very config document.
func TestSkopeoReadsTheResult(t *testing.T) {
	for _, c := range everyCompression {
		for transport, file := range map[string]string{image.Archive: "out.tar", image.Layout: "out", image.LayoutArchive: "out.tar"} {
			t.Run(transport+" with "+c.Kind, func(t *testing.T) {
				report, path := flattenedFor(t, transport, file, c)
				ref := transport + ":" + path
				dir := t.TempDir()
				peer(t, "skopeo", "--insecure-policy", "copy", "--dest-decompress", ref, "dir:"+dir)
				raw, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
				if err != nil {
					t.Fatal(err)
				}
				var manifest v1.Manifest
				readJSON(t, raw, &manifest)
				config, err := os.ReadFile(filepath.Join(dir, manifest.Config.Digest.Hex))
				if err != nil {
					t.Fatal(err)
				}
				if got := "sha256:" + sum(config); got != report.Images[0].ID {
					t.Errorf("the config document is %s, the report says %s", got, report.Images[0].ID)
				}
				var diffIDs []string
				for _, l := range manifest.Layers {
					diffIDs = append(diffIDs, l.Digest.String())
				}
				if want := diffIDsIn(t, config); !slices.Equal(diffIDs, want) {
					t.Errorf("skopeo decompressed the layers to %v, not %v", diffIDs, want)
				}
				var inspected struct {
					Architecture string
					Layers       []string
					Labels       map[string]string
				}
				readJSON(t, peer(t, "skopeo", "inspect", ref), &inspected)
				if inspected.Architecture != "amd64" || len(inspected.Layers) != 2 || inspected.Labels["maintainer"] != "me" {
					t.Errorf("skopeo inspect says %+v", inspected)
				}
			})
		}
	}
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func diffIDsIn(t *testing.T, config []byte) []string {
	t.Helper()
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	readJSON(t, config, &c)
	return c.RootFS.DiffIDs
}

// appTree is what appImage's layers add up to.
var appTree = map[string]string{
	"bin/": "", "bin/sh": "a shell", "bin/rm": "remove", "bin/app": "second",
	"etc/": "", "tmp/": "",
}

func TestUmociUnpacksTheResult(t *testing.T) {
	for _, c := range []image.Compression{{Kind: image.Gzip}, {Kind: image.Uncompressed}} { // Debian 12's knows no zstd
		t.Run(c.Kind, func(t *testing.T) {
			_, path := flattenedFor(t, image.Layout, "out", c)
			bundle := filepath.Join(t.TempDir(), "bundle")
			peer(t, "umoci", "unpack", "--rootless", "--image", path+":flat", bundle)
			if got := treeOf(t, filepath.Join(bundle, "rootfs")); !reflect.DeepEqual(got, appTree) {
				t.Errorf("unpacked:\n%v\nwant:\n%v", got, appTree)
			}
		})
	}
}

// treeOf lists a directory: names, with a slash for directories, and contents.
func treeOf(t *testing.T, root string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		name := strings.TrimPrefix(p, root+"/")
		if d.IsDir() {
			tree[name+"/"] = ""
			return nil
		}
		b, err := os.ReadFile(p)
		tree[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestPodmanLoadsTheResult(t *testing.T) {
	peerPath(t, "podman")
	if os.Geteuid() != 0 {
		t.Skip("not root: podman would need a user namespace")
	}
	for _, c := range everyCompression {
		for _, transport := range []string{image.Archive, image.LayoutArchive} {
			t.Run(transport+" with "+c.Kind, func(t *testing.T) {
				report, path := flattenedFor(t, transport, "out.tar", c)
				store := shortTempDir(t)
				podman := func(args ...string) []byte {
					return peer(t, "podman", append([]string{"--root", store + "/root", "--runroot", store + "/run", "--tmpdir", store + "/tmp",
						"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"}, args...)...)
				}
				podman("load", "--quiet", "--input", path)
				type inspected struct {
					ID      string   `json:"Id"`
					Names   []string `json:"RepoTags"`
					Created string
					Config  struct {
						Env, Cmd     []string
						Labels       map[string]string
						ExposedPorts map[string]any
						StopSignal   string
					}
					RootFS struct{ Layers []string }
				}
				var images []inspected
				readJSON(t, podman("image", "inspect", strings.TrimPrefix(report.Images[0].ID, "sha256:")), &images)
				if len(images) != 1 {
					t.Fatalf("podman has %d images", len(images))
				}
				got, config := images[0], open(t, write(t, appImage())).Config
				var want struct {
					Created string
					Config  struct {
						Env, Cmd     []string
						Labels       map[string]string
						ExposedPorts map[string]any
						StopSignal   string
					}
				}
				readJSON(t, config, &want)
				if !reflect.DeepEqual(got.Config, want.Config) || got.Created != want.Created {
					t.Errorf("podman says\n%+v, created %s; want\n%+v, created %s", got.Config, got.Created, want.Config, want.Created)
				}
				if "sha256:"+got.ID != report.Images[0].ID {
					t.Errorf("podman's ID is %s, the config's digest %s", got.ID, report.Images[0].ID)
				}
				if len(got.Names) != 1 || !strings.HasSuffix(got.Names[0], "/app:flat") {
					t.Errorf("names %v", got.Names)
				}
				if n := len(got.RootFS.Layers); n != 2 || got.RootFS.Layers[1] != report.Images[0].Merged.DiffID {
					t.Errorf("layers %v", got.RootFS.Layers)
				}
			})
		}
	}
}

// shortTempDir is short enough for podman, which wants its run directory to
// have no more than 50 characters.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Only gzip is validated whole: the library takes every layer for a gzip file
// when it does.
func TestGoContainerregistryFindsNothingWrong(t *testing.T) {
	source := newLayout(t)
	source.name(t, source.image(t, appImage()), "app")
	for _, c := range append(everyCompression, image.Compression{}) {
		var options []validate.Option
		if c.Kind != "" && c.Kind != image.Gzip {
			options = append(options, validate.Fast)
		}
		flatten := func(t *testing.T, transport string) string {
			out := image.Ref{Transport: transport, Path: filepath.Join(t.TempDir(), "out"), Name: "app:flat"}
			_, err := Flatten(t.Context(), Options{Image: image.Ref{Transport: image.Layout, Path: source.dir}, Output: &out, Base: keep("1"), Compression: c, Client: noEngine})
			if err != nil {
				t.Fatal(err)
			}
			return out.Path
		}
		t.Run("docker-archive with "+c.Kind, func(t *testing.T) {
			im, err := tarball.ImageFromPath(flatten(t, image.Archive), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Image(im, options...); err != nil {
				t.Error(err)
			}
		})
		t.Run("layout with "+c.Kind, func(t *testing.T) {
			index, err := layout.ImageIndexFromPath(flatten(t, image.Layout))
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Index(index, options...); err != nil {
				t.Error(err)
			}
		})
	}
}

// The same index from a layout to a layout and to an archive.
func TestPlatformsKeepTheirPlaces(t *testing.T) {
	before := platforms(t)
	for transport, file := range map[string]string{image.Layout: "out", image.LayoutArchive: "out.tar"} {
		t.Run(transport, func(t *testing.T) {
			out := image.Ref{Transport: transport, Path: filepath.Join(t.TempDir(), file), Name: "flat"}
			o := Options{Image: image.Ref{Transport: image.Layout, Path: before.dir}, Output: &out, Base: keep("1"), Client: noEngine}
			report, err := Flatten(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			dir := out.Path
			if transport == image.LayoutArchive {
				dir = t.TempDir()
				untar(t, out.Path, dir)
			}
			after, err := layout.ImageIndexFromPath(dir)
			if err != nil {
				t.Fatal(err)
			}
			checkPlatforms(t, report, before.root(t), only(t, after))
			again, err := Flatten(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			if !again.Reused || again.ID != report.ID {
				t.Errorf("second run: reused %v, ID %s, want %s", again.Reused, again.ID, report.ID)
			}
		})
	}
}

func TestOnePlatformOfAnIndex(t *testing.T) {
	out := image.Ref{Transport: image.Layout, Path: filepath.Join(t.TempDir(), "out"), Name: "flat"}
	o := Options{Image: image.Ref{Transport: image.Layout, Path: platforms(t).dir}, Output: &out, Base: keep("1"), Platform: "linux/amd64", Client: noEngine}
	if _, err := Flatten(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	after, err := layout.ImageIndexFromPath(out.Path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := after.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	im, err := after.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if config, err := im.ConfigFile(); err != nil || config.Architecture != "amd64" {
		t.Errorf("the image is for %s (%v)", config.Architecture, err)
	}
}
