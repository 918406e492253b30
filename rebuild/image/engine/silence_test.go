package engine_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/image/silence"
	"docker-flatten/rebuild/imagetest"
)

// hangingEngine is an engine that is silent where hang says so: it tells whether
// it has answered in the place of the engine. over is closed at the end of the
// test.
func hangingEngine(t *testing.T, limit time.Duration, hang func(w http.ResponseWriter, r *http.Request, over <-chan struct{}) bool) (*fakeEngine, image.Options) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	e, _ := newFakeEngine(t, engine.Graphdriver)
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hang(w, r, over) {
			e.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(over) })
	return e, image.Options{TempDir: t.TempDir(), Client: func() (*client.Client, error) {
		return engine.NewClient("", "tcp://"+strings.TrimPrefix(server.URL, "http://"), limit)
	}}
}

func TestSilentEngineIsGivenUp(t *testing.T) {
	for name, path := range map[string]string{
		"ping": "/_ping", "info": "/info", "inspect": "/images/x:1/json", "save, in its middle": "/images/get", "load, not reading": "/images/load",
	} {
		t.Run(name, func(t *testing.T) {
			e, opt := hangingEngine(t, 100*time.Millisecond, func(w http.ResponseWriter, r *http.Request, over <-chan struct{}) bool {
				if !strings.HasSuffix(r.URL.Path, path) {
					return false
				}
				if path == "/images/get" {
					w.WriteHeader(http.StatusOK)
					_, _ = w.Write(make([]byte, 100))
					w.(http.Flusher).Flush()
				}
				<-over
				return true
			})
			im := imagetest.Three
			im.Names = []string{"x:1"}
			e.add(im, imagetest.Digest(im.Config()).String(), saved2010(im))
			err := flattenIn(t.Context(), opt, 64<<20)
			var said *image.Error
			if !errors.As(err, new(*silence.Error)) || !errors.As(err, &said) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// An engine whose answers have no end, or say nothing, costs no memory and ends in
// one line.
func TestEndlessAndEmptyAnswers(t *testing.T) {
	endless := func(w http.ResponseWriter) {
		_, _ = w.Write([]byte(`{"stream":"`))
		for text := []byte(strings.Repeat("x", 1<<20)); ; {
			if _, err := w.Write(text); err != nil {
				return
			}
		}
	}
	empty := func(w http.ResponseWriter) { _, _ = w.Write([]byte("null")) }
	for name, c := range map[string]struct {
		path   string
		answer func(w http.ResponseWriter)
		want   string
	}{
		"an image without end":       {"/images/x:1/json", endless, "more than 67108864 bytes"},
		"images without end":         {"/images/json", endless, "more than 67108864 bytes"},
		"a load's messages, as well": {"/images/load", endless, "more than 67108864 bytes"},
		"no image":                   {"/images/x:1/json", empty, "tells no ID"},
	} {
		t.Run(name, func(t *testing.T) {
			e, opt := hangingEngine(t, time.Minute, func(w http.ResponseWriter, r *http.Request, _ <-chan struct{}) bool {
				if !strings.HasSuffix(r.URL.Path, c.path) {
					return false
				}
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/json")
				c.answer(w)
				return true
			})
			im := imagetest.Three
			im.Names = []string{"x:1"}
			e.add(im, imagetest.Digest(im.Config()).String(), saved2010(im))
			err := flattenIn(t.Context(), opt, 1<<20)
			if c.path == "/images/json" {
				cli, clientErr := opt.Client()
				if clientErr != nil {
					t.Fatal(clientErr)
				}
				_, err = engine.Look(t.Context(), cli, "x:1")
			}
			var said *image.Error
			if !errors.As(err, &said) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// flattenIn opens x:1 in an engine, reads it, and stores a layer of so many
// bytes on its base there.
func flattenIn(ctx context.Context, opt image.Options, size int64) error {
	src, err := engine.Open(ctx, image.Ref{Transport: image.Daemon, Name: "x:1"}, opt)
	if err != nil {
		return err
	}
	defer src.Close()
	_, read, err := imagetest.ReadLayers(src.Images[0], func(int) bool { return true })
	if err != nil {
		return err
	}
	to, err := engine.Prepare(ctx, image.Ref{Transport: image.Daemon, Name: "x:flat"}, nil, opt)
	if err != nil {
		return err
	}
	n := imagetest.Flat(read, 1, nil)
	n.Size = size
	n.Write = func(_ context.Context, w io.Writer) error {
		_, err := io.CopyN(w, zeros{}, size)
		return err
	}
	_, err = to.Store(ctx, image.Wanted{Images: []image.NewImage{n}})
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// An engine may take its time where it works: before the first byte of docker
// save, and after the last one of docker load. An interrupt ends that at once.
func TestWorkingEngineIsWaitedFor(t *testing.T) {
	const limit = 300 * time.Millisecond
	slow := func(path string) func(http.ResponseWriter, *http.Request, <-chan struct{}) bool {
		return func(_ http.ResponseWriter, r *http.Request, _ <-chan struct{}) bool {
			if strings.HasSuffix(r.URL.Path, path) {
				if path == "/images/load" {
					b, err := io.ReadAll(r.Body)
					imagetest.Must(err)
					r.Body = io.NopCloser(strings.NewReader(string(b)))
				}
				time.Sleep(7 * limit)
			}
			return false
		}
	}
	for _, path := range []string{"/images/get", "/images/load"} {
		e, opt := hangingEngine(t, limit, slow(path))
		im := imagetest.Three
		im.Names = []string{"x:1"}
		e.add(im, imagetest.Digest(im.Config()).String(), saved2010(im))
		if err := flattenIn(t.Context(), opt, 1024); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	e, opt := hangingEngine(t, time.Hour, func(_ http.ResponseWriter, r *http.Request, over <-chan struct{}) bool {
		if strings.HasSuffix(r.URL.Path, "/images/get") {
			cancel()
			<-over
		}
		return false
	})
	im := imagetest.Three
	im.Names = []string{"x:1"}
	e.add(im, imagetest.Digest(im.Config()).String(), saved2010(im))
	src, err := engine.Open(ctx, image.Ref{Transport: image.Daemon, Name: "x:1"}, opt)
	imagetest.Must(err)
	if _, err := src.Images[0].Read(ctx, nil, func(_ int, r io.Reader) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
