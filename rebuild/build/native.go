// Package build turns the generated Dockerfile into an image's config: in
// process, or by having a Docker Engine build it.
package build

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"docker-flatten/history"
)

// Result is what a Dockerfile makes of its base.
type Result struct {
	From  string         // what FROM names
	Image *history.Image // the base's config document after all instructions; its history and rootfs are the base's
	// Classic is what the classic builder makes of it, where that differs from
	// BuildKit: it forgets the base's author, and its HEALTHCHECK takes each
	// value that is zero from the health check before. It is Image itself where
	// nothing differs. Both builders also add PATH to a config without one, and
	// BuildKit, FROM scratch, sets the working directory "/".
	Classic  *history.Image
	Sources  []string // the files of the context that ADD unpacks into /, in order
	Removals []string // the paths that RUN rm deletes, in order
	// Discarded are those of Removals that lie in a volume which is declared
	// before: the classic builder mounts a copy there for the command and
	// throws it away, so that the deletion isn't in the image.
	Discarded []string
	History   []Entry // one for each instruction after FROM that leaves a history entry, in order
}

// Entry is one instruction.
type Entry struct {
	Line  int    // in the Dockerfile, from 1
	Name  string // the keyword in upper case
	Text  string // the whole instruction with its continued lines joined
	Layer bool   // whether it makes a layer: ADD and RUN
}

// LineError is an error of Interpret with the line it is about.
type LineError struct {
	Line int
	Err  error
}

func (e *LineError) Error() string {
	return fmt.Sprintf("interpret dockerfile: line %d: %v", e.Line, e.Err)
}

func (e *LineError) Unwrap() error { return e.Err }

// Interpret carries out the metadata half of a generated Dockerfile on a copy
// of the base's config document (for FROM scratch what the builders start from,
// nil for nothing at all) by the rules of the builders: those of dispatchers.go
// in moby/builder/dockerfile and convert.go in
// buildkit/frontend/dockerfile/dockerfile2llb, which agree for what a generated
// Dockerfile has, but for Result.Classic. It touches no file.
//
// Unlike those builders it adds no PATH to a config without one. ArgsEscaped,
// which they set each by rules of its own, stays the base's; so does the
// author, as with BuildKit.
//
// Only what a generated Dockerfile can have is taken: one FROM; metadata; ADD
// of files into /; RUN rm in JSON form; ARG. An argument without a default is
// taken as a newline, since that is the only one the Dockerfile needs from
// outside. Anything else is a *LineError.
func Interpret(dockerfile []byte, base *history.Image) (*Result, error) {
	parsed, err := parser.Parse(bytes.NewReader(dockerfile))
	if err != nil {
		return nil, parseError(err)
	}
	if len(parsed.Warnings) > 0 {
		line := 0
		if at := parsed.Warnings[0].Location; at != nil {
			line = at.Start.Line
		}
		return nil, &LineError{line, errors.New("an empty line in the middle of an instruction")}
	}
	if parsed.EscapeToken != parser.DefaultEscapeToken {
		return nil, &LineError{1, errors.New("the escape character isn't the default")}
	}
	s, err := newState(base)
	if err != nil {
		return nil, err
	}
	for i, node := range parsed.AST.Children {
		c, err := instruction(node)
		if err == nil {
			if i == 0 {
				err = s.from(c)
			} else {
				err = s.dispatch(c, node)
			}
		}
		if err != nil {
			return nil, &LineError{node.StartLine, err}
		}
	}
	s.classic()
	return s.result, nil
}

// instruction parses an instruction without the comments above it: BuildKit
// looks there for directives of its linter, and panics when it finds one but
// has no linter.
func instruction(node *parser.Node) (any, error) {
	node.PrevComment = nil
	return instructions.ParseInstruction(node)
}

func parseError(err error) error {
	var at *parser.LocationError
	if errors.As(err, &at) && len(at.Locations) > 0 && len(at.Locations[0]) > 0 {
		if line := at.Locations[0][0].Start.Line; line > 0 {
			return &LineError{line, err}
		}
	}
	return fmt.Errorf("interpret dockerfile: %w", err)
}

// from takes the first instruction.
func (s *state) from(c any) error {
	stage, ok := c.(*instructions.Stage)
	switch {
	case !ok:
		return errors.New("the first instruction isn't FROM")
	case stage.Name != "" || stage.Platform != "":
		return errors.New("FROM takes nothing but the base here")
	case strings.Contains(stage.BaseName, "$"):
		return errors.New("FROM takes no variable here")
	}
	s.result.From = stage.BaseName
	return nil
}
