package plan

import (
	"errors"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestStages(t *testing.T) {
	im := imageOf(map[string]any{"Cmd": []string{"x"}}, made("base", "etc/a"), made("/bin/sh -c one", "b"), made("/bin/sh -c two", "c"), says(`/bin/sh -c #(nop)  CMD ["x"]`))
	nothing := imageOf(nil, made("base", "etc/a"))
	amd := planOf(t, im, 1, v1.Platform{OS: "linux", Architecture: "amd64"})
	arm := planOf(t, nothing, 1, v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"})
	text, err := Stages([]*Plan{amd, arm})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"#   docker build --target linux-amd64 --platform linux/amd64 .\n#   docker build --target linux-arm-v7 --platform linux/arm/v7 .\n\n",
		"# Stage linux-amd64\n", "# Platform: linux/amd64\n", "\nFROM " + amd.From + " AS linux-amd64\n", "\nADD layer-linux-amd64.tar.gz /\n\nCMD [\"x\"]\n\n# Stage linux-arm-v7\n",
		"\nFROM " + arm.From + " AS linux-arm-v7\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q isn't in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "layer-linux-arm-v7") {
		t.Errorf("nothing is left to add for arm\n%s", text)
	}
	if strings.Contains(string(amd.Dockerfile), " AS ") || !strings.Contains(string(amd.Dockerfile), "# Platform: linux/amd64\n") || !strings.Contains(string(amd.Dockerfile), "\n"+AddLayer+"\n") {
		t.Errorf("the platform's own Dockerfile:\n%s", amd.Dockerfile)
	}
}

// Each stage is proven against what its own image is.
func TestStagesAreProven(t *testing.T) {
	im := imageOf(map[string]any{"Cmd": []string{"x"}}, made("base", "etc/a"), made("/bin/sh -c one", "b"), says(`/bin/sh -c #(nop)  CMD ["x"]`))
	good := planOf(t, im, 1, v1.Platform{OS: "linux", Architecture: "amd64"})
	bad := planOf(t, im, 1, v1.Platform{OS: "linux", Architecture: "arm64"})
	bad.page.After = nil
	_, err := Stages([]*Plan{good, bad})
	if !errors.As(err, new(*ConfigError)) || !strings.HasPrefix(err.Error(), "stage linux-arm64: ") {
		t.Error(err)
	}
}

func TestStageNames(t *testing.T) {
	taken := map[string]bool{"linux-s390x": true}
	for _, c := range []struct {
		platform v1.Platform
		want     string
	}{
		{v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, "linux-arm-v7"},
		{v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.1"}, "windows-amd64"},
		{v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.2"}, "windows-amd64-2"},
		{v1.Platform{OS: "linux", Architecture: "s390x"}, "linux-s390x-2"}, // a base is called so
		{v1.Platform{}, "platform"},
		{v1.Platform{OS: "Li\nNUX", Architecture: "x AS y"}, "li-nux-x-as-y"},
		{v1.Platform{OS: "9", Architecture: "é"}, "platform-9"},
		{v1.Platform{OS: strings.Repeat("o", 100), Architecture: "a"}, strings.Repeat("o", 60)},
	} {
		if have := stageName(c.platform, taken); have != c.want {
			t.Errorf("%+v: %s, want %s", c.platform, have, c.want)
		}
	}
}
