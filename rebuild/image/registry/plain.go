package registry

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"docker-flatten/rebuild/image"
)

// naming is how names of images are read. An insecure registry may be spoken to
// over plain HTTP where it has no TLS (go-containerregistry, transport.Ping).
func naming(opt image.Options) []name.Option {
	if opt.Insecure {
		return []name.Option{name.Insecure}
	}
	return nil
}

// connections are those to registries: an insecure one may have any certificate.
func connections(opt image.Options) http.RoundTripper {
	if own, ok := remote.DefaultTransport.(*http.Transport); ok && opt.Insecure {
		own = own.Clone()
		own.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // what --insecure asks for
		return own
	}
	return remote.DefaultTransport
}

// errPlain is a request that isn't sent.
var errPlain = errors.New("credentials aren't sent over plain HTTP")

// checkPlain refuses to send credentials in the clear. Loopback is no network.
// The library speaks plain HTTP to hosts with private addresses and to .local
// names where they don't answer to TLS, and whoever stands between can see to that.
func checkPlain(r *http.Request) error {
	if r.URL.Scheme != "http" || isLoopback(r.URL.Hostname()) {
		return nil
	}
	// an identity token is in the form that is posted (OAuth 2, RFC 6749, section 6)
	isForm := r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	if r.Header.Get("Authorization") == "" && r.URL.User == nil && !isForm {
		return nil
	}
	return &image.Error{Op: "ask", Object: shortened(r.URL.Host), Err: errPlain, Hint: insecureHint}
}

const insecureHint = "--insecure allows plain HTTP and unknown certificates"

// isLoopback tells whether a host is this machine (RFC 6761, section 6.3).
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// isUntrusted tells whether an error is that of a registry without TLS, or with
// a certificate that nobody vouches for.
func isUntrusted(err error) bool {
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, new(*tls.CertificateVerificationError))
}
