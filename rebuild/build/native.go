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
// nil for nothing at all) and returns it, with the base's history and rootfs. It
// follows the rules of the builders: dispatchers.go in moby/builder/dockerfile
// and convert.go in buildkit/frontend/dockerfile/dockerfile2llb. Where these
// differ, it follows BuildKit. It touches no file.
//
// Unlike those builders it adds no PATH to a config without one. ArgsEscaped,
// which they set each by rules of its own, stays the base's.
//
// Only what a generated Dockerfile can have is taken: one FROM; metadata; ADD
// of files into /; RUN rm in JSON form; ARG. An argument without a default is
// taken as a newline, since that is the only one the Dockerfile needs from
// outside. Anything else is a *LineError.
func Interpret(dockerfile []byte, base *history.Image) (*history.Image, error) {
	if i := bytes.IndexByte(dockerfile, 0); i >= 0 {
		// The shell lexer would complain on the standard error.
		return nil, &LineError{1 + bytes.Count(dockerfile[:i], []byte("\n")), errors.New("a NUL")}
	}
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
				err = from(c)
			} else {
				err = s.dispatch(c, node)
			}
		}
		if err != nil {
			return nil, &LineError{node.StartLine, err}
		}
	}
	return s.image, nil
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

// from checks the first instruction.
func from(c any) error {
	stage, ok := c.(*instructions.Stage)
	switch {
	case !ok:
		return errors.New("the first instruction isn't FROM")
	case stage.Platform != "":
		return errors.New("FROM takes nothing but the base and a name here")
	case strings.Contains(stage.BaseName, "$"):
		return errors.New("FROM takes no variable here")
	}
	return nil
}
