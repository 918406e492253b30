//go:build linux

package hostile

import (
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// answerFault is a registry that says what isn't so.
type answerFault struct {
	name, why string
	push      bool
	heals     bool // the program must get over it
	fails     bool // it can't: the run must fail
	handler   func(b bench) http.HandlerFunc
}

// bench is what a lying registry has to lie with.
type bench struct {
	next  http.Handler // behaves
	here  string       // its host
	port  string       // another host that behaves: another port of the same address
	other string       // another name
	count *atomic.Int64
}

// secret is a password that no other host may get.
const secret = "user:hostile-secret"

func isBlob(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:")
}

func isManifest(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }

// raw answers with these bytes and ends the connection.
func raw(w http.ResponseWriter, b string) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(c, b) // the program may be gone
	_ = c.Close()
}

func answerFaults() []answerFault {
	// when answers what is by do, the rest honestly.
	when := func(is func(*http.Request) bool, do func(b bench, w http.ResponseWriter, r *http.Request)) func(b bench) http.HandlerFunc {
		return func(b bench) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if is(r) {
					do(b, w, r)
					return
				}
				b.next.ServeHTTP(w, r)
			}
		}
	}
	// ranged cuts each blob in the middle and answers by do where the rest is asked for.
	ranged := func(do func(w http.ResponseWriter, r *http.Request, whole []byte)) func(b bench) http.HandlerFunc {
		return when(isBlob, func(b bench, w http.ResponseWriter, r *http.Request) {
			asked := r.Header.Get("Range")
			plain := r.Clone(r.Context())
			plain.Header.Del("Range")
			if asked == "" {
				cut(w, plain, b.next)
				return
			}
			do(w, r, answer(plain, b.next).Body.Bytes())
		})
	}
	// changed changes honest answers before they are sent.
	changed := func(is func(*http.Request) bool, change func(b bench, rec *httptest.ResponseRecorder)) func(b bench) http.HandlerFunc {
		return when(is, func(b bench, w http.ResponseWriter, r *http.Request) {
			rec := answer(r, b.next)
			change(b, rec)
			send(w, rec, rec.Body.Bytes())
		})
	}
	// denied answers 401 to all without a token, or to all.
	denied := func(always bool, realm func(b bench) string, token func(w http.ResponseWriter)) func(b bench) http.HandlerFunc {
		return func(b bench) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasPrefix(r.URL.Path, "/token"):
					token(w)
				case always || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer "):
					_, _ = io.Copy(io.Discard, r.Body)
					w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="x",scope="repository:app:pull"`, realm(b)))
					w.WriteHeader(http.StatusUnauthorized)
				default:
					b.next.ServeHTTP(w, r)
				}
			}
		}
	}
	here := func(b bench) string { return "http://" + b.here + "/token" }
	gives := func(s string) func(w http.ResponseWriter) {
		return func(w http.ResponseWriter) { fmt.Fprint(w, s) }
	}
	isUpload := func(r *http.Request) bool { return r.Method == http.MethodPost }
	isPut := func(r *http.Request) bool { return r.Method == http.MethodPut }
	located := func(to func(b bench, path string) string) func(b bench) http.HandlerFunc {
		return changed(isUpload, func(b bench, rec *httptest.ResponseRecorder) {
			at := rec.Header().Get("Location")
			if at == "" {
				return
			}
			if i := strings.Index(at, "/v2/"); i > 0 {
				at = at[i:]
			}
			rec.Header().Set("Location", to(b, at))
		})
	}
	header := func(key string, value func(b bench) string) func(b bench, rec *httptest.ResponseRecorder) {
		return func(b bench, rec *httptest.ResponseRecorder) {
			rec.Header().Del(key)
			if v := value(b); v != "" {
				rec.Header().Set(key, v)
			}
		}
	}
	is := func(s string) func(bench) string { return func(bench) string { return s } }
	wrong := "sha256:" + long("ab", 64)
	return []answerFault{
		// Ranges
		{name: "range-other", why: "the first bytes where the last ones were asked for", handler: ranged(func(w http.ResponseWriter, _ *http.Request, whole []byte) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(whole)/2-1, len(whole)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(whole[:len(whole)/2])
		})},
		{name: "range-unsaid", why: "a part that doesn't say which", handler: ranged(func(w http.ResponseWriter, _ *http.Request, whole []byte) {
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(whole[:len(whole)/2])
		})},
		{name: "range-whole", why: "everything instead of a part", heals: true, handler: ranged(func(w http.ResponseWriter, _ *http.Request, whole []byte) {
			_, _ = w.Write(whole)
		})},
		{name: "range-refused", why: "no part at all", handler: ranged(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		})},
		{name: "range-empty", why: "a part of nothing, again and again", fails: true, handler: ranged(func(w http.ResponseWriter, r *http.Request, whole []byte) {
			w.Header().Set("Content-Range", strings.Replace(r.Header.Get("Range"), "=", " ", 1)+fmt.Sprintf("%d/%d", len(whole)-1, len(whole)))
			w.WriteHeader(http.StatusPartialContent)
		})},
		{name: "range-longer", why: "a part that goes on behind the end", handler: ranged(func(w http.ResponseWriter, r *http.Request, whole []byte) {
			from, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"))
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(whole)+99, len(whole)+100))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(append(whole[from:len(whole):len(whole)], make([]byte, 100)...))
		})},

		// Lengths and forms of an answer
		{name: "length-short", why: "a length of half the body", handler: when(isBlob, func(b bench, w http.ResponseWriter, r *http.Request) {
			body := answer(r, b.next).Body.String()
			raw(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body)/2, body))
		})},
		{name: "length-huge", why: "a length that no body has", handler: when(isBlob, func(b bench, w http.ResponseWriter, r *http.Request) {
			raw(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", int64(1)<<62, answer(r, b.next).Body))
		})},
		{name: "length-twice", why: "two lengths", fails: true, handler: when(isManifest, func(b bench, w http.ResponseWriter, r *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 20\r\n\r\n"+answer(r, b.next).Body.String())
		})},
		{name: "length-none", why: "a body that ends with the connection", handler: when(isBlob, func(b bench, w http.ResponseWriter, r *http.Request) {
			raw(w, "HTTP/1.0 200 OK\r\n\r\n"+answer(r, b.next).Body.String())
		})},
		{name: "encoding-gzip", why: "a body that is packed on its way, which nobody asked for", handler: changed(isBlob, func(_ bench, rec *httptest.ResponseRecorder) {
			packed := gzipped(rec.Body.Bytes())
			rec.Body.Reset()
			rec.Body.Write(packed)
			rec.Header().Del("Content-Length")
			rec.Header().Set("Content-Encoding", "gzip")
		})},
		{name: "no-http", why: "a peer that speaks something else", fails: true, handler: when(isManifest, func(_ bench, w http.ResponseWriter, _ *http.Request) {
			raw(w, "220 mail.example ESMTP \x1b[31m\r\n")
		})},
		{name: "status-999", why: "a status that isn't, with escapes in its text", fails: true, handler: when(isManifest, func(_ bench, w http.ResponseWriter, _ *http.Request) {
			raw(w, "HTTP/1.1 999 \x1b]0;owned\x07\u009b31m\r\nContent-Length: 0\r\n\r\n")
		})},
		{name: "status-204", why: "success and nothing with it", fails: true, handler: when(isManifest, func(_ bench, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })},
		{name: "header-2M", why: "a header of two megabytes", fails: true, handler: when(isManifest, func(_ bench, w http.ResponseWriter, _ *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\nX: "+long("x", 2<<20)+"\r\nContent-Length: 0\r\n\r\n")
		})},
		{name: "early-hints", why: "a thousand answers before the answer", handler: when(isBlob, func(b bench, w http.ResponseWriter, r *http.Request) {
			body := answer(r, b.next).Body.String()
			raw(w, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", 1000)+fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
		})},

		// Manifests
		{name: "digest-header-wrong", why: "a manifest of another digest than its header says", handler: changed(isManifest, header("Docker-Content-Digest", is(wrong)))},
		{name: "digest-header-rubbish", why: "a header that is no digest", handler: changed(isManifest, header("Docker-Content-Digest", is("../../x\x7f")))},
		{name: "head-alone", why: "a manifest that is there until it is asked for", fails: true, handler: when(func(r *http.Request) bool { return isManifest(r) && r.Method == http.MethodGet }, func(_ bench, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
		})},
		{name: "type-html", why: "a manifest that is said to be a page", handler: changed(isManifest, header("Content-Type", is("text/html; charset=utf-8")))},
		{name: "type-index", why: "or an index", handler: changed(isManifest, header("Content-Type", is(ociIndex)))},
		{name: "type-schema1", why: "or of the oldest schema", handler: changed(isManifest, header("Content-Type", is("application/vnd.docker.distribution.manifest.v1+prettyjws")))},
		{name: "type-two-lines", why: "or has a type that acts on a terminal", handler: changed(isManifest, header("Content-Type", is("a/b;x=\"\u009b31m\"")))},

		// Who may
		{name: "denied-always", why: "a token that is never enough", fails: true, handler: denied(true, here, gives(`{"token":"t"}`))},
		{name: "realm-changing", why: "another realm in every answer", fails: true, handler: denied(true, func(b bench) string {
			return fmt.Sprint(here(b), b.count.Add(1))
		}, gives(`{"token":"t"}`))},
		{name: "realm-file", why: "a realm that is a file of the machine", fails: true, handler: denied(true, is("file:///etc/passwd"), nil)},
		{name: "realm-rubbish", why: "a realm that is no address", fails: true, handler: denied(true, is(`http://[::1/%zz`), nil)},
		{name: "realm-relative", why: "or one without a host", fails: true, handler: denied(true, is("/token"), gives(`{"token":"t"}`))},
		{name: "token-newline", why: "a token that is a header of its own", fails: true, handler: denied(false, here, gives(`{"token":"a\r\nX-Evil: 1"}`))},
		{name: "token-empty", why: "no token", fails: true, handler: denied(false, here, gives(`{}`))},
		{name: "token-rubbish", why: "a token that is none", fails: true, handler: denied(false, here, gives("\x1b[31mrubbish"))},
		{name: "token-endless", why: "a token without an end", fails: true, handler: denied(false, here, func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"token":"`)
			for {
				if _, err := io.WriteString(w, long("t", 1<<16)); err != nil {
					return
				}
			}
		})},

		// Other places
		{name: "redirect-port", why: "blobs that are at another port", heals: true, handler: when(isBlob, func(b bench, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+b.port+r.URL.Path, http.StatusTemporaryRedirect)
		})},
		{name: "redirect-name", why: "or at another host", heals: true, handler: when(isBlob, func(b bench, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+b.other+r.URL.Path, http.StatusTemporaryRedirect)
		})},
		{name: "redirect-file", why: "or in a file of the machine", fails: true, handler: when(isBlob, func(_ bench, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusTemporaryRedirect)
		})},
		{name: "redirect-without", why: "or nowhere", fails: true, handler: when(isBlob, func(_ bench, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) })},

		// Uploads
		{name: "upload-port", why: "an upload that goes to another port", push: true, handler: located(func(b bench, path string) string { return "http://" + b.port + path })},
		{name: "upload-name", why: "or to another host", push: true, handler: located(func(b bench, path string) string { return "http://" + b.other + path })},
		{name: "upload-relative", why: "or to a path", push: true, heals: true, handler: located(func(_ bench, path string) string { return path })},
		{name: "upload-file", why: "or to a file", push: true, fails: true, handler: located(func(bench, string) string { return "file:///etc/passwd" })},
		{name: "upload-rubbish", why: "or to what is no address", push: true, fails: true, handler: located(func(bench, string) string { return "http://[::1/\u009b31m" })},
		{name: "upload-without", why: "or nowhere", push: true, fails: true, handler: changed(isUpload, header("Location", is("")))},
		{name: "created-without-digest", why: "a registry that doesn't say what it has stored", push: true, heals: true, handler: changed(isPut, header("Docker-Content-Digest", is("")))},
		{name: "created-wrong-digest", why: "or says it has stored something else", push: true, fails: true, handler: changed(isPut, header("Docker-Content-Digest", is(wrong)))},
		{name: "created-200", why: "or says it with another number", push: true, handler: changed(isPut, func(_ bench, rec *httptest.ResponseRecorder) { rec.Code = http.StatusOK })},
		{name: "created-body", why: "or says much", push: true, heals: true, handler: changed(isPut, func(_ bench, rec *httptest.ResponseRecorder) { rec.Body.WriteString(long("text\x1b[31m", 4<<20)) })},
		{name: "head-longer", why: "a registry that has each blob, of another size", push: true, handler: changed(func(r *http.Request) bool {
			return r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/blobs/")
		}, header("Content-Length", is("7")))},
	}
}

