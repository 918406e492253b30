package build

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"docker-flatten/history"
)

// state is the config while the instructions are carried out.
type state struct {
	image   *history.Image
	config  *history.Config // the image's
	windows bool
	env     map[string]int    // where the config has its variables, by envName
	args    map[string]string // ARG
	ports   int               // how many EXPOSE has named
	cmdSet  bool              // this Dockerfile has set CMD, so that ENTRYPOINT leaves it
	lex     *shell.Lex
}

func newState(base *history.Image) (*state, error) {
	s := &state{
		image: &history.Image{},
		env:   map[string]int{},
		args:  map[string]string{},
		lex:   shell.NewLex(parser.DefaultEscapeToken),
	}
	if base != nil {
		if n := len(base.Config.OnBuild); n > 0 {
			return nil, errors.New("interpret dockerfile: the base has ONBUILD triggers, which would be carried out")
		}
		*s.image = clone(*base)
	}
	s.config = &s.image.Config
	s.windows = s.image.OS == "windows"
	for i, e := range s.config.Env {
		key, _, _ := strings.Cut(e, "=")
		if _, ok := s.env[s.envName(key)]; !ok {
			s.env[s.envName(key)] = i
		}
	}
	return s, nil
}

// envName is a variable's name as names are compared: without case in a Windows
// image.
func (s *state) envName(key string) string {
	if s.windows {
		return strings.ToLower(strings.ToUpper(key))
	}
	return key
}

// clone copies what the instructions change in place.
func clone(im history.Image) history.Image {
	c := &im.Config
	c.Env = slices.Clone(c.Env)
	c.Cmd = slices.Clone(c.Cmd)
	c.Entrypoint = slices.Clone(c.Entrypoint)
	c.OnBuild = slices.Clone(c.OnBuild)
	c.Shell = slices.Clone(c.Shell)
	c.ExposedPorts = maps.Clone(c.ExposedPorts)
	c.Volumes = maps.Clone(c.Volumes)
	c.Labels = maps.Clone(c.Labels)
	if c.Healthcheck != nil {
		h := *c.Healthcheck
		h.Test = slices.Clone(h.Test)
		c.Healthcheck = &h
	}
	return im
}

// dispatch carries out one instruction after FROM.
func (s *state) dispatch(c any, node *parser.Node) error {
	name := strings.ToUpper(node.Value)
	if len(node.Flags) > 0 && name != "HEALTHCHECK" {
		return fmt.Errorf("%s takes no flags here", name)
	}
	if e, ok := c.(instructions.SupportsSingleWordExpansion); ok {
		if err := e.Expand(s.expand); err != nil {
			return err
		}
	}
	return s.apply(c)
}

func (s *state) apply(c any) error {
	config := s.config
	switch c := c.(type) {
	case *instructions.EnvCommand:
		for _, p := range c.Env {
			s.setEnv(p.Key, p.Value)
		}
	case *instructions.LabelCommand:
		if config.Labels == nil {
			config.Labels = map[string]string{}
		}
		for _, p := range c.Labels {
			config.Labels[p.Key] = p.Value
		}
	case *instructions.ExposeCommand:
		return s.expose(c.Ports)
	case *instructions.VolumeCommand:
		return s.volume(c.Volumes)
	case *instructions.UserCommand:
		config.User = c.User
	case *instructions.WorkdirCommand:
		return s.workdir(c.Path)
	case *instructions.CmdCommand:
		config.Cmd = s.commandLine(c.ShellDependantCmdLine)
		s.cmdSet = true
	case *instructions.EntrypointCommand:
		config.Entrypoint = s.commandLine(c.ShellDependantCmdLine)
		if !s.cmdSet {
			config.Cmd = nil
		}
	case *instructions.ShellCommand:
		config.Shell = c.Shell
	case *instructions.StopSignalCommand:
		if !history.KnownSignal(c.Signal) {
			return fmt.Errorf("invalid signal: %s", c.Signal)
		}
		config.StopSignal = c.Signal
	case *instructions.HealthCheckCommand:
		config.Healthcheck = c.Health
	case *instructions.OnbuildCommand:
		config.OnBuild = append(config.OnBuild, c.Expression)
	case *instructions.MaintainerCommand:
		s.image.Author = c.Maintainer
	case *instructions.ArgCommand:
		for _, a := range c.Args {
			if a.Value != nil {
				s.args[a.Key] = *a.Value
			} else if _, ok := s.args[a.Key]; !ok {
				s.args[a.Key] = "\n"
			}
		}
	case *instructions.AddCommand:
		return add(c)
	case *instructions.RunCommand:
		return run(c)
	case *instructions.Stage:
		return errors.New("a second FROM")
	default:
		return errors.New("no generated dockerfile has this instruction")
	}
	return nil
}

// setEnv overwrites a variable in its place or appends it.
func (s *state) setEnv(key, value string) {
	i, ok := s.env[s.envName(key)]
	if !ok {
		i = len(s.config.Env)
		s.env[s.envName(key)] = i
		s.config.Env = append(s.config.Env, "")
	}
	s.config.Env[i] = key + "=" + value
}

// commandLine puts the shell before a command in shell form.
func (s *state) commandLine(c instructions.ShellDependantCmdLine) []string {
	if !c.PrependShell || c.CmdLine == nil {
		return c.CmdLine
	}
	sh := s.config.Shell
	if len(sh) == 0 {
		sh = []string{"/bin/sh", "-c"}
		if s.windows {
			sh = []string{"cmd", "/S", "/C"}
		}
	}
	return append(slices.Clone(sh), strings.Join(c.CmdLine, " "))
}

func add(c *instructions.AddCommand) error {
	if c.DestPath != "/" || len(c.SourceContents) > 0 || len(c.SourcePaths) != 1 || strings.Contains(c.SourcePaths[0], "://") {
		return errors.New("ADD takes one file of the context and / here")
	}
	return nil
}
