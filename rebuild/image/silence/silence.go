// Package silence ends HTTP requests whose other side falls silent. It looks at
// silence alone: a request that goes on may last as long as it likes.
package silence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Default is how long the other side may be silent where nobody says otherwise.
const Default = time.Minute

// Error says that the other side was silent for too long.
type Error struct{ For time.Duration }

func (e *Error) Error() string { return fmt.Sprintf("nothing was heard for %s", e.For) }

// Hint says what a user can do about it.
const Hint = "DOCKER_FLATTEN_TIMEOUT sets how long silence is borne, such as 5m"

// Limits are how long the other side of a request may be silent. 0 = for ever.
type Limits struct {
	Send   time.Duration // takes no byte of the request's body
	Answer time.Duration // has got the request and doesn't answer
	Body   time.Duration // sends no byte of its answer
}

// RoundTrip has next carry out a request within the limits; connecting counts as
// sending. The error is an *Error where the other side was silent. A request
// whose own body fails returns that failure as a *BodyError.
func RoundTrip(next http.RoundTripper, r *http.Request, limits Limits) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	w := &watch{cancel: cancel}
	req := r.WithContext(ctx)
	var body *sending
	if r.Body != nil && r.Body != http.NoBody {
		w.start(limits.Send)
		body = &sending{ReadCloser: r.Body, watch: w, limits: limits}
		req.Body = body
		if r.GetBody != nil {
			req.GetBody = func() (io.ReadCloser, error) {
				again, err := r.GetBody()
				if err != nil {
					return nil, err
				}
				w.start(limits.Send)
				return &sending{ReadCloser: again, watch: w, limits: limits}, nil
			}
		}
	} else {
		w.start(limits.Answer)
	}
	resp, err := next.RoundTrip(req)
	w.stop()
	if err != nil {
		err = w.explain(ctx, err)
		if body != nil {
			if own := body.failure(); own != nil && r.Context().Err() == nil {
				err = &BodyError{own}
			}
		}
		cancel(nil)
		return nil, err
	}
	resp.Request = r
	resp.Body = &receiving{ReadCloser: resp.Body, ctx: ctx, watch: w, limit: limits.Body}
	return resp, nil
}

// BodyError is the failure of a request's own body: the other side is not to
// blame.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return e.Err.Error() }
func (e *BodyError) Unwrap() error { return e.Err }

// watch cancels a request unless it is stopped in time.
type watch struct {
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
}

// start starts the time anew, 0 = without an end.
func (w *watch) start(limit time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.timer = nil
	if limit > 0 {
		w.timer = time.AfterFunc(limit, func() { w.cancel(&Error{limit}) })
	}
}

func (w *watch) stop() { w.start(0) }

// explain is the silence that an error came of, or else the error.
func (w *watch) explain(ctx context.Context, err error) error {
	var silent *Error
	if errors.As(context.Cause(ctx), &silent) {
		return silent
	}
	return err
}

// sending is a request's body. Time runs while the transport has bytes to get
// rid of, not while this program makes more.
type sending struct {
	io.ReadCloser
	watch  *watch
	limits Limits

	mu  sync.Mutex
	err error
}

func (s *sending) Read(p []byte) (int, error) {
	s.watch.stop()
	n, err := s.ReadCloser.Read(p)
	switch {
	case err == nil:
		s.watch.start(s.limits.Send)
	case err == io.EOF:
		s.watch.start(s.limits.Answer)
	case !errors.Is(err, io.ErrClosedPipe): // the transport closes what it doesn't need any more
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
	}
	return n, err
}

func (s *sending) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// receiving is the body of an answer. Time runs while somebody waits for it.
type receiving struct {
	io.ReadCloser
	ctx   context.Context
	watch *watch
	limit time.Duration
}

func (r *receiving) Read(p []byte) (int, error) {
	r.watch.start(r.limit)
	n, err := r.ReadCloser.Read(p)
	r.watch.stop()
	if err != nil && err != io.EOF {
		err = r.watch.explain(r.ctx, err)
	}
	return n, err
}

func (r *receiving) Close() error {
	r.watch.stop()
	err := r.ReadCloser.Close()
	r.watch.cancel(nil)
	return err
}
