//go:build linux

package hostile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// silence is how long the program waits for a silent peer in these tests. Its
// pauses between two tries follow from it.
const silence = "DOCKER_FLATTEN_TIMEOUT=1s"

// A fault happens to one request, counted from 1, or to all from there on.
type fault struct {
	name    string
	why     string
	request int
	always  bool
	times   int // how often, if neither once nor always
	do      func(w http.ResponseWriter, r *http.Request, next http.Handler)
	heals   bool // the program must get over it
}

func (f fault) String() string {
	how := "once"
	if f.always {
		how = "always"
	} else if f.times > 1 {
		how = fmt.Sprint(f.times, "-times")
	}
	return fmt.Sprintf("%s-%s-at-%d", f.name, how, f.request)
}

// faulty is a registry that behaves but for one fault.
type faulty struct {
	next http.Handler
	mu   sync.Mutex
	n    int
	f    fault
	on   bool
	seen []string
}

func (s *faulty) turn(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = on
}

func (s *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	hit := false
	if s.on {
		s.n++
		s.seen = append(s.seen, r.Method+" "+r.URL.Path)
		hit = s.n == s.f.request || s.n > s.f.request && (s.f.always || s.n < s.f.request+s.f.times)
	}
	s.mu.Unlock()
	if hit {
		s.f.do(w, r, s.next)
		return
	}
	s.next.ServeHTTP(w, r)
}

// answer is what the registry would have said.
func answer(r *http.Request, next http.Handler) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	return rec
}

func send(w http.ResponseWriter, rec *httptest.ResponseRecorder, body []byte) {
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body) // the program may be gone
}

