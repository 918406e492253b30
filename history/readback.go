package history

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// readback is what the parser makes of an instruction whose text is taken as
// it stands.
type readback struct {
	args  []string
	shell bool // shell form
}

// readBack parses the one instruction in text.
func readBack(text string) (readback, error) {
	ast, err := parser.Parse(strings.NewReader(text + "\n"))
	if err != nil {
		return readback{}, err
	}
	if n := len(ast.AST.Children); n != 1 {
		return readback{}, fmt.Errorf("%d instructions instead of one", n)
	}
	c, err := instructions.ParseInstruction(ast.AST.Children[0])
	if err != nil {
		return readback{}, err
	}
	switch c := c.(type) {
	case *instructions.CmdCommand:
		return readback{c.CmdLine, c.PrependShell}, nil
	case *instructions.EntrypointCommand:
		return readback{c.CmdLine, c.PrependShell}, nil
	case *instructions.HealthCheckCommand:
		return readback{c.Health.Test[1:], c.Health.Test[0] == "CMD-SHELL"}, nil
	case *instructions.OnbuildCommand:
		return readback{args: []string{c.Expression}}, nil
	case *instructions.MaintainerCommand:
		return readback{args: []string{c.Maintainer}}, nil
	}
	return readback{}, errors.New("another instruction came back")
}
