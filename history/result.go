package history

import "slices"

// Result is the config that a builder makes of Base with Before and After: the
// image's own, but for what is Inexpressible.
func (r Replay) Result() *Image {
	return apply(r.Base, slices.Concat(r.Before, r.After))
}
