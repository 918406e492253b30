package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/docker/cli/cli/config"
	"github.com/docker/docker/client"

	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/imagetest"
)

func TestClientFindsTheEngine(t *testing.T) {
	dir := t.TempDir()
	config.SetDir(dir)
	t.Cleanup(func() { config.SetDir("") })
	meta := filepath.Join(dir, "contexts", "meta", imagetest.Digest([]byte("there")).Hex)
	imagetest.Must(os.MkdirAll(meta, 0o755))
	imagetest.Must(os.WriteFile(filepath.Join(meta, "meta.json"), []byte(`{"Name":"there","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://192.0.2.7:2376","SkipTLSVerify":true}}}`), 0o644))
	for name, c := range map[string]struct {
		context, host, envHost, envContext, current string
		want                                        string
	}{
		"the local one":            {want: client.DefaultDockerHost},
		"DOCKER_HOST":              {envHost: "tcp://192.0.2.1:2375", current: "there", want: "tcp://192.0.2.1:2375"},
		"DOCKER_CONTEXT":           {envContext: "there", want: "tcp://192.0.2.7:2376"},
		"the current context":      {current: "there", want: "tcp://192.0.2.7:2376"},
		"a context by name":        {context: "there", envHost: "tcp://192.0.2.1:2375", want: "tcp://192.0.2.7:2376"},
		"a host by name":           {host: "192.0.2.2:2375", envHost: "tcp://192.0.2.1:2375", want: "tcp://192.0.2.2:2375"},
		"the context default":      {envContext: "default", current: "there", want: client.DefaultDockerHost},
		"a context that isn't":     {context: "nowhere"},
		"ssh":                      {host: "ssh://me@192.0.2.3", want: "ssh://192.0.2.3"},
		"an address that can't be": {host: "tcp://%zz"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_HOST", c.envHost)
			t.Setenv("DOCKER_CONTEXT", c.envContext)
			imagetest.Must(os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"currentContext":"`+c.current+`"}`), 0o644))
			cli, err := engine.NewClient(c.context, c.host, 0)
			if c.want == "" {
				if err == nil {
					t.Errorf("is %s", cli.DaemonHost())
				}
				return
			}
			if err != nil || cli.DaemonHost() != c.want {
				t.Errorf("is %v, %v", cli, err)
			}
		})
	}
}
