package templates

import (
	"errors"
	"strings"
	"testing"
	"time"

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

func TestInstructionTakesTheSimplestForm(t *testing.T) {
	for _, c := range []struct {
		name string
		step history.Step
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
		{"empty name", env("", "x"), `ENV ""=x`},
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
		{"empty command in shell form", inShell("CMD", ""), `CMD ["/bin/sh", "-c", ""]`},
		{"exec form", one("CMD", "nginx", "-g", "daemon off;"), `CMD ["nginx", "-g", "daemon off;"]`},
		{"markup in exec form", one("CMD", "<a & b>"), `CMD ["<a & b>"]`},
		{"no command", one("CMD"), `CMD []`},
		{"no entry point", one("ENTRYPOINT"), `ENTRYPOINT []`},
		{"shell", one("SHELL", "/bin/bash", "-o", "pipefail", "-c"), `SHELL ["/bin/bash", "-o", "pipefail", "-c"]`},
		{"no health check", health(history.Healthcheck{Test: []string{"NONE"}}), `HEALTHCHECK NONE`},
		{"health check", health(history.Healthcheck{Test: []string{"CMD-SHELL", "curl -f http://localhost/ || exit 1"}, Interval: 5 * time.Minute, Timeout: 3 * time.Second, Retries: 2}),
			`HEALTHCHECK --interval=5m --timeout=3s --retries=2 CMD curl -f http://localhost/ || exit 1`},
		{"health check in exec form", health(history.Healthcheck{Test: []string{"CMD", "/probe", "a b"}, StartPeriod: 90 * time.Second, StartInterval: 2 * time.Hour}),
			`HEALTHCHECK --start-period=1m30s --start-interval=2h CMD ["/probe", "a b"]`},
		{"trigger", one("ONBUILD", "COPY . /app/"), `ONBUILD COPY . /app/`},
		{"trigger with a here-document", one("ONBUILD", "RUN <<EOF\n # a\n\nb\nEOF"), "ONBUILD RUN <<EOF\n # a\n\nb\nEOF"},
		{"maintainer", one("MAINTAINER", `Jo "J" <jo@example.com>`), `MAINTAINER Jo "J" <jo@example.com>`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Instruction(c.step)
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

func TestInstructionRefusesWhatNoDockerfileCanSet(t *testing.T) {
	long := strings.Repeat(" ", 70_000)
	for _, c := range []struct {
		name string
		step history.Step
		want string
	}{
		{"variable that isn't UTF-8", env("A", "\xff"), "write ENV instruction: A: it isn't valid UTF-8"},
		{"variable name with an equals sign", env("A=B", "c"), `write ENV instruction: the variable name "A=B" has an equals sign`},
		{"nothing to set", env(), "write ENV instruction: ENV needs at least one pair"},
		{"array that isn't UTF-8", one("CMD", "\xff", "b"), "write CMD instruction: it isn't valid UTF-8"},
		{"volume without a path", one("VOLUME", ""), "write VOLUME instruction: a volume's path can't be empty"},
		{"port without a protocol that exists", one("EXPOSE", "80/http"), `write EXPOSE instruction: EXPOSE can't set "80/http": it isn't a port number and tcp, udp or sctp`},
		{"port in capitals", one("EXPOSE", "80/TCP"), `write EXPOSE instruction: EXPOSE can't set "80/TCP": it isn't a port number and tcp, udp or sctp`},
		{"relative directory", one("WORKDIR", "a"), `write WORKDIR instruction: WORKDIR can't set "a": builders make a path absolute and clean it`},
		{"directory with a final slash", one("WORKDIR", "/a/"), `write WORKDIR instruction: WORKDIR can't set "/a/": builders make a path absolute and clean it`},
		{"no directory", one("WORKDIR", ""), `write WORKDIR instruction: WORKDIR can't set "": builders make a path absolute and clean it`},
		{"directory with a NUL", one("WORKDIR", "/a\x00"), "write WORKDIR instruction: a path can't have a NUL"},
		{"volume with a NUL", one("VOLUME", "/a\x00"), "write VOLUME instruction: a path can't have a NUL"},
		{"no signal", one("STOPSIGNAL", ""), "write STOPSIGNAL instruction: STOPSIGNAL can't be empty"},
		{"no shell", one("SHELL"), "write SHELL instruction: SHELL needs at least one word"},
		{"health check of two lines", health(history.Healthcheck{Test: []string{"CMD-SHELL", "a\nb"}}), "write HEALTHCHECK instruction: its command doesn't survive on a line of HEALTHCHECK CMD"},
		{"inherited health check", health(history.Healthcheck{Retries: 3}), "write HEALTHCHECK instruction: HEALTHCHECK needs a test"},
		{"interval under a millisecond", health(history.Healthcheck{Test: []string{"CMD", "a"}, Interval: 5}), "write HEALTHCHECK instruction: HEALTHCHECK --interval can't be 5ns: the least is 1ms"},
		{"maintainer of two lines", one("MAINTAINER", "a\nUSER root"), `write MAINTAINER instruction: the parser doesn't take "a\nUSER root": 2 instructions instead of one`},
		{"no maintainer", one("MAINTAINER", ""), `write MAINTAINER instruction: the parser doesn't take "": MAINTAINER requires exactly one argument`},
		{"maintainer with a final blank", one("MAINTAINER", "a "), `write MAINTAINER instruction: "a " doesn't survive the parser`},
		{"maintainer of blanks beyond a line", one("MAINTAINER", "a"+long+"b"), "write MAINTAINER instruction: it is too long for a line and has no place for a line continuation"},
		{"trigger of a trigger", one("ONBUILD", "ONBUILD RUN a"), "write ONBUILD instruction: the parser doesn't take \"ONBUILD RUN a\": Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"},
		{"trigger of two lines", one("ONBUILD", "RUN a\nRUN b"), `write ONBUILD instruction: the parser doesn't take "RUN a\nRUN b": 2 instructions instead of one`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := Instruction(c.step)
			if err == nil {
				t.Fatalf("got %.80q", text)
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
			var typed *Inexpressible
			if !errors.Is(err, ErrInexpressible) || !errors.As(err, &typed) || typed.Step.Name != c.step.Name {
				t.Errorf("the error isn't an Inexpressible of the step: %#v", err)
			}
		})
	}
}

func TestInstructionRefusesAnUnknownName(t *testing.T) {
	if _, err := Instruction(one("RUN", "a")); err == nil || errors.Is(err, ErrInexpressible) {
		t.Errorf("got %v", err)
	}
}

// The parser stops at lines of 65,536 bytes.
func TestInstructionFoldsLongValues(t *testing.T) {
	for _, unit := range []string{"b", `\`, " ", "#", `"`, "'", "$", "\n", "é", "\t", "x \\# ", "\u00a0", "😀"} {
		v := strings.Repeat(unit, 150_000/len(unit))
		for _, step := range []history.Step{
			env("A", v, "B", v), label(v, v), one("USER", v), one("VOLUME", "/"+v), one("CMD", v, v),
			one("SHELL", v), inShell("ENTRYPOINT", v), health(history.Healthcheck{Test: []string{"CMD", v}}),
		} {
			text, err := Instruction(step)
			if err != nil {
				t.Fatalf("%s of %q: %v", step.Name, unit, err)
			}
			requireComesBack(t, step, text)
		}
	}
	for _, step := range []history.Step{
		one("MAINTAINER", strings.Repeat("Jo ", 100_000)+"!"), one("ONBUILD", "RUN "+strings.Repeat(`a \#b `, 50_000)+"c"),
		health(history.Healthcheck{Test: []string{"CMD-SHELL", strings.Repeat("a && # b ", 50_000) + "c"}}),
	} {
		text, err := Instruction(step)
		if err != nil {
			t.Fatalf("%s: %v", step.Name, err)
		}
		requireComesBack(t, step, text)
	}
}
