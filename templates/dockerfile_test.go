package templates

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"docker-flatten/history"
)

func env(kv ...string) history.Step   { return history.Step{Name: "ENV", Pairs: pairs(kv)} }
func label(kv ...string) history.Step { return history.Step{Name: "LABEL", Pairs: pairs(kv)} }

func pairs(kv []string) (out []history.Pair) {
	for i := 0; i < len(kv); i += 2 {
		out = append(out, history.Pair{Key: kv[i], Value: kv[i+1]})
	}
	return out
}

func one(name string, args ...string) history.Step { return history.Step{Name: name, Args: args} }

func inShell(name, command string) history.Step {
	sh := []string{"/bin/sh", "-c"}
	return history.Step{Name: name, Args: []string{"/bin/sh", "-c", command}, Shell: sh}
}

func health(h history.Healthcheck) history.Step {
	return history.Step{Name: "HEALTHCHECK", Health: &h}
}

// awkward are texts that could end a comment, or be more than one.
var awkward = []string{
	"\r", "\n", "\v", "\f", "\\", "#", "<<EOF", "\u0085", "\u2028", "\ufeff", "\ufffd", "\x00", "\x1b[31m", "\x7f", "\\\n", "# escape=`", "\u202e",
}

var update = flag.Bool("update", false, "write the golden files anew")

