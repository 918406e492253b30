package history

import (
	"io"
	"os"
	"testing"
)

// The shell lexer that the parser uses writes to the standard error when it
// meets a NUL, or a byte that isn't UTF-8.
func TestNothingIsWrittenToTheStandardError(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	real := os.Stderr
	os.Stderr = w
	for _, bad := range []string{"\x00", "\xff"} {
		for _, s := range []Step{
			env("A", bad), env(bad, "a"), label(bad, bad), one("USER", bad), one("WORKDIR", "/"+bad), one("VOLUME", "/ "+bad), one("STOPSIGNAL", bad), one("EXPOSE", bad),
			one("CMD", bad), inShell("CMD", "a <<b "+bad), one("SHELL", bad), health(Healthcheck{Test: []string{"CMD-SHELL", "a <<" + bad}}),
			one("MAINTAINER", "a <<"+bad), one("ONBUILD", "RUN a "+bad), one("ONBUILD", "RUN <<E "+bad+"\nE"), one("ONBUILD", "RUN <<"+bad+"\n"+bad), one("ONBUILD", "COPY <<'"+bad+"' /a\n"+bad),
		} {
			_, _ = s.Dockerfile()
		}
	}
	os.Stderr = real
	w.Close()
	if got, err := io.ReadAll(r); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}