func TestFaultAnswer(t *testing.T) {
	t.Parallel() // with what waits, too
	for _, f := range answerFaults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			f.run(t)
		})
	}
}

func (f answerFault) run(t *testing.T) {
	honest := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	var mu sync.Mutex
	var leaks []string
	// The other hosts have the same blobs, and note who shows them a password.
	elsewhere := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			mu.Lock()
			leaks = append(leaks, r.Method+" "+r.Host+r.URL.Path)
			mu.Unlock()
		}
		honest.ServeHTTP(w, r)
	}))
	serve(t, elsewhere)
	port := strings.TrimPrefix(elsewhere.URL, "http://")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(secret))
	b := bench{port: port, other: strings.Replace(port, "127.0.0.1", "localhost", 1), count: new(atomic.Int64)}
	var handler http.HandlerFunc
	on := false
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		lies := on
		mu.Unlock()
		if lies {
			handler(w, r)
			return
		}
		honest.ServeHTTP(w, r)
	}))
	serve(t, server)
	b.here = strings.TrimPrefix(server.URL, "http://")
	// The honest part wants the password that the other hosts mustn't see. A token
	// does as well.
	b.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := r.Header.Get("Authorization"); a != basic && !strings.HasPrefix(a, "Bearer ") {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		honest.ServeHTTP(w, r)
	})
	handler = f.handler(b)
	im := faultImage()
	p := newPlace(t)
	must(os.WriteFile(p.path("home/config.json"), encode(object{"auths": object{b.here: object{"auth": base64.StdEncoding.EncodeToString([]byte(secret))}}}), 0o600))
	args := []string{"-q", "--base", "1", "-o", "oci:out/layout:flat", "docker://" + b.here + "/app:1"}
	if f.push {
		args = []string{"-q", "--base", "1", "-o", "docker://" + b.here + "/flat:1", p.file("image.tar", archive(im).tar())}
	} else {
		fill(t, b.here, "app", im)
	}
	turn := func(to bool) {
		mu.Lock()
		defer mu.Unlock()
		on = to
	}
	before := p.listing()
	turn(true)
	c := command{args: args, env: []string{silence}, limit: 40 * time.Second, waits: true}
	r := p.run(c)
	turn(false)
	checkOutcome(t, fault{heals: f.heals}, r, c, before, p.listing())
	if f.fails && r.code == 0 {
		t.Error("success, where none can be")
	}
	mu.Lock()
	if len(leaks) > 0 {
		t.Errorf("another host was shown the password: %v", leaks)
	}
	mu.Unlock()
	if strings.Contains(r.stderr, "hostile-secret") {
		t.Errorf("the password is printed: %s", short(r.stderr))
	}
	if os.Getenv("HOSTILE_SHOW") != "" {
		t.Logf("%v: %d: %s", r.took.Round(time.Millisecond), r.code, short(strings.TrimSpace(r.stderr)))
	}
	if !f.push {
		if r.code == 0 {
			checkStored(t, p.path("out/layout"), "flat", im)
			checkUnchanged(t, before, p.listing("out/layout"))
		}
		return
	}
	got, ok := fetch(t, b.here, "flat", "1")
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
	}
}
