package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"docker-flatten/rebuild/image"
)

// enough is how many bytes show that a blob's download goes on: its tries are
// counted from the last stretch of as many.
const enough = 1 << 20

// fetchKey is what a context has its *fetch under.
type fetchKey struct{}

// fetch is one request for a blob, or for its end. The client takes the answer
// here: go-containerregistry, through which the request goes for the sake of its
// credentials and redirects, passes none on that begins in a blob's middle, and
// takes the digest of what the caller takes it of, too.
type fetch struct {
	from, end int64 // the end is 0 where it isn't known
	body      io.Reader
}

// byteRange is the Range header for the rest of the blob, "" for all of it. It
// names the end where that is known: some registries take no other.
func (f *fetch) byteRange() string {
	switch {
	case f.from == 0:
		return ""
	case f.end > f.from:
		return fmt.Sprintf("bytes=%d-%d", f.from, f.end-1)
	}
	return fmt.Sprintf("bytes=%d-", f.from)
}

// take takes an answer. One that has the whole blob is read up to where the rest
// begins.
func (f *fetch) take(resp *http.Response) error {
	if resp.StatusCode == http.StatusPartialContent {
		if want := fmt.Sprintf("bytes %d-", f.from); !strings.HasPrefix(resp.Header.Get("Content-Range"), want) {
			return errors.Join(fmt.Errorf("the registry was asked for the bytes from %d on and answers with %q", f.from, shortened(resp.Header.Get("Content-Range"))), resp.Body.Close())
		}
		resp.StatusCode = http.StatusOK // all that was asked for
		f.body = resp.Body
		return nil
	}
	f.end = max(resp.ContentLength, 0)
	if _, err := io.CopyN(io.Discard, resp.Body, f.from); err != nil {
		return errors.Join(err, resp.Body.Close())
	}
	f.body = resp.Body
	return nil
}

// blob reads a blob. It asks for the rest where the connection breaks.
type blob struct {
	ctx    context.Context
	open   func(ctx context.Context) (io.ReadCloser, error) // the blob's fetch is in the context
	failed func()                                           // notes a connection that broke
	size   int64                                            // as the manifest says; 0 where nothing does

	part   fetch
	closer io.Closer // of the answer that part has
	read   int64     // bytes of the blob so far
	fails  int       // in the stretch that began at …
	since  int64
	err    error
}

// next asks for the blob from where the reader is.
func (b *blob) next() error {
	b.part = fetch{from: b.read, end: b.part.end}
	r, err := b.open(context.WithValue(b.ctx, fetchKey{}, &b.part))
	if err != nil {
		return err
	}
	b.closer = r
	return nil
}

// Read returns the blob's bytes. What is wrong with them is for the caller to
// find out.
func (b *blob) Read(p []byte) (int, error) {
	for {
		if b.err != nil {
			return 0, b.err
		}
		n, err := b.part.body.Read(p)
		b.read += int64(n)
		if b.size > 0 && b.read > b.size { // it may have no end
			b.err = fmt.Errorf("the registry sends more than the %d bytes that the manifest says", b.size)
			return 0, b.err
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		b.err = b.resume(err)
		if n > 0 {
			return n, nil
		}
	}
}

// resume asks for the rest after an error, and returns the error once it was
// asked for often enough.
func (b *blob) resume(cut error) error {
	if b.ctx.Err() != nil {
		return b.ctx.Err()
	}
	if b.read >= b.since+enough {
		b.fails, b.since = 0, b.read
	}
	if b.fails++; b.fails >= tries {
		return fmt.Errorf("%w: the connection broke at byte %d, and %d times in all", cut, b.read, b.fails)
	}
	b.failed()
	_ = b.closer.Close() // it has failed already
	b.closer = io.NopCloser(nil)
	return b.next()
}

func (b *blob) Close() error { return b.closer.Close() }

var _ image.BlobStore = (*repository)(nil)
