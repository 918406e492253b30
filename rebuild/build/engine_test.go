package build_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	types "github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"docker-flatten/history"
	"docker-flatten/rebuild/build"
	"docker-flatten/templates"
)

// engine returns a client of the engine that tests may use, or skips.
func engine(t *testing.T) *client.Client {
	t.Helper()
	address := os.Getenv("DOCKER_FLATTEN_ENGINE")
	if address == "" {
		t.Skip("DOCKER_FLATTEN_ENGINE isn't set: no engine to test with")
	}
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if address != "default" {
		opts = append(opts, client.WithHost(address))
	}
	cli, err := client.NewClientWithOpts(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

// layer is a tar for ADD: each file holds its name, but whiteouts are empty.
func layer(files ...string) build.ContextFile {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, name := range files {
		content := name
		if strings.Contains(name, ".wh.") {
			content = ""
		}
		if err := tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644, ModTime: time.Unix(1, 0)}); err != nil {
			panic(err)
		}
		if _, err := io.WriteString(tw, content); err != nil {
			panic(err)
		}
	}
	if err := tw.Close(); err != nil {
		panic(err)
	}
	return build.ContextFile{Name: "layer.tar.gz", Size: int64(b.Len()), Write: func(_ context.Context, w io.Writer) error {
		_, err := w.Write(b.Bytes())
		return err
	}}
}

// makeImage has the engine build the Dockerfile, with the function under test if
// builder is "", and returns the image's ID. The image is removed when the test
// ends.
func makeImage(t *testing.T, cli *client.Client, opt build.EngineOptions, builder types.BuilderVersion, tag string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	id, err := "", error(nil)
	if builder == "" {
		id, err = build.Engine(ctx, cli, opt)
	} else {
		id, err = buildWith(ctx, cli, opt, builder)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, opt.Dockerfile)
	}
	t.Cleanup(func() {
		for _, name := range []string{tag, id} {
			_, _ = cli.ImageRemove(context.Background(), name, image.RemoveOptions{PruneChildren: true})
		}
	})
	if tag != "" {
		if err := cli.ImageTag(ctx, id, tag); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

// buildWith asks one of the engine's builders for the image.
func buildWith(ctx context.Context, cli *client.Client, opt build.EngineOptions, builder types.BuilderVersion) (id string, err error) {
	var body bytes.Buffer
	tw := tar.NewWriter(&body)
	add := func(name string, size int64, write func(context.Context, io.Writer) error) error {
		return errors.Join(tw.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644}), write(ctx, tw))
	}
	err = add("Dockerfile", int64(len(opt.Dockerfile)), func(_ context.Context, w io.Writer) error {
		_, err := w.Write(opt.Dockerfile)
		return err
	})
	for _, f := range opt.Files {
		err = errors.Join(err, add(f.Name, f.Size, f.Write))
	}
	if err := errors.Join(err, tw.Close()); err != nil {
		return "", err
	}
	newline := "\n"
	response, err := cli.ImageBuild(ctx, &body, types.ImageBuildOptions{Version: builder, NoCache: true, Remove: true, ForceRemove: true, NetworkMode: "none", BuildArgs: map[string]*string{"NL": &newline}})
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	for d := json.NewDecoder(response.Body); ; {
		var m struct {
			Error string
			Aux   json.RawMessage
		}
		if err := d.Decode(&m); err == io.EOF {
			return id, nil
		} else if err != nil {
			return "", err
		}
		if m.Error != "" {
			return "", errors.New(m.Error)
		}
		var aux struct{ ID string }
		if json.Unmarshal(m.Aux, &aux) == nil && aux.ID != "" { // BuildKit's trace is a string
			id = aux.ID
		}
	}
}

