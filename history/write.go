package history

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

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

// DefaultArguments are the names that Step.Dockerfile uses.
var DefaultArguments = Arguments{Newline: "NL", Equals: "EQ"}

// Dockerfile returns the text of the instruction, without a final newline, in
// the simplest form in which every value comes back unchanged through the
// parser and the shell lexer that BuildKit and the classic builder share. A
// text over 60,000 bytes has line continuations, since the parser takes lines
// of at most 65,535.
//
// A newline in ENV, LABEL, USER or WORKDIR becomes ${NL}, and "=" in a label's
// name ${EQ}: the Dockerfile must declare these arguments first.
//
// The error says in one phrase why no Dockerfile can set the values: "ENV takes
// UTF-8 only".
func (s Step) Dockerfile() (string, error) { return DefaultArguments.Dockerfile(s) }

// Dockerfile is Step.Dockerfile with other names of arguments.
func (a Arguments) Dockerfile(s Step) (string, error) {
	text, err := a.write(s)
	if err != nil {
		return "", fmt.Errorf("%s %w", s.Name, err)
	}
	return text, nil
}

// What keeps a value out of a Dockerfile, as what follows the keyword in a
// sentence. The limits are those of BuildKit's instructions package
// (frontend/dockerfile/instructions), of its parser and lexer, and of what
// builders do with the values.
var (
	errEmpty = errors.New("can't be empty")
	// The lexer reads runes: it would put U+FFFD in the place of a byte that
	// belongs to none. JSON can't hold it either.
	errUTF8 = errors.New("takes UTF-8 only")
	// The lexer complains about NUL on the standard error, and no variable, path
	// or argument can have it.
	errNUL = errors.New("takes no NUL")
)

func (a Arguments) write(s Step) (string, error) {
	switch s.Name {
	case "ENV", "LABEL":
		return a.writePairs(s)
	case "EXPOSE":
		return expose(s)
	case "VOLUME":
		return writeVolume(s)
	case "USER", "WORKDIR", "STOPSIGNAL":
		return a.writeWord(s)
	case "CMD", "ENTRYPOINT":
		return writeCommand(s)
	case "SHELL":
		if len(s.Args) == 0 {
			return "", errEmpty
		}
		return ExecForm("SHELL", s.Args, nil)
	case "HEALTHCHECK":
		return writeHealth(s.Health)
	case "ONBUILD", "MAINTAINER":
		return verbatim(s)
	}
	return "", errors.New("is no metadata instruction")
}

func (a Arguments) writePairs(s Step) (string, error) {
	if len(s.Pairs) == 0 {
		return "", errEmpty
	}
	words := make([]string, len(s.Pairs))
	for i, p := range s.Pairs {
		switch {
		case p.Key == "":
			return "", errors.New("can't have an empty name")
		case s.Name == "ENV" && strings.Contains(p.Key, "="):
			return "", errors.New("can't have = in a name")
		}
		key, err := a.key(p.Key)
		if err != nil {
			return "", err
		}
		value, err := a.value(p.Value)
		if err != nil {
			return "", err
		}
		words[i] = key + "=" + value
	}
	return arrange(s.Name, words, true)
}

// writeWord writes the instructions of one value that the shell lexer expands.
func (a Arguments) writeWord(s Step) (string, error) {
	if len(s.Args) != 1 {
		return "", errors.New("takes one value")
	}
	v := s.Args[0]
	switch {
	case s.Name == "WORKDIR" && !cleanPath(v):
		return "", errors.New("takes clean absolute paths only")
	case s.Name == "STOPSIGNAL" && !KnownSignal(v):
		return "", errors.New("takes known signals only")
	}
	text, err := a.argument(v)
	if err != nil {
		return "", err
	}
	return arrange(s.Name, []string{text}, false)
}

var drivePath = regexp.MustCompile(`^[A-Za-z]:\\`)

// cleanPath tells whether WORKDIR leaves the path as it is. A Windows path
// (of a Windows image) is left to the builder that understands it.
func cleanPath(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p || drivePath.MatchString(p)
}