// dockerfiles are the golden cases: testdata/dockerfile/NAME.Dockerfile.
var dockerfiles = map[string]Dockerfile{
	"example": {
		Image: "demo:latest", ID: "sha256:9f3c6b1de1a0",
		Base:   Base{Name: "debian:12", Layers: 1, Evidence: "local image with the same layer"},
		From:   "debian:12",
		Before: []history.Step{one("MAINTAINER", "Jo <jo@example.com>")},
		Merged: []Row{
			{Text: "RUN apt-get update", Layers: 1, Size: 17_400_000}, {Text: "RUN apt-get install -y nginx", Layers: 1, Size: 61_230_000}, {Text: "RUN mkdir /layers", Layers: 1, Size: 0},
			{Text: "RUN echo 1 > /layers/one", Layers: 1, Size: 2}, {Text: "RUN echo 2 > /layers/two", Layers: 1, Size: 2}, {Text: "RUN touch layerfile.txt", Layers: 1, Size: 0}, {Text: "RUN rm layerfile.txt", Layers: 1, Size: 0},
		},
		Add: "layer.tar.gz",
		After: []history.Step{
			one("EXPOSE", "234/tcp", "123/tcp"), one("CMD", "nginx", "-g", "daemon off;"),
		},
	},
	"scratch": {
		Image: "oci:layout:app", Platform: "linux/arm64", Build: true, From: "scratch", Base: Base{Evidence: "as asked with --base scratch"},
		Merged: []Row{{Text: "ADD file:5d2f in /", Layers: 1, Size: 2_000_000}, {Text: "COPY app /app", Layers: 1, Size: 7_000_000}}, Add: "layer.tar.gz",
		After: []history.Step{one("ENTRYPOINT", "/app")},
	},
	"base without a name": {
		Image: "app:1", ID: "sha256:77", From: "app-base:flatten", Base: Base{Layers: 4, Evidence: "guessed from the history: the first CMD ends it", Archive: "base.tar"},
		Deleted:  []string{"/etc/motd", "/usr/share/doc"},
		Removals: []string{"/etc/motd", "/usr/share/doc"},
		Losses:   []string{"/bin/x: extended attribute user.origin", "/var/a: fractions of a second in its time"},
		Merged:   []Row{{Text: "RUN <<EOF\napt-get update\napt-get install -y --no-install-recommends curl\nEOF", Layers: 1, Size: 1}, {Text: "COPY . /srv", Layers: 1, Size: 1234}},
		Add:      "layer.tar.gz",
	},
	"corrections": {
		Image: "app:1", From: "debian:12", Base: Base{Name: "debian:12", Layers: 2},
		Disagreements: []string{`ENV PATH: "/bin" in the history, "/usr/bin:/bin" in the config`},
		Notes:         []string{"3 paths changed only in their times."},
		BaseEnv:       []string{"PATH", "NL"},
		Merged:        []Row{{Text: "", Layers: 1, Size: 10}},
		Add:           "layer.tar.gz",
		After: []history.Step{
			{Name: "ENV", Pairs: pairs([]string{"PATH", "/usr/bin:/bin"}), Why: "the history has another value"},
			env("MOTD", "one\ntwo"),
			{Name: "LABEL", Pairs: pairs([]string{"a=b", "c"}), Why: "the history has no line for it"},
		},
	},
	"every instruction": {
		Image: "app:1", From: "base:1", Base: Base{Name: "base:1", Layers: 1},
		Before: []history.Step{one("SHELL", "/bin/bash", "-o", "pipefail", "-c"), env("A", "1", "B", "two words")},
		Merged: []Row{{Text: "RUN true", Layers: 1, Size: 0}},
		Add:    "layer.tar.gz",
		After: []history.Step{
			label("org.opencontainers.image.title", "App", "org.opencontainers.image.description", "Does what it says, and says what it does", "maintainer", "Jo"),
			one("EXPOSE", "80/tcp", "53/udp"), one("VOLUME", "/data", "/my logs"), one("WORKDIR", "/srv"), one("USER", "1000:1000"), one("STOPSIGNAL", "SIGQUIT"),
			health(history.Healthcheck{Test: []string{"CMD-SHELL", "curl -f http://localhost/ || exit 1"}, Interval: 30 * time.Second, Retries: 3}),
			inShell("ENTRYPOINT", "exec /srv/run"), one("CMD", "--port", "80"), one("ONBUILD", "COPY . /srv"), one("MAINTAINER", "Jo"),
		},
	},
	"hostile": {
		Image: "escape=`\nRUN evil", ID: "\x1b[2J\u202e", From: "debian", Base: Base{Name: "d\r\nRUN evil", Evidence: "\\\nRUN evil"},
		Notes:         []string{"check=error=true", "syntax=evil/frontend", "\nRUN evil", "\u2028RUN evil\u0085RUN evil", "\xff\xfe"},
		Losses:        []string{"\nRUN evil"},
		Disagreements: []string{"\rRUN evil"},
		Deleted:       []string{"/a\nRUN evil", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/i", "/j", "/k"},
		Before:        []history.Step{{Name: "USER", Args: []string{"a"}, Why: "check=error=true\nRUN evil"}},
		Merged: []Row{
			{Text: "RUN a\nRUN evil\r\nRUN evil\rRUN evil\n# check=error=true\n\n", Layers: 1, Size: 1}, {Text: "RUN " + strings.Repeat("long ", 100), Layers: 1, Size: 2},
			{Text: strings.Repeat("RUN evil\n", 50), Layers: 1, Size: 3}, {Text: "RUN echo \x1b]0;title\x07 \u202e \x00 \xff \\", Layers: 1, Size: 4},
		},
		Removals: []string{"/a\nRUN evil", "/\"],\n", "/caf\xe9\n", "/x\x1b[0m"},
		Add:      "layer.tar.gz",
	},
	"rows": {
		Image: "app:1", Platform: "linux/arm/v7", From: "base:1", Base: Base{Name: "base:1", Layers: 1},
		Merged: []Row{
			{Text: "ARG VERSION=1.2"},
			{Text: "SHELL [\"/bin/bash\", \"-c\"]"},
			{Text: "RUN set -eux; \tapt-get update; \tapt-get install -y --no-install-recommends \t\tcurl \t\tgit \t; \trm -rf /var/lib/apt/lists/*", Layers: 1, Size: 61_230_000},
			{Text: "USER builder"},
			{Text: "COPY file:95fcb11ebc68 in ./", Layers: 1, Size: 12_000, Files: []string{"/app/package.json", "/app/a\nRUN evil", "/app/\x1b[2J"}, More: 3},
			{Text: "COPY dir:95fcb11ebc68 in /srv", Times: 48, Layers: 48, Size: 4_800_000, Files: []string{"/srv/a"}, More: 1},
			{Text: "RUN echo twice", Times: 2},
			{Text: "COPY d /d", Layers: 1, Files: []string{"/" + strings.Repeat("long/", 100)}},
			{Text: "RUN " + strings.Repeat("é", 7000), Layers: 1},
			{Text: strings.Repeat("# escape=`\n", 400), Layers: 1},
		},
		Add: "layer.tar.gz",
	},
	"nameless base of a known system": {
		Image: "app:1", From: "docker-flatten/base:1", Stage: "linux-amd64",
		Base: Base{
			Layers: 1, Evidence: "guessed", System: "Debian 12 (bookworm), 97 packages, 74.8MB, built 2024-05-13", Like: "debian:12-slim",
			Env: []string{"LANG=C.UTF-8", "check=error=true"},
		},
		Merged:   []Row{{Text: "RUN true", Layers: 1}},
		Deleted:  []string{"/etc/motd"},
		Replaced: []string{"/var/ by a new directory"},
		Add:      "layer-linux-amd64.tar.gz",
		After: []history.Step{
			{Name: "USER", Args: []string{"app"}, Why: "the history has no line for it"},
			{Name: "WORKDIR", Args: []string{"/app"}, Why: "the history has no line for it"},
			{Name: "STOPSIGNAL", Args: []string{"SIGINT"}, Why: "the history says SIGTERM"},
			one("CMD", "x"),
		},
	},
	"scratch of a known system": {
		Image: "app:1", From: "scratch", Base: Base{Evidence: "as asked", System: "Alpine Linux 3.19.1, 15 packages"}, Merged: []Row{{Text: "ADD x /", Layers: 1}}, Add: "layer.tar.gz",
	},
	"nothing to add": {Image: "app:1", From: "debian:12", Base: Base{Name: "debian:12", Layers: 1}, After: []history.Step{one("CMD", "x")}},
}

func TestRenderGolden(t *testing.T) {
	for name, d := range dockerfiles {
		t.Run(name, func(t *testing.T) {
			got, err := d.Render()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "dockerfile", strings.ReplaceAll(name, " ", "-")+".Dockerfile")
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			requireOnly(t, d, got)
		})
	}
}

