package maker

import "fmt"

// Verify says how a new layer is held against the layers that it replaces. The
// zero value is Structure.
type Verify int

const (
	Structure Verify = iota // every path: its type, mode, owner, time, size, links and xattrs
	Content                 // and the contents of every file, by SHA-256
	Off
)

var verifyNames = [...]string{Structure: "structure", Content: "content", Off: "off"}

// ParseVerify reads structure, content or off.
func ParseVerify(s string) (Verify, error) {
	for v, name := range verifyNames {
		if name == s {
			return Verify(v), nil
		}
	}
	return 0, fmt.Errorf("%q must be structure, content or off", s)
}

func (v Verify) String() string { return verifyNames[v] }
