package templates

// Needs is what a job takes besides time: bytes as they are stored, estimates where
// they are compressed.
type Needs struct {
	ReadBytes  int64   `json:"read_bytes"`  // of the source's layers
	WriteBytes int64   `json:"write_bytes"` // temporary files included
	Space      []Space `json:"space,omitempty"`
}

// Space is what one part of the job takes in one directory.
type Space struct {
	Dir   string `json:"dir"`
	What  string `json:"what"` // temporary files, the archive, the layout, the engine, the build context
	Bytes int64  `json:"bytes"`
}

// String is a line for people: "reads 90MB of layers; it writes about 35MB in /tmp
// (temporary files) and 130MB in /out (the archive)".
func (n Needs) String() string {
	line := "reads " + size(n.ReadBytes) + " of layers"
	for i, s := range n.Space {
		switch i {
		case 0:
			line += "; it writes about "
		case len(n.Space) - 1:
			line += " and "
		default:
			line += ", "
		}
		line += size(s.Bytes) + " in " + OneLine(s.Dir) + " (" + s.What + ")"
	}
	return line
}
