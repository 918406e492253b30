// Package engine reads images of a Docker Engine, or of something that speaks
// like one, loads images into it, and tells what it has.
package engine

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/agext/levenshtein"
	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/silence"
)

// engineStore is how an engine keeps images: it decides what docker save
// writes and what docker load takes.
type engineStore int

const (
	graphdriverStore engineStore = iota // Docker's own; an image's ID is its config's digest
	containerdStore                     // containerd's content store; the ID is a manifest's or index's digest
	podmanStore                         // podman behind its Docker-compatible socket
)

// engine is a Docker Engine, or something that speaks like one.
type engine struct {
	*client.Client
	store    engineStore
	id       string               // tells engines apart; "" = unknown
	layersOf map[string][]v1.Hash // diff IDs of images, by ID, as far as the engine was asked
	overlay  string               // the root directory of an engine on this machine that uses overlay2, else ""
	content  []string             // where containerd may have the blobs of an engine on this machine that uses its store
}

// clientOf returns the client that the options have, or docker's own.
func clientOf(opt image.Options) (*client.Client, error) {
	if opt.Client != nil {
		return opt.Client()
	}
	return NewClient("", "", opt.Timeout)
}

// newEngine reaches the engine and finds out what it is.
func newEngine(ctx context.Context, opt image.Options) (*engine, error) {
	cli, err := clientOf(opt)
	if err != nil {
		return nil, err
	}
	ping, err := cli.Ping(ctx) // the client's own one, before its first request, tells no error
	if err != nil {
		return nil, explain(cli, "reach", "", err)
	}
	cli.NegotiateAPIVersionPing(ping)
	info, err := cli.Info(ctx)
	if err != nil {
		return nil, explain(cli, "reach", "", err)
	}
	e := &engine{Client: cli, id: info.ID, layersOf: map[string][]v1.Hash{}}
	for _, s := range info.DriverStatus {
		// moby names the store so: daemon/containerd, "driver-type"
		if s[0] == "driver-type" && strings.HasPrefix(s[1], "io.containerd.snapshotter.") {
			e.store = containerdStore
		}
	}
	if e.store == containerdStore {
		e.content = contentStores(cli.DaemonHost(), info)
	}
	if e.store != containerdStore && info.Driver == "overlay2" && strings.HasPrefix(cli.DaemonHost(), "unix://") {
		e.overlay = info.DockerRootDir
	}
	version, err := cli.ServerVersion(ctx)
	if err != nil {
		return nil, explain(cli, "reach", "", err)
	}
	for _, c := range version.Components {
		if strings.Contains(strings.ToLower(c.Name), "podman") {
			e.store = podmanStore
			e.id = "" // podman has one fixed ID for all
		}
	}
	return e, nil
}

// speaks tells whether the engine's API has reached a version.
func (e *engine) speaks(version string) bool {
	return versions.GreaterThanOrEqualTo(e.ClientVersion(), version)
}

// explain explains what an engine, or the way to it, said to an attempt.
func explain(cli *client.Client, op, object string, err error) error {
	var explained *image.Error
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &explained) {
		return err
	}
	host := cli.DaemonHost()
	var silent *silence.Error
	switch {
	case errors.As(err, &silent):
		return &image.Error{Op: "reach the Docker Engine at", Object: host, Err: fmt.Errorf("it doesn't answer: %w", silent), Hint: silence.Hint}
	case errors.Is(err, os.ErrPermission), client.IsErrConnectionFailed(err) && strings.HasPrefix(err.Error(), "permission denied"):
		return &image.Error{
			Op: "reach the Docker Engine at", Object: host, Err: image.ErrPermission,
			Hint: "your user must be allowed to use the socket, usually by belonging to its group docker",
		}
	case client.IsErrConnectionFailed(err):
		return &image.Error{
			Op: "reach the Docker Engine at", Object: host, Err: image.Detail(image.ErrNoEngine, "%s", connectionCause(err)),
			Hint: "an archive needs no engine: docker-flatten image.tar, as docker save writes it",
		}
	}
	if object == "" {
		object = "the Docker Engine at " + host
	}
	return &image.Error{Op: op, Object: object, Err: err}
}

// connectionCause shortens the client's account of a failed connection, which
// tells the address, too.
func connectionCause(err error) string {
	s := err.Error()
	if strings.HasPrefix(s, "Cannot connect") {
		return "no Docker Engine answers"
	}
	var request *url.Error // it tells the address once more
	if errors.As(err, &request) {
		return request.Err.Error()
	}
	return strings.TrimPrefix(s, "error during connect: ")
}

// notFound is the error for an image that the engine doesn't have; it offers
// the names that come near.
func (e *engine) notFound(ctx context.Context, name string) error {
	err := &image.Error{Op: "open", Object: name, Err: image.ErrNoImage}
	if err.Hint = pathHint(name); err.Hint != "" {
		return err
	}
	list, listErr := e.ImageList(ctx, dockerimage.ListOptions{})
	if listErr != nil {
		return err
	}
	if near := nearNames(name, list); len(near) > 0 {
		err.Hint = "there is " + strings.Join(near, ", ")
		return err
	}
	err.Hint = "docker images lists what the engine has; docker://" + name + " reads from a registry"
	return err
}

// pathHint says how a path is written, where name is one; else it is "".
func pathHint(name string) string {
	if _, err := os.Stat(name); err != nil {
		return ""
	}
	return "there is a file or directory of that name: as a path it is written ./" + name
}

// nearNames are up to three of the engine's names that name may have been
// meant for: another tag of the repository, or a name that differs little.
func nearNames(name string, list []dockerimage.Summary) []string {
	wanted, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil
	}
	repository := reference.FamiliarName(wanted)
	var same, near []string
	for _, im := range list {
		for _, tag := range im.RepoTags {
			n, err := reference.ParseNormalizedNamed(tag)
			if err != nil {
				continue
			}
			have := reference.FamiliarName(n)
			switch {
			case have == repository:
				same = append(same, tag)
			case levenshtein.Distance(have, repository, nil) <= 1+len(repository)/4:
				near = append(near, tag)
			}
		}
	}
	if len(same) > 0 {
		near = same
	}
	return near[:min(3, len(near))]
}

func isNotFound(err error) bool { return cerrdefs.IsNotFound(err) }
