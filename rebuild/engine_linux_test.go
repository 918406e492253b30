package rebuild

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dockerbuild "github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
)

// The images that the engine builds for these tests, as Dockerfiles. "base" is
// the base with a shell, "bare" one without.
var engineImages = map[string]struct {
	base       string
	dockerfile string
	prints     string   // what docker run prints; "" = not run
	reads      []string // the history's entries above the base, without notation
}{
	"the prototype's example": {"base", `
MAINTAINER Jane Doe <jane@example.com>
RUN echo one > layerfile.txt
RUN echo two > /etc/two
RUN mkdir /app && echo hello > /app/message
RUN rm layerfile.txt
RUN echo hello from one layer > /app/message
RUN rm /etc/motd
RUN ln /app/message /app/link
EXPOSE 123 234
CMD cat /app/message
`, "hello from one layer\n", []string{"MAINTAINER", "ADD", "EXPOSE", "CMD"}},

	"hello in four layers": {"base", `
RUN echo hello world > message.txt
RUN mkdir /var/lib
RUN chmod 600 message.txt
CMD cat message.txt
`, "hello world\n", []string{"ADD", "CMD"}},

	"every metadata instruction": {"base", `
LABEL a=1 "b c"="d \"e\" $f"
ENV A=1 B="two words" C='$notexpanded'
ARG VERSION=7
RUN echo $VERSION > /version
ENV A=2
EXPOSE 80 53/udp
VOLUME ["/data", "/more data"]
USER 1000:1000
WORKDIR /
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=5s --timeout=3s --retries=2 CMD cat /version
SHELL ["/bin/sh", "-c"]
ONBUILD RUN echo triggered > /tmp/triggered
USER 0
RUN rm /etc/motd
ENTRYPOINT ["cat"]
CMD ["/version"]
`, "\n", []string{"LABEL", "ENV", "ADD", "EXPOSE", "VOLUME", "WORKDIR", "STOPSIGNAL", "HEALTHCHECK", "SHELL", "ONBUILD", "USER", "ENTRYPOINT", "CMD"}},

	"a base without a shell": {"bare", `
COPY a /a
COPY b /b
COPY a /b
CMD ["/b"]
`, "", []string{"ADD", "CMD"}},

	goneWorkdir: {"base", `
WORKDIR /gone
RUN echo x > /etc/x
RUN rm -rf /gone
`, "", []string{"ADD", "WORKDIR"}},

	"a base whose settings are overridden": {"set", `
ENV KEPT=no
RUN echo x > /etc/x
RUN echo y > /etc/y
ENTRYPOINT []
CMD ["cat", "/etc/x"]
HEALTHCHECK NONE
`, "x\n", []string{"ENV", "ADD", "ENTRYPOINT", "CMD", "HEALTHCHECK"}},
}

// goneWorkdir is an image of whose Dockerfile no builder makes the same tree.
const goneWorkdir = "a working directory that is gone"

// whatBuildersDoDifferently is built with BuildKit alone: the classic builder
// would not make this image of it.
const whatBuildersDoDifferently = `
RUN rm /data/file
RUN echo more > /etc/more
HEALTHCHECK CMD cat /etc/more
CMD ["cat", "/etc/more"]
`

// bases are the images that engineImages stand on.
var bases = map[string]string{
	"base": "FROM scratch\nADD root.tar /\nCMD [\"sh\"]\n",
	"bare": "FROM scratch\nADD files.tar /\n",
	"set": "FROM scratch\nADD root.tar /\nENV KEPT=yes OTHER=1\nVOLUME /data\nLABEL from=base\n" +
		"ENTRYPOINT [\"sh\", \"-c\"]\nCMD [\"cat /etc/motd\"]\nHEALTHCHECK CMD cat /etc/motd\nSTOPSIGNAL SIGINT\n",
	"odd": "FROM scratch\nADD root.tar /\nADD files.tar /\nMAINTAINER Jane Doe\nVOLUME /data\nHEALTHCHECK --interval=7s CMD cat /etc/motd\nUSER nobody\n",
}

