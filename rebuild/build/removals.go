package build

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// run takes the removal of paths only; nothing is carried out.
func run(c *instructions.RunCommand) error {
	paths, ok := removed(c.CmdLine)
	if !ok || c.PrependShell || len(c.Files) > 0 {
		return errors.New(`RUN takes nothing but ["rm", "-rf", "--", "/path", …] here`)
	}
	for _, p := range paths {
		if !strings.HasPrefix(p, "/") || p == "/" {
			return fmt.Errorf("RUN removes %q, which is no absolute path below /", p)
		}
	}
	return nil
}

var (
	// octalRemoval removes one path that isn't UTF-8, which JSON can't hold.
	octalRemoval = regexp.MustCompile(`^p=\$\(printf '((?:[A-Za-z0-9/._-]|\\[0-3][0-7]{2})+)\.'\); rm -rf -- "\$\{p%\.\}"$`)
	octal        = regexp.MustCompile(`\\[0-7]{3}`)
)

// removed returns the paths that a command removes, and whether it does
// nothing else.
func removed(command []string) ([]string, bool) {
	if len(command) > 3 && slices.Equal(command[:3], []string{"rm", "-rf", "--"}) {
		return command[3:], true
	}
	if len(command) != 3 || command[0] != "sh" || command[1] != "-c" {
		return nil, false
	}
	match := octalRemoval.FindStringSubmatch(command[2])
	if match == nil {
		return nil, false
	}
	return []string{octal.ReplaceAllStringFunc(match[1], func(escape string) string {
		n, err := strconv.ParseUint(escape[1:], 8, 8)
		if err != nil {
			return escape // no byte; the expression above takes none such
		}
		return string([]byte{byte(n)})
	})}, true
}