// writeVolume writes words where no path has a blank, else a JSON array. Each
// element of the array goes through the shell lexer too, after the blanks
// around it are cut off.
func writeVolume(s Step) (string, error) {
	if len(s.Args) == 0 {
		return "", errEmpty
	}
	var words, elements []string
	blank := false
	for _, p := range s.Args {
		if p == "" {
			return "", errEmpty
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
		blank = blank || strings.ContainsFunc(w, unicode.IsSpace)
	}
	if blank {
		return ExecForm(s.Name, elements, nil)
	}
	return arrange(s.Name, words, false)
}

// writeCommand writes CMD and ENTRYPOINT: in shell form if the arguments are
// the shell in force and one text which survives that, else as JSON.
func writeCommand(s Step) (string, error) {
	if n := len(s.Shell); n > 0 && len(s.Args) == n+1 && slices.Equal(s.Args[:n], s.Shell) {
		if text, ok := shellForm(s.Name+" ", s.Args[n]); ok {
			return text, nil
		}
	}
	return ExecForm(s.Name, s.Args, nil)
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

// ExecForm returns an instruction in JSON form. Where it is wide, each of the
// arguments behind the command has a line of its own. The error is that a word
// isn't UTF-8.
func ExecForm(keyword string, command, arguments []string) (string, error) {
	array, err := jsonArray(slices.Concat(command, arguments))
	if err != nil {
		return "", err
	}
	n := max(len(array)-len(arguments), 1)
	return arrange(keyword, append([]string{strings.Join(array[:n], " ")}, array[n:]...), true)
}

func writeHealth(h *Healthcheck) (string, error) {
	if h == nil || len(h.Test) == 0 {
		return "", errors.New("can't be without a command")
	}
	flags := ""
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"interval", h.Interval}, {"timeout", h.Timeout}, {"start-period", h.StartPeriod}, {"start-interval", h.StartInterval},
	} {
		if f.value == 0 {
			continue
		}
		if f.value < time.Millisecond { // parseOptInterval of BuildKit's instructions package
			return "", errors.New("takes no time under 1ms")
		}
		flags += "--" + f.name + "=" + duration(f.value) + " "
	}
	if h.Retries < 0 || h.Retries > 1<<31-1 {
		return "", errors.New("takes no such --retries")
	}
	if h.Retries > 0 {
		flags += fmt.Sprintf("--retries=%d ", h.Retries)
	}
	switch {
	case h.Test[0] == "NONE" && len(h.Test) == 1 && flags == "":
		return "HEALTHCHECK NONE", nil
	case h.Test[0] == "NONE":
		return "", errors.New("NONE takes nothing else")
	case h.Test[0] == "CMD" && len(h.Test) > 1:
		array, err := jsonArray(h.Test[1:])
		if err != nil {
			return "", err
		}
		return fold("HEALTHCHECK " + flags + "CMD " + strings.Join(array, " "))
	case h.Test[0] == "CMD-SHELL" && len(h.Test) == 2:
		text, ok := shellForm("HEALTHCHECK "+flags+"CMD ", h.Test[1])
		if !ok {
			return "", errors.New("can't have this command on one line")
		}
		return text, nil
	}
	return "", errors.New("knows a CMD, one CMD-SHELL and NONE only")
}

// mostBraces bounds the ${ in a trigger with a here-document: the parser copies
// what is in such a brace for each that is around it.
const mostBraces = 1000

// verbatim writes ONBUILD and MAINTAINER, whose text is taken as it stands.
func verbatim(s Step) (string, error) {
	if len(s.Args) != 1 {
		return "", errors.New("takes one text")
	}
	v := s.Args[0]
	if strings.Contains(v, "\x00") {
		return "", errNUL
	}
	if s.Name == "ONBUILD" {
		word, _, _ := strings.Cut(strings.TrimLeftFunc(v, unicode.IsSpace), " ")
		if i := strings.IndexFunc(word, unicode.IsSpace); i >= 0 {
			word = word[:i]
		}
		switch strings.ToUpper(word) {
		case "", "ONBUILD", "FROM", "MAINTAINER":
			return "", errors.New("takes no such trigger")
		}
		if strings.Contains(v, "<<") { // the parser reads it with the lexer
			if !utf8.ValidString(v) {
				return "", errUTF8
			}
			if strings.Count(v, "${") > mostBraces {
				return "", errors.New("takes no here-document among so many ${")
			}
		}
	}
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
	if err != nil || len(got.args) != 1 || got.args[0] != v {
		return "", errors.New("takes no such text")
	}
	return text, nil
}
