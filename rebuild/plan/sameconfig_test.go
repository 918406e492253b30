package plan

import (
	"slices"
	"strings"
	"testing"
)

func TestCompareConfigs(t *testing.T) {
	const full = `{"architecture":"arm","variant":"v7","os":"windows","os.version":"10.0.1","os.features":["win32k"],"author":"me","x-unknown":{"a":1},
		"created":"2020-01-01T00:00:00Z","history":[{"created_by":"a"}],"rootfs":{"type":"layers","diff_ids":["sha256:1"]},
		"config":{"Env":["A=1","B=2"],"Cmd":["a"],"Entrypoint":["e"],"Labels":{"k":"v","empty":""},"ExposedPorts":{"80/tcp":{}},"Volumes":{"/v":{}},
		"Healthcheck":{"Test":["CMD","x"],"Interval":1000000000,"Retries":3},"StopSignal":"SIGINT","StopTimeout":10,"OnBuild":["RUN a","RUN b"],"Shell":["/bin/sh","-c"],
		"User":"1","WorkingDir":"/w","ArgsEscaped":true,"X-Vendor":[1,2]}}`
	for _, c := range []struct {
		old, new string
		want     string // path, what, OTHER's value, IMAGE's
	}{
		{`"arm"`, `"arm64"`, `architecture|value|"arm"|"arm64"`},
		{`"variant":"v7"`, `"variant":"v6"`, `variant|value|"v7"|"v6"`},
		{`"variant":"v7",`, ``, `variant|missing|"v7"|`},
		{`"windows"`, `"linux"`, `os|value|"windows"|"linux"`},
		{`"10.0.1"`, `"10.0.2"`, `os.version|value|"10.0.1"|"10.0.2"`},
		{`["win32k"]`, `["win32k","b"]`, `os.features|value|["win32k"]|["win32k","b"]`},
		{`"me"`, `"you"`, `author|value|"me"|"you"`},
		{`{"a":1}`, `{"a":2}`, `x-unknown.a|value|1|2`},
		{`["A=1","B=2"]`, `["B=2","A=1"]`, `config.Env|value|["A=1","B=2"]|["B=2","A=1"]`},
		{`"Cmd":["a"]`, `"Cmd":["a",""]`, `config.Cmd|value|["a"]|["a",""]`},
		{`"Cmd":["a"]`, `"Cmd":null`, `config.Cmd|missing|["a"]|`},
		{`"Entrypoint":["e"],`, ``, `config.Entrypoint|missing|["e"]|`},
		{`"k":"v"`, `"k":"w"`, `config.Labels.k|value|"v"|"w"`},
		{`,"empty":""`, ``, `config.Labels.empty|missing|""|`},
		{`"80/tcp":{}`, `"80/tcp":{},"81/tcp":{}`, `config.ExposedPorts.81/tcp|extra||{}`},
		{`"80/tcp":{}`, `"80/udp":{}`, `config.ExposedPorts.80/tcp|missing|{}|; config.ExposedPorts.80/udp|extra||{}`},
		{`"/v":{}`, `"/w":{}`, `config.Volumes./v|missing|{}|; config.Volumes./w|extra||{}`},
		{`"Volumes":{"/v":{}},`, ``, `config.Volumes|missing|{"/v":{}}|`},
		{`1000000000`, `1000000001`, `config.Healthcheck.Interval|value|1000000000|1000000001`},
		{`"CMD","x"`, `"NONE"`, `config.Healthcheck.Test|value|["CMD","x"]|["NONE"]`},
		{`SIGINT`, `SIGTERM`, `config.StopSignal|value|"SIGINT"|"SIGTERM"`},
		{`"StopTimeout":10`, `"StopTimeout":11`, `config.StopTimeout|value|10|11`},
		{`"StopTimeout":10`, `"StopTimeout":0`, `config.StopTimeout|value|10|0`},
		{`"RUN a","RUN b"`, `"RUN b","RUN a"`, `config.OnBuild|value|["RUN a","RUN b"]|["RUN b","RUN a"]`},
		{`"/bin/sh","-c"`, `"/bin/sh"`, `config.Shell|value|["/bin/sh","-c"]|["/bin/sh"]`},
		{`"User":"1"`, `"User":"1:1"`, `config.User|value|"1"|"1:1"`},
		{`"/w"`, `"/w/"`, `config.WorkingDir|value|"/w"|"/w/"`},
		{`"ArgsEscaped":true`, `"ArgsEscaped":false`, `config.ArgsEscaped|missing|true|`},
		{`[1,2]`, `[2,1]`, `config.X-Vendor|value|[1,2]|[2,1]`},
		{`"User":"1"`, `"User":"1","New":"<&>"`, `config.New|extra||"<&>"`},

		{`2020-01-01`, `2021-01-01`, ``},
		{`"sha256:1"`, `"sha256:2","sha256:3"`, ``},
		{`[{"created_by":"a"}]`, `[]`, ``},
		{`"author"`, `"docker_version":"20","container":"c","container_config":{"Cmd":["x"]},"author"`, ``},
		{`"User":"1"`, `"User":"1","Hostname":"h","Image":"sha256:1","AttachStdin":true,"New":null,"Newer":[],"Newest":{}`, ``},
		{`1000000000`, `1e9`, ``},
		{`"Retries":3`, `"Retries":3,"Timeout":0`, ``},
		{`"80/tcp":{}`, `"80/tcp":null`, ``},
		{`"k":"v","empty":""`, `"empty":"","k":"v"`, ``},
	} {
		changed := strings.Replace(full, c.old, c.new, 1)
		if changed == full {
			t.Fatalf("nothing to change: %s", c.old)
		}
		found, err := CompareConfigs([]byte(full), []byte(changed))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range found {
			got = append(got, strings.Join([]string{d.Path, d.What, d.Other, d.Image}, "|"))
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s to %s: %q, want %q", c.old, c.new, got, c.want)
		}
		back, err := CompareConfigs([]byte(changed), []byte(full))
		if err != nil || len(back) != len(found) {
			t.Errorf("%s to %s: %d differences, the other way %d, %v", c.old, c.new, len(found), len(back), err)
		}
	}
}

