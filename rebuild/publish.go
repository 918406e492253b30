package rebuild

import (
	"fmt"
	"strings"

	"docker-flatten/rebuild/maker"
)

// PublishError says that the image is stored and has its names, but that what
// should come after it isn't there. It is the only failure of a run that leaves
// an image behind.
type PublishError struct {
	ID    string
	Names []string
	Err   error
}

func (e *PublishError) Error() string {
	return fmt.Sprintf("the image is stored (%s), but: %v", strings.Join(append([]string{e.ID}, e.Names...), ", "), e.Err)
}

func (e *PublishError) Unwrap() error { return e.Err }

// publish moves what is written to its places.
func publish(written *maker.Context, pages *pages) error {
	if written != nil {
		if err := written.Publish(); err != nil {
			return err
		}
	}
	return pages.publish()
}
