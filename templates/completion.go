package templates

import (
	"embed"
	"fmt"
)

//go:embed completion/docker-flatten.bash completion/docker-flatten.zsh completion/docker-flatten.fish
var completions embed.FS

// Completion returns the completion script of the docker-flatten command for
// a shell: bash (3.2 or later), zsh or fish. The script is for the shell to
// source; it says how in its first lines. Any other shell is an error.
func Completion(shell string) (string, error) {
	switch shell {
	case "bash", "zsh", "fish":
		script, err := completions.ReadFile("completion/docker-flatten." + shell)
		return string(script), err
	}
	return "", fmt.Errorf("completion: unknown shell %q: want bash, zsh or fish", shell)
}
