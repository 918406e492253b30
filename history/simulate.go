package history

import (
	"maps"
	"path"
	"slices"
)

// apply is what a builder makes of base's config when it runs steps, by the
// rules that the classic builder and BuildKit share (moby
// builder/dockerfile/dispatchers.go, BuildKit
// frontend/dockerfile/dockerfile2llb/convert.go). The default PATH that both
// add to a config without one is left out.
func apply(base *Image, steps []Step) *Image {
	out := clone(base)
	c := &out.Config
	cmdSet := false
	var at map[string]int // where Env has its variables
	for _, s := range steps {
		switch s.Name {
		case "ENV":
			if at == nil {
				at = positions(c.Env)
			}
			for _, kv := range s.Pairs {
				i, ok := at[kv.Key]
				if !ok {
					i, at[kv.Key] = len(c.Env), len(c.Env)
					c.Env = append(c.Env, "")
				}
				c.Env[i] = kv.Key + "=" + kv.Value
			}
		case "LABEL":
			for _, kv := range s.Pairs {
				if c.Labels == nil {
					c.Labels = map[string]string{}
				}
				c.Labels[kv.Key] = kv.Value
			}
		case "EXPOSE":
			for _, a := range s.Args {
				if c.ExposedPorts == nil {
					c.ExposedPorts = map[string]struct{}{}
				}
				c.ExposedPorts[a] = struct{}{}
			}
		case "VOLUME":
			for _, a := range s.Args {
				if c.Volumes == nil {
					c.Volumes = map[string]struct{}{}
				}
				c.Volumes[a] = struct{}{}
			}
		case "USER":
			c.User = s.arg()
		case "WORKDIR":
			c.WorkingDir = workdir(c.WorkingDir, s.arg(), isWindows(out))
		case "STOPSIGNAL":
			c.StopSignal = s.arg()
		case "MAINTAINER":
			out.Author = s.arg()
		case "CMD":
			c.Cmd = slices.Clone(s.Args)
			cmdSet = true
		case "ENTRYPOINT":
			c.Entrypoint = slices.Clone(s.Args)
			if !cmdSet {
				c.Cmd = nil
			}
		case "SHELL":
			c.Shell = slices.Clone(s.Args)
		case "HEALTHCHECK":
			c.Healthcheck = cloneHealth(s.Health)
		case "ONBUILD":
			c.OnBuild = append(c.OnBuild, s.arg())
		}
	}
	return out
}

func (s Step) arg() string {
	if len(s.Args) == 0 {
		return ""
	}
	return s.Args[0]
}

// longestPath is what the kernel takes: no builder makes a directory below a
// longer path. Without an end, relative paths of many entries would cost the
// square of their number. The config's path counts anyway.
const longestPath = 4096

// workdir is WORKDIR's result: relative to the one before, and cleaned
// (BuildKit util/system, NormalizeWorkdir). Windows paths stay as they are.
func workdir(current, dir string, windows bool) string {
	if windows || dir == "" {
		return dir
	}
	if !path.IsAbs(dir) {
		if len(current) > longestPath {
			current = "/"
		}
		return path.Join("/", current, dir)
	}
	return path.Clean(dir)
}

// clone copies the parts of an image that apply changes.
func clone(img *Image) *Image {
	if img == nil {
		return &Image{}
	}
	out := *img
	c := &out.Config
	c.Env = slices.Clone(c.Env)
	c.Cmd = slices.Clone(c.Cmd)
	c.Entrypoint = slices.Clone(c.Entrypoint)
	c.Shell = slices.Clone(c.Shell)
	c.OnBuild = slices.Clone(c.OnBuild)
	c.Labels = maps.Clone(c.Labels)
	c.ExposedPorts = maps.Clone(c.ExposedPorts)
	c.Volumes = maps.Clone(c.Volumes)
	c.Healthcheck = cloneHealth(c.Healthcheck)
	return &out
}

func cloneHealth(h *Healthcheck) *Healthcheck {
	if h == nil {
		return nil
	}
	out := *h
	out.Test = slices.Clone(h.Test)
	return &out
}
