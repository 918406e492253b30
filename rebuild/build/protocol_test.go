package build_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/client"

	"docker-flatten/rebuild/build"
)

// daemon is a client of a server that answers a build request with messages.
func daemon(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *client.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(server.Close)
	cli, err := client.NewClientWithOpts(client.WithHost("tcp://"+server.Listener.Addr().String()), client.WithVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

func TestEngineSendsTheContextAndReadsTheMessages(t *testing.T) {
	var names, contents []string
	query := map[string][]string{}
	cli := daemon(t, func(w http.ResponseWriter, r *http.Request) {
		for k, v := range r.URL.Query() {
			query[k] = v
		}
		for tr := tar.NewReader(r.Body); ; {
			h, err := tr.Next()
			if err != nil {
				break
			}
			b, err := io.ReadAll(tr)
			if err != nil {
				t.Error(err)
			}
			names, contents = append(names, h.Name), append(contents, string(b))
		}
		io.WriteString(w, `{"stream":"Step 1/2 : "}{"stream":"FROM scratch\n ---> \n"}{"status":"x","id":"y"}{"aux":{"ID":"sha256:1"}}{"stream":"Success"}`)
	})
	text := "FROM scratch\nARG NL\nENV A=\"${NL}\"\n"
	id, err := build.Engine(context.Background(), cli, build.EngineOptions{
		Dockerfile: []byte(text), Platform: "linux/arm64",
		Files: []build.ContextFile{{Name: "layer.tar.gz", Size: 3, Write: func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, "abc")
			return err
		}}},
	})
	if err != nil || id != "sha256:1" {
		t.Fatalf("got %q, %v", id, err)
	}
	if !slices.Equal(names, []string{"Dockerfile", "layer.tar.gz"}) || !slices.Equal(contents, []string{text, "abc"}) {
		t.Errorf("context %q %q", names, contents)
	}
	for k, want := range map[string]string{"version": "1", "nocache": "1", "forcerm": "1", "networkmode": "none", "t": "", "platform": "linux/arm64", "buildargs": `{"NL":"\n"}`, "pull": ""} {
		if got := strings.Join(query[k], ","); got != want {
			t.Errorf("%s is %q, want %q", k, got, want)
		}
	}
}

func TestEngineErrors(t *testing.T) {
	for _, c := range []struct {
		name, messages, want string
		is                   error
	}{
		{"failed step", `{"stream":"x\n"}{"errorDetail":{"code":1,"message":"ADD failed:\n no such file"},"error":"ADD failed"}`, "build image with the engine: ADD failed: no such file", nil},
		{"old error", `{"error":"ADD failed"}`, "build image with the engine: ADD failed", nil},
		{"no ID", `{"stream":"x\n"}`, "build image with the engine: the daemon ended the build without an image ID", nil},
		{"cut off", `{"stream":`, "build image with the engine: read the daemon's messages: unexpected EOF", nil},
		{"BuildKit in its place", `{"id":"moby.buildkit.trace","aux":"AAAA"}{"aux":{"ID":"sha256:1"}}`, "build image with the engine: the engine has no classic builder any more; the native builder needs none", build.ErrNoClassicBuilder},
	} {
		cli := daemon(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, c.messages)
		})
		_, err := build.Engine(context.Background(), cli, build.EngineOptions{Dockerfile: []byte("FROM scratch\n")})
		if err == nil || err.Error() != c.want || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

func TestEngineTakesARefusalForWhatItIs(t *testing.T) {
	for status, missing := range map[int]bool{http.StatusNotImplemented: true, http.StatusInternalServerError: false} {
		cli := daemon(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"message":"no"}`)
		})
		// The daemon answers before it has read the layer.
		file := build.ContextFile{Name: "layer.tar.gz", Size: 64 << 20, Write: func(_ context.Context, w io.Writer) error {
			for range 64 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return errors.New("send layer: " + err.Error())
				}
			}
			return nil
		}}
		_, err := build.Engine(context.Background(), cli, build.EngineOptions{Dockerfile: []byte("FROM scratch\n"), Files: []build.ContextFile{file}})
		if err == nil || errors.Is(err, build.ErrNoClassicBuilder) != missing || strings.Contains(err.Error(), "send layer") {
			t.Errorf("status %d: got %v", status, err)
		}
	}
}
