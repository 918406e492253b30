package plan

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/imagetest"
)

const (
	debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nID=debian\n"
	ubuntu = "PRETTY_NAME=\"Ubuntu 22.04.3 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nVERSION=\"22.04.3 LTS (Jammy Jellyfish)\"\nID=ubuntu\n"
	alpine = "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.19.1\nPRETTY_NAME=\"Alpine Linux v3.19\"\n"
	fedora = "NAME=\"Fedora Linux\"\nVERSION=\"39 (Container Image)\"\nID=fedora\nVERSION_ID=39\n"
)

// system is a layer with an os-release, so many packages and so many bytes.
func system(release, database, paragraph string, packages int, bytes int, more ...string) imagetest.Step {
	s := imagetest.Step{By: "/bin/sh -c #(nop) ADD file:1 in /", Files: []imagetest.File{}}
	if release != "" {
		s.Files = append(s.Files, imagetest.File{Name: "etc/os-release", Body: release})
	}
	if database != "" {
		s.Files = append(s.Files, imagetest.File{Name: database, Body: strings.Repeat(paragraph, packages)})
	}
	for _, f := range more {
		s.Files = append(s.Files, imagetest.File{Name: f})
	}
	total := 0
	for _, f := range s.Files {
		total += len(f.Body)
	}
	s.Files = append(s.Files, imagetest.File{Name: "bin/all", Body: strings.Repeat("x", max(0, bytes-total))})
	return s
}

func TestNamelessBaseSaysWhatItIs(t *testing.T) {
	const dpkg, installed = "var/lib/dpkg/status", "Package: a\nStatus: install ok installed\n\n"
	const apk, p = "lib/apk/db/installed", "P:a\nV:1\n\n"
	for name, c := range map[string]struct {
		base []imagetest.Step
		want string
	}{
		"alpine": {
			[]imagetest.Step{system(alpine, apk, p, 15, 7_300_000)},
			"# Base: Alpine Linux 3.19.1, 15 packages, 7.3MB, built 2024-05-13.\n#   It is the lowest layer, which no name refers to (the lowest 1 layer, as asked for)\n#   FROM alpine:3.19 is probably the same.\n# Merged",
		},
		"too small for what it says": {
			[]imagetest.Step{system(debian, dpkg, installed, 97, 1_000_000)},
			"# Base: Debian 12 (bookworm), 97 packages, 1MB, built 2024-05-13.\n#   It is the lowest layer, which no name refers to (the lowest 1 layer, as asked for)\n# Merged",
		},
		"several layers": {
			[]imagetest.Step{system(alpine, apk, p, 15, 7_300_000), made("/bin/sh -c true", "x")},
			"# Base: Alpine Linux 3.19.1, 15 packages, 7.3MB, built 2024-05-13.\n#   It is the lowest 2 layers, which no name refers to (the lowest 2 layers, as asked for)\n# Merged",
		},
		"no os-release": {
			[]imagetest.Step{system("", "", "", 0, 1_150_000)},
			"# Base: an unknown system, 1.15MB, built 2024-05-13.\n",
		},
		"hostile": {
			[]imagetest.Step{system("NAME=\"x\\\nRUN evil\"\nID=debian\nVERSION_ID=\"1\rRUN evil\"\n", dpkg, installed, 97, 1_000_000)},
			`# Base: "x\ 1\rRUN evil, 97 packages, 1MB, built 2024-05-13.` + "\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			im := imageOf(nil, append(c.base, made("/bin/sh -c one", "b"), made("/bin/sh -c two", "c"))...)
			p := planOf(t, im, len(c.base), v1.Platform{})
			if !strings.Contains(string(p.Dockerfile), c.want) {
				t.Errorf("%s\nwant\n%s", p.Dockerfile, c.want)
			}
		})
	}
}

func TestNamelessBaseHasVariables(t *testing.T) {
	base := system(alpine, "", "", 0, 10)
	im := imageOf(map[string]any{"Env": []string{"PATH=/opt:/bin", "LANG=C.UTF-8", "APP=1"}},
		says("/bin/sh -c #(nop)  ENV PATH=/opt:/bin"), says("/bin/sh -c #(nop)  ENV LANG=C.UTF-8"), base,
		made("/bin/sh -c one", "b"), says("/bin/sh -c #(nop)  ENV APP=1"), made("/bin/sh -c two", "c"))
	want := "#   Its variables:\n#   ENV PATH=/opt:/bin\n#   ENV LANG=C.UTF-8\n# Merged"
	if p := planOf(t, im, 1, v1.Platform{}); !strings.Contains(string(p.Dockerfile), want) {
		t.Errorf("%s\nwant\n%s", p.Dockerfile, want)
	}
}

func TestImageWithoutABaseSaysWhatItIs(t *testing.T) {
	im := imageOf(nil, system(alpine, "lib/apk/db/installed", "P:a\n", 14, 10), made("/bin/sh -c one", "b"))
	want := "\n# The image is Alpine Linux 3.19.1, 14 packages.\n"
	if p := planOf(t, im, 0, v1.Platform{}); !strings.Contains(string(p.Dockerfile), want) {
		t.Errorf("%s\nwant\n%s", p.Dockerfile, want)
	}
}

func TestPublicImage(t *testing.T) {
	const mb = 1_000_000
	for _, c := range []struct {
		release  string
		size     int64
		packages int
		slim     bool
		want     string
	}{
		{debian, 114 * mb, 88, false, "debian:12"},
		{debian, 75 * mb, 88, true, "debian:12-slim"},
		{debian, 30 * mb, 88, false, ""},
		{debian, 114 * mb, 7, false, ""}, // distroless
		{debian, 114 * mb, 350, false, ""},
		{ubuntu, 78 * mb, 101, true, "ubuntu:22.04"},
		{alpine, 7 * mb, 15, false, "alpine:3.19"},
		{alpine, 70 * mb, 15, false, ""},
		{alpine, 7 * mb, 60, false, ""},
		{strings.Replace(alpine, "3.19.1", "3.20_alpha20231219", 1), 7 * mb, 15, false, ""},
		{strings.Replace(alpine, "3.19.1", "3..1", 1), 7 * mb, 15, false, ""},
		{strings.Replace(alpine, "3.19.1", "", 1), 7 * mb, 15, false, ""},
		{fedora, 180 * mb, 0, false, "fedora:39"},
		{"ID=opensuse-leap\nVERSION_ID=15.5\n", 110 * mb, 0, false, "opensuse/leap:15.5"},
		{"ID=none\nVERSION_ID=1\n", 110 * mb, 0, false, ""},
		{"", 110 * mb, 100, false, ""},
	} {
		if have := parseRelease(c.release).publicImage(c.size, c.packages, c.slim); have != c.want {
			t.Errorf("%q of %d bytes with %d packages: %q, want %q", c.release, c.size, c.packages, have, c.want)
		}
	}
}

func TestRelease(t *testing.T) {
	for text, want := range map[string]string{
		debian: "Debian 12 (bookworm)",
		"NAME=Fedora\nVERSION_ID=39\nID=fedora\n":           "Fedora 39",
		"NAME='Arch Linux'\nPRETTY_NAME=\"Arch \\\"x\\\"\"": `Arch "x"`,
		"PRETTY_NAME=\"Distroless\"\n":                      "Distroless",
		"# NAME=x\nNAME=a\\ b\\\\\n":                        `a b\`,
		"NAME=\"\n":                                         `"`,
		"NAME\n=x\n\n":                                      "",
		"":                                                  "",
	} {
		if have := parseRelease(text).name(); have != want {
			t.Errorf("%q: %q, want %q", text, have, want)
		}
	}
}
