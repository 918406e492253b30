package build_test

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"docker-flatten/history"
	"docker-flatten/rebuild/build"
)

// baseImage is a base whose every field is set.
func baseImage() *history.Image {
	im := &history.Image{}
	im.OS, im.Author = "linux", "base author"
	c := &im.Config
	c.Env = []string{"PATH=/bin", "A=old", "Z=z"}
	c.Cmd = []string{"base-cmd"}
	c.Entrypoint = []string{"base-entry"}
	c.User = "base"
	c.WorkingDir = "/base"
	c.Labels = map[string]string{"l": "old", "keep": "yes"}
	c.Volumes = map[string]struct{}{"/base": {}}
	c.ExposedPorts = map[string]struct{}{"1/tcp": {}}
	c.StopSignal = "SIGINT"
	c.Healthcheck = &history.Healthcheck{Test: []string{"CMD", "probe"}, Interval: time.Minute}
	return im
}

func TestInterpretFollowsTheBuilders(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		want func(*history.Image) // changes the base to what is expected
	}{
		{"ENV overwrites in place and appends", `ENV NEW=1 A=2`, func(im *history.Image) {
			im.Config.Env = []string{"PATH=/bin", "A=2", "Z=z", "NEW=1"}
		}},
		{"ENV sees the values before the instruction", `ENV A=new B=$A`, func(im *history.Image) {
			im.Config.Env = []string{"PATH=/bin", "A=new", "Z=z", "B=old"}
		}},
		{"quotes keep and variables expand", `LABEL l='$A' m="${A} \$A" "n o"=`, func(im *history.Image) {
			maps.Copy(im.Config.Labels, map[string]string{"l": "$A", "m": "old $A", "n o": ""})
		}},
		{"EXPOSE adds, /tcp by default, ranges too", "EXPOSE 80 53/udp 8000-8002/TCP", func(im *history.Image) {
			for _, p := range []string{"80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"} {
				im.Config.ExposedPorts[p] = struct{}{}
			}
		}},
		{"EXPOSE makes words of a variable", "ENV A=\"81 82\"\nEXPOSE $A", func(im *history.Image) {
			im.Config.Env[1] = "A=81 82"
			im.Config.ExposedPorts["81/tcp"] = struct{}{}
			im.Config.ExposedPorts["82/tcp"] = struct{}{}
		}},
		{"VOLUME expands in an array too", `VOLUME ["/$A", "'/$A b'"]`, func(im *history.Image) {
			im.Config.Volumes["/old"] = struct{}{}
			im.Config.Volumes["/$A b"] = struct{}{}
		}},
		{"USER expands", "USER u$A", func(im *history.Image) { im.Config.User = "uold" }},
		{"USER resets", `USER ""`, func(im *history.Image) { im.Config.User = "" }},
		{"WORKDIR joins", "WORKDIR a/../b\nWORKDIR c/", func(im *history.Image) { im.Config.WorkingDir = "/base/b/c" }},
		{"WORKDIR cleans", "WORKDIR /a//b/", func(im *history.Image) { im.Config.WorkingDir = "/a/b" }},
		{"CMD takes the shell", "SHELL [\"/bin/bash\", \"-c\"]\nCMD echo  $A", func(im *history.Image) {
			im.Config.Shell = []string{"/bin/bash", "-c"}
			im.Config.Cmd = []string{"/bin/bash", "-c", "echo  $A"}
		}},
		{"the default shell", "CMD a", func(im *history.Image) { im.Config.Cmd = []string{"/bin/sh", "-c", "a"} }},
		{"ENTRYPOINT resets the base's CMD", `ENTRYPOINT ["e"]`, func(im *history.Image) {
			im.Config.Entrypoint, im.Config.Cmd = []string{"e"}, nil
		}},
		{"ENTRYPOINT leaves its own CMD", "CMD [\"c\"]\nENTRYPOINT [\"e\"]", func(im *history.Image) {
			im.Config.Entrypoint, im.Config.Cmd = []string{"e"}, []string{"c"}
		}},
		{"ENTRYPOINT can be emptied", "ENTRYPOINT []", func(im *history.Image) { im.Config.Entrypoint, im.Config.Cmd = nil, nil }},
		{"HEALTHCHECK replaces", "HEALTHCHECK --retries=2 CMD x y", func(im *history.Image) {
			im.Config.Healthcheck = &history.Healthcheck{Test: []string{"CMD-SHELL", "x y"}, Retries: 2}
		}},
		{"HEALTHCHECK NONE", "HEALTHCHECK NONE", func(im *history.Image) { im.Config.Healthcheck = &history.Healthcheck{Test: []string{"NONE"}} }},
		{"STOPSIGNAL", "STOPSIGNAL 9", func(im *history.Image) { im.Config.StopSignal = "9" }},
		{"MAINTAINER", "MAINTAINER me <$A>", func(im *history.Image) { im.Author = "me <$A>" }},
		{"ONBUILD keeps its text", "ONBUILD RUN  echo \"$A\" ", func(im *history.Image) { im.Config.OnBuild = []string{`RUN  echo "$A" `} }},
		{"an argument without default is a newline", "ARG NL\nENV B=\"a${NL}b\"", func(im *history.Image) { im.Config.Env = append(im.Config.Env, "B=a\nb") }},
		{"an argument with default", "ARG EQ=\"=\"\nLABEL \"a${EQ}b\"=c", func(im *history.Image) { im.Config.Labels["a=b"] = "c" }},
		{"ENV wins over ARG", "ARG A=arg\nENV B=$A", func(im *history.Image) { im.Config.Env = append(im.Config.Env, "B=old") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, want := baseImage(), baseImage()
			c.want(want)
			got, err := build.Interpret([]byte("FROM base\n"+c.text+"\n"), base)
			if err != nil {
				t.Fatal(err)
			}
			if a, b := dump(got), dump(want); a != b {
				t.Errorf("got  %s\nwant %s", a, b)
			}
			if !reflect.DeepEqual(base, baseImage()) {
				t.Error("the base was changed")
			}
		})
	}
}