// inspect returns the engine's view of an image as a config document.
func inspect(t *testing.T, cli *client.Client, id string) *history.Image {
	t.Helper()
	got, err := cli.ImageInspect(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	im := &history.Image{}
	im.Author = got.Author
	im.OS = got.Os
	if got.Config != nil {
		im.Config = *got.Config
	}
	return im
}

// comparable is what a Dockerfile can set, with empty and missing made equal.
// From scratch, it leaves out the PATH that both builders add and the "/" that
// BuildKit sets as the working directory.
func comparable(im *history.Image, scratch bool) string {
	c := im.Config
	if scratch && c.WorkingDir == "/" {
		c.WorkingDir = ""
	}
	var env []string
	for _, e := range c.Env {
		if !scratch || !strings.HasPrefix(e, "PATH=/usr/local/sbin") {
			env = append(env, e)
		}
	}
	b, err := json.MarshalIndent(map[string]any{
		"author": im.Author, "env": env, "cmd": slices.Concat([]string{}, c.Cmd), "entrypoint": slices.Concat([]string{}, c.Entrypoint),
		"labels": maps.Collect(maps.All(c.Labels)), "volumes": maps.Collect(maps.All(c.Volumes)), "ports": maps.Collect(maps.All(c.ExposedPorts)),
		"user": c.User, "dir": c.WorkingDir, "signal": c.StopSignal, "health": c.Healthcheck, "shell": slices.Concat([]string{}, c.Shell), "onbuild": slices.Concat([]string{}, c.OnBuild),
	}, "", " ")
	if err != nil {
		panic(err)
	}
	return string(b)
}

// classic is what the classic builder makes of an image that BuildKit makes so: it
// forgets the base's author, and its HEALTHCHECK takes each value that is zero
// from the health check before (merge in moby's daemon/commit.go).
func classic(im, base *history.Image, steps []history.Step) *history.Image {
	out := *im
	var health *history.Healthcheck
	if base != nil {
		health = base.Config.Healthcheck
	}
	author := ""
	for _, s := range steps {
		switch s.Name {
		case "MAINTAINER":
			author = s.Args[0]
		case "HEALTHCHECK":
			h := *s.Health
			if health != nil {
				h.Interval = cmp.Or(h.Interval, health.Interval)
				h.Timeout = cmp.Or(h.Timeout, health.Timeout)
				h.StartPeriod = cmp.Or(h.StartPeriod, health.StartPeriod)
				h.StartInterval = cmp.Or(h.StartInterval, health.StartInterval)
				h.Retries = cmp.Or(h.Retries, health.Retries)
			}
			health = &h
		}
	}
	out.Author, out.Config.Healthcheck = author, health
	return &out
}

func one(name string, args ...string) history.Step { return history.Step{Name: name, Args: args} }

func pairs(name string, kv ...string) history.Step {
	s := history.Step{Name: name}
	for i := 0; i < len(kv); i += 2 {
		s.Pairs = append(s.Pairs, history.Pair{Key: kv[i], Value: kv[i+1]})
	}
	return s
}

// everything is one instruction of each kind, with values that need quotes.
// WORKDIR comes before USER, whose name no passwd file has.
func everything(text func() string) []history.Step {
	sh := []string{"/bin/sh", "-c"}
	steps := []history.Step{
		pairs("ENV", "A", text(), "B", text(), "k "+strings.ReplaceAll(text(), "=", "_"), text()),
		pairs("LABEL", "l", text(), "m"+text(), text()),
		one("WORKDIR", "/w"+strings.ReplaceAll(text(), "/", "_")),
		one("EXPOSE", "123/tcp", "234/tcp", "53/udp", "9000/sctp", "9001/sctp", "9002/sctp"),
		one("STOPSIGNAL", "SIGRTMIN+3"),
		{Name: "HEALTHCHECK", Health: &history.Healthcheck{Test: []string{"CMD", text(), text()}, Interval: 90 * time.Second, Timeout: time.Millisecond, StartPeriod: time.Hour, Retries: 3}},
		{Name: "ENTRYPOINT", Args: append(slices.Clone(sh), text()), Shell: sh},
		one("CMD", text(), text()),
		one("SHELL", "/bin/sh", text()),
		one("USER", "u"+text()),
		one("VOLUME", "/v"+text(), "/w"+text()),
	}
	for _, s := range []history.Step{one("MAINTAINER", "m"+text()), one("ONBUILD", "RUN "+text()),
		{Name: "HEALTHCHECK", Health: &history.Healthcheck{Test: []string{"CMD-SHELL", text()}}}} {
		if _, err := s.Dockerfile(); err == nil {
			steps = append(steps, s)
		}
	}
	return steps
}

var awkward = []string{
	"a", "b", "0", " ", "  ", "\t", "\r", "\n", "\v", "'", `"`, `\`, `\\`, "$", "${", "}", "$x", "${A:-b}", "$$", "#", " #", "<<", "<<EOF", "-", "--", "=", "[", "]", `["a"]`,
	",", ";", "`", "é", "\u00a0", "\u0085", "\u2028", "\ufeff", "\ufffd", "😀", "\x1b[31m", "\x7f", "%", "*", "{", "&&", "|", ":", "\\\n", "# escape=`", "NL", "EQ",
}

func random(seed int64) func() string {
	r := rand.New(rand.NewSource(seed))
	return func() string {
		var b strings.Builder
		for range r.Intn(7) {
			b.WriteString(awkward[r.Intn(len(awkward))])
		}
		return b.String()
	}
}

// baseSteps make a base of which much is overridden.
func baseSteps() []history.Step {
	return []history.Step{
		pairs("ENV", "PATH", "/own/bin", "A", "from the base", "Z", "stays"),
		pairs("LABEL", "l", "from the base", "stays", "too"),
		one("WORKDIR", "/base"), one("EXPOSE", "1/tcp"), one("VOLUME", "/base volume"),
		{Name: "HEALTHCHECK", Health: &history.Healthcheck{Test: []string{"CMD", "/probe"}, Interval: time.Minute, Retries: 1}},
		one("MAINTAINER", "of the base"), one("ENTRYPOINT", "/base"), one("CMD", "base"), one("STOPSIGNAL", "9"), one("USER", "0:0"),
	}
}

func render(t *testing.T, d templates.Dockerfile) []byte {
	t.Helper()
	text, err := d.Render()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestEngineBuildsTheConfigThatInterpretSays(t *testing.T) {
	cli := engine(t)
	const base = "build-test-base:1"
	makeImage(t, cli, build.EngineOptions{
		Dockerfile: render(t, templates.Dockerfile{Image: "base", From: "scratch", After: baseSteps(), Add: "layer.tar.gz"}),
		Files:      []build.ContextFile{layer("etc/base", "probe")},
	}, "", base)
	document := inspect(t, cli, base)

	cases := map[string][]history.Step{
		"resets":                 {one("ENTRYPOINT"), one("USER", ""), {Name: "HEALTHCHECK", Health: &history.Healthcheck{Test: []string{"NONE"}}}},
		"entry point resets CMD": {one("ENTRYPOINT", "x")},
		"CMD before ENTRYPOINT":  {one("CMD", "x"), one("ENTRYPOINT", "y")},
		"empty CMD":              {one("CMD")},
		"long values":            {pairs("ENV", "A", strings.Repeat(`\`, 70_000), "B", strings.Repeat("\n", 500)), pairs("LABEL", strings.Repeat(" ", 70_000), strings.Repeat("#", 70_000)), one("CMD", strings.Repeat(" ", 70_000))},
	}
	for seed := range int64(4) {
		cases[fmt.Sprintf("random %d", seed)] = everything(random(seed))
	}
	for name, steps := range cases {
		for _, from := range []string{"scratch", base} {
			if name == "long values" && from == "scratch" {
				continue // an engine takes half a minute for them, and its lines are the same
			}
			d := templates.Dockerfile{Image: "test", From: from, Add: "layer.tar.gz", After: steps}
			var on *history.Image
			if from == base {
				on = document
			}
			text := render(t, d)
			made, err := build.Interpret(text, on)
			if err != nil {
				t.Errorf("%s from %s: %v\n%.3000s", name, from, err, text)
				continue
			}
			for name, c := range map[string]struct {
				builder types.BuilderVersion
				want    *history.Image
			}{name + " from " + from + " with classic": {"", classic(made, on, steps)}, name + " from " + from + " with BuildKit": {types.BuilderBuildKit, made}} {
				t.Run(name, func(t *testing.T) {
					id := makeImage(t, cli, build.EngineOptions{Dockerfile: text, Files: []build.ContextFile{layer("etc/x")}}, c.builder, "")
					if got, want := comparable(inspect(t, cli, id), from == "scratch"), comparable(c.want, from == "scratch"); got != want {
						t.Errorf("got  %.3000s\nwant %.3000s\n%.3000s", got, want, text)
					}
				})
			}
		}
	}
}

func TestEngineKnowsTheSignalsThatInterpretKnows(t *testing.T) {
	cli := engine(t)
	var all strings.Builder
	all.WriteString("FROM scratch\n")
	for _, s := range strings.Fields("1 64 65 -1 sigterm TERM ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMIN+1 RTMIN+15 RTMAX RTMAX-1 RTMAX-14") {
		all.WriteString("STOPSIGNAL " + s + "\n")
	}
	if _, err := build.Interpret([]byte(all.String()), nil); err != nil {
		t.Error(err)
	}
	makeImage(t, cli, build.EngineOptions{Dockerfile: []byte(all.String())}, "", "")
	for _, s := range []string{"0", "SIG", "RTMIN+16", "RTMAX-15", "RTMIN+0", "UNUSED", "EMT", "x"} {
		text := []byte("FROM scratch\nSTOPSIGNAL " + s + "\n")
		if _, err := build.Interpret(text, nil); err == nil {
			t.Errorf("Interpret takes %s", s)
		}
		if id, err := build.Engine(context.Background(), cli, build.EngineOptions{Dockerfile: text}); err == nil {
			t.Errorf("the engine takes %s: %s", s, id)
		}
	}
}

func TestEngineTurnsWhiteoutsIntoDeletions(t *testing.T) {
	cli := engine(t)
	const base = "build-test-base:2"
	makeImage(t, cli, build.EngineOptions{Dockerfile: []byte("FROM scratch\nADD layer.tar.gz /\n"), Files: []build.ContextFile{layer("etc/gone", "etc/stays")}}, "", base)
	id := makeImage(t, cli, build.EngineOptions{Dockerfile: []byte("FROM " + base + "\nADD layer.tar.gz /\nCMD [\"x\"]\n"), Files: []build.ContextFile{layer("etc/.wh.gone", "etc/new")}}, "", "")
	got, err := cli.ImageInspect(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.RootFS.Layers); n != 2 {
		t.Errorf("%d layers", n)
	}
	r, err := cli.ImageSave(context.Background(), []string{id})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if names := savedNames(t, r); !slices.Contains(names, "etc/.wh.gone") || !slices.Contains(names, "etc/new") {
		t.Errorf("layers have %q", names)
	}
}

// savedNames returns the names in all layers of a docker save, which a store of
// containerd's writes compressed.
func savedNames(t *testing.T, r io.Reader) (names []string) {
	t.Helper()
	for outer := tar.NewReader(r); ; {
		h, err := outer.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		b := bufio.NewReader(outer)
		plain := io.Reader(b)
		if head, _ := b.Peek(2); string(head) == "\x1f\x8b" {
			if plain, err = gzip.NewReader(b); err != nil {
				t.Fatal(err)
			}
		}
		for inner := tar.NewReader(plain); h.Typeflag == tar.TypeReg; {
			h, err := inner.Next()
			if err != nil {
				break
			}
			names = append(names, h.Name)
		}
	}
}

func TestEngineReturnsTheErrorOfASource(t *testing.T) {
	cli := engine(t)
	cause := errors.New("layer 3 doesn't match its digest")
	file := build.ContextFile{Name: "layer.tar.gz", Size: 1 << 20, Write: func(context.Context, io.Writer) error { return cause }}
	_, err := build.Engine(context.Background(), cli, build.EngineOptions{Dockerfile: []byte("FROM scratch\nADD layer.tar.gz /\n"), Files: []build.ContextFile{file}})
	if !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func TestEngineReportsABuildThatFails(t *testing.T) {
	cli := engine(t)
	_, err := build.Engine(context.Background(), cli, build.EngineOptions{Dockerfile: []byte("FROM scratch\nADD missing /\n")})
	if err == nil || !strings.HasPrefix(err.Error(), "build image with the engine: ") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}

func TestEngineStopsWhenCancelled(t *testing.T) {
	cli := engine(t)
	ctx, cancel := context.WithCancel(context.Background())
	file := build.ContextFile{Name: "layer.tar.gz", Size: 1 << 30, Write: func(ctx context.Context, w io.Writer) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}}
	_, err := build.Engine(ctx, cli, build.EngineOptions{Dockerfile: []byte("FROM scratch\nADD layer.tar.gz /\n"), Files: []build.ContextFile{file}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
