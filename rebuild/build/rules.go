package build

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"
)

// expand replaces the variables in a word and takes its quotes away.
func (s *state) expand(word string) (string, error) {
	v, _, err := s.lex.ProcessWord(word, s)
	return v, err
}

// Get returns a variable's value, for the shell lexer: ENV wins over ARG.
func (s *state) Get(key string) (string, bool) {
	for _, e := range s.config.Env {
		if k, v, _ := strings.Cut(e, "="); k == key {
			return v, true
		}
	}
	v, ok := s.args[key]
	return v, ok
}

// Keys returns the names of all variables, for the shell lexer.
func (s *state) Keys() []string {
	var keys []string
	for _, e := range s.config.Env {
		k, _, _ := strings.Cut(e, "=")
		keys = append(keys, k)
	}
	for k := range s.args {
		keys = append(keys, k)
	}
	return keys
}

// expose adds ports; of all instructions, only EXPOSE makes several words of
// one when it expands variables.
func (s *state) expose(words []string) error {
	for _, w := range words {
		ports, err := s.lex.ProcessWords(w, s)
		if err != nil {
			return err
		}
		set, _, err := nat.ParsePortSpecs(ports)
		if err != nil {
			return err
		}
		if s.config.ExposedPorts == nil {
			s.config.ExposedPorts = map[string]struct{}{}
		}
		for p := range set {
			s.config.ExposedPorts[string(p)] = struct{}{}
		}
	}
	return nil
}

func (s *state) volume(paths []string) error {
	for _, p := range paths {
		if p == "" {
			return errors.New("a volume's path is empty")
		}
		if s.config.Volumes == nil {
			s.config.Volumes = map[string]struct{}{}
		}
		s.config.Volumes[p] = struct{}{}
	}
	return nil
}

// workdir joins a relative path to the current one and cleans the result. For
// a Windows image, a path with a drive or a leading backslash is taken as it
// is: what builders make of it differs between them.
func (s *state) workdir(p string) error {
	if p == "" {
		return errors.New("WORKDIR is empty")
	}
	if s.windows {
		if len(p) > 2 && p[1] == ':' && p[2] == '\\' || p[0] == '\\' {
			s.config.WorkingDir = p
			return nil
		}
		return fmt.Errorf("WORKDIR %q isn't an absolute path of Windows", p)
	}
	if !path.IsAbs(p) {
		p = path.Join("/", s.config.WorkingDir, p)
	}
	s.config.WorkingDir = path.Clean(p)
	return nil
}

// signals are the names of Linux's signals, in the list of
// github.com/moby/sys/signal by which builders check STOPSIGNAL.
const signals = " ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT" +
	" SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ "

// validSignal tells whether the builders take a signal: a number that isn't
// zero, or a name with or without SIG; RTMIN+1 to RTMIN+15, RTMAX-14 to
// RTMAX-1.
func validSignal(signal string) bool {
	if n, err := strconv.Atoi(signal); err == nil {
		return n != 0
	}
	name := strings.TrimPrefix(strings.ToUpper(signal), "SIG")
	if name == "" || strings.Contains(name, " ") {
		return false
	}
	if offset, ok := strings.CutPrefix(name, "RTMIN"); ok {
		return realtime(offset, "+", 15)
	}
	if offset, ok := strings.CutPrefix(name, "RTMAX"); ok {
		return realtime(offset, "-", 14)
	}
	return strings.Contains(signals, " "+name+" ")
}

func realtime(offset, sign string, most int) bool {
	if offset == "" {
		return true
	}
	digits, ok := strings.CutPrefix(offset, sign)
	n, err := strconv.Atoi(digits)
	return ok && err == nil && n >= 1 && n <= most && strconv.Itoa(n) == digits
}
