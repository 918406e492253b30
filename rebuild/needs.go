package rebuild

import (
	"context"
	"fmt"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/image/room"
	"docker-flatten/rebuild/maker"
	"docker-flatten/templates"
)

// longRun is how many bytes a job writes that is worth a line about what it
// needs, before it writes them.
const longRun = 256 << 20

// needs is what it takes of file systems to make what was ordered, and to put
// it into to, nil for none. A dry run forgives a goal that can't be reached.
func (o *Options) needs(ctx context.Context, src *image.Source, orders []maker.Order, to image.Place, opt image.Options) ([]room.Need, error) {
	var needs []room.Need
	var images []image.NewImage
	for _, order := range orders {
		images = append(images, maker.Native(order))
		if o.Context != "" && !o.Recover {
			needs = append(needs, order.ContextRoom(o.Context))
		}
	}
	if to != nil {
		stored, err := place.RoomIn(ctx, to, images, opt)
		return append(needs, stored...), err
	}
	goal := o.goal(src)
	if goal == nil {
		return needs, nil
	}
	for _, order := range orders { // a dry run has spooled nothing, which a run would have done by now
		keepFrom := 0
		if goal.Transport == image.Registry {
			keepFrom = order.Plan.Base.Layers
		}
		needs = append(needs, order.Image.Room(keepFrom)...)
	}
	stored, err := place.Room(ctx, *goal, images, opt)
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	return append(needs, stored...), nil
}

// goal is where a dry run's images would go, nil for nowhere.
func (o *Options) goal(src *image.Source) *image.Ref {
	names, err := o.names(src)
	if err != nil || !o.DryRun || o.contextOnly() {
		return nil
	}
	ref, err := o.output(src.Ref, names)
	if err != nil {
		return nil
	}
	return &ref
}

// accountOf puts needs into a report: what was read of the orders' layers, and
// what will be written, by directories and uses.
func accountOf(orders []maker.Order, needs []room.Need) (n templates.Needs) {
	for _, order := range orders {
		n.ReadBytes += order.Image.StoredBytes()
	}
	index := map[templates.Space]int{}
	for _, need := range needs {
		if need.Bytes <= 0 {
			continue
		}
		s := templates.Space{Dir: need.Path(), What: need.What}
		if _, ok := index[s]; !ok {
			index[s] = len(n.Space)
			n.Space = append(n.Space, s)
		}
		n.Space[index[s]].Bytes += need.Bytes
		n.WriteBytes += need.Bytes
	}
	return n
}

// checkRoom refuses what a file system surely has too little room for, and warns
// of what may not fit. With a dry run it only warns.
func (o *Options) checkRoom(needs []room.Need, opt image.Options) error {
	for _, s := range room.Shortages(needs) {
		takes := "about " + templates.Size(s.Bytes)
		if s.Sure {
			takes = "at least " + templates.Size(s.Least)
		}
		err := &image.Error{Op: "write to", Object: s.Path(), Err: fmt.Errorf("%w: it takes %s for %s, and %s are free", room.ErrShort, takes, s.What, templates.Size(s.Free)),
			Hint: "free some space, or choose another place: TMPDIR is for temporary files, -o for the result"}
		if s.Sure && !o.DryRun {
			return err
		}
		opt.Warnf("%s", err)
	}
	return nil
}