// requireOnly checks that a Dockerfile has the instructions that were asked
// for and no others, that no comment has parser directives, and that nothing
// in it steers a terminal.
func requireOnly(t *testing.T, d Dockerfile, text []byte) {
	t.Helper()
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if parsed.EscapeToken != parser.DefaultEscapeToken {
		t.Errorf("a comment sets the escape character\n%s", text)
	}
	if syntax, _, _, ok := parser.DetectSyntax(text); ok {
		t.Errorf("a comment sets the syntax %q\n%s", syntax, text)
	}
	want := map[string]int{"FROM": 1}
	if d.Add != "" {
		want["ADD"] = 1
	}
	for _, s := range append(d.Before[:len(d.Before):len(d.Before)], d.After...) {
		want[s.Name]++
	}
	got := map[string]int{}
	for _, n := range parsed.AST.Children {
		name := strings.ToUpper(n.Value)
		if name == "RUN" && len(d.Removals) > 0 || name == "ARG" {
			continue
		}
		got[name]++
		for _, comment := range n.PrevComment {
			p := parser.DirectiveParser{}
			p.SetComment("")
			if directive, _ := p.ParseLine([]byte(comment)); directive != nil {
				t.Errorf("a comment is the directive %s\n%s", directive.Name, text)
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("instructions %v, want %v\n%s", got, want, text)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "#") && strings.IndexFunc(line, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("comment %q", line)
		}
	}
}

func FuzzComments(f *testing.F) {
	for _, s := range awkward {
		f.Add(s)
	}
	f.Add("\nRUN evil\n")
	f.Add("check=error=true")
	f.Fuzz(func(t *testing.T, s string) {
		d := Dockerfile{
			Image: s, ID: s, Platform: s, From: "base", Base: Base{Name: s, Evidence: s, Archive: s}, Notes: []string{s}, Losses: []string{s}, Disagreements: []string{s}, Deleted: []string{s}, Replaced: []string{s},
			Before: []history.Step{{Name: "USER", Args: []string{"a"}, Why: s}}, Merged: []Row{{Text: s, Layers: 1, Size: 1, Files: []string{s, s}, More: 1}, {Text: "RUN " + s, Times: 2}}, Add: "layer.tar.gz",
		}
		text, err := d.Render()
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsRune(s, unicode.ReplacementChar) {
			return // U+FFFD prints; it can't be told from what isn't UTF-8
		}
		requireOnly(t, d, text)
	})
}

// The FROM of a base without a name has comments of its own.
func FuzzBaseComments(f *testing.F) {
	for _, s := range awkward {
		f.Add(s)
	}
	f.Add("check=error=true")
	f.Fuzz(func(t *testing.T, s string) {
		d := Dockerfile{
			Image: "app", From: "base", Platform: s, Build: true, Base: Base{Layers: 1, Evidence: s, System: s + "x", Env: []string{s, s}, Like: s}, Add: "layer.tar.gz",
			After: []history.Step{{Name: "USER", Args: []string{"a"}, Why: s}, {Name: "STOPSIGNAL", Args: []string{"SIGINT"}, Why: s}},
		}
		text, err := d.Render()
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsRune(s, unicode.ReplacementChar) {
			return
		}
		requireOnly(t, d, text)
	})
}

func TestManyRowsAreCut(t *testing.T) {
	d := Dockerfile{From: "a", Add: "layer.tar.gz"}
	for i := range 5000 {
		d.Merged = append(d.Merged, Row{Text: fmt.Sprintf("RUN %d", i), Layers: 1, Size: 1000})
	}
	text, err := d.Render()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Merged into one: 5000 layers, 5MB.\n", "#      1kB | RUN 998\n#      4MB | … 4001 instructions more, which made 4001 layers\nADD "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q isn't in\n%s", want, text[len(text)-300:])
		}
	}
}

