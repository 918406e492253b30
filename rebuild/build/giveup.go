package build

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/docker/docker/client"

	"docker-flatten/rebuild/image/silence"
)

// givenUpFor is how long a build that was given up is waited for: an engine
// finishes the instruction that it is at. A second interrupt doesn't wait.
const givenUpFor = time.Minute

// connection is a connection to an engine for one build. A client that just
// closes its connection doesn't hear when the engine has ended the build, and so
// when there is no more to clear away. This one closes only its own half: the
// engine takes that for the end, too, and closes the other half when it is done.
type connection struct {
	ctx    context.Context // of the build's request
	cancel context.CancelFunc
	limits silence.Limits
	next   http.RoundTripper

	mu   sync.Mutex
	conn net.Conn
}

// connect returns a client with a connection of its own to the same engine. The
// request's body may stall for so long. The connection is given up when ctx ends.
func connect(ctx context.Context, cli *client.Client, stall time.Duration) (*client.Client, *connection, error) {
	cli.NegotiateAPIVersion(ctx)
	c := &connection{limits: silence.Limits{Send: 5 * cmp.Or(stall, silence.Default)}} // the engine writes to a disk
	dial := cli.Dialer()
	own := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	client, err := client.NewClientWithOpts(client.WithHTTPClient(own), client.WithHost(cli.DaemonHost()), client.WithVersion(cli.ClientVersion()),
		client.WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := dial(ctx)
			if err == nil {
				c.mu.Lock()
				c.conn = conn
				c.mu.Unlock()
			}
			return conn, err
		}))
	if err != nil {
		return nil, nil, err
	}
	c.next, own.Transport = own.Transport, c
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, c.giveUp)
	return client, c, nil
}

// RoundTrip carries out the request.
func (c *connection) RoundTrip(r *http.Request) (*http.Response, error) {
	return silence.RoundTrip(c.next, r, c.limits)
}

// giveUp tells the engine that the build is given up.
func (c *connection) giveUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		c.cancel()
		return
	}
	time.AfterFunc(givenUpFor, c.cancel)
}
