//go:build linux

package hostile

import (
	"fmt"
	"strings"
)

// configCases are config documents that are odd, huge or forged. What a
// container gets from the config must come out as it went in.
func configCases() []hostileCase {
	with1 := func(config object) image {
		im := plain()
		im.config = config
		return im
	}
	fields := func(f object) image {
		im := plain()
		im.fields = f
		return im
	}
	raw := func(change func(string) string) image {
		im := plain()
		im.raw = []byte(change(string(im.document())))
		return im
	}
	env := func(list ...string) image { return with1(object{"Env": list}) }
	labels := func(kv ...string) image {
		l := object{}
		for i := 0; i < len(kv); i += 2 {
			l[kv[i]] = kv[i+1]
		}
		return with1(object{"Labels": l})
	}
	set := func(names ...string) object {
		o := object{}
		for _, n := range names {
			o[n] = object{}
		}
		return o
	}
	numbered := func(n int, format string) []string {
		return many(n, func(i int) string { return fmt.Sprintf(format, i) })
	}
	control := "a\x1b]0;owned\x07b\x00c\u009bd\u202ee"
	newline := "x\nRUN touch /forged\nUSER forged"
	cases := []hostileCase{
		// Much of everything
		good("env-20000", "a loop over a loop over the environment", env(numbered(20000, "N%d=v")...)),
		good("env-20000-long", "with values that mean something to a Dockerfile", env(numbered(20000, `N%d=$A ${B:-"c"} \ 'd'`)...)),
		good("env-same-20000", "the same name 20,000 times", env(numbered(20000, "N=%d")...)),
		good("env-value-200000", "a value that no line can hold", env("A="+long("word ", 200000))),
		good("env-name-200000", "and a name", env(long("N", 200000)+"=v")),
		good("label-20000", "many labels", with1(object{"Labels": func() object {
			o := object{}
			for i := range 20000 {
				o[fmt.Sprint("l", i)] = "v"
			}
			return o
		}()})),
		good("label-value-200000", "a label of one word of 200,000 characters", labels("l", long("x", 200000))),
		good("label-value-200000-words", "of many words", labels("l", long("word ", 200000))),
		good("label-key-200000", "a key so long", labels(long("k", 200000), "v")),
		good("label-quotes-200000", "nothing but quotes", labels("l", long(`"`, 200000))),
		good("label-backslashes-200000", "nothing but backslashes", labels("l", long(`\`, 200000))),
		good("label-dollars-200000", "nothing but dollars", labels("l", long(`$`, 200000))),
		good("label-newlines-200000", "nothing but newlines", labels("l", long("\n", 200000))),
		good("cmd-200000", "a command of 200,000 characters", with1(object{"Cmd": []string{"/bin/sh", "-c", long("x", 200000)}})),
		good("cmd-200000-words", "in words", with1(object{"Cmd": []string{"/bin/sh", "-c", long("echo a && ", 200000)}})),
		good("cmd-20000-arguments", "a command of 20,000 arguments", with1(object{"Cmd": numbered(20000, "a%d")})),
		good("entrypoint-20000-arguments", "an entrypoint", with1(object{"Entrypoint": numbered(20000, "a%d")})),
		good("volume-200000", "a volume of a long name", with1(object{"Volumes": set("/" + long("v", 200000))})),
		good("volume-20000", "many volumes", with1(object{"Volumes": set(numbered(20000, "/v%d")...)})),
		good("port-20000", "many ports", with1(object{"ExposedPorts": set(numbered(20000, "%d/tcp")...)})),
		good("workdir-200000", "a long working directory", with1(object{"WorkingDir": "/" + long("w/", 200000) + "w"})),
		good("user-200000", "a long user", with1(object{"User": long("u", 200000)})),
		good("healthcheck-200000", "a long test", with1(object{"Healthcheck": object{"Test": []string{"CMD-SHELL", long("true && ", 200000)}}})),
		good("shell-20000", "a shell of many words", with1(object{"Shell": numbered(20000, "s%d")})),
		good("onbuild-20000", "many triggers", with1(object{"OnBuild": numbered(20000, "RUN echo %d")})),
		good("onbuild-200000", "a long trigger", with1(object{"OnBuild": []string{"RUN " + long("true && ", 200000)}})),
		good("author-200000", "a long author", fields(object{"author": long("a ", 200000)})),
		good("unknown-20000", "fields that nobody knows", fields(func() object {
			o := object{}
			for i := range 20000 {
				o[fmt.Sprint("x", i)] = i
			}
			return o
		}())),

		// Values that mean something elsewhere
		good("env-no-equals", "a variable without a value", env("A", "B=1")),
		good("env-no-name", "a value without a name", env("=x", "B=1")),
		good("env-empty", "nothing at all", env("", "B=1")),
		good("env-name-odd", "names that no shell takes", env("A B=1", "A-B=2", "A.B=3", "é=4", "A\"B=5", "#A=6")),
		good("env-name-newline", "a name that is an instruction", env("A\nRUN touch /forged\nENV B=1")),
		good("env-value-newline", "a value that is one", env("A="+newline)),
		good("env-value-control", "a value that writes to a terminal", env("A="+control)),
		good("env-name-control", "a name that does", env(control+"=1")),
		good("env-value-dollar", "variables aren't replaced", env("A=1", "B=$A ${A} ${A:+x} $$A", "C=`id` $(id)")),
		good("env-value-quotes", "quotes of all kinds", env(`A='"\"'`, `B="`, `C='`, `D=\`)),
		good("env-value-spaces", "spaces at both ends", env("A=  x  ", "B=\t", "C=a  b")),
		good("env-heredoc", "a value that begins a heredoc", env("A=<<EOF", "B=<<-'X' <<Y")),
		good("env-same-name", "one name twice", env("A=1", "A=2", "a=3")),
		good("env-path-none", "no PATH", with1(object{"Env": []string{}})),
		good("env-onbuild-word", "names that are instructions", env("RUN=1", "FROM=scratch", "ONBUILD=RUN x")),
		good("env-not-utf8", "bytes that are no text", env("A=\xff\xfe")),
		good("label-newline", "a label that is an instruction", labels("l", newline)),
		good("label-key-newline", "a key that is one", labels("k\nRUN touch /forged\n", "v")),
		good("label-key-empty", "a key of nothing", labels("", "v")),
		good("label-key-odd", "keys of everything", labels(`a b`, "1", `a=b`, "2", `"`, "3", `'`, "4", `$x`, "5", `\`, "6", "#", "7", "<<EOF", "8")),
		good("label-control", "escapes", labels(control, control)),
		good("cmd-newline", "an argument that is an instruction", with1(object{"Cmd": []string{"/bin/sh", "-c", newline}})),
		good("cmd-empty-argument", "an argument of nothing", with1(object{"Cmd": []string{""}})),
		good("cmd-empty", "no arguments", with1(object{"Cmd": []string{}})),
		good("cmd-control", "escapes", with1(object{"Cmd": []string{control}})),
		good("cmd-like-json", "an argument that looks like a list", with1(object{"Cmd": []string{`["a"]`, `]`, `[`}})),
		good("entrypoint-newline", "an entrypoint that is an instruction", with1(object{"Entrypoint": []string{newline}})),
		good("workdir-relative", "a relative one", with1(object{"WorkingDir": "a/../../b"})),
		good("workdir-newline", "one that is an instruction", with1(object{"WorkingDir": "/a\nRUN touch /forged"})),
		good("workdir-odd", "one of quotes and variables", with1(object{"WorkingDir": `/a "b" $C \d`})),
		good("workdir-windows", "one of another system", with1(object{"WorkingDir": `C:\a`})),
		good("user-newline", "a user that is an instruction", with1(object{"User": "u\nRUN touch /forged"})),
		good("user-odd", "a user of variables and spaces", with1(object{"User": "$A b"})),
		good("volume-newline", "a volume that is an instruction", with1(object{"Volumes": set("/v\nRUN touch /forged")})),
		good("volume-odd", "volumes of everything", with1(object{"Volumes": set("", " ", "a b", `"`, `[`, "$x", "relative", "/../..")})),
		good("port-newline", "a port that is an instruction", with1(object{"ExposedPorts": set("80/tcp\nRUN touch /forged")})),
		good("port-odd", "ports that are none", with1(object{"ExposedPorts": set("", "0", "99999/tcp", "80/x", "a-b/tcp", "$PORT", "1-65535/tcp", " 80 ")})),
		good("port-range-wide", "a range of all ports", with1(object{"ExposedPorts": set("1-65535/tcp", "1-65535/udp")})),
		good("stopsignal-newline", "a signal that is an instruction", with1(object{"StopSignal": "TERM\nRUN touch /forged"})),
		good("stopsignal-odd", "one that is none", with1(object{"StopSignal": "$SIG 'x'"})),
		good("shell-newline", "a shell that is an instruction", with1(object{"Shell": []string{"/bin/sh\nRUN touch /forged", ""}})),
		good("healthcheck-newline", "a test that is one", with1(object{"Healthcheck": object{"Test": []string{"CMD", newline}}})),
		good("healthcheck-odd", "a test of no kind", with1(object{"Healthcheck": object{"Test": []string{"WHAT", "x"}, "Interval": -1, "Timeout": 1 << 60, "Retries": -5}})),
		good("healthcheck-empty", "no test, but times", with1(object{"Healthcheck": object{"Interval": 1, "StartPeriod": 999999999}})),
		good("healthcheck-none", "none wanted", with1(object{"Healthcheck": object{"Test": []string{"NONE"}}})),
		good("onbuild-newline", "a trigger of two lines", with1(object{"OnBuild": []string{"RUN a\nRUN touch /forged"}})),
		good("onbuild-onbuild", "a trigger of a trigger", with1(object{"OnBuild": []string{"ONBUILD RUN x", "FROM x", "MAINTAINER y", "", "rubbish", "# comment", "RUN <<EOF"}})),
		good("author-newline", "an author that is an instruction", fields(object{"author": "a\nRUN touch /forged"})),
		good("domainname", "fields of old times", with1(object{"Domainname": "d", "Hostname": "h", "Image": "sha256:x", "Tty": true, "OpenStdin": true, "AttachStdin": true, "MacAddress": "m"})),
		good("config-unknown", "fields of times to come", with1(object{"X": object{"y": []any{1, 2.5, nil, "z"}}})),
		good("config-null", "no config at all", fields(object{"config": nil})),
		good("container-config", "what a build left", fields(object{"container_config": object{"Cmd": []string{"x\nRUN touch /forged"}}, "container": "c", "docker_version": "1"})),

		// Types and forms
		bad("config-not-object", "a list instead", ``, raw(func(string) string { return "[]" })),
		bad("config-text", "a text instead", ``, raw(func(string) string { return `"x"` })),
		bad("config-null-document", "null instead", ``, raw(func(string) string { return "null" })),
		bad("rootfs-missing", "no rootfs", ``, raw(func(s string) string { return strings.Replace(s, `"rootfs"`, `"rootfsx"`, 1) })),
		{name: "rootfs-type", why: "a rootfs of another kind", image: ptr(raw(func(s string) string { return strings.Replace(s, `"layers"`, `"base+layers"`, 1) })), want: survives(nil)},
		bad("diffids-text", "diff IDs that are a text", ``, raw(func(s string) string { return strings.Replace(s, `"diff_ids":[`, `"diff_ids":"x","y":[`, 1) })),
		{name: "env-text", why: "an environment that is a text", image: ptr(with1(object{"Env": "A=1"})), want: survives(nil)},
		{name: "env-numbers", why: "or numbers", image: ptr(with1(object{"Env": []int{1, 2}})), want: survives(nil)},
		{name: "cmd-text", why: "a command that is a text", image: ptr(with1(object{"Cmd": "x"})), want: survives(nil)},
		{name: "labels-list", why: "labels that are a list", image: ptr(with1(object{"Labels": []string{"a=b"}})), want: survives(nil)},
		{name: "labels-numbers", why: "or numbers", image: ptr(with1(object{"Labels": object{"a": 1}})), want: survives(nil)},
		{name: "volumes-list", why: "volumes that are a list", image: ptr(with1(object{"Volumes": []string{"/a"}})), want: survives(nil)},
		{name: "created-wrong", why: "a time that is none", image: ptr(fields(object{"created": "yesterday"})), want: survives(nil)},
		good("created-far", "a time far away", fields(object{"created": "9999-12-31T23:59:59Z"})),
		good("created-zero", "no time", fields(object{"created": "0001-01-01T00:00:00Z"})),
		{name: "created-null", why: "a time that is null", image: ptr(fields(object{"created": nil})), want: survives(nil)},
		{name: "keys-twice", why: "keys that come twice have two readings", image: ptr(raw(func(s string) string { return strings.Replace(s, `{`, `{"os":"windows","rootfs":{},`, 1) })), want: survives(nil)},
		{name: "keys-case", why: "keys in another case", image: ptr(raw(func(s string) string { return strings.Replace(s, `"config"`, `"CONFIG"`, 1) })), want: survives(nil)},
		{name: "json-behind", why: "something behind the document", image: ptr(raw(func(s string) string { return s + "{}" })), want: survives(nil)},
		{name: "json-surrogate", why: "half a character", image: ptr(raw(func(s string) string { return strings.Replace(s, `/bin/sh`, `\ud800`, 1) })), want: survives(nil)},
		{name: "json-nul", why: "a NUL in a text", image: ptr(env("A=\x00")), want: survives(ptr(env("A=\x00")))},
		{name: "os-odd", why: "a system that nobody has", image: ptr(fields(object{"os": "../..", "architecture": "a/b/c"})), want: survives(nil)},
		{name: "os-none", why: "no system", image: ptr(fields(object{"os": "", "architecture": ""})), want: survives(nil)},
		{name: "os-windows", why: "layers of another kind", image: ptr(fields(object{"os": "windows", "os.version": "10.0"})), want: survives(nil)},
		{name: "variant-odd", why: "a variant of slashes", image: ptr(fields(object{"variant": "v8/../x"})), want: survives(nil)},
	}
	// What is an instruction within a value must not be one of the Dockerfile.
	for _, c := range cases {
		if strings.Contains(c.name, "newline") {
			c.name, c.args, c.want = c.name+"-dry", []string{"--base", "1", "--dry-run"}, want{code: 0}
			cases = append(cases, c)
		}
	}
	return cases
}

// historyCases are histories that want to be instructions. The Dockerfile of a
// dry run is parsed, and nothing in it may be one that the history forged.
func historyCases() []hostileCase {
	steps := func(list ...object) image {
		im := plain()
		im.history = list
		return im
	}
	by := func(s ...string) image {
		im := plain()
		for _, s := range s {
			im.history = append(im.history, object{"created": "2020-01-01T00:00:00Z", "created_by": s})
		}
		for i := 2; i < len(s); i++ {
			im.history[i]["empty_layer"] = true
		}
		return im
	}
	forged := "\nRUN touch /forged\n"
	nop := "/bin/sh -c #(nop) "
	texts := []struct{ name, why, text string }{
		{"newline", "a second line", "RUN a" + forged},
		{"carriage-return", "a second line to some", "RUN a\rRUN touch /forged\r"},
		{"line-separator", "a second line to Unicode", "RUN a\u2028RUN touch /forged\u2029\u0085RUN touch /forged"},
		{"vertical-tab", "or to a printer", "RUN a\vRUN touch /forged\fRUN touch /forged"},
		{"nul", "what follows a NUL", "RUN a\x00" + forged},
		{"heredoc", "a heredoc that ends early", "RUN <<EOF\na\nEOF" + forged},
		{"heredoc-open", "one that never ends", "RUN <<EOF\na" + forged},
		{"heredoc-quoted", "with quotes", "RUN <<-'E O F'\na\nE O F" + forged},
		{"heredoc-copy", "of files", "COPY <<a <<b /dest/\na\nb" + forged},
		{"continued", "a line that goes on", "RUN a \\" + forged},
		{"continued-last", "a last line that does", "RUN a \\"},
		{"continued-backtick", "with another sign", "RUN a `" + forged},
		{"directive-escape", "a directive changes the sign", "# escape=`" + forged},
		{"directive-syntax", "or the parser itself", "# syntax=docker.io/evil/frontend" + forged},
		{"directive-check", "or its checks", "# check=skip=all;error=true" + forged},
		{"comment", "a comment that ends", "# harmless" + forged},
		{"from", "another stage", "FROM evil AS x\nRUN touch /forged"},
		{"onbuild", "a trigger", nop + " ONBUILD RUN touch /x" + forged},
		{"nop-cmd", "an instruction of the classic builder", nop + ` CMD ["a"]` + forged},
		{"nop-env", "with a value", nop + " ENV A=b" + forged},
		{"nop-add", "with a file", nop + " ADD file:abc in / " + forged},
		{"nop-rubbish", "of nothing", nop + forged},
		{"nop-from", "that was none", nop + " FROM x" + forged},
		{"buildkit", "an instruction of BuildKit", "RUN /bin/sh -c a # buildkit" + forged},
		{"buildkit-args", "with arguments", "RUN |9999999999 A=b /bin/sh -c a # buildkit" + forged},
		{"buildkit-args-negative", "fewer than none", "RUN |-1 /bin/sh -c a # buildkit" + forged},
		{"buildkit-copy", "a copy", "COPY a\nRUN touch /forged\n /b # buildkit"},
		{"buildkit-env", "a variable", "ENV A=b\nRUN touch /forged"},
		{"buildkit-expose", "a port as Go prints it", "EXPOSE map[80/tcp:{}\nRUN touch /forged\n]"},
		{"buildkit-volume", "a volume", "VOLUME [/a\nRUN touch /forged\n]"},
		{"buildkit-healthcheck", "a test", "HEALTHCHECK &{[\"CMD-SHELL\" \"a\"\nRUN touch /forged\n] \"0s\"}"},
		{"buildah", "buildah's", "/bin/sh -c #(nop) ADD file:x in /y" + forged + "|/bin/sh"},
		{"kaniko", "kaniko's", "RUN a\t\nRUN touch /forged"},
		{"bazel", "bazel's", "bazel build ..." + forged},
		{"escapes", "what a terminal acts on", "RUN \x1b]0;owned\x07\x1b[2J\u009b31m\u202eRUN touch /forged"},
		{"backspaces", "what hides itself", "RUN evil\b\b\b\bgood"},
		{"not-utf8", "what is no text", "RUN \xff\xfe\x80"},
		{"bom", "a byte order mark", "\ufeffRUN a" + forged},
		{"quotes", "quotes that stay open", `RUN echo "a 'b`},
		{"braces", "what a template would act on", `{{.}} {{define "x"}} {{end}} <script>alert(1)</script>`},
		{"percent", "what a format would act on", "%s %d %n %!x(MISSING) %[1]*d"},
		{"spaces", "nothing but spaces", "   \t  "},
		{"empty", "nothing", ""},
		{"long", "200,000 characters", "RUN " + long("a && ", 200000)},
		{"long-word", "in one word", "RUN " + long("a", 200000)},
		{"long-lines", "in 100,000 lines", "RUN " + long("a\n", 200000)},
		{"long-mount", "20,000 mounts", "RUN " + strings.Repeat("--mount=type=cache,target=/x ", 20000) + "a # buildkit"},
	}
	var cases []hostileCase
	for _, x := range texts {
		im := by(x.text, x.text, x.text)
		cases = append(cases,
			hostileCase{name: x.name, why: x.why, image: &im, want: becomes(im)},
			hostileCase{name: x.name + "-dry", why: x.why + ", in the Dockerfile", image: &im, want: want{code: 0}, args: []string{"--base", "1", "--dry-run"}},
		)
	}
	comment := steps(object{"created_by": "x", "comment": "c" + forged, "author": "a" + forged, "created": "t" + forged}, object{"created_by": "y"})
	cases = append(cases,
		hostileCase{name: "comment-author-dry", why: "the other fields of a step", image: &comment, want: survives(nil), args: []string{"--base", "1", "--dry-run"}},
		hostileCase{name: "comment-from-dry", why: "buildah's note of the base", image: ptr(steps(object{"comment": "FROM evil\nRUN touch /forged"}, object{"comment": "FROM ../../x"})), want: survives(nil), args: []string{"--dry-run"}},
		good("none", "no history", func() image { im := plain(); im.history = []object{}; return im }()),
		good("null", "null", func() image { im := plain(); im.fields = object{"history": nil}; return im }()),
		good("fewer", "fewer steps than layers", by("only one")),
		good("all-empty", "steps that all say they made no layer", steps(object{"created_by": "a", "empty_layer": true}, object{"created_by": "b", "empty_layer": true})),
		good("more", "more steps with layers than layers", steps(many(10, func(i int) object { return object{"created_by": "x"} })...)),
		hostileCase{name: "wrong-type", why: "steps that are texts", image: ptr(func() image { im := plain(); im.fields = object{"history": []string{"a"}}; return im }()), want: survives(nil)},
		hostileCase{name: "wrong-field", why: "fields of another type", image: ptr(steps(object{"created_by": 1, "empty_layer": "yes"})), want: survives(nil)},
		hostileCase{name: "100000-steps", why: "a long history", build: func() image {
			im := plain()
			im.history = many(100000, func(i int) object { return object{"created_by": fmt.Sprint("RUN ", i), "empty_layer": i > 1} })
			return im
		}},
		hostileCase{name: "20000-env-steps", why: "a history of 20,000 variables, each a step", build: func() image {
			im := plain()
			im.history = many(20000, func(i int) object {
				return object{"created_by": fmt.Sprintf(nop+" ENV A%d=%d", i, i), "empty_layer": i > 1}
			})
			im.config = object{"Env": many(20000, func(i int) string { return fmt.Sprintf("A%d=%d", i, i) })}
			return im
		}},
		hostileCase{name: "20000-label-steps", why: "and of labels", build: func() image {
			im := plain()
			l := object{}
			im.history = many(20000, func(i int) object {
				l[fmt.Sprint("l", i)] = "v"
				return object{"created_by": fmt.Sprintf("LABEL l%d=v", i), "comment": "buildkit.dockerfile.v0", "empty_layer": i > 1}
			})
			im.config = object{"Labels": l}
			return im
		}},
	)
	return cases
}
