// Package templates writes the texts that docker-flatten produces: the
// Dockerfile, with every value quoted so that it comes back unchanged.
package templates

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"docker-flatten/history"
)

// ErrInexpressible is the error, for errors.Is, of a value that no Dockerfile
// can set: the caller then gives it to the base's config instead.
var ErrInexpressible = errors.New("no dockerfile can set it")

// Inexpressible says which instruction can't be written and why. It is an
// ErrInexpressible.
type Inexpressible struct {
	Step   history.Step
	Reason string // one phrase: "A: it isn't valid UTF-8"
}

func (e *Inexpressible) Error() string {
	return fmt.Sprintf("write %s instruction: %s", e.Step.Name, e.Reason)
}

func (e *Inexpressible) Unwrap() error { return ErrInexpressible }

// Arguments are the names of the build arguments that an instruction's text
// refers to for characters that the Dockerfile syntax can't hold.
type Arguments struct {
	// Newline is an argument that holds one newline. A Dockerfile has no way
	// to write it, except in JSON arrays: whoever builds it passes it with
	// --build-arg, and the Dockerfile declares it without a default.
	Newline string
	// Equals is an argument that holds an equals sign, for label names that
	// have one. Its default does that: ARG EQ="=".
	Equals string
}

// defaultArguments are the names that Instruction uses.
var defaultArguments = Arguments{Newline: "NL", Equals: "EQ"}

// Instruction returns the Dockerfile text of one metadata instruction, without
// a final newline, in the simplest form in which every value comes back
// unchanged through the parser and the shell lexer that BuildKit and the
// classic builder share. A text over 60,000 bytes has line continuations,
// since the parser takes lines of at most 65,535.
//
// A newline in ENV, LABEL, USER, WORKDIR or STOPSIGNAL becomes ${NL}, and "="
// in a label's name ${EQ}: the Dockerfile must declare these arguments first,
// which Dockerfile.Render does. The error is an *Inexpressible if no text can
// do it.
func Instruction(s history.Step) (string, error) {
	return defaultArguments.Instruction(s)
}

// Instruction is the function of that name with other argument names.
func (a Arguments) Instruction(s history.Step) (string, error) {
	text, err := a.write(s)
	if err != nil {
		var reason refusal
		if errors.As(err, &reason) {
			return "", &Inexpressible{Step: s, Reason: err.Error()}
		}
		return "", fmt.Errorf("write %s instruction: %w", s.Name, err)
	}
	return text, nil
}

// refusal is the reason of an Inexpressible before its step is known.
type refusal string

func (r refusal) Error() string { return string(r) }

const (
	errUTF8 = refusal("it isn't valid UTF-8")
	// Builders look the paths of WORKDIR and VOLUME up.
	errNUL = refusal("a path can't have a NUL")
)

func (a Arguments) write(s history.Step) (string, error) {
	switch s.Name {
	case "ENV", "LABEL":
		return a.pairs(s)
	case "EXPOSE":
		return expose(s)
	case "VOLUME":
		return volume(s)
	case "USER", "WORKDIR", "STOPSIGNAL":
		return a.word(s)
	case "CMD", "ENTRYPOINT":
		return command(s)
	case "SHELL":
		if len(s.Args) == 0 {
			return "", refusal("SHELL needs at least one word")
		}
		return jsonLine("SHELL", s.Args)
	case "HEALTHCHECK":
		return healthcheck(s)
	case "ONBUILD", "MAINTAINER":
		return verbatim(s)
	}
	return "", fmt.Errorf("unknown metadata instruction %q", s.Name)
}

// pairs writes ENV and LABEL.
func (a Arguments) pairs(s history.Step) (string, error) {
	if len(s.Pairs) == 0 {
		return "", refusal(s.Name + " needs at least one pair")
	}
	var words []string
	for _, p := range s.Pairs {
		if s.Name == "ENV" && strings.Contains(p.Key, "=") {
			return "", refusal(fmt.Sprintf("the variable name %q has an equals sign", p.Key))
		}
		key, err := a.key(p.Key)
		if err != nil {
			return "", err
		}
		value, err := a.value(p.Value)
		if err != nil {
			return "", fmt.Errorf("%s: %w", key, err)
		}
		words = append(words, key+"="+value)
	}
	return arrange(s.Name, words, "", true)
}

// word writes the instructions of one value that the shell lexer expands.
func (a Arguments) word(s history.Step) (string, error) {
	if len(s.Args) != 1 {
		return "", refusal(fmt.Sprintf("%s takes one value, not %d", s.Name, len(s.Args)))
	}
	v := s.Args[0]
	switch s.Name {
	case "WORKDIR":
		if !cleanPath(v) {
			return "", refusal(fmt.Sprintf("WORKDIR can't set %q: builders make a path absolute and clean it", v))
		}
		if strings.Contains(v, "\x00") {
			return "", errNUL
		}
	case "STOPSIGNAL":
		if v == "" {
			return "", refusal("STOPSIGNAL can't be empty")
		}
	}
	text, err := a.argument(v)
	if err != nil {
		return "", err
	}
	return arrange(s.Name, []string{text}, "", false)
}

var drivePath = regexp.MustCompile(`^[A-Za-z]:\\`)

