package layer

// Contents is what layers bring.
type Contents struct {
	Paths []string // the first ones, with a leading slash; a directory's with one behind it, too
	Files int      // how many files they bring, everything but directories; each path of a layer counts
}

// Contents gives what some of the image's layers bring, and the first of their
// files' paths in the order of their tars. Directories are among the paths where
// there are no files.
func (m *Merged) Contents(layers []int, most int) Contents {
	var c Contents
	var dirs []string
	for _, l := range layers {
		x := m.a.layers[l]
		for i := range x.entries.n {
			e := x.entries.at(i)
			_, base := x.split(e)
			if kind, _ := whiteoutName(base); kind != nameOrdinary || base == "" {
				continue
			}
			if x.attr(e).kind == typeDir {
				if len(dirs) < most && c.Files == 0 {
					dirs = append(dirs, "/"+x.name(e)+"/")
				}
				continue
			}
			if len(c.Paths) < most {
				c.Paths = append(c.Paths, "/"+x.name(e))
			}
			c.Files++
		}
	}
	if c.Files == 0 {
		c.Paths = dirs
	}
	return c
}
