package build

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"docker-flatten/history"
)

// state is the config while the instructions are carried out.
type state struct {
	result  *Result
	config  *history.Config // result.Image.Config
	windows bool
	cmdSet  bool                 // this Dockerfile has set CMD, so that ENTRYPOINT leaves it
	args    map[string]string    // ARG
	author  bool                 // this Dockerfile has set MAINTAINER
	health  *history.Healthcheck // what the classic builder has made of HEALTHCHECK
	lex     *shell.Lex
}

func newState(base *history.Image) (*state, error) {
	s := &state{
		result: &Result{Image: &history.Image{}},
		args:   map[string]string{},
		lex:    shell.NewLex(parser.DefaultEscapeToken),
	}
	if base != nil {
		if n := len(base.Config.OnBuild); n > 0 {
			return nil, errors.New("interpret dockerfile: the base has ONBUILD triggers, which would be carried out")
		}
		*s.result.Image = clone(*base)
	}
	s.config = &s.result.Image.Config
	s.health = s.config.Healthcheck
	s.windows = s.result.Image.OS == "windows"
	return s, nil
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
	if err := s.apply(c); err != nil {
		return err
	}
	if name == "ARG" {
		// An argument leaves nothing in the image.
		return nil
	}
	s.result.History = append(s.result.History, Entry{
		Line:  node.StartLine,
		Name:  name,
		Text:  original(node),
		Layer: name == "ADD" || name == "RUN",
	})
	return nil
}

// original is the instruction's text with the here-documents of a trigger.
func original(node *parser.Node) string {
	var b strings.Builder
	b.WriteString(strings.TrimSpace(node.Original))
	for _, h := range node.Heredocs {
		b.WriteString("\n" + h.Content + h.Name)
	}
	return b.String()
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
		if !validSignal(c.Signal) {
			return fmt.Errorf("invalid signal: %s", c.Signal)
		}
		config.StopSignal = c.Signal
	case *instructions.HealthCheckCommand:
		config.Healthcheck = c.Health
		s.health = inherit(c.Health, s.health)
	case *instructions.OnbuildCommand:
		config.OnBuild = append(config.OnBuild, c.Expression)
	case *instructions.MaintainerCommand:
		s.result.Image.Author = c.Maintainer
		s.author = true
	case *instructions.ArgCommand:
		for _, a := range c.Args {
			if a.Value != nil {
				s.args[a.Key] = *a.Value
			} else if _, ok := s.args[a.Key]; !ok {
				s.args[a.Key] = "\n"
			}
		}
	case *instructions.AddCommand:
		return s.add(c)
	case *instructions.RunCommand:
		return s.run(c)
	case *instructions.Stage:
		return errors.New("a second FROM")
	default:
		return errors.New("no generated dockerfile has this instruction")
	}
	return nil
}

// inherit is what moby's daemon (merge in daemon/commit.go) makes of a health
// check while the classic builder commits it: the container that it creates for
// that shares the health check, and has the zero values filled in from the
// image before.
func inherit(h, before *history.Healthcheck) *history.Healthcheck {
	if before == nil {
		return h
	}
	c := *h
	if c.Interval == 0 {
		c.Interval = before.Interval
	}
	if c.Timeout == 0 {
		c.Timeout = before.Timeout
	}
	if c.StartPeriod == 0 {
		c.StartPeriod = before.StartPeriod
	}
	if c.StartInterval == 0 {
		c.StartInterval = before.StartInterval
	}
	if c.Retries == 0 {
		c.Retries = before.Retries
	}
	return &c
}

// classic sets the result's Classic.
func (s *state) classic() {
	im := s.result.Image
	author := im.Author
	if !s.author {
		author = ""
	}
	s.result.Classic = im
	if author != im.Author || !reflect.DeepEqual(s.health, im.Config.Healthcheck) {
		c := *im
		c.Author = author
		c.Config.Healthcheck = s.health
		s.result.Classic = &c
	}
}

// setEnv overwrites a variable in its place or appends it. Windows images
// compare names without case.
func (s *state) setEnv(key, value string) {
	for i, e := range s.config.Env {
		if k, _, _ := strings.Cut(e, "="); k == key || s.windows && strings.EqualFold(k, key) {
			s.config.Env[i] = key + "=" + value
			return
		}
	}
	s.config.Env = append(s.config.Env, key+"="+value)
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

func (s *state) add(c *instructions.AddCommand) error {
	if c.DestPath != "/" || len(c.SourceContents) > 0 || len(c.SourcePaths) != 1 || strings.Contains(c.SourcePaths[0], "://") {
		return errors.New("ADD takes one file of the context and / here")
	}
	s.result.Sources = append(s.result.Sources, c.SourcePaths[0])
	return nil
}
