package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/image/silence"
	"docker-flatten/rebuild/imagetest"
)

// faults is a registry that fails some requests before it does what it is asked.
type faults struct {
	handler http.Handler
	config  string        // the path of the image's config document
	ended   chan struct{} // closed at the end of the test

	mu    sync.Mutex
	fault fault
	count int // faulty answers so far
	asked []*http.Request
}

// fault answers a request in the place of the registry. It is told what the
// right answer is, and which faulty answer it gives, from 0.
type fault func(w http.ResponseWriter, r *http.Request, right *httptest.ResponseRecorder, n int)

// wrap puts the faults before a registry.
func (f *faults) wrap(h http.Handler) http.Handler {
	f.handler = h
	return f
}

// set has requests fail that match "METHOD part-of-path", as often as times
// says; the others, and those after these, go well.
func (f *faults) set(match string, times int, fail fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count, f.asked = 0, nil
	f.fault = nil
	if fail == nil {
		return
	}
	method, part, _ := strings.Cut(match, " ")
	f.fault = func(w http.ResponseWriter, r *http.Request, right *httptest.ResponseRecorder, _ int) {
		f.mu.Lock()
		n, hit := f.count, r.Method == method && strings.Contains(r.URL.Path, part)
		if hit {
			f.asked = append(f.asked, r.Clone(context.Background()))
			f.count++
		}
		f.mu.Unlock()
		if hit && n < times {
			fail(w, r, right, n)
			return
		}
		f.handler.ServeHTTP(w, r)
	}
}

func (f *faults) requests() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}

func (f *faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	fail := f.fault
	f.mu.Unlock()
	if fail == nil {
		f.handler.ServeHTTP(w, r)
		return
	}
	right := httptest.NewRecorder()
	if r.Method == http.MethodGet {
		f.handler.ServeHTTP(right, r)
	}
	fail(w, r, right, 0)
}

// status answers with a status and a body.
func status(code int, body string, header ...string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder, _ int) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// half sends half of the right answer, and then does what end does.
func half(end func(w http.ResponseWriter, r *http.Request)) fault {
	return func(w http.ResponseWriter, r *http.Request, right *httptest.ResponseRecorder, _ int) {
		for k, v := range right.Header() {
			w.Header()[k] = v
		}
		body := right.Body.Bytes()
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(right.Code)
		_, _ = w.Write(body[:len(body)/2])
		w.(http.Flusher).Flush()
		end(w, r)
	}
}

// cut breaks the connection.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// hang says nothing until the other side gives up.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func reset(w http.ResponseWriter, r *http.Request, _ *httptest.ResponseRecorder, _ int) { cut(w, r) }

// silent reads what it gets and doesn't answer.
func silent(w http.ResponseWriter, r *http.Request, _ *httptest.ResponseRecorder, _ int) {
	_, _ = io.Copy(io.Discard, r.Body)
	hang(w, r)
}

// allWrong is how often a fault comes that never ends.
const allWrong = 1 << 30

// impatient are options under which silence is soon too long.
func impatient() image.Options { return image.Options{Timeout: 100 * time.Millisecond} }

// patient are options for what goes wrong and is mended without silence; a
// pause before a second try takes as long.
func patient() image.Options { return image.Options{Timeout: 2 * time.Second} }

// asPatientAs is impatient only where the error is to be that nothing was heard: a
// loaded machine is silent, too.
func asPatientAs(text string) image.Options {
	if strings.Contains(text, "nothing was heard") {
		return impatient()
	}
	return patient()
}

// faultyRegistry is a registry with an image in it, which doesn't fail yet.
func faultyRegistry(t *testing.T) (f *faults, host string) {
	f = &faults{}
	host = imagetest.Registry(t, f.wrap)
	local := imagetest.Open(t, "oci:"+imagetest.LayoutOf(imagetest.CompressedThree, false, "").Dir(t), image.Options{})
	n := imagetest.Flat(local.Images[0], 3, nil)
	n.Write = nil
	f.ended = make(chan struct{})
	t.Cleanup(func() { close(f.ended) })
	config, err := n.Config(local.Images[0].DiffIDs)
	imagetest.Must(err)
	f.config = "/blobs/" + imagetest.Digest(config).String()
	imagetest.Store(t, "docker://"+host+"/in:1", local, []image.NewImage{n}, nil, image.Compression{})
	return f, host
}