func status(code int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"errors":[{"code":"X","message":"fault %d"}]}`, code)
	}
}

// errorBody is a large body of an error, full of what a terminal acts on.
func errorBody(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.WriteHeader(http.StatusBadRequest)
	evil := "\x1b]0;owned\x07\u009b31m\u202e"
	if strings.Contains(r.URL.Path, "manifests") {
		fmt.Fprintf(w, `{"errors":[{"code":"%s","message":%q,"detail":"x"}]}`, "\u202ex", evil+long("y", 1<<20))
		return
	}
	_, _ = io.WriteString(w, evil+long("text\n\x1b[31m", 4<<20))
}

func reset(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// cut sends half of a body whose whole length it has promised.
func cut(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := answer(r, next)
	b := rec.Body.Bytes()
	if len(b) < 2 {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	send(w, rec, b[:len(b)/2])
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

func hang(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func hangWithin(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := answer(r, next)
	b := rec.Body.Bytes()
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	send(w, rec, b[:len(b)/2])
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	hang(w, r, next)
}

func delay(w http.ResponseWriter, r *http.Request, next http.Handler) {
	time.Sleep(400 * time.Millisecond)
	next.ServeHTTP(w, r)
}

// slowly sends a byte now and then: slow isn't silent.
func slowly(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := answer(r, next)
	b := rec.Body.Bytes()
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	if len(b) == 0 {
		return
	}
	const pieces = 12
	for i := range pieces {
		_, _ = w.Write(b[len(b)*i/pieces : len(b)*(i+1)/pieces])
		w.(http.Flusher).Flush()
		time.Sleep(150 * time.Millisecond)
	}
}

func corrupt(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := answer(r, next)
	b := bytes.Clone(rec.Body.Bytes())
	if len(b) > 0 {
		b[len(b)/2] ^= 0x20
	}
	send(w, rec, b)
}

func swap(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := answer(r, next)
	rec.Header().Del("Content-Length")
	send(w, rec, []byte(long("other bytes ", max(1, rec.Body.Len()))))
}

func longer(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := answer(r, next)
	b := append(bytes.Clone(rec.Body.Bytes()), "more than was promised"...)
	rec.Header().Del("Content-Length")
	send(w, rec, b)
}

func endless(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := answer(r, next)
	rec.Header().Del("Content-Length")
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	for r.Context().Err() == nil {
		if _, err := w.Write(make([]byte, 1<<16)); err != nil {
			return
		}
	}
}

func loop(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body)
	http.Redirect(w, r, r.URL.Path+"?again="+strconv.Itoa(rand.Int()), http.StatusTemporaryRedirect)
}

func nowhere(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body)
	http.Redirect(w, r, "http://127.0.0.1:1/\x1b[31m", http.StatusTemporaryRedirect)
}

// requests is how many requests a pull and a push of the tests' image take, or
// more: a fault at a request that never comes is an honest run.
const pullRequests, pushRequests = 6, 13

func pullFaults() []fault {
	var all []fault
	for n := 1; n <= pullRequests; n++ {
		at := func(name, why string, heals bool, do func(http.ResponseWriter, *http.Request, http.Handler)) {
			all = append(all, fault{name: name, why: why, request: n, do: do, heals: heals})
		}
		at("500", "a registry that stumbles", true, status(500))
		at("503", "that is busy", true, status(503))
		at("429", "that is asked too much", true, status(429))
		at("reset", "a connection that breaks", true, reset)
		at("cut", "in the middle of a body", true, cut)
		at("hang", "silence", false, hang)
		at("hang-within", "silence in the middle of a body", false, hangWithin)
		at("delay", "a registry that thinks", true, delay)
		at("slow", "a body that takes long, but isn't silent", true, slowly)
		at("corrupt", "a byte that isn't what was stored", false, corrupt)
		at("swap", "another document", false, swap)
		at("longer", "more bytes than there are", false, longer)
		at("error-body", "an error of megabytes that speaks to the terminal", false, errorBody)
		at("404", "what isn't there", false, status(404))
		at("401", "what isn't for you", false, status(401))
		for _, f := range []fault{
			{name: "500", why: "a registry that doesn't recover", do: status(500), always: true},
			{name: "429", why: "that wants no more", do: status(429), always: true},
			{name: "503", why: "that recovers late", do: status(503), times: 3},
			{name: "reset", why: "a network that is down", do: reset, always: true},
			{name: "hang", why: "a registry that hangs", do: hang, always: true},
			{name: "cut", why: "one that can't send a whole body", do: cut, always: true},
			{name: "loop", why: "redirects without an end", do: loop, always: true},
			{name: "nowhere", why: "a redirect that leads nowhere", do: nowhere, always: true},
			{name: "endless", why: "a body without an end", do: endless, always: true},
		} {
			f.request = n
			all = append(all, f)
		}
	}
	return all
}

func pushFaults() []fault {
	var all []fault
	for n := 1; n <= pushRequests; n++ {
		for _, f := range []fault{
			{name: "500", why: "a registry that stumbles", do: status(500), heals: true},
			{name: "503", why: "that is busy", do: status(503), heals: true},
			{name: "429", why: "that is asked too much", do: status(429), heals: true},
			{name: "reset", why: "a connection that breaks", do: reset, heals: true},
			{name: "hang", why: "silence", do: hang},
			{name: "delay", why: "a registry that thinks", do: delay, heals: true},
			{name: "error-body", why: "an error of megabytes that speaks to the terminal", do: errorBody},
			{name: "403", why: "what you may not", do: status(403)},
			{name: "500", why: "a registry that doesn't recover", do: status(500), always: true},
			{name: "hang", why: "a registry that hangs", do: hang, always: true},
			{name: "loop", why: "redirects without an end", do: loop, always: true},
		} {
			f.request = n
			all = append(all, f)
		}
	}
	return all
}

// newRegistry is a registry on a loopback address with the fault, which isn't on yet.
func newRegistry(t *testing.T, f fault) (host string, s *faulty) {
	t.Helper()
	s = &faulty{next: registry.New(registry.Logger(log.New(io.Discard, "", 0))), f: f}
	server := httptest.NewUnstartedServer(s)
	serve(t, server)
	return strings.TrimPrefix(server.URL, "http://"), s
}

// serve starts a server that ends with the test, whatever its handlers wait for: a
// server doesn't see that a connection closes on which a further request waits.
func serve(t *testing.T, server *httptest.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	t.Cleanup(func() {
		cancel()
		server.CloseClientConnections()
		server.Close()
	})
}

// fill puts an image into a registry, by the API.
func fill(t *testing.T, host, repository string, im image) {
	t.Helper()
	blob := func(b []byte) {
		resp, err := http.Post(fmt.Sprintf("http://%s/v2/%s/blobs/uploads/?digest=%s", host, repository, digest(b)), "application/octet-stream", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("store a blob: %s", resp.Status)
		}
	}
	blob(im.document())
	for _, l := range im.layers {
		blob(l.blob())
	}
	req, err := http.NewRequest(http.MethodPut, fmt.Sprintf("http://%s/v2/%s/manifests/1", host, repository), bytes.NewReader(encode(im.manifest())))
	must(err)
	req.Header.Set("Content-Type", ociManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("store a manifest: %s", resp.Status)
	}
}

// fetch reads an image out of a registry; ok is false if the tag isn't there.
func fetch(t *testing.T, host, repository, tag string) (f map[string][]byte, ok bool) {
	t.Helper()
	get := func(path string) []byte {
		req, err := http.NewRequest(http.MethodGet, "http://"+host+"/v2/"+repository+path, nil)
		must(err)
		req.Header.Set("Accept", ociManifest)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			return nil
		}
		return b
	}
	m := get("/manifests/" + tag)
	if m == nil {
		return nil, false
	}
	f = map[string][]byte{"blobs/sha256/" + hex(m): m, "index.json": encode(indexOf(descriptor(ociManifest, m)))}
	for _, d := range digestsIn(m) {
		f["blobs/sha256/"+d] = get("/blobs/sha256:" + d)
	}
	return f, true
}

func digestsIn(b []byte) []string {
	var all []string
	for _, part := range strings.Split(string(b), `"sha256:`)[1:] {
		all = append(all, part[:64])
	}
	return all
}

