package imagetest

import (
	"os"
	"testing"

	"github.com/docker/docker/client"
)

// Engine returns the Docker Engine that DOCKER_FLATTEN_ENGINE names: its
// address, or "default" for the environment's. Without it the test is skipped.
func Engine(t testing.TB) *client.Client {
	t.Helper()
	host := os.Getenv("DOCKER_FLATTEN_ENGINE")
	if host == "" {
		t.Skip("DOCKER_FLATTEN_ENGINE is not set: this test needs a Docker Engine")
	}
	options := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if host != "default" {
		options = append(options, client.WithHost(host))
	}
	cli, err := client.NewClientWithOpts(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}