// readAll reads the image, and returns the layers' tars.
func readAll(ref string, opt image.Options) ([][]byte, error) {
	parsed, err := image.ParseRef(ref)
	if err != nil {
		return nil, err
	}
	src, err := place.Open(context.Background(), parsed, opt)
	if err != nil {
		return nil, err
	}
	layers, _, err := imagetest.ReadLayers(src.Images[0], func(int) bool { return true })
	return layers, errors.Join(err, src.Close())
}

// blobOf is the path of a blob of the faulty registry's image.
func blobOf(i int) string {
	return "/blobs/" + imagetest.Digest(imagetest.CompressedThree.Stored[i]).String()
}

func TestReadingGetsOverFaults(t *testing.T) {
	const manifest, config = "/manifests/1", "the config"
	for name, c := range map[string]struct {
		match string
		times int
		fault fault
	}{
		"ping: 503":                     {"GET /v2/", 1, status(503, "")},
		"manifest: 429":                 {"GET " + manifest, 2, status(429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`)},
		"manifest: 500":                 {"GET " + manifest, 2, status(500, "sorry")},
		"manifest: 503, a huge message": {"GET " + manifest, 1, status(503, strings.Repeat("x", 1<<20))},
		"manifest: reset":               {"GET " + manifest, 1, reset},
		"manifest: cut in its middle":   {"GET " + manifest, 2, half(cut)},
		"config: 502":                   {"GET " + config, 1, status(502, "")},
		"config: cut in its middle":     {"GET " + config, 2, half(cut)},
		"layer: 504":                    {"GET " + blobOf(1), 3, status(504, "")},
		"layer: cut in its middle":      {"GET " + blobOf(1), 3, half(cut)},
		"layer: silent in its middle":   {"GET " + blobOf(1), 2, half(hang)},
	} {
		t.Run(name, func(t *testing.T) {
			f, host := faultyRegistry(t)
			f.set(strings.Replace(c.match, config, f.config, 1), c.times, c.fault)
			layers, err := readAll("docker://"+host+"/in:1", image.Options{Timeout: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			imagetest.SameLayers(t, layers, imagetest.CompressedThree.Layers)
			if n := len(f.requests()); n <= c.times {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// Of a blob that breaks off only the rest is asked for, and a server that sends
// all of it does no harm.
func TestBrokenBlobIsResumed(t *testing.T) {
	whole := imagetest.CompressedThree.Stored[1]
	broken := len(whole) / 2
	for name, answer := range map[string]fault{
		"the rest": func(w http.ResponseWriter, r *http.Request, _ *httptest.ResponseRecorder, _ int) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(whole))
		},
		"all of it": func(w http.ResponseWriter, _ *http.Request, _ *httptest.ResponseRecorder, _ int) {
			_, _ = w.Write(whole)
		},
		"no ranges known": func(w http.ResponseWriter, r *http.Request, _ *httptest.ResponseRecorder, _ int) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			_, _ = w.Write(whole)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, host := faultyRegistry(t)
			f.set("GET "+blobOf(1), 3, func(w http.ResponseWriter, r *http.Request, right *httptest.ResponseRecorder, n int) {
				if n == 0 {
					half(cut)(w, r, right, n)
				}
				answer(w, r, right, n)
			})
			layers, err := readAll("docker://"+host+"/in:1", patient())
			if err != nil {
				t.Fatal(err)
			}
			imagetest.SameLayers(t, layers, imagetest.CompressedThree.Layers)
			asked := f.requests()
			if len(asked) < 2 || asked[0].Header.Get("Range") != "" || asked[1].Header.Get("Range") != fmt.Sprintf("bytes=%d-%d", broken, len(whole)-1) {
				t.Errorf("%d requests, ranges %q", len(asked), asked[len(asked)-1].Header["Range"])
			}
		})
	}
}

func TestReadingGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		match string
		fault fault
		text  string // in the error
		most  int    // requests
	}{
		"ping: silent":              {"GET /v2/", silent, "doesn't answer: nothing was heard for 100ms", 1},
		"manifest: silent":          {"GET /manifests/", silent, "doesn't answer: nothing was heard for 100ms", 1},
		"manifest: 429 for ever":    {"GET /manifests/", status(429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`), "slow down", 5},
		"manifest: cut for ever":    {"GET /manifests/", half(cut), "EOF", 5},
		"manifest: 401":             {"GET /manifests/", status(401, ""), "denies access", 1},
		"manifest: 403":             {"GET /manifests/", status(403, ""), "denies access", 1},
		"manifest: 404":             {"GET /manifests/", status(404, ""), "no such image", 1},
		"manifest: redirect loop":   {"GET /manifests/", status(307, "", "Location", "/v2/in/manifests/1"), "more than 10 redirects", 11},
		"layer: silent":             {"GET " + blobOf(1), silent, "doesn't answer: nothing was heard for 100ms", 1},
		"layer: cut for ever":       {"GET " + blobOf(1), half(cut), "ends too early", 5},
		"layer: silent for ever":    {"GET " + blobOf(1), half(hang), "nothing was heard for 100ms", 5},
		"layer: 404":                {"GET " + blobOf(1), status(404, ""), "no such", 1},
		"layer: redirect loop":      {"GET " + blobOf(1), status(307, "", "Location", "/v2/in"+blobOf(1)), "more than 10 redirects", 11},
		"layer: the wrong stretch":  {"GET " + blobOf(1), wrongStretch, "answers with", 2},
		"layer: huge error message": {"GET " + blobOf(1), status(400, strings.Repeat("<b>no\x1b[31m</b>\n", 1<<18)), "400 Bad Request", 1},
		"layer: many errors":        {"GET " + blobOf(1), status(400, `{"errors":[`+strings.Repeat(`{"code":"X","message":"no"},`, 500)+`{"code":"X"}]}`), "multiple errors", 1},
	} {
		t.Run(name, func(t *testing.T) {
			f, host := faultyRegistry(t)
			f.set(c.match, allWrong, c.fault)
			_, err := readAll("docker://"+host+"/in:1", asPatientAs(c.text))
			if err == nil || !strings.Contains(err.Error(), c.text) || len(err.Error()) > 1000 {
				t.Fatalf("error is %.2000v", err)
			}
			if n := len(f.requests()); n > c.most {
				t.Errorf("%d requests", n)
			}
			var e *image.Error
			if errors.As(err, new(*silence.Error)) && !strings.Contains(name, "for ever") && (!errors.As(err, &e) || e.Hint != silence.Hint) {
				t.Errorf("no hint: %v", err)
			}
		})
	}
}

