package rebuild

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
)

// runnable is an image that prints what only all of its layers together say.
func runnable(t *testing.T) imagetest.Image {
	t.Helper()
	program, err := shell()
	if err != nil {
		t.Fatal(err)
	}
	return imagetest.Image{
		Names: []string{"flatten-routes:in"}, Created: then,
		Config: map[string]any{"Env": []string{"PATH=/bin", "A=b"}, "Cmd": []string{"/bin/sh", "-c", "cat /etc/message"}, "Labels": map[string]string{"l": "v"}},
		Steps: []imagetest.Step{
			{By: "base", Files: []imagetest.File{{Name: "bin/"}, {Name: "bin/sh", Mode: 0o755, Body: string(program)}, {Name: "bin/cat", Link: "sh"}, {Name: "etc/"}, {Name: "etc/motd", Body: "base\n"},
				{Name: "dev/"}, {Name: "proc/"}, {Name: "sys/"}}},
			{By: "one", Files: []imagetest.File{{Name: "etc/"}, {Name: "etc/first", Body: "one\n"}, {Name: "etc/gone", Body: "gone\n"}}},
			{By: "two", Files: []imagetest.File{{Name: "etc/"}, {Name: "etc/.wh.gone"}, {Name: "etc/.wh.motd"}, {Name: "etc/message", Body: "from all layers\n"}}},
		},
	}
}

// testRoutes flattens an image from the engine to every place, and from every place
// to the engine: config and new layer are the same whichever way it went, and its
// container prints the same. idIsConfig says that the engine calls an image by its
// config.
func testRoutes(t *testing.T, cli *client.Client, idIsConfig bool) {
	dir := t.TempDir()
	host := imagetest.Registry(t)
	places := map[string]image.Ref{
		"engine":      {Transport: image.Daemon, Name: "flatten-routes:in"},
		"archive":     {Transport: image.Archive, Path: filepath.Join(dir, "in.tar"), Name: "flatten-routes:in"},
		"layout":      {Transport: image.Layout, Path: filepath.Join(dir, "in"), Name: "in"},
		"oci-archive": {Transport: image.LayoutArchive, Path: filepath.Join(dir, "in.oci.tar"), Name: "in"},
		"registry":    {Transport: image.Registry, Name: host + "/flatten-routes:in"},
	}
	flatten := func(from, to image.Ref, base string) (config, diffID, id string) {
		t.Helper()
		report, err := Flatten(t.Context(), Options{
			Image: from, Output: &to, Base: keep(base), NoCache: true, Offline: true, Compression: image.Compression{Kind: image.Gzip},
			Client: func() (*client.Client, error) { return cli, nil },
		})
		if err != nil {
			t.Fatalf("%s to %s: %v", from, to, err)
		}
		if report.Images[0].Merged != nil {
			diffID = report.Images[0].Merged.DiffID
		}
		return report.Images[0].ID, diffID, report.ID
	}
	original := archiveRef(write(t, runnable(t)))
	for _, to := range places {
		flatten(original, to, "3") // as it is
	}
	t.Cleanup(func() { removeImage(cli, "flatten-routes:in") })
	prints, runErr := tryRun(t.Context(), cli, "flatten-routes:in")
	switch {
	case runErr != nil:
		t.Logf("containers don't start here, so none is run: %v", runErr)
	case prints != "from all layers\n":
		t.Errorf("the original prints %q", prints)
	}

	wantConfig, wantDiffID, _ := flatten(original, image.Ref{Transport: image.Archive, Path: filepath.Join(dir, "flat.tar"), Name: "flatten-routes:flat"}, "1")
	for from, source := range places {
		for to, dest := range places {
			if from != "engine" && to != "engine" {
				continue
			}
			t.Run(from+" to "+to, func(t *testing.T) {
				dest.Name = strings.Replace(dest.Name, "in", "from-"+from, 1)
				if dest.Path != "" {
					dest.Path += "-flat.tar"
				}
				if to == "registry" {
					dest.Name = host + "/flatten-routes:from-" + from
				}
				config, diffID, id := flatten(source, dest, "1")
				if config != wantConfig || diffID != wantDiffID {
					t.Errorf("config %s and layer %s, not %s and %s", config, diffID, wantConfig, wantDiffID)
				}
				if to != "engine" {
					return
				}
				t.Cleanup(func() { removeImage(cli, dest.Name) })
				got := inspect(t, cli, dest.Name)
				if want := strings.TrimPrefix(id, "sha256:"); strings.TrimPrefix(got.ID, "sha256:") != want || idIsConfig && id != config {
					t.Errorf("the engine calls it %s; config %s, ID %s", got.ID, config, id)
				}
				if layers := got.RootFS.Layers; len(layers) != 2 || layers[1] != diffID {
					t.Errorf("the engine has the layers %v", layers)
				}
				if runErr == nil {
					if now := runImage(t, cli, dest.Name); now != prints {
						t.Errorf("it prints %q, not %q", now, prints)
					}
				}
			})
		}
	}
}

func TestEveryRouteOfTheEngine(t *testing.T) {
	cli := imagetest.Engine(t)
	info, err := cli.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	testRoutes(t, cli, !strings.Contains(fmt.Sprint(info.DriverStatus), "io.containerd.snapshotter"))
}

// TestEveryRouteOfPodman speaks to podman through its socket as to an engine.
func TestEveryRouteOfPodman(t *testing.T) {
	testRoutes(t, podmanService(t), true)
}

// podmanService is a podman with a store of its own, behind a socket.
func podmanService(t *testing.T) *client.Client {
	t.Helper()
	path := peerPath(t, "podman")
	if os.Geteuid() != 0 {
		t.Skip("not root: podman would need a user namespace")
	}
	store := shortTempDir(t)
	socket := "unix://" + store + "/sock"
	cmd := exec.Command(path, "--root", store+"/root", "--runroot", store+"/run", "--tmpdir", store+"/tmp",
		"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none", "system", "service", "--time", "0", socket)
	cmd.Env = append(os.Environ(), "HOME="+store, "XDG_CONFIG_HOME="+store, "XDG_DATA_HOME="+store, "XDG_RUNTIME_DIR="+store)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	cli, err := client.NewClientWithOpts(client.WithHost(socket), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	for range 100 {
		if _, err = cli.Ping(t.Context()); err == nil {
			return cli
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("podman's socket doesn't answer: %v\n%s", err, said.String())
	return nil
}