// shell is the static program that the images' tools are.
var shell = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "docker-flatten-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "sh"), "./testdata/shell")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "sh"))
})

// buildImage has the engine build a Dockerfile and removes the image after the
// test.
func buildImage(t *testing.T, cli *client.Client, dockerfile, tag string, buildkit bool) {
	t.Helper()
	program, err := shell()
	if err != nil {
		t.Fatal(err)
	}
	root := []imagetest.File{{Name: "bin/"}, {Name: "bin/sh", Mode: 0o755, Body: string(program)}}
	for _, tool := range []string{"cat", "chmod", "echo", "ln", "mkdir", "mv", "rm"} {
		root = append(root, imagetest.File{Name: "bin/" + tool, Link: "sh"})
	}
	// Without these BuildKit adds them, or doesn't find user 0.
	root = append(root, imagetest.File{Name: "dev/"}, imagetest.File{Name: "proc/"}, imagetest.File{Name: "sys/"},
		imagetest.File{Name: "etc/passwd", Body: "root:x:0:0::/:/bin/sh\nnobody:x:9:9::/:/bin/sh\n"}, imagetest.File{Name: "etc/group", Body: "root:x:0:\n"})
	root = append(root, imagetest.File{Name: "etc/"}, imagetest.File{Name: "etc/motd", Body: "welcome\n"}, imagetest.File{Name: "tmp/", Mode: 0o1777})
	files := map[string][]byte{
		"root.tar":  imagetest.Layer(then, root),
		"files.tar": imagetest.Layer(then, []imagetest.File{{Name: "data/"}, {Name: "data/file", Body: "x"}}),
		"a":         []byte("file a\n"), "b": []byte("file b\n"),
	}
	if err := buildWith(t.Context(), cli, []byte(dockerfile), tag, buildkit, files); err != nil {
		t.Fatalf("build %s: %v", tag, err)
	}
	t.Cleanup(func() { removeImage(cli, tag) })
}

// buildWith has one of the engine's builders make an image of that name.
func buildWith(ctx context.Context, cli *client.Client, dockerfile []byte, tag string, buildkit bool, files map[string][]byte) error {
	var body bytes.Buffer
	tw := tar.NewWriter(&body)
	add := func(name string, content []byte) {
		tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644})
		tw.Write(content)
	}
	add("Dockerfile", dockerfile)
	for name, content := range files {
		add(name, content)
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return buildBody(ctx, cli, &body, tag, buildkit)
}

// buildBody is buildWith for a context that is a tar already.
func buildBody(ctx context.Context, cli *client.Client, body io.Reader, tag string, buildkit bool) error {
	newline := "\n"
	opt := dockerbuild.ImageBuildOptions{
		Version: dockerbuild.BuilderV1, Tags: []string{tag}, NoCache: true, Remove: true, ForceRemove: true, NetworkMode: "none",
		BuildArgs: map[string]*string{"NL": &newline},
	}
	if buildkit {
		opt.Version = dockerbuild.BuilderBuildKit
	}
	response, err := cli.ImageBuild(ctx, body, opt)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for d := json.NewDecoder(response.Body); ; {
		var m struct{ Error string }
		if err := d.Decode(&m); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if m.Error != "" {
			return errors.New(m.Error)
		}
	}
}

func removeImage(cli *client.Client, name string) {
	cli.ImageRemove(context.Background(), name, dockerimage.RemoveOptions{Force: true, PruneChildren: true})
}

