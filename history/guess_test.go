package history

import (
	"strings"
	"testing"
	"time"
)

// TestGuessesOfKnownShapes: the end of a base that has no CMD, without any
// dates. The image's own lines, and no layer of it, may follow.
func TestGuessesOfKnownShapes(t *testing.T) {
	debian := []string{"/bin/sh -c #(nop) ADD file:" + hash + " in / ", ` /bin/sh -c #(nop)  CMD ["bash"]`}
	curl := "/bin/sh -c apt-get update && apt-get install -y --no-install-recommends \t\tca-certificates \t\tcurl \t\twget \t&& rm -rf /var/lib/apt/lists/*"
	scm := "/bin/sh -c apt-get update && apt-get install -y --no-install-recommends git mercurial openssh-client subversion procps && rm -rf /var/lib/apt/lists/*"
	java := []string{` /bin/sh -c #(nop)  ENV JAVA_VERSION=8u151`, "/bin/sh -c apt-get install openjdk-8-jre=\"$JAVA_VERSION\"", "/bin/sh -c /var/lib/dpkg/info/ca-certificates-java.postinst configure"}
	golang := []string{" ENV GOLANG_VERSION=1.22 # buildkit", "COPY /usr/local/go/ /usr/local/go/ # buildkit", " ENV GOPATH=/go # buildkit", "RUN /bin/sh -c mkdir -p \"$GOPATH/src\" # buildkit", "WORKDIR /go # buildkit"}
	join := func(parts ...[]string) (all []string) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for _, c := range []struct {
		name string
		base []string
		own  []string
		want int // entries of the base
	}{
		{"Java", join(debian, java), []string{` /bin/sh -c #(nop)  ENV PATH=/usr/local/tomee/bin`, "/bin/sh -c mkdir /usr/local/tomee"}, 5},
		{"Java on buildpack-deps", join(debian, []string{curl}, java), []string{"/bin/sh -c groupadd app"}, 6},
		{"buildpack-deps", join(debian, []string{curl, scm}), []string{"/bin/sh -c groupadd app", ` /bin/sh -c #(nop)  CMD ["app"]`}, 4},
		{"what looks like buildpack-deps and installs more", debian, []string{strings.Replace(curl, "wget", "wget nginx", 1), "/bin/sh -c groupadd app"}, 2},
		{"Go, up to its working directory", join(debian, golang), []string{"COPY . . # buildkit", "RUN /bin/sh -c cd /usr/local/go # buildkit"}, 7},
		{"a builder's Go, which is no image", debian, append(golang[:4:4], "COPY . . # buildkit"), 2},
		{"Rust", join(debian, []string{` /bin/sh -c #(nop)  ENV RUST_VERSION=1.80`, "/bin/sh -c wget rustup-init"}), []string{"/bin/sh -c rustup target add x"}, 4},
		{".NET", join(debian, []string{` ENV DOTNET_VERSION=8.0.1 # buildkit`, "COPY /dotnet /usr/share/dotnet # buildkit", "RUN /bin/sh -c ln -s /usr/share/dotnet/dotnet /usr/bin/dotnet # buildkit"}), []string{"WORKDIR /app # buildkit", "COPY out . # buildkit"}, 5},
		{"the label of a maintainer", join(debian, []string{"/bin/sh -c make"}), []string{` /bin/sh -c #(nop)  LABEL maintainer=x`, "/bin/sh -c app"}, 3},
		{"layers without a record", []string{"", "", ""}, []string{"COPY app / # buildkit", "COPY conf / # buildkit"}, 3},
		{"Windows", []string{"Apply image 10.0.14393.0", "Install update 10.0.14393.2007"}, []string{"cmd /S /C #(nop) COPY file:" + hash + " in C: ", "cmd /S /C make"}, 2},
	} {
		lines := join(c.base, c.own)
		layers, below := "", 0
		for i, l := range lines {
			if !strings.HasPrefix(l, " ") {
				layers += " l" + string(rune('a'+i))
				if i < c.want {
					below++
				}
			}
		}
		img := layered(layers, lines...)
		got, err := FindBase(img, Parse(img), "auto", nil, nil)
		if err != nil || got.Layers != below || got.Entries != c.want || got.Kind != "guess" {
			t.Errorf("%s: %+v, %v; want %d layers, %d entries", c.name, got, err, below, c.want)
		}
	}
}

// TestDatesPartBuilds: a cache keeps dates for weeks, so a pause alone says
// little; a season, or a pause behind what a container runs, says enough.
func TestDatesPartBuilds(t *testing.T) {
	const day = 24 * time.Hour
	run := func(n string) string { return "/bin/sh -c make " + n }
	const start = ` /bin/sh -c #(nop)  ENTRYPOINT ["x"]`
	for _, c := range []struct {
		name  string
		lines []string
		after []time.Duration // since the first entry; -1: the epoch
		want  int             // entries of the base
	}{
		{"a year", []string{run("a"), run("b"), run("c")}, []time.Duration{0, 1, 365 * day}, 2},
		{"ten days, as a cache does", []string{run("a"), run("b"), run("c")}, []time.Duration{0, 1, 10 * day}, 0},
		{"ten days behind an entrypoint", []string{run("a"), start, run("c")}, []time.Duration{0, 1, 10 * day}, 2},
		{"an hour behind an entrypoint", []string{run("a"), start, run("c")}, []time.Duration{0, 1, time.Hour}, 0},
		{"a later step is older", []string{run("a"), run("b"), run("c")}, []time.Duration{10 * day, 10*day + 1, 0}, 2},
		{"fixed dates", []string{run("a"), run("b"), run("c")}, []time.Duration{-1, -1, 10 * day}, 0},
		{"the highest of several", []string{run("a"), run("b"), run("c"), run("d")}, []time.Duration{0, 100 * day, 200 * day, 201 * day}, 2},
	} {
		layers := 0
		for _, l := range c.lines {
			if !strings.HasPrefix(l, " ") {
				layers++
			}
		}
		img := layered(strings.Repeat("a ", layers), c.lines...)
		for i, d := range c.after {
			at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Add(d)
			if d == -1 {
				at = time.Unix(0, 0).UTC()
			}
			img.History[i].Created = &at
		}
		if got, _ := FindBase(img, Parse(img), "auto", nil, nil); got.Entries != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
