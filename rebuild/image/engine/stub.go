package engine

import (
	"context"

	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
)

func NewClient(contextName, host string) (*client.Client, error) { return nil, nil }

type Local struct {
	ID      string
	Names   []string
	Digests []string
	Image   *dockerspec.DockerOCIImage
}
type Parent struct {
	ID      string
	Names   []string
	DiffIDs []v1.Hash
}
type Survey struct {
	Self    *Local
	Parents []Parent
	Locals  []Local
}

func Look(ctx context.Context, cli *client.Client, id string) (*Survey, error)         { return nil, nil }
func Inspect(ctx context.Context, cli *client.Client, name string) (*Local, error)     { return nil, nil }
