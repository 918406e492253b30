package registry_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/imagetest"
)

// away makes a server that listens on loopback the one that every name means.
func away(t *testing.T, server *httptest.Server) {
	t.Helper()
	was := remote.DefaultTransport
	t.Cleanup(func() { remote.DefaultTransport = was })
	remote.DefaultTransport = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}}
}

// filled puts an image into a registry by its loopback address.
func filled(t *testing.T, host string) {
	t.Helper()
	local := imagetest.Open(t, "oci:"+imagetest.LayoutOf(imagetest.CompressedThree, false, "").Dir(t), image.Options{})
	n := imagetest.Flat(local.Images[0], 3, nil)
	n.Write = nil
	imagetest.Store(t, "docker://"+host+"/in:1", local, []image.NewImage{n}, nil, image.Compression{})
}

func opened(ref string, opt image.Options) error {
	r, err := image.ParseRef(ref)
	imagetest.Must(err)
	src, err := place.Open(context.Background(), r, opt)
	if err != nil {
		return err
	}
	return src.Close()
}

func wantInsecureHint(t *testing.T, what string, err error) {
	t.Helper()
	var known *image.Error
	if !errors.As(err, &known) || !strings.Contains(known.Hint, "--insecure") {
		t.Errorf("%s: error is %v, want one with a hint at --insecure", what, err)
	}
}

func TestPlainHTTPNeedsInsecure(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	filled(t, strings.TrimPrefix(server.URL, "http://"))
	away(t, server)
	wantInsecureHint(t, "plain HTTP", opened("docker://registry.example/in:1", image.Options{}))
	insecure := image.Options{Insecure: true}
	src := imagetest.Open(t, "docker://registry.example/in:1", insecure)
	dest, err := image.ParseRef("docker://registry.example/out:1")
	imagetest.Must(err)
	to, err := place.Prepare(context.Background(), dest, nil, insecure)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := to.Store(context.Background(), image.Wanted{Images: imagetest.FlatAll(t, src)})
	if err != nil {
		t.Fatal(err)
	}
	if err := stored.Name(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := opened("docker://registry.example/out:1", insecure); err != nil {
		t.Error(err)
	}
}

func TestUnknownCertificateNeedsInsecure(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	plain, secure := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	filled(t, strings.TrimPrefix(plain.URL, "http://"))
	away(t, secure)
	wantInsecureHint(t, "a certificate of its own", opened("docker://registry.example/in:1", image.Options{}))
	if err := opened("docker://registry.example/in:1", image.Options{Insecure: true}); err != nil {
		t.Error(err)
	}
}

// A host with a private address is one that go-containerregistry speaks plain
// HTTP to unasked.
func TestCredentialsDoNotGoOverPlainHTTP(t *testing.T) {
	for kind, challenge := range map[string]string{
		"basic": `Basic realm="test"`, "a token": `Bearer realm="http://10.9.8.7/token",service="test"`,
	} {
		for secret, credentials := range map[string]string{
			"a password": `"auth":"bWU6c2VjcmV0"`, "an identity token": `"auth":"bWU6","identitytoken":"secret"`,
		} {
			t.Run(kind+" with "+secret, func(t *testing.T) {
				t.Setenv("DOCKER_CONFIG", t.TempDir())
				config := `{"auths":{"10.9.8.7":{` + credentials + `}}}`
				imagetest.Must(os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600))
				var seen atomic.Bool
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					if r.Header.Get("Authorization") != "" || strings.Contains(string(body), "secret") {
						seen.Store(true)
					}
					w.Header().Set("WWW-Authenticate", challenge)
					w.WriteHeader(http.StatusUnauthorized)
				}))
				t.Cleanup(server.Close)
				away(t, server)
				err := opened("docker://10.9.8.7/in:1", image.Options{})
				if seen.Load() {
					t.Error("they went over the network")
				}
				if !(kind == "basic" && secret == "an identity token") { // which a basic challenge gets none of
					wantInsecureHint(t, "no --insecure", err)
					if err := opened("docker://10.9.8.7/in:1", image.Options{Insecure: true}); err == nil || !seen.Load() {
						t.Errorf("with --insecure they don't go: %v", err)
					}
				}
			})
		}
	}
}
