package rebuild

import (
	"testing"

	"github.com/docker/docker/client"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
)

// TestRegistryToEngineReadsEachBlobOnce counts the requests for blobs, of an
// image whose base the engine doesn't have.
func TestRegistryToEngineReadsEachBlobOnce(t *testing.T) {
	cli := imagetest.Engine(t)
	host, reads := countingRegistry(t)
	source := registryRef(host + "/app:1")
	im := appImage()
	im.Steps[0].Files[4].Body = "a base of this test alone: " + t.Name()
	flatten(t, Options{Image: archiveRef(write(t, im)), Output: source, Base: keep("4"), Client: noEngine})
	clear(reads)

	const name = "rebuild-once:flat"
	out := image.Ref{Transport: image.Daemon, Name: name}
	t.Cleanup(func() { remove(t, cli, name) })
	flatten(t, Options{Image: *source, Output: &out, Base: keep("1"), NoCache: true, Client: func() (*client.Client, error) { return cli, nil }})
	if len(reads) < 5 {
		t.Errorf("only %d blobs were read", len(reads))
	}
	for blob, n := range reads {
		if n != 1 {
			t.Errorf("%s was read %d times", blob, n)
		}
	}
}
