// Package history understands what an image says about how it was made. It
// parses the builders' history dialects, finds where the base image ends, replays
// the metadata as steps, and writes each step as a Dockerfile instruction. It is
// pure: it opens no file and no socket.
package history

import (
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

// Image is an image's config document, decoded: the OCI image config with
// Docker's Healthcheck, OnBuild and Shell.
type Image = dockerspec.DockerOCIImage

// Config is the part of the document that says how a container runs.
type Config = dockerspec.DockerOCIImageConfig

// Healthcheck is the HEALTHCHECK of a Config; durations are nanoseconds.
type Healthcheck = dockerspec.HealthcheckConfig

// Instruction is one entry of an image's history as the Dockerfile
// instruction that it records.
type Instruction struct {
	Entry   int    // index in the image's history
	Layer   int    // index of the layer that the entry made; -1 for none
	Dialect string // the builder whose notation it is: "classic", "buildkit", …; "" when not recognised
	Name    string // the keyword in upper case: RUN, COPY, ENV, …; "" when it is no Dockerfile instruction
	// Text is one readable Dockerfile-like line (or more, for a command that
	// has newlines): "RUN apt-get update", `CMD ["sh"]`. An entry that isn't
	// recognised is here as it was.
	Text string
	Set  *Step  // what the instruction sets in the config, for metadata; nil otherwise
	From string // the base image that the entry's comment names ("FROM debian:12"), if any
	// BuildArgs are the build arguments that an ARG gives a value, or that the
	// builder recorded with a RUN, as A=b. Text of a RUN is without them.
	BuildArgs []string
}

// Step is one metadata instruction, in values rather than in text: what
// stands in the fields is what the config holds, without any quoting.
type Step struct {
	Entry int    // index of the history entry that it comes from; -1 for a correction that has none
	Name  string // ENV, LABEL, EXPOSE, VOLUME, USER, WORKDIR, CMD, ENTRYPOINT, SHELL, STOPSIGNAL, HEALTHCHECK, ONBUILD, MAINTAINER
	Pairs []Pair // ENV and LABEL, in order
	// Args are the tokens of CMD, ENTRYPOINT and SHELL; the ports of EXPOSE;
	// the paths of VOLUME; the one value of USER, WORKDIR, STOPSIGNAL,
	// MAINTAINER; the one trigger of ONBUILD, as the config has it.
	Args   []string
	Health *Healthcheck // HEALTHCHECK; Test ["NONE"] is HEALTHCHECK NONE
	// Shell is the shell in force for this step, for CMD and ENTRYPOINT that
	// may be written in shell form when Args are Shell plus one string.
	Shell []string
	// Why says, for a step that corrects or completes the history, what
	// disagreed, as one phrase for the plan; "" where the history was right.
	Why string
}

// Pair is a key and its value.
type Pair struct{ Key, Value string }
