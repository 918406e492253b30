package build

import (
	"bytes"
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// newlineArguments returns the names of the arguments that a generated
// Dockerfile leaves without a default: they stand for a newline. A Dockerfile
// that doesn't parse has none; the daemon will say what is wrong with it.
func newlineArguments(dockerfile []byte) []string {
	parsed, err := parser.Parse(bytes.NewReader(dockerfile))
	if err != nil {
		return nil
	}
	var names []string
	for _, node := range parsed.AST.Children {
		c, err := instruction(node)
		if arg, ok := c.(*instructions.ArgCommand); ok && err == nil {
			for _, a := range arg.Args {
				if a.Value == nil && !slices.Contains(names, a.Key) {
					names = append(names, a.Key)
				}
			}
		}
	}
	return names
}