// wrongStretch cuts a blob and sends another part of it than the rest.
func wrongStretch(w http.ResponseWriter, r *http.Request, right *httptest.ResponseRecorder, n int) {
	if n == 0 {
		half(cut)(w, r, right, n)
	}
	w.Header().Set("Content-Range", "bytes 1-2/3")
	w.WriteHeader(http.StatusPartialContent)
}

func TestPushingGetsOverFaults(t *testing.T) {
	for name, c := range map[string]struct {
		match string
		fault fault
	}{
		"check whether pushing is allowed: 503": {"POST /uploads/", status(503, "")},
		"upload: 503":                           {"PATCH /uploads/", status(503, "")},
		"upload: reset":                         {"PATCH /uploads/", reset},
		"end of an upload: 500":                 {"PUT /uploads/", status(500, "")},
		"manifest: 429":                         {"PUT /manifests/", status(429, "")},
		"manifest: reset":                       {"PUT /manifests/", reset},
	} {
		t.Run(name, func(t *testing.T) {
			f, host := faultyRegistry(t)
			src := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
			imagetest.ReadAll(t, src.Images[0])
			f.set(c.match, 1, c.fault)
			ref := "docker://" + host + "/flat:1"
			if _, err := imagetest.StoreErr(t, ref, src, []image.NewImage{imagetest.Flat(src.Images[0], 1, imagetest.Merged12)}, nil, patient()); err != nil {
				t.Fatal(err)
			}
			if n := len(f.requests()); n < 2 {
				t.Errorf("%d requests", n)
			}
			f.set("", 0, nil)
			layers, err := readAll(ref, patient())
			if err != nil {
				t.Fatal(err)
			}
			imagetest.SameLayers(t, layers, [][]byte{imagetest.Base, imagetest.Merged12})
		})
	}
}

func TestPushingGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		match string
		fault fault
		text  string
		most  int
	}{
		"upload: silent":   {"PATCH /uploads/", silent, "nothing was heard for 500ms", 3},
		"upload: 403":      {"PATCH /uploads/", status(403, ""), "denies access", 3},
		"upload: 503":      {"PATCH /uploads/", status(503, ""), "503", 15},
		"manifest: silent": {"PUT /manifests/", silent, "nothing was heard for 500ms", 1},
	} {
		t.Run(name, func(t *testing.T) {
			f, host := faultyRegistry(t)
			src := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{})
			imagetest.ReadAll(t, src.Images[0])
			f.set(c.match, allWrong, c.fault)
			_, err := imagetest.StoreErr(t, "docker://"+host+"/flat:1", src, []image.NewImage{imagetest.Flat(src.Images[0], 1, imagetest.Merged12)}, nil, asPatientAs(c.text))
			if err == nil || !strings.Contains(err.Error(), c.text) || len(err.Error()) > 1000 {
				t.Fatalf("error is %.2000v", err)
			}
			if n := len(f.requests()); n > c.most {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A failure of what is to be pushed is no fault of the registry's, which isn't
// troubled again.
func TestFailingSourceIsNotPushedAgain(t *testing.T) {
	f := &faults{}
	host := imagetest.Registry(t, f.wrap)
	root := imagetest.LayoutOf(imagetest.CompressedThree, false, "").Dir(t)
	src := imagetest.Open(t, "oci:"+root, image.Options{})
	imagetest.ReadAll(t, src.Images[0])
	stored := bytes.Clone(imagetest.CompressedThree.Stored[0])
	stored[len(stored)/2] ^= 1
	path := filepath.Join(root, "blobs/sha256", imagetest.Digest(imagetest.CompressedThree.Stored[0]).Hex)
	imagetest.Must(os.WriteFile(path, stored, 0o644))
	f.set("PATCH /uploads/", 0, status(500, ""))
	_, err := imagetest.StoreErr(t, "docker://"+host+"/other:1", src, []image.NewImage{imagetest.Flat(src.Images[0], 1, imagetest.Merged12)}, nil, patient())
	if !errors.Is(err, image.ErrDigest) {
		t.Fatalf("error is %v", err)
	}
	if n := len(f.requests()); n > 4 {
		t.Errorf("%d uploads", n)
	}
}

func TestRetryAfterIsHonouredAndInterrupted(t *testing.T) {
	f, host := faultyRegistry(t)
	f.set("GET /manifests/", 1, status(429, "", "Retry-After", "1"))
	begin := time.Now()
	if _, err := readAll("docker://"+host+"/in:1", patient()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < time.Second {
		t.Errorf("asked again after %s", took)
	}

	ctx, cancel := context.WithCancel(context.Background())
	f.set("GET /manifests/", allWrong, func(w http.ResponseWriter, r *http.Request, right *httptest.ResponseRecorder, n int) {
		status(503, "", "Retry-After", "86400")(w, r, right, n)
		time.AfterFunc(50*time.Millisecond, cancel)
	})
	ref, err := image.ParseRef("docker://" + host + "/in:1")
	imagetest.Must(err)
	if _, err := place.Open(ctx, ref, image.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if n := len(f.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// Credentials stay with their registry, also where a blob that lies elsewhere is
// asked for again.
func TestCredentialsAreNotSentOn(t *testing.T) {
	whole := imagetest.CompressedThree.Stored[1]
	var mu sync.Mutex
	var elsewhere []http.Header
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		elsewhere = append(elsewhere, r.Header)
		n := len(elsewhere)
		mu.Unlock()
		if n == 1 {
			w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
			_, _ = w.Write(whole[:10])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(whole))
	}))
	t.Cleanup(other.Close)
	f, host := faultyRegistry(t)
	at := strings.Replace(other.URL, "127.0.0.1", "localhost", 1) + "/storage"
	f.set("GET "+blobOf(1), allWrong, func(w http.ResponseWriter, r *http.Request, right *httptest.ResponseRecorder, n int) {
		status(307, "", "Location", at)(w, r, right, n)
	})
	asks := f.handler
	f.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			status(401, "", "WWW-Authenticate", `Basic realm="test"`)(w, r, nil, 0)
			return
		}
		asks.ServeHTTP(w, r)
	})
	config := `{"auths":{"` + host + `":{"auth":"bWU6c2VjcmV0"}}}`
	imagetest.Must(os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600))
	if _, err := readAll("docker://"+host+"/in:1", patient()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(elsewhere) != 2 || !strings.HasPrefix(elsewhere[1].Get("Range"), "bytes=10-") {
		t.Fatalf("%d requests elsewhere", len(elsewhere))
	}
	for _, h := range elsewhere {
		if h.Get("Authorization") != "" {
			t.Error("the credentials went along")
		}
	}
	for _, r := range f.requests() {
		if r.Header.Get("Authorization") == "" {
			t.Error("the registry got no credentials")
		}
	}
}