// A command that a reader copies has nothing of the image in it that a shell
// would take for more than a word.
func TestBuildCommandHasPlainPlatformsOnly(t *testing.T) {
	for platform, want := range map[string]string{
		"linux/arm/v7":      "# To build: docker build --platform linux/arm/v7 .\n",
		"linux/amd64; evil": "# To build: docker build .\n",
		"-v":                "# To build: docker build .\n",
	} {
		text, err := Dockerfile{From: "a", Build: true, Platform: platform}.Render()
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

func TestStages(t *testing.T) {
	stage := func(name, platform string, after ...history.Step) Dockerfile {
		return Dockerfile{Image: "app:1", Platform: platform, Stage: name, From: "base:1", Base: Base{Name: "base:1", Layers: 1}, Add: "layer-" + name + ".tar.gz", After: after}
	}
	text, stages, err := RenderStages([]Dockerfile{stage("linux-amd64", "linux/amd64"), stage("linux-arm64", "linux/arm64", env("A", "1\n2"))})
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(text), "\n\n")
	if want := "# Flattened from app:1 by docker-flatten: 2 platforms, a stage each. To build one:\n" +
		"#   docker build --target linux-amd64 --platform linux/amd64 .\n" +
		"#   docker build --target linux-arm64 --platform linux/arm64 --build-arg NL=$'\\n' ."; head != want {
		t.Errorf("%s\nwant\n%s", head, want)
	}
	if rest != string(bytes.Join(stages, []byte("\n"))) {
		t.Errorf("the file isn't its stages:\n%s", text)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var from []string
	for _, n := range parsed.AST.Children {
		if strings.EqualFold(n.Value, "FROM") {
			from = append(from, n.Original)
		}
	}
	if strings.Join(from, ", ") != "FROM base:1 AS linux-amd64, FROM base:1 AS linux-arm64" {
		t.Errorf("%q", from)
	}
}

func TestRenderRefusesNames(t *testing.T) {
	for _, d := range []Dockerfile{
		{From: ""}, {From: "a b"}, {From: "$x"}, {From: "a\nRUN evil"}, {From: "--platform=x"}, {From: "a", Stage: "A"}, {From: "a", Stage: "a b"}, {From: "a", Add: "a b"}, {From: "a", Add: "<<EOF"}, {From: "a", Add: "$x"},
		{From: "a", Removals: []string{"relative"}}, {From: "a", Removals: []string{"/"}}, {From: "a", Removals: []string{"/\x00"}},
	} {
		if text, err := d.Render(); err == nil {
			t.Errorf("%+v gives %q", d, text)
		}
	}
}

func TestRenderSaysWhatItCantWrite(t *testing.T) {
	for want, d := range map[string]Dockerfile{
		"write instruction: ENV takes UTF-8 only": {From: "a", After: []history.Step{env("A", "\xff")}},
		"write RUN instruction: remove \"/" + strings.Repeat("a", 58) + "…\": its 131073 bytes are over the limit of an argument": {From: "a", Removals: []string{"/" + strings.Repeat("a", 128<<10)}},
	} {
		if _, err := d.Render(); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestRemovalsKeepToTheLimits(t *testing.T) {
	if testing.Short() {
		t.Skip("megabytes of paths take half a minute")
	}
	var paths []string
	for i := range 30_000 {
		paths = append(paths, fmt.Sprintf("/%s/%d", strings.Repeat("d\\", 50), i))
	}
	paths = append(paths, "/"+strings.Repeat("a ", 60_000))
	text, err := Dockerfile{From: "a", Removals: paths}.Render()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range parsed.AST.Children[1:] {
		total := 0
		var args []string
		for a := n.Next; a != nil; a = a.Next {
			args = append(args, a.Value)
			total += len(a.Value) + 9
		}
		if total > 1<<20+100 {
			t.Errorf("a command has %d bytes of arguments", total)
		}
		got = append(got, args[3:]...)
	}
	if strings.Join(got, "\n") != strings.Join(paths, "\n") {
		t.Error("other paths came back")
	}
	if n := len(parsed.AST.Children); n > 6 {
		t.Errorf("%d instructions", n)
	}
}
