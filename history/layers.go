package history

import "fmt"

// assignLayers gives each layer to the history entry that made it. Entries
// without empty_layer own the layers in order (OCI image config, "history").
// If there are more or fewer of them than layers, a builder set the flag
// wrongly: then the instructions decide, since metadata never owns a layer, and
// RUN, ADD and COPY always may. If no such rule gives the right number, no entry
// gets a layer.
func assignLayers(img *Image, ins []Instruction) {
	h := img.History
	n := len(img.RootFS.DiffIDs)
	flagged := func(i int) bool { return !h[i].EmptyLayer }
	rules := []func(i int) bool{
		flagged,
		func(i int) bool { return flagged(i) && !(ins[i].isMetadata() && ins[i].Name != "WORKDIR") },
		func(i int) bool { return flagged(i) && !ins[i].isMetadata() },
		func(i int) bool {
			return flagged(i) || ins[i].Name == "RUN" || ins[i].Name == "ADD" || ins[i].Name == "COPY"
		},
		func(i int) bool { return ins[i].Name == "RUN" || ins[i].Name == "ADD" || ins[i].Name == "COPY" },
		func(i int) bool { return !ins[i].isMetadata() },
	}
	for _, owns := range rules {
		count := 0
		for i := range ins {
			if owns(i) {
				count++
			}
		}
		if count != n {
			continue
		}
		layer := 0
		for i := range ins {
			if owns(i) {
				ins[i].Layer = layer
				layer++
			}
		}
		return
	}
}

func (in Instruction) isMetadata() bool {
	return in.Set != nil || in.Name == "ARG" || in.Name == "FROM" || in.Name == "ENV" || in.Name == "LABEL" || in.Name == "HEALTHCHECK"
}

// LayerDoubt says, in one sentence, that the history's empty_layer flags did
// not fit the image's layers and what was made of them; "" if they fit.
func LayerDoubt(img *Image, ins []Instruction) string {
	flagged, owners, repaired := 0, 0, false
	for i, h := range img.History {
		if !h.EmptyLayer {
			flagged++
		}
		if i < len(ins) && ins[i].Layer >= 0 {
			owners++
		}
		repaired = repaired || i < len(ins) && (ins[i].Layer >= 0) == h.EmptyLayer
	}
	n := len(img.RootFS.DiffIDs)
	switch {
	case flagged == n && !repaired:
		return ""
	case owners == n:
		return fmt.Sprintf("the history claims %d layers, the image has %d: assigned by instruction instead", flagged, n)
	case len(img.History) == 0:
		return fmt.Sprintf("the image has no history for its %d layers", n)
	}
	return fmt.Sprintf("the history claims %d layers, the image has %d: which instruction made which layer is unknown", flagged, n)
}