func TestCompareConfigsOfAnyShape(t *testing.T) {
	deep := func(key string, depth int, value string) string {
		return strings.Repeat(`{"`+key+`":`, depth) + value + strings.Repeat("}", depth)
	}
	long := strings.Repeat("k", 200)
	for _, c := range []struct {
		want, have string
		paths      []string
	}{
		{deep("k", 8, "1"), deep("k", 8, "2"), []string{"k.k.k.k.k.k.k.k"}},
		{deep("k", 9000, "1"), deep("k", 9000, "2"), []string{"k.k.k.k.k.k.k.k"}},
		{deep(long, 9000, "1"), deep(long, 9000, "2"), []string{long}},
		{`{"config":{"Labels":{"` + long + `":"1"}}}`, `{"config":{"Labels":{"` + long + `":"2"}}}`, []string{"config.Labels." + long}},
		{`{}`, `{"config":{}}`, nil},
		{`{"config":null}`, `{}`, nil},
		{`{"config":{"StopTimeout":0}}`, `{"config":{}}`, []string{"config.StopTimeout"}},
		{`{"config":{"StopTimeout":null}}`, `{"config":{}}`, nil},
		{`{"config":[1]}`, `{"config":{"User":"a"}}`, []string{"config", "config.User"}},
		{`{"config":{"Env":"A=1"}}`, `{"config":{"Env":["A=1"]}}`, []string{"config.Env"}},
		{`{"config":{"Env":{"a":1}}}`, `{"config":{"Env":true}}`, []string{"config.Env"}},
		{`{"n":12345678901234567890}`, `{"n":12345678901234567891}`, []string{"n"}},
		{`{"n":9007199254740993}`, `{"n":9007199254740992}`, []string{"n"}},
		{`{"n":1e400}`, `{"n":1e401}`, []string{"n"}},
	} {
		found, err := CompareConfigs([]byte(c.want), []byte(c.have))
		var paths []string
		for _, d := range found {
			paths = append(paths, d.Path)
		}
		if err != nil || !slices.Equal(paths, c.paths) {
			t.Errorf("%s, %s: %q, %v", c.want, c.have, paths, err)
		}
	}
	if _, err := CompareConfigs([]byte(`{}`), []byte(`[]`)); err == nil {
		t.Error("a list is taken for a config document")
	}
}
