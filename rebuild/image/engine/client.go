package engine

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/connhelper"
	contextdocker "github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/docker/client"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/silence"
)

// endpoint is where an engine is and how to speak to it.
type endpoint struct {
	host string
	tls  *tls.Config // nil = none
}

// NewClient returns a client of the engine that the docker command would use:
// that of host, of the docker context named contextName, of DOCKER_HOST, of
// DOCKER_CONTEXT, of docker's current context, or the local one, whichever is
// given first. Nothing is sent yet; the API version is negotiated with the
// first request. The engine may be silent for so long, 0 = silence.Default.
func NewClient(contextName, host string, silent time.Duration) (*client.Client, error) {
	ep, err := findEndpoint(contextName, host)
	if err != nil {
		return nil, err
	}
	own := &http.Client{Transport: &http.Transport{MaxIdleConns: 6, IdleConnTimeout: 30 * time.Second}, CheckRedirect: client.CheckRedirect}
	opts := []client.Opt{client.WithAPIVersionNegotiation(), client.WithVersionFromEnv()}
	helper, err := connhelper.GetConnectionHelper(ep.host)
	switch {
	case err != nil:
		return nil, &image.Error{Op: "connect to", Object: ep.host, Err: err}
	case helper != nil: // ssh
		opts = append(opts, client.WithHTTPClient(own), client.WithHost(sshHost(ep.host)), client.WithDialContext(helper.Dialer))
	default:
		if ep.tls != nil && !isSocket(ep.host) {
			own.Transport = &http.Transport{TLSClientConfig: ep.tls, TLSHandshakeTimeout: connecting}
		}
		opts = append(opts, client.WithHTTPClient(own), client.WithHost(ep.host))
		if !isSocket(ep.host) {
			opts = append(opts, client.WithDialContext((&net.Dialer{KeepAlive: 30 * time.Second, Timeout: connecting}).DialContext))
		}
	}
	cli, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, &image.Error{Op: "connect to", Object: ep.host, Err: err}
	}
	own.Transport = &patient{next: own.Transport, silence: cmp.Or(silent, silence.Default)} // it is the client's, too
	return cli, nil
}

// sshHost is an engine's address by way of ssh as its requests have it, and what
// is said about it: a Host header has no user and no path.
func sshHost(host string) string {
	u, err := url.Parse(host)
	if err != nil {
		return host
	}
	return u.Scheme + "://" + u.Host
}

// connecting is how long making a connection may take over a network; to a
// socket it is 10 s (go-connections).
const connecting = 30 * time.Second

// patient ends requests to an engine that is silent.
type patient struct {
	next    http.RoundTripper
	silence time.Duration
}

// How much more time than the silence time-out an engine has.
const (
	writing   = 5  // where it writes or removes files: their disk may be busy
	gathering = 30 // before docker save's first byte: the engine makes a copy of all layers first
)

// RoundTrip carries out a request. An engine that got an archive or a build
// context unpacks it before it answers, for which there is no limit: only an
// interrupt ends that.
func (p *patient) RoundTrip(r *http.Request) (*http.Response, error) {
	limits := silence.Limits{Send: p.silence, Answer: p.silence, Body: p.silence}
	archive := false
	switch {
	case strings.HasSuffix(r.URL.Path, "/images/load"), strings.HasSuffix(r.URL.Path, "/build"):
		limits = silence.Limits{Send: writing * p.silence}
	case strings.HasSuffix(r.URL.Path, "/images/get"):
		limits.Answer = gathering * p.silence
		archive = true
	case r.Method == http.MethodDelete:
		limits.Answer = writing * p.silence
	}
	resp, err := silence.RoundTrip(p.next, r, limits)
	if err == nil && !archive {
		resp.Body = &bounded{resp.Body, mostOfAnswer}
	}
	return resp, err
}

// mostOfAnswer is more bytes than an engine's account of itself or of its images
// has. The client reads it as a whole.
const mostOfAnswer = 64 << 20

// bounded is an answer that fails where it is too long.
type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("the engine's answer has more than %d bytes", mostOfAnswer)
	}
	return n, err
}

func isSocket(host string) bool {
	u, err := url.Parse(host)
	return err == nil && (u.Scheme == "unix" || u.Scheme == "npipe" || u.Scheme == "fd")
}

func findEndpoint(contextName, host string) (endpoint, error) {
	if host != "" {
		return hostEndpoint(host)
	}
	if contextName == "" {
		if host := os.Getenv(client.EnvOverrideHost); host != "" {
			return hostEndpoint(host)
		}
		contextName = os.Getenv("DOCKER_CONTEXT")
	}
	if contextName == "" {
		file, err := config.Load(config.Dir())
		if err != nil {
			return endpoint{}, fmt.Errorf("read docker's configuration: %w", err)
		}
		contextName = file.CurrentContext
	}
	if contextName == "" || contextName == "default" {
		return hostEndpoint(client.DefaultDockerHost)
	}
	return contextEndpoint(contextName)
}

// hostEndpoint is a host that the environment may have certificates for, as
// docker's own variables say: DOCKER_CERT_PATH and DOCKER_TLS_VERIFY.
func hostEndpoint(host string) (endpoint, error) {
	if !strings.Contains(host, "://") {
		host = "tcp://" + host
	}
	ep := endpoint{host: host}
	dir, verify := os.Getenv(client.EnvOverrideCertPath), os.Getenv(client.EnvTLSVerify) != ""
	if dir == "" && verify {
		dir = config.Dir()
	}
	if dir == "" || isSocket(host) {
		return ep, nil
	}
	var err error
	ep.tls, err = readCertificates(dir, verify)
	return ep, err
}

func readCertificates(dir string, verify bool) (*tls.Config, error) {
	files := map[string][]byte{}
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("read the engine's certificates: %w", err)
		}
		files[name] = b
	}
	return tlsConfig(files["ca.pem"], files["cert.pem"], files["key.pem"], !verify)
}

func tlsConfig(ca, cert, key []byte, skipVerify bool) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: skipVerify}
	if ca != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("read the engine's certificates: ca.pem holds none")
		}
	}
	if cert != nil && key != nil {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read the engine's certificates: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// contextEndpoint looks a docker context up in docker's store of contexts.
func contextEndpoint(name string) (endpoint, error) {
	contexts := store.New(config.ContextStoreDir(), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(contextdocker.DockerEndpoint, func() any { return &contextdocker.EndpointMeta{} }),
	))
	meta, err := contexts.GetMetadata(name)
	if err != nil {
		return endpoint{}, &image.Error{Op: "use docker context", Object: name, Err: err, Hint: "docker context ls lists them"}
	}
	m, err := contextdocker.EndpointFromContext(meta)
	if err != nil {
		return endpoint{}, &image.Error{Op: "use docker context", Object: name, Err: err}
	}
	data, err := contextdocker.WithTLSData(contexts, name, m)
	if err != nil {
		return endpoint{}, &image.Error{Op: "use docker context", Object: name, Err: err}
	}
	ep := endpoint{host: m.Host}
	if ep.host == "" {
		ep.host = client.DefaultDockerHost
	}
	if data.TLSData != nil {
		ep.tls, err = tlsConfig(data.TLSData.CA, data.TLSData.Cert, data.TLSData.Key, m.SkipTLSVerify)
	} else if m.SkipTLSVerify {
		ep.tls, err = tlsConfig(nil, nil, nil, true)
	}
	if err != nil {
		return endpoint{}, &image.Error{Op: "use docker context", Object: name, Err: err}
	}
	return ep, nil
}
