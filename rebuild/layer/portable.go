package layer

import (
	"context"
	"math"
	"strings"
)

// Portable gives the merged layer in a form without whiteouts, for a tar that a
// Dockerfile ADDs: what it deletes has to be removed before, see Removals. Every
// directory is listed, since ADD keeps the metadata of one that exists. If Paths
// is 0 there is nothing to ADD, and must not be: builders take an empty tar for
// an ordinary file and copy it.
func (m *Merged) Portable(ctx context.Context) (*Merged, error) {
	p := *m
	p.portable = true
	var err error
	p.size, err = p.measure(ctx)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// Listed gives the merged layer, whiteouts and all, in a form for an engine whose
// ADD turns whiteouts into deletions: every directory is listed. ADD would keep
// the metadata of one that exists, follow a symbolic link in its place and stop
// at anything else there.
func (m *Merged) Listed(ctx context.Context) (*Merged, error) {
	p := *m
	p.listed = true
	var err error
	p.size, err = p.measure(ctx)
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// Removals gives the paths of the base, each with a leading slash, that have to
// be removed (rm -rf) before the portable layer is ADDed: what is deleted, the
// directories that are other ones now, and what ADD refuses to replace or would
// follow: a directory by something else, something else by a directory.
func (m *Merged) Removals() []string {
	var out []string
	for _, d := range m.Deletions() {
		out = append(out, "/"+d.Path)
	}
	return out
}

// Loss is something of the merged layer that an ADD of its tar doesn't keep.
type Loss struct {
	Path string // with a leading slash
	What string // "xattr user.x", "mtime before 1970", …
}

// lastTime is the last second that an engine unpacks: it sets later times to 0
// (moby pkg/archive, boundTime: nanoseconds in 64 bits).
const lastTime = math.MaxInt64 / 1_000_000_000

// Losses gives what an ADD of the merged layer to the base loses, while loading
// it as a layer keeps it.
func (m *Merged) Losses() []Loss {
	a := m.a
	var out []Loss
	last, path := uint32(none), ""
	add := func(id uint32, what string) {
		if id != last {
			last, path = id, "/"+a.path(id)
		}
		out = append(out, Loss{path, what})
	}
	if m.rootAt && a.nodes[0].flags&rootForm != 0 {
		add(0, "metadata of the root")
	}
	for id := uint32(1); id < uint32(len(a.nodes)); id++ {
		n := &a.nodes[id]
		if !m.upper(n) {
			continue
		}
		if n.flags&implied != 0 {
			continue
		}
		h, _, _ := a.state(n)
		if h.nsec != 0 {
			add(id, "fraction of the mtime")
		}
		if h.mtime < 0 {
			add(id, "mtime before 1970")
		}
		if h.mtime > lastTime {
			add(id, "mtime after 2262")
		}
		if h.kind == typeChar && h.major == 0 && h.minor == 0 {
			add(id, "character device 0:0")
		}
		for r := h.records; r != ""; {
			var k string
			k, _, r = r.next()
			// An engine packs only this xattr of a file that it has unpacked
			// (moby pkg/archive, ReadSecurityXattrToTarHeader).
			if x, ok := strings.CutPrefix(k, xattrPrefix); ok && x != "security.capability" {
				add(id, "xattr "+x)
			}
		}
	}
	return out
}
