package layer

import (
	"maps"
	"slices"
)

// maxLayers is how many layers a fate can tell apart.
const maxLayers = 1<<15 - 2

// fate is what became of an entry's path: 0, it was never taken away; otherwise
// the layer that did it, plus one, and whether by deletion.
type fate uint16

func fateOf(layer int, deleted bool) fate {
	f := fate(layer+1) << 1
	if deleted {
		f |= 1
	}
	return f
}

func (f fate) layer() int    { return int(f>>1) - 1 }
func (f fate) deleted() bool { return f&1 != 0 }

func sortedValues(m map[uint32]uint32) []uint32 {
	var out []uint32
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}
