package plan

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestBuildPlatformHasNoVersion(t *testing.T) {
	for want, have := range map[string]v1.Platform{
		"linux/arm64/v8": {OS: "linux", Architecture: "arm64", Variant: "v8", OSVersion: "10.0.1"},
		"":               {OS: "linux"},
	} {
		if got := BuildPlatform(have); got != want {
			t.Errorf("%v: %q, want %q", have, got, want)
		}
	}
}

func TestNamesThatThisProgramMakesUpAreTold(t *testing.T) {
	for name, want := range map[string]bool{
		"docker-flatten/base:0123456789ab":                            true,
		"docker-flatten/base:0123456789ab-abcdefghijklmnopqrstuvwxyz": true,
		"docker-flatten/run:1-abcdefghijklmnopqrstuvwxyz":             true,
		"docker-flatten/base":                                         false, "app:1": false, "docker-flatten/base2:1": false, "": false,
	} {
		if IsBaseName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
