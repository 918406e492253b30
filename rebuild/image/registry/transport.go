package registry

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/silence"
)

// How much is borne with a registry.
const (
	tries          = 5           // of one request, or of one upload
	firstPause     = time.Second // after a failure; it doubles with each one that follows, or is a part of the silence time-out if that is short
	longestPause   = time.Minute // that a registry may ask for with Retry-After
	mostRedirects  = 10          // of one request
	storing        = 5           // times the silence time-out: how long a registry may take to answer once it got a blob or manifest, which it stores first
	longestMessage = 16 << 10    // bytes that are read of the answer to a failed request
	document       = 16 << 20    // bytes that are read of any answer but a blob: registries take manifests of 4 MiB
)

// client sends requests to registries. It connects, and reads, with patience
// but not for ever (remote.DefaultTransport allows 30 s for connecting and 10 s
// for the TLS handshake), and gives a registry that failed, or says that it has
// too much to do, time to recover. It doesn't send anything again: go-containerregistry does, as
// retries says.
type client struct {
	silence  time.Duration
	insecure bool
	next     http.RoundTripper

	mu    sync.Mutex
	hosts map[string]*trouble
}

// trouble is what there was with a host of late.
type trouble struct {
	failures int       // since the last success
	until    time.Time // when to ask it again
}

func newClient(opt image.Options) *client {
	return &client{silence: cmp.Or(opt.Timeout, silence.Default), insecure: opt.Insecure, next: connections(opt), hosts: map[string]*trouble{}}
}

// options are go-containerregistry's for this client.
func (c *client) options() []remote.Option {
	return []remote.Option{
		remote.WithTransport(c), remote.WithRetryBackoff(backoff), remote.WithRetryPredicate(retries), remote.WithRetryStatusCodes(busy...),
	}
}

// forChecks is the client for requests that go-containerregistry makes without
// its options, and without a context.
func (c *client) forChecks(ctx context.Context) http.RoundTripper {
	return transport.NewRetry(withContext{ctx, c}, transport.WithRetryBackoff(backoff), transport.WithRetryPredicate(retries), transport.WithRetryStatusCodes(busy...))
}

// backoff has no pauses: they are the client's, where an interrupt ends them.
var backoff = remote.Backoff{Steps: tries}

// busy are the answers after which it is worth to ask again.
var busy = []int{
	http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

func isBusy(status int) bool {
	for _, s := range busy {
		if s == status {
			return true
		}
	}
	return false
}

// retries tells whether a request is made again after an error: a connection
// that broke, and an answer that may be another one next time. A registry that
// can't be connected to, or is silent, has had its time.
func retries(err error) bool {
	var body *silence.BodyError
	var said *transport.Error
	switch {
	case err == nil, errors.As(err, &body), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &said):
		return isBusy(said.StatusCode)
	}
	return isBroken(err)
}

// isBroken tells whether an error is that of a connection that broke.
func isBroken(err error) bool {
	for _, broken := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return false
}

// RoundTrip sends a request. Every answer but a blob is read whole here, so that
// one that breaks off is asked for again like one that doesn't come.
func (c *client) RoundTrip(r *http.Request) (*http.Response, error) {
	first, redirects := r, 0
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
		if redirects++; redirects > mostRedirects {
			return nil, fmt.Errorf("more than %d redirects, the last one to %s", mostRedirects, shortened(r.URL.Host))
		}
	}
	if !c.insecure {
		if err := checkPlain(r); err != nil {
			return nil, err
		}
	}
	if err := c.rest(r); err != nil {
		return nil, err
	}
	isBlob := r.Method == http.MethodGet && strings.Contains(first.URL.Path, "/blobs/")
	fetch, _ := r.Context().Value(fetchKey{}).(*fetch)
	if isBlob && fetch != nil && fetch.from > 0 {
		r.Header.Set("Range", fetch.byteRange())
	}
	limits := silence.Limits{Send: c.silence, Answer: c.silence, Body: c.silence}
	if r.Method == http.MethodPatch || r.Method == http.MethodPut {
		limits.Answer = storing * c.silence
	}
	resp, err := silence.RoundTrip(c.next, r, limits)
	if err == nil && resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && isBlob && r.Header.Get("Range") != "" {
		// a registry that knows no ranges, or not this one
		if err = resp.Body.Close(); err == nil {
			r.Header.Del("Range")
			resp, err = silence.RoundTrip(c.next, r, limits)
		}
	}
	switch {
	case err != nil:
	case isBlob && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent):
		if fetch != nil {
			err = fetch.take(resp)
		}
	default:
		if err = readWhole(resp); err == nil {
			err = checkStored(r, resp)
		}
	}
	if err != nil {
		if retries(err) {
			c.failed(r.URL.Host, 0)
		}
		return nil, err
	}
	if isBusy(resp.StatusCode) {
		c.failed(r.URL.Host, retryAfter(resp.Header))
	} else {
		c.worked(r.URL.Host)
	}
	return resp, nil
}