func inspect(t *testing.T, cli *client.Client, name string) dockerimage.InspectResponse {
	t.Helper()
	info, err := cli.ImageInspect(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// config is what inspect says of an image but for what a builder writes of
// itself there.
func config(t *testing.T, cli *client.Client, name string) string {
	t.Helper()
	info := inspect(t, cli, name)
	b, err := json.MarshalIndent(map[string]any{
		"config": info.Config, "author": info.Author, "os": info.Os, "arch": info.Architecture, "variant": info.Variant,
	}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// runImage returns what docker run prints.
func runImage(t *testing.T, cli *client.Client, name string) string {
	t.Helper()
	prints, err := tryRun(t.Context(), cli, name)
	if err != nil {
		t.Fatal(err)
	}
	return prints
}

// tryRun is runImage where containers may not start.
func tryRun(ctx context.Context, cli *client.Client, name string) (string, error) {
	// podman's own limits are higher than what a container may have in some places
	limits := container.Resources{Ulimits: []*container.Ulimit{{Name: "nofile", Soft: 256, Hard: 256}, {Name: "nproc", Soft: 256, Hard: 256}}}
	c, err := cli.ContainerCreate(ctx, &container.Config{Image: name}, &container.HostConfig{NetworkMode: "none", Resources: limits}, nil, nil, "")
	if err != nil {
		return "", err
	}
	defer cli.ContainerRemove(context.Background(), c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err := cli.ContainerStart(ctx, c.ID, container.StartOptions{}); err != nil {
		return "", err
	}
	wait, errs := cli.ContainerWait(ctx, c.ID, container.WaitConditionNotRunning)
	select {
	case <-wait:
	case err := <-errs:
		return "", err
	}
	logs, err := cli.ContainerLogs(ctx, c.ID, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return "", err
	}
	defer logs.Close()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &out, logs)
	return out.String(), err
}

var fraction = regexp.MustCompile(`(\d\d:\d\d)\.\d+Z`)

// treeInSeconds is the image's tree with times of whole seconds: what a builder
// leaves in the engine's directories has finer ones, which no layer of the image
// carries. With containerd's image store it is nil: a snapshot of what the classic
// builder made holds the files that its container was started with, too, and what
// nothing ran of has no snapshot. There rebuild/layer compares trees.
func treeInSeconds(t *testing.T, cli *client.Client, name string, since time.Time) map[string]string {
	t.Helper()
	info, err := cli.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(info.DriverStatus, [2]string{"driver-type", "io.containerd.snapshotter.v1"}) {
		t.Logf("%s: its tree isn't compared: snapshots of containerd's image store aren't what the layers say", name)
		return nil
	}
	tree := imagetest.Tree(t, cli, name, since)
	for p, line := range tree {
		tree[p] = fraction.ReplaceAllString(line, "${1}Z")
	}
	return tree
}

var keyword = regexp.MustCompile(`^(?:/bin/sh -c #\(nop\)\s+)?([A-Z]+)`)

func TestEngineImages(t *testing.T) {
	cli := imagetest.Engine(t)
	since := time.Now().Add(-time.Second)
	for _, buildkit := range []bool{false, true} {
		kind := map[bool]string{false: "classic", true: "buildkit"}[buildkit]
		for name, dockerfile := range bases {
			buildImage(t, cli, dockerfile, "flatten-test/"+name+":"+kind, buildkit)
		}
		for name, c := range engineImages {
			t.Run(name+", "+kind, func(t *testing.T) {
				base := "flatten-test/" + c.base + ":" + kind
				original := "flatten-test/" + strings.NewReplacer(" ", "-", "'", "", ",", "").Replace(name) + ":" + kind
				buildImage(t, cli, "FROM "+base+c.dockerfile, original, buildkit)
				before := inspect(t, cli, original)
				tree := treeInSeconds(t, cli, original, since)
				for _, builder := range []Builder{Native, Engine} {
					t.Run(builder.String(), func(t *testing.T) {
						flat := original + "-" + builder.String()
						o := Options{
							Image: image.Ref{Transport: image.Daemon, Name: original}, Tags: []string{flat}, Builder: builder, NoCache: true,
							Client: func() (*client.Client, error) { return cli, nil },
						}
						report, err := Flatten(t.Context(), o)
						if err != nil {
							t.Fatal(err)
						}
						defer removeImage(cli, flat)
						after := inspect(t, cli, flat)
						baseLayers := inspect(t, cli, base).RootFS.Layers
						if !slices.Equal(after.RootFS.Layers[:len(after.RootFS.Layers)-1], baseLayers) {
							t.Errorf("layers %v are not the base's %v and one", after.RootFS.Layers, baseLayers)
						}
						if diff := imagetest.DiffTrees(tree, treeInSeconds(t, cli, flat, since)); len(diff) > 0 {
							t.Errorf("trees differ:\n%s", strings.Join(diff, "\n"))
						}
						if was, is := config(t, cli, original), config(t, cli, flat); was != is {
							t.Errorf("config %s\nbecame %s", was, is)
						}
						if again := inspect(t, cli, original); again.ID != before.ID || !slices.Equal(again.RepoTags, before.RepoTags) {
							t.Error("the original changed")
						}
						var reads []string
						for _, h := range report.Images[0].NewHistory[len(report.Images[0].NewHistory)-len(c.reads):] {
							reads = append(reads, keyword.FindStringSubmatch(h.CreatedBy)[1])
						}
						if !slices.Equal(reads, c.reads) && name != "every metadata instruction" {
							t.Errorf("history reads %v, want %v", reads, c.reads)
						}
						if c.prints != "" {
							if was, is := runImage(t, cli, original), runImage(t, cli, flat); was != is || was != c.prints && name != "every metadata instruction" {
								t.Errorf("docker run printed %q, and prints %q now; want %q", was, is, c.prints)
							}
						}
						if second, err := Flatten(t.Context(), o); err != nil || second.ID != report.ID {
							t.Errorf("a second run gave %v, %v; want ID %s", second, err, report.ID)
						}
						o.NoCache = false
						if third, err := Flatten(t.Context(), o); err != nil || third.ID != report.ID || !third.Reused && !report.Images[0].Unchanged {
							t.Errorf("a third run didn't find the result: %+v, %v", third, err)
						}
					})
				}
			})
		}
	}
}

// buildersOwn is the field that BuildKit sets as it likes: it marks every
// command as escaped.
var buildersOwn = regexp.MustCompile(`(?m)^ *"ArgsEscaped":.*\n|,$`)

// TestEngineBuildsTheWrittenContext has both builders build what --context
// wrote.
func TestEngineBuildsTheWrittenContext(t *testing.T) {
	cli := imagetest.Engine(t)
	since := time.Now().Add(-time.Second)
	for name, dockerfile := range bases {
		buildImage(t, cli, dockerfile, "flatten-test/context-"+name+":1", false)
	}
	type source struct {
		base, dockerfile string
		buildkit         bool
	}
	sources := map[string]source{"what the builders do differently": {"odd", "\nUSER 0" + whatBuildersDoDifferently + "USER nobody\n", true}}
	for name, c := range engineImages {
		sources[name] = source{c.base, c.dockerfile, false}
	}
	for name, c := range sources {
		t.Run(name, func(t *testing.T) {
			original := "flatten-test/context:original"
			buildImage(t, cli, "FROM flatten-test/context-"+c.base+":1"+c.dockerfile, original, c.buildkit)
			tree := treeInSeconds(t, cli, original, since)
			var context bytes.Buffer
			_, err := Flatten(t.Context(), Options{
				Image: image.Ref{Transport: image.Daemon, Name: original}, Context: "-", Stdout: &context,
				Client: func() (*client.Client, error) { return cli, nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			files := tarFiles(t, &context)
			if base, ok := files["base.tar"]; ok {
				r, err := cli.ImageLoad(t.Context(), bytes.NewReader(base))
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
				from := regexp.MustCompile(`(?m)^FROM (?:--platform=\S+ )?(\S+)$`).FindSubmatch(files["Dockerfile"])
				defer removeImage(cli, string(from[1]))
			}
			for _, buildkit := range []bool{false, true} {
				t.Run(map[bool]string{false: "classic", true: "buildkit"}[buildkit], func(t *testing.T) {
					rebuilt := "flatten-test/context:rebuilt"
					err := buildWith(t.Context(), cli, files["Dockerfile"], rebuilt, buildkit, map[string][]byte{"layer.tar.gz": files["layer.tar.gz"]})
					if err != nil {
						t.Fatalf("%v\n%s", err, files["Dockerfile"])
					}
					defer removeImage(cli, rebuilt)
					var want []string
					if name == goneWorkdir && tree != nil {
						want = []string{"/gone: is new"}
					}
					if diff := imagetest.DiffTrees(tree, treeInSeconds(t, cli, rebuilt, since)); !slices.Equal(diff, want) {
						t.Errorf("trees differ:\n%s\nwant:\n%s", strings.Join(diff, "\n"), strings.Join(want, "\n"))
					}
					was, is := config(t, cli, original), config(t, cli, rebuilt)
					if buildersOwn.ReplaceAllString(was, "") != buildersOwn.ReplaceAllString(is, "") {
						t.Errorf("config %s\nbecame %s\n%s", was, is, files["Dockerfile"])
					}
				})
			}
		})
	}
}

// TestEngineBuilderRunsBesideItself has two runs build on the same base, which
// has no name: each must keep its hands off the other's.
func TestEngineBuilderRunsBesideItself(t *testing.T) {
	cli := imagetest.Engine(t)
	buildImage(t, cli, bases["base"]+"RUN echo 1 > /one\nRUN rm /etc/motd\n", "flatten-test/beside:1", false)
	failures := make(chan error, 3)
	for i := range cap(failures) {
		go func() {
			_, err := Flatten(t.Context(), Options{
				Image: image.Ref{Transport: image.Daemon, Name: "flatten-test/beside:1"}, Tags: []string{fmt.Sprintf("flatten-test/beside:flat%d", i)},
				Base: keep("1"), Builder: Engine, NoCache: true, Client: func() (*client.Client, error) { return cli, nil },
			})
			failures <- err
		}()
	}
	for range cap(failures) {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	for i := range cap(failures) {
		removeImage(cli, fmt.Sprintf("flatten-test/beside:flat%d", i))
	}
}

// TestInterruptedBuildLeavesNothing interrupts the engine builder at several
// moments.
func TestInterruptedBuildLeavesNothing(t *testing.T) {
	cli := imagetest.Engine(t)
	buildImage(t, cli, bases["base"]+"RUN echo 1 > /one\nRUN rm /etc/motd\nENV A=1\nLABEL b=2\nUSER 9\n", "flatten-test/interrupted:1", false)
	marked := func() (ids []string) {
		list, err := cli.ImageList(t.Context(), dockerimage.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "docker-flatten.run"))})
		if err != nil {
			t.Fatal(err)
		}
		for _, im := range list {
			ids = append(ids, im.ID)
		}
		return ids
	}
	before := marked() // another run's
	for delay := 50 * time.Millisecond; delay < 2*time.Second; delay *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), delay)
		_, err := Flatten(ctx, Options{
			Image: image.Ref{Transport: image.Daemon, Name: "flatten-test/interrupted:1"}, Tags: []string{"flatten-test/interrupted:flat"},
			Base: keep("1"), Builder: Engine, NoCache: true, Client: func() (*client.Client, error) { return cli, nil },
		})
		cancel()
		if err == nil {
			removeImage(cli, "flatten-test/interrupted:flat")
			break
		}
		for _, id := range marked() {
			if !slices.Contains(before, id) {
				t.Errorf("after %v: %s is left behind", delay, id)
			}
		}
	}
}
