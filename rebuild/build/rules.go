package build

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/docker/go-connections/nat"
)

// expand replaces the variables in a word and takes its quotes away.
func (s *state) expand(word string) (string, error) {
	if !utf8.ValidString(word) {
		return "", errUTF8
	}
	v, _, err := s.lex.ProcessWord(word, s)
	return v, err
}

// errUTF8 is about what the shell lexer would change, and complain about on the
// standard error.
var errUTF8 = errors.New("a value isn't UTF-8")

// Get returns a variable's value, for the shell lexer: ENV wins over ARG.
// Names have their case here, in a Windows image too.
func (s *state) Get(key string) (string, bool) {
	if i, ok := s.env[s.envName(key)]; ok {
		if k, v, _ := strings.Cut(s.config.Env[i], "="); k == key {
			return v, true
		}
	}
	v, ok := s.args[key]
	return v, ok
}

// Keys returns the names of all variables, for the shell lexer.
func (s *state) Keys() []string {
	keys := slices.Collect(maps.Keys(s.args))
	for _, e := range s.config.Env {
		k, _, _ := strings.Cut(e, "=")
		keys = append(keys, k)
	}
	return keys
}

// allPorts is the number of ports that there are: of tcp, udp and sctp.
const allPorts = 3 << 16

// expose adds ports. Of all instructions, only EXPOSE makes several words of one
// when it expands variables.
func (s *state) expose(words []string) error {
	for _, w := range words {
		if !utf8.ValidString(w) {
			return errUTF8
		}
		ports, err := s.lex.ProcessWords(w, s)
		if err != nil {
			return err
		}
		for _, p := range ports {
			if err := s.exposePort(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// exposePort adds a port or a range of ports.
func (s *state) exposePort(spec string) error {
	_, numbers := nat.SplitProtoPort(spec[strings.LastIndexByte(spec, ':')+1:])
	if first, last, err := nat.ParsePortRange(numbers); err == nil {
		s.ports += int(last-first) + 1
	}
	if s.ports > allPorts {
		return errors.New("EXPOSE names more ports than there are")
	}
	ports, err := nat.ParsePortSpec(spec)
	if err != nil {
		return err
	}
	if s.config.ExposedPorts == nil {
		s.config.ExposedPorts = map[string]struct{}{}
	}
	for _, p := range ports {
		s.config.ExposedPorts[string(p.Port)] = struct{}{}
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