// faultImage is big enough to be cut in the middle.
func faultImage() image {
	r := rand.New(rand.NewPCG(1, 2))
	body := make([]byte, 200000)
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	im := app("srv/", "srv/data="+strings.ReplaceAll(string(body), "=", "-"), ".wh.var")
	im.names = []string{"app:1"}
	return im
}

// checkOutcome is what holds under every fault: success with the right image,
// or one line and nothing left.
func checkOutcome(t *testing.T, f fault, r result, c command, before, after map[string]string) {
	t.Helper()
	checkRun(t, r, c)
	if r.timedOut {
		return
	}
	if r.code > 1 {
		t.Errorf("exit code %d: %s", r.code, short(r.stderr))
	}
	if f.heals && r.code != 0 {
		t.Errorf("didn't get over it: %s", short(r.stderr))
	}
	if r.code != 0 {
		checkUnchanged(t, before, after)
	}
}

func TestFaultPull(t *testing.T) {
	t.Parallel() // with what waits, too
	for _, f := range pullFaults() {
		t.Run(f.String(), func(t *testing.T) {
			if testing.Short() && (f.always || f.request != 4) {
				t.Skip("left out by -short")
			}
			t.Parallel()
			im := faultImage()
			host, s := newRegistry(t, f)
			fill(t, host, "app", im)
			s.turn(true)
			p := newPlace(t)
			before := p.listing()
			c := command{
				args:  []string{"-q", "--base", "1", "-o", "oci:out/layout:flat", "docker://" + host + "/app:1"},
				env:   []string{silence},
				limit: 40 * time.Second, waits: true,
			}
			r := p.run(c)
			checkOutcome(t, f, r, c, before, p.listing())
			if r.code == 0 {
				checkStored(t, p.path("out/layout"), "flat", im)
				checkUnchanged(t, before, p.listing("out/layout"))
			}
		})
	}
}

// checkStored fails unless the layout's image of that name shows what im shows.
func checkStored(t *testing.T, path, name string, im image) {
	t.Helper()
	files, err := readFiles(path)
	if err != nil {
		t.Error(err)
		return
	}
	got, err := readImage(files, name)
	if err != nil {
		t.Errorf("the result: %v", err)
		return
	}
	sameImage(t, im, got)
}

func TestFaultPush(t *testing.T) {
	t.Parallel() // with what waits, too
	for _, f := range pushFaults() {
		t.Run(f.String(), func(t *testing.T) {
			if testing.Short() && (f.always || f.request != 4) {
				t.Skip("left out by -short")
			}
			t.Parallel()
			im := faultImage()
			host, s := newRegistry(t, f)
			p := newPlace(t)
			input := p.file("image.tar", archive(im).tar())
			before := p.listing()
			s.turn(true)
			c := command{
				args:  []string{"-q", "--base", "1", "-o", "docker://" + host + "/flat:1", input},
				env:   []string{silence},
				limit: 40 * time.Second, waits: true,
			}
			r := p.run(c)
			s.turn(false)
			checkOutcome(t, f, r, c, before, p.listing())
			got, ok := fetch(t, host, "flat", "1")
			if !ok && r.code == 0 {
				t.Error("success, but the registry has no such image")
			}
			if ok {
				stored, err := readImage(got, "")
				if err != nil {
					t.Errorf("the result: %v", err)
					return
				}
				sameImage(t, im, stored)
				if r.code == 0 && !strings.Contains(r.stdout, host+"/flat@sha256:") {
					t.Errorf("printed %q", r.stdout)
				}
			}
			checkUnchanged(t, before, p.listing())
		})
	}
}
