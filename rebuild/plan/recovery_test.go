package plan

import (
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"docker-flatten/history"
)

// A script comes back as one instruction, whatever stands in it.
func TestScriptsBecomeHereDocuments(t *testing.T) {
	for _, script := range []string{
		"set -e\necho one", "a\nEOF\nb", "EOF\nEOF2\nEOF3", "cat <<X\ny\nX", "a \\\n  b", "a\n# escape=`\n`", "a\n\n\nb", "echo $HOME\n\techo '\"", "a\nFROM scratch\nRUN x",
	} {
		in := history.Instruction{Name: "RUN", Dialect: "buildkit", Text: "RUN " + script}
		if !isScript(in) {
			t.Errorf("%q is no script", script)
			continue
		}
		text := hereDocument(in)
		parsed, err := parser.Parse(strings.NewReader("FROM base\n" + text + "\nCMD [\"x\"]\n"))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		nodes := parsed.AST.Children
		if len(nodes) != 3 || len(nodes[1].Heredocs) != 1 || nodes[1].Heredocs[0].Content != script+"\n" {
			t.Errorf("%q is read as %d instructions: %+v", text, len(nodes), nodes)
		}
	}
	for _, in := range []history.Instruction{
		{Name: "RUN", Dialect: "buildkit", Text: "RUN make"},
		{Name: "RUN", Dialect: "classic", Text: "RUN a\nb"},
		{Name: "RUN", Dialect: "buildkit", Text: "RUN #!/bin/sh\na"},
		{Name: "RUN", Dialect: "buildkit", Text: "RUN a\r\nb"},
		{Name: "RUN", Dialect: "buildkit", Text: "RUN a\x00\nb"},
	} {
		if isScript(in) {
			t.Errorf("%+v is a script", in)
		}
	}
}