// cleanPath tells whether WORKDIR leaves the path as it is. A Windows path
// (of a Windows image) is left to the builder that understands it.
func cleanPath(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p || drivePath.MatchString(p)
}

// volume writes VOLUME: words where no path has a blank, a JSON array
// otherwise. Each element of the array goes through the shell lexer too, after
// the blanks around it are cut off.
func volume(s history.Step) (string, error) {
	if len(s.Args) == 0 {
		return "", refusal("VOLUME needs at least one path")
	}
	var words, elements []string
	blank := false
	for _, p := range s.Args {
		if p == "" {
			return "", refusal("a volume's path can't be empty")
		}
		if strings.Contains(p, "\x00") {
			return "", errNUL
		}
		w, err := Arguments{}.argument(p)
		if err != nil {
			return "", err
		}
		words = append(words, w)
		if !strings.ContainsAny(p, `'"$\`) && strings.TrimSpace(p) == p && !strings.HasPrefix(p, "\ufeff") {
			elements = append(elements, p)
		} else {
			elements = append(elements, w)
		}
		blank = blank || hasBlank(w)
	}
	if blank {
		return jsonLine(s.Name, elements)
	}
	return arrange(s.Name, words, "", false)
}

// command writes CMD and ENTRYPOINT: in shell form if the arguments are the
// shell in force and one text which survives that, as JSON otherwise.
func command(s history.Step) (string, error) {
	if n := len(s.Shell); n > 0 && len(s.Args) == n+1 && equal(s.Args[:n], s.Shell) {
		if text, ok := shellForm(s.Name+" ", s.Args[n]); ok {
			return text, nil
		}
	}
	return jsonLine(s.Name, s.Args)
}

// shellForm returns prefix and command as an instruction, and whether the
// parser reads it as that command in shell form.
func shellForm(prefix, command string) (string, bool) {
	if !plain(command) {
		return "", false
	}
	text, err := fold(prefix + command)
	if err != nil {
		return "", false
	}
	got, err := readBack(text)
	if err != nil || !got.shell || len(got.args) != 1 || got.args[0] != command {
		return "", false
	}
	return text, true
}

// healthcheck writes HEALTHCHECK with its flags.
func healthcheck(s history.Step) (string, error) {
	h := s.Health
	if h == nil || len(h.Test) == 0 {
		return "", refusal("HEALTHCHECK needs a test")
	}
	if h.Test[0] == "NONE" {
		if len(h.Test) > 1 || h.Interval != 0 || h.Timeout != 0 || h.StartPeriod != 0 || h.StartInterval != 0 || h.Retries != 0 {
			return "", refusal("HEALTHCHECK NONE takes nothing else")
		}
		return "HEALTHCHECK NONE", nil
	}
	prefix := "HEALTHCHECK "
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"interval", h.Interval}, {"timeout", h.Timeout}, {"start-period", h.StartPeriod}, {"start-interval", h.StartInterval},
	} {
		// parseOptInterval of BuildKit's instructions package takes none
		// between 0 and a millisecond.
		if f.value != 0 && f.value < time.Millisecond {
			return "", refusal(fmt.Sprintf("HEALTHCHECK --%s can't be %s: the least is 1ms", f.name, f.value))
		}
		if f.value != 0 {
			prefix += "--" + f.name + "=" + duration(f.value) + " "
		}
	}
	if h.Retries < 0 || h.Retries > 1<<31-1 {
		return "", refusal(fmt.Sprintf("HEALTHCHECK --retries can't be %d", h.Retries))
	}
	if h.Retries > 0 {
		prefix += fmt.Sprintf("--retries=%d ", h.Retries)
	}
	prefix += "CMD "
	switch {
	case h.Test[0] == "CMD" && len(h.Test) > 1:
		array, err := jsonArray(h.Test[1:])
		if err != nil {
			return "", err
		}
		return fold(prefix + strings.Join(array, " "))
	case h.Test[0] == "CMD-SHELL" && len(h.Test) == 2:
		text, ok := shellForm(prefix, h.Test[1])
		if !ok {
			return "", refusal("its command doesn't survive on a line of HEALTHCHECK CMD")
		}
		return text, nil
	}
	return "", refusal(fmt.Sprintf("HEALTHCHECK can't set the test %q", h.Test))
}

// duration is time.Duration's notation without units that are zero.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// verbatim writes ONBUILD and MAINTAINER, whose text is taken as it stands.
func verbatim(s history.Step) (string, error) {
	if len(s.Args) != 1 {
		return "", refusal(fmt.Sprintf("%s takes one text, not %d", s.Name, len(s.Args)))
	}
	v := s.Args[0]
	text := s.Name + " " + v
	// The only text of several lines is a trigger with a here-document, whose
	// lines are not to be folded.
	if !strings.Contains(v, "\n") {
		var err error
		if text, err = fold(text); err != nil {
			return "", err
		}
	}
	got, err := readBack(text)
	if err != nil {
		return "", refusal(fmt.Sprintf("the parser doesn't take %q: %v", clip(v, 60), err))
	}
	if len(got.args) != 1 || got.args[0] != v {
		return "", refusal(fmt.Sprintf("%q doesn't survive the parser", clip(v, 60)))
	}
	return text, nil
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// clip cuts s for a message.
func clip(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max] + "…"
}
