package history

// guessBase reads the boundary from the shape of the history alone.
func guessBase(img *Image, ins []Instruction) (Base, bool) {
	for i, in := range ins {
		if in.Layer != 0 {
			continue
		}
		if !rootfsEntry(in) {
			return Base{}, false
		}
		j := i + 1
		for j < len(ins) && ins[j].isMetadata() && ins[j].Layer < 0 {
			j++
			if n := ins[j-1].Name; n == "CMD" || n == "ENTRYPOINT" {
				break
			}
		}
		if len(img.RootFS.DiffIDs) < 2 {
			return Base{}, false
		}
		return Base{Layers: 1, Entries: j, Evidence: in.Text}, true
	}
	return Base{}, false
}

// rootfsEntry tells whether an entry unpacks a whole root file system.
func rootfsEntry(in Instruction) bool {
	switch in.Dialect {
	case "debuerreotype", "busybox", "import", "kiwi", "bazel", "apko":
		return true
	}
	if in.Name != "ADD" {
		return false
	}
	return true
}