// readWhole reads a body, or the start of it where it says only what went wrong.
func readWhole(resp *http.Response) error {
	limit := int64(document)
	if resp.StatusCode >= http.StatusMultipleChoices {
		limit = longestMessage
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	err = errors.Join(err, resp.Body.Close())
	if err != nil && resp.StatusCode < http.StatusMultipleChoices {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return nil
}

// checkStored is an error if a registry says that it has stored something else than
// it was sent: nobody could fetch it by the digest that is told.
func checkStored(r *http.Request, resp *http.Response) error {
	said, err := v1.NewHash(resp.Header.Get("Docker-Content-Digest"))
	if r.Method != http.MethodPut || resp.StatusCode != http.StatusCreated || err != nil {
		return nil // it needn't say
	}
	want, err := v1.NewHash(r.URL.Query().Get("digest")) // of a blob
	if err != nil {
		if !strings.Contains(r.URL.Path, "/manifests/") || r.GetBody == nil {
			return nil
		}
		body, err := r.GetBody()
		if err != nil {
			return err
		}
		sent, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil {
			return err
		}
		want = image.DigestOf(sent)
	}
	if said.Algorithm == want.Algorithm && said != want {
		return image.Detail(image.ErrDigest, "digest mismatch: the registry says that it has stored %s, it was sent %s", said, want)
	}
	return nil
}

// rest waits until the request's host may be asked.
func (c *client) rest(r *http.Request) error {
	c.mu.Lock()
	pause := time.Duration(0)
	if t := c.hosts[r.URL.Host]; t != nil {
		pause = time.Until(t.until)
	}
	c.mu.Unlock()
	if pause <= 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

// failed gives a host time to recover, at least as much as it asks for. Requests
// that fail at the same time are one failure.
func (c *client) failed(host string, asked time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.hosts[host]
	if t == nil {
		t = &trouble{}
		c.hosts[host] = t
	}
	if now := time.Now(); !now.Before(t.until) {
		t.until = now.Add(min(min(firstPause, c.silence/20)<<min(t.failures, tries), longestPause))
		t.failures++
	}
	if until := time.Now().Add(min(asked, longestPause)); until.After(t.until) {
		t.until = until
	}
}

func (c *client) worked(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.hosts, host)
}

// retryAfter is how long a registry asks to be left alone (RFC 9110, 10.2.3).
func retryAfter(h http.Header) time.Duration {
	after := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(after, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(after); err == nil {
		return time.Until(at)
	}
	return 0
}

// withContext ends requests with a context that they weren't made with.
type withContext struct {
	ctx context.Context
	rt  http.RoundTripper
}

func (w withContext) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	return w.rt.RoundTrip(r.WithContext(joined{w.ctx, r.Context()}))
}

// joined is a context that ends with one and has the values of another.
type joined struct {
	context.Context
	values context.Context
}

func (j joined) Value(key any) any { return j.values.Value(key) }

// shortened is a text that a registry may have made as long as it liked.
func shortened(s string) string {
	const most = 500
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + " …"
}
