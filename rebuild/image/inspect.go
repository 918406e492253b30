package image

import (
	"context"

	"github.com/docker/docker/client"
)

// Inspect returns the engine's image that name, a name or an ID, finds, named
// or not, as Locals returns the named ones.
func Inspect(ctx context.Context, cli *client.Client, name string) (*Local, error) {
	found, err := cli.ImageInspect(ctx, name)
	if isNotFound(err) {
		err = &Error{Op: "open", Object: name, Err: ErrNoImage}
	}
	if err != nil {
		return nil, engineError(cli, "open", name, err)
	}
	l, err := readLocal(ctx, cli, found.ID, append([]string{name}, found.RepoTags...))
	if err != nil {
		return nil, err
	}
	if l == nil {
		return nil, &Error{Op: "open", Object: name, Err: ErrNoImage}
	}
	return l, nil
}