func dump(im *history.Image) string {
	b, err := json.Marshal(im)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestInterpretOfAWindowsBase(t *testing.T) {
	base := &history.Image{}
	base.OS = "windows"
	base.Config.Env = []string{"Path=C:\\x"}
	got, err := build.Interpret([]byte("FROM base\nENV PATH='C:\\y'\nWORKDIR 'C:\\app'\nCMD dir\n"), base)
	if err != nil {
		t.Fatal(err)
	}
	c := got.Config
	if !slices.Equal(c.Env, []string{`PATH=C:\y`}) || c.WorkingDir != `C:\app` || !slices.Equal(c.Cmd, []string{"cmd", "/S", "/C", "dir"}) {
		t.Errorf("got %+v", c)
	}
}

func TestInterpretTakesAllThatAGeneratedDockerfileHas(t *testing.T) {
	got, err := build.Interpret([]byte(`# head
FROM debian:12
ARG NL
MAINTAINER me
RUN ["rm", "-rf", "--", \
     "/a b", \
     "/c"]
RUN ["sh", "-c", "p=$(printf '/base/caf\\351\\012.'); rm -rf -- \"${p%.}\""]
ADD layer.tar.gz /
ENV A=1 \
    B=2
ONBUILD RUN <<EOF
x
EOF
`), &history.Image{})
	if err != nil {
		t.Fatal(err)
	}
	want := &history.Image{}
	want.Author = "me"
	want.Config.Env = []string{"A=1", "B=2"}
	want.Config.OnBuild = []string{"RUN <<EOF\nx\nEOF"}
	if a, b := dump(got), dump(want); a != b {
		t.Errorf("got  %s\nwant %s", a, b)
	}
}

func TestInterpretIgnoresDirectivesOfTheLinter(t *testing.T) {
	got, err := build.Interpret([]byte("FROM a\n# check=error=true\nUSER b\n"), nil)
	if err != nil || got.Config.User != "b" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestInterpretRefusesWhatAGeneratedDockerfileCantHave(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "interpret dockerfile: file with no instructions",
		"USER a":                        "interpret dockerfile: line 1: the first instruction isn't FROM",
		"ARG A\nFROM $A":                "interpret dockerfile: line 1: the first instruction isn't FROM",
		"FROM $A":                       "interpret dockerfile: line 1: FROM takes no variable here",
		"FROM --platform=linux/arm64 a": "interpret dockerfile: line 1: FROM takes nothing but the base and a name here",
		"FROM a\nFROM b":                "interpret dockerfile: line 2: a second FROM",
		"FROM scratch\n\nRUN a":         `interpret dockerfile: line 3: RUN takes nothing but ["rm", "-rf", "--", "/path", …] here`,
		`FROM a` + "\n" + `RUN ["rm", "-rf", "--", "/"]`:     `interpret dockerfile: line 2: RUN removes "/", which is no absolute path below /`,
		"FROM a\nRUN --network=none [\"rm\"]":                "interpret dockerfile: line 2: RUN takes no flags here",
		"FROM a\nCOPY a /":                                   "interpret dockerfile: line 2: no generated dockerfile has this instruction",
		"FROM a\nADD a /b":                                   "interpret dockerfile: line 2: ADD takes one file of the context and / here",
		"FROM a\nADD a b /":                                  "interpret dockerfile: line 2: ADD takes one file of the context and / here",
		"FROM a\nADD https://example.com/ /":                 "interpret dockerfile: line 2: ADD takes one file of the context and / here",
		"FROM a\nADD --chown=1 a /":                          "interpret dockerfile: line 2: ADD takes no flags here",
		"FROM a\nADD <<EOF /\nx\nEOF":                        "interpret dockerfile: line 2: ADD takes one file of the context and / here",
		"FROM a\nNONSENSE x":                                 "interpret dockerfile: line 2: unknown instruction: NONSENSE",
		"FROM a\nWORKDIR \"\"":                               "interpret dockerfile: line 2: WORKDIR is empty",
		"FROM a\nVOLUME \"\"":                                "interpret dockerfile: line 2: a volume's path is empty",
		"FROM a\nSTOPSIGNAL no":                              "interpret dockerfile: line 2: invalid signal: no",
		"FROM a\nSTOPSIGNAL --x 9":                           "interpret dockerfile: line 2: STOPSIGNAL takes no flags here",
		"FROM a\nEXPOSE x":                                   "interpret dockerfile: line 2: invalid containerPort: x",
		"FROM a\nLABEL a=\x00":                               "interpret dockerfile: line 2: a NUL",
		"FROM a\nUSER \xff":                                  "interpret dockerfile: line 2: a value isn't UTF-8",
		"FROM a\nEXPOSE \xff":                                "interpret dockerfile: line 2: a value isn't UTF-8",
		"FROM a\nEXPOSE " + strings.Repeat("1-65535 ", 1000): "interpret dockerfile: line 2: EXPOSE names more ports than there are",
		"FROM a\nEXPOSE " + strings.Repeat("127.0.0.1::1-65535 ", 1000): "interpret dockerfile: line 2: EXPOSE names more ports than there are",
		"FROM a\nENV A=\"":           `interpret dockerfile: line 2: failed to process "\"": unexpected end of statement while looking for matching double-quote`,
		"# escape=`\nFROM a":         "interpret dockerfile: line 1: the escape character isn't the default",
		"FROM a\nENV A=1 \\\n\n B=2": "interpret dockerfile: line 4: an empty line in the middle of an instruction",
	} {
		_, err := build.Interpret([]byte(text), nil)
		if err == nil || err.Error() != want {
			t.Errorf("%q\ngot  %v\nwant %s", text, err, want)
		}
		var at *build.LineError
		if text != "" && !errors.As(err, &at) {
			t.Errorf("%q: no line in %T", text, err)
		}
	}
	if r, err := build.Interpret([]byte("FROM scratch"), baseImage()); err != nil || !reflect.DeepEqual(r.Config, baseImage().Config) {
		t.Errorf("what FROM scratch begins with isn't taken: %v", err)
	}
	base := &history.Image{}
	base.OS = "linux"
	if _, err := build.Interpret([]byte("FROM scratch"), base); err != nil {
		t.Errorf("a platform for FROM scratch isn't taken: %v", err)
	}
	base.Config.OnBuild = []string{"RUN x"}
	if _, err := build.Interpret([]byte("FROM a"), base); err == nil || !strings.Contains(err.Error(), "ONBUILD") {
		t.Errorf("triggers of the base: %v", err)
	}
}
