package history

import (
	"strings"
	"testing"
	"time"
)

func env(kv ...string) Step   { return Step{Name: "ENV", Pairs: pairs(kv)} }
func label(kv ...string) Step { return Step{Name: "LABEL", Pairs: pairs(kv)} }

func pairs(kv []string) (out []Pair) {
	for i := 0; i < len(kv); i += 2 {
		out = append(out, Pair{Key: kv[i], Value: kv[i+1]})
	}
	return out
}

func one(name string, args ...string) Step { return Step{Name: name, Args: args} }

func inShell(name, command string) Step {
	sh := []string{"/bin/sh", "-c"}
	return Step{Name: name, Args: []string{"/bin/sh", "-c", command}, Shell: sh}
}

func health(h Healthcheck) Step {
	return Step{Name: "HEALTHCHECK", Health: &h}
}

func TestDockerfileTakesTheSimplestForm(t *testing.T) {
	for _, c := range []struct {
		name string
		step Step
		want string
	}{
		{"plain variable", env("A", "b"), `ENV A=b`},
		{"path", env("PATH", "/usr/bin:/bin"), `ENV PATH=/usr/bin:/bin`},
		{"blank", env("A", "b c"), `ENV A="b c"`},
		{"outer blanks", env("A", " b\t"), "ENV A=\" b\t\""},
		{"empty", env("A", ""), `ENV A=""`},
		{"dollar", env("A", "$HOME"), `ENV A='$HOME'`},
		{"backslashes", env("A", `C:\x`), `ENV A='C:\x'`},
		{"double quotes", env("A", `say "hi"`), `ENV A='say "hi"'`},
		{"single quote", env("A", `it's`), `ENV A="it's"`},
		{"all of them", env("A", `it's "$5" \o/`), `ENV A="it's \"\$5\" \\o/"`},
		{"hash", env("A", "#b"), `ENV A="#b"`},
		{"here-document", env("A", "<<EOF"), `ENV A="<<EOF"`},
		{"newline", env("A", "b\nc"), `ENV A="b${NL}c"`},
		{"newline and the rest", env("A", "'$b'\n\\"), `ENV A="'\$b'${NL}\\"`},
		{"letters", env("A", "é"), `ENV A=é`},
		{"two pairs", env("A", "b", "C", "d"), `ENV A=b C=d`},
		{"long pairs", env("A", strings.Repeat("b", 60), "C", strings.Repeat("d", 60)),
			"ENV A=" + strings.Repeat("b", 60) + " \\\n    C=" + strings.Repeat("d", 60)},
		{"name like a flag", env("--from", "x"), `ENV "--from"=x`},
		{"label", label("org.opencontainers.image.title", "app"), `LABEL org.opencontainers.image.title=app`},
		{"label name with a blank", label("my key", "v"), `LABEL "my key"=v`},
		{"label name with an equals sign", label("a=b", "c=d"), `LABEL "a${EQ}b"=c=d`},
		{"ports", one("EXPOSE", "8080/tcp", "80/tcp", "53/udp", "53/tcp"), `EXPOSE 53 53/udp 80 8080`},
		{"many ports", one("EXPOSE", "9002/udp", "9001/udp", "9000/udp", "9001/tcp", "9003/udp"), `EXPOSE 9000-9003/udp 9001`},
		{"two neighbours", one("EXPOSE", "9001/tcp", "9000/tcp"), `EXPOSE 9000 9001`},
		{"volume", one("VOLUME", "/data"), `VOLUME /data`},
		{"volumes", one("VOLUME", "/data", "/log"), `VOLUME /data /log`},
		{"volume with a blank", one("VOLUME", "/my data", "/log"), `VOLUME ["/my data", "/log"]`},
		{"volume with a dollar", one("VOLUME", "/$x"), `VOLUME '/$x'`},
		{"volume with a newline", one("VOLUME", "/a\nb"), `VOLUME ["/a\nb"]`},
		{"volume with outer blanks", one("VOLUME", " /a $b "), `VOLUME ["' /a $b '"]`},
		{"user", one("USER", "app:app"), `USER app:app`},
		{"no user", one("USER", ""), `USER ""`},
		{"user like a flag", one("USER", "--x"), `USER "--x"`},
		{"directory", one("WORKDIR", "/srv/app"), `WORKDIR /srv/app`},
		{"directory with a blank", one("WORKDIR", "/srv/my app"), `WORKDIR "/srv/my app"`},
		{"directory of Windows", one("WORKDIR", `C:\app`), `WORKDIR 'C:\app'`},
		{"signal", one("STOPSIGNAL", "SIGRTMIN+3"), `STOPSIGNAL SIGRTMIN+3`},
		{"command in shell form", inShell("CMD", "cat message.txt"), `CMD cat message.txt`},
		{"command with everything", inShell("CMD", `echo "$A" '\n' # <<EOF`), `CMD echo "$A" '\n' # <<EOF`},
		{"command of two lines", inShell("CMD", "a\nb"), `CMD ["/bin/sh", "-c", "a\nb"]`},
		{"command that ends in a backslash", inShell("CMD", `a \`), `CMD ["/bin/sh", "-c", "a \\"]`},
		{"command like a flag", inShell("CMD", "--a"), `CMD ["/bin/sh", "-c", "--a"]`},
		{"command like an array", inShell("ENTRYPOINT", `["a"]`), `ENTRYPOINT ["/bin/sh", "-c", "[\"a\"]"]`},
		{"command like half an array", inShell("ENTRYPOINT", `[ -f /a ] && b`), `ENTRYPOINT [ -f /a ] && b`},
		{"command with outer blanks", inShell("CMD", " a"), `CMD ["/bin/sh", "-c", " a"]`},
		{"command that steers a terminal", inShell("CMD", "a\x1b[2J"), `CMD ["/bin/sh", "-c", "a\u001b[2J"]`},
		{"command that isn't UTF-8", inShell("CMD", "a\xff"), "CMD a\xff"},
		{"command with a NUL", one("CMD", "a\x00"), `CMD ["a\u0000"]`},
		{"empty command in shell form", inShell("CMD", ""), `CMD ["/bin/sh", "-c", ""]`},
		{"exec form", one("CMD", "nginx", "-g", "daemon off;"), `CMD ["nginx", "-g", "daemon off;"]`},
		{"markup in exec form", one("CMD", "<a & b>"), `CMD ["<a & b>"]`},
		{"no command", one("CMD"), `CMD []`},
		{"no entry point", one("ENTRYPOINT"), `ENTRYPOINT []`},
		{"shell", one("SHELL", "/bin/bash", "-o", "pipefail", "-c"), `SHELL ["/bin/bash", "-o", "pipefail", "-c"]`},
		{"no health check", health(Healthcheck{Test: []string{"NONE"}}), `HEALTHCHECK NONE`},
		{"health check", health(Healthcheck{Test: []string{"CMD-SHELL", "curl -f http://localhost/ || exit 1"}, Interval: 5 * time.Minute, Timeout: 3 * time.Second, Retries: 2}),
			`HEALTHCHECK --interval=5m --timeout=3s --retries=2 CMD curl -f http://localhost/ || exit 1`},
		{"health check in exec form", health(Healthcheck{Test: []string{"CMD", "/probe", "a b"}, StartPeriod: 90 * time.Second, StartInterval: 2 * time.Hour}),
			`HEALTHCHECK --start-period=1m30s --start-interval=2h CMD ["/probe", "a b"]`},
		{"trigger", one("ONBUILD", "COPY . /app/"), `ONBUILD COPY . /app/`},
		{"trigger with a here-document", one("ONBUILD", "RUN <<EOF\n # a\n\nb\nEOF"), "ONBUILD RUN <<EOF\n # a\n\nb\nEOF"},
		{"maintainer", one("MAINTAINER", `Jo "J" <jo@example.com>`), `MAINTAINER Jo "J" <jo@example.com>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.step.Dockerfile()
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			requireComesBack(t, c.step, got)
		})
	}
}

func TestDockerfileRefusesWhatItCantSet(t *testing.T) {
	long := strings.Repeat(" ", 70_000)
	for _, c := range []struct {
		name string
		step Step
		want string
	}{
		{"variable that isn't UTF-8", env("A", "\xff"), "ENV takes UTF-8 only"},
		{"variable with a NUL", env("A", "a\x00b"), "ENV takes no NUL"},
		{"variable name with an equals sign", env("A=B", "c"), "ENV can't have = in a name"},
		{"label without a name", label("", "c"), "LABEL can't have an empty name"},
		{"nothing to set", env(), "ENV can't be empty"},
		{"array that isn't UTF-8", one("CMD", "\xff", "b"), "CMD takes UTF-8 only"},
		{"volume without a path", one("VOLUME", ""), "VOLUME can't be empty"},
		{"no port", one("EXPOSE"), "EXPOSE can't be empty"},
		{"port without a protocol that exists", one("EXPOSE", "80/http"), "EXPOSE takes no such port"},
		{"port in capitals", one("EXPOSE", "80/TCP"), "EXPOSE takes no such port"},
		{"port without a protocol", one("EXPOSE", "80"), "EXPOSE takes no such port"},
		{"port with zeros", one("EXPOSE", "080/tcp"), "EXPOSE takes no such port"},
		{"ports", one("EXPOSE", "80-81/tcp"), "EXPOSE takes no such port"},
		{"port of an address", one("EXPOSE", "127.0.0.1::80/tcp"), "EXPOSE takes no such port"},
		{"port beyond the last", one("EXPOSE", "65536/tcp"), "EXPOSE takes no such port"},
		{"relative directory", one("WORKDIR", "a"), "WORKDIR takes clean absolute paths only"},
		{"directory with a final slash", one("WORKDIR", "/a/"), "WORKDIR takes clean absolute paths only"},
		{"no directory", one("WORKDIR", ""), "WORKDIR takes clean absolute paths only"},
		{"directory with a NUL", one("WORKDIR", "/a\x00"), "WORKDIR takes no NUL"},
		{"volume with a NUL", one("VOLUME", "/a\x00"), "VOLUME takes no NUL"},
		{"no signal", one("STOPSIGNAL", ""), "STOPSIGNAL takes known signals only"},
		{"unknown signal", one("STOPSIGNAL", "SIGNONE"), "STOPSIGNAL takes known signals only"},
		{"two users", one("USER", "a", "b"), "USER takes one value"},
		{"no shell", one("SHELL"), "SHELL can't be empty"},
		{"health check of two lines", health(Healthcheck{Test: []string{"CMD-SHELL", "a\nb"}}), "HEALTHCHECK can't have this command on one line"},
		{"inherited health check", health(Healthcheck{Retries: 3}), "HEALTHCHECK can't be without a command"},
		{"health check of another kind", health(Healthcheck{Test: []string{"SHELL", "a"}}), "HEALTHCHECK knows a CMD, one CMD-SHELL and NONE only"},
		{"none, with retries", health(Healthcheck{Test: []string{"NONE"}, Retries: 3}), "HEALTHCHECK NONE takes nothing else"},
		{"retries below zero", health(Healthcheck{Test: []string{"CMD", "a"}, Retries: -1}), "HEALTHCHECK takes no such --retries"},
		{"interval under a millisecond", health(Healthcheck{Test: []string{"CMD", "a"}, Interval: 5}), "HEALTHCHECK takes no time under 1ms"},
		{"maintainer of two lines", one("MAINTAINER", "a\nUSER root"), "MAINTAINER takes no such text"},
		{"no maintainer", one("MAINTAINER", ""), "MAINTAINER takes no such text"},
		{"maintainer with a final blank", one("MAINTAINER", "a "), "MAINTAINER takes no such text"},
		{"maintainer of blanks beyond a line", one("MAINTAINER", "a"+long+"b"), "MAINTAINER has no place for a line continuation in a long value"},
		{"trigger of a trigger", one("ONBUILD", "ONBUILD RUN a"), "ONBUILD takes no such trigger"},
		{"trigger of a trigger behind a tab", one("ONBUILD", "onbuild\tRUN a"), "ONBUILD takes no such trigger"},
		{"trigger of two lines", one("ONBUILD", "RUN a\nRUN b"), "ONBUILD takes no such text"},
		{"here-document that isn't UTF-8", one("ONBUILD", "RUN <<EOF \xff\nEOF"), "ONBUILD takes UTF-8 only"},
		{"here-document among braces", one("ONBUILD", "RUN <<"+strings.Repeat("${a:-", 100_000)), "ONBUILD takes no here-document among so many ${"},
		{"no metadata", one("RUN", "a"), "RUN is no metadata instruction"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := c.step.Dockerfile()
			if err == nil {
				t.Fatalf("got %.80q", text)
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

// The parser stops at lines of 65,536 bytes.
func TestDockerfileFoldsLongValues(t *testing.T) {
	long := 150_000
	if testing.Short() {
		long = 5_000
	}
	for _, unit := range []string{"b", `\`, " ", "#", `"`, "'", "$", "\n", "é", "\t", "x \\# ", "\u00a0", "😀"} {
		v := strings.Repeat(unit, long/len(unit))
		for _, step := range []Step{
			env("A", v, "B", v), label(v, v), one("USER", v), one("VOLUME", "/"+v), one("CMD", v, v),
			one("SHELL", v), inShell("ENTRYPOINT", v), health(Healthcheck{Test: []string{"CMD", v}}),
		} {
			text, err := step.Dockerfile()
			if err != nil {
				t.Fatalf("%s of %q: %v", step.Name, unit, err)
			}
			requireComesBack(t, step, text)
		}
	}
	for _, step := range []Step{
		one("MAINTAINER", strings.Repeat("Jo ", long)+"!"), one("ONBUILD", "RUN "+strings.Repeat(`a \#b `, long/3)+"c"),
		health(Healthcheck{Test: []string{"CMD-SHELL", strings.Repeat("a && # b ", long/3) + "c"}}),
	} {
		text, err := step.Dockerfile()
		if err != nil {
			t.Fatalf("%s: %v", step.Name, err)
		}
		requireComesBack(t, step, text)
	}
}
