package engine

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
)

// legacyNames foretells the names of the directories in which docker save, up
// to Docker 24, writes an image's layers. They are the image IDs that Docker
// 1.9 would have had: the digest of a document that holds the layer's chain ID,
// the parent's ID and, for the topmost layer, the whole config (moby,
// image/v1.CreateID). With them a layer is known by its place before it is read.
//
// The topmost layer's can't be foretold, but only its json has a config.
type legacyNames struct {
	chainIDs []v1.Hash
	index    map[string]int // of every layer but the topmost, once proven
	proven   bool           // a name from the stream was among those foretold
	top      string         // the topmost layer's, once its json has been seen
}

func newLegacyNames(diffIDs []v1.Hash) *legacyNames {
	n := &legacyNames{}
	for i, d := range diffIDs {
		if i > 0 {
			d = image.DigestOf([]byte(n.chainIDs[i-1].String() + " " + d.String()))
		}
		n.chainIDs = append(n.chainIDs, d)
	}
	return n
}

// learn takes the json file of one of the directories. Below the topmost layer
// all of them have the same fields but for the IDs, the same ones that went
// into the digests.
func (n *legacyNames) learn(dir string, document []byte) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(document, &fields) != nil {
		return
	}
	if fields["config"] != nil {
		n.top = dir
		return
	}
	if n.proven || len(n.chainIDs) < 2 {
		return
	}
	for _, added := range []string{"id", "parent", "os"} { // after the digest was taken
		delete(fields, added)
	}
	index := map[string]int{}
	parent := ""
	for i, chainID := range n.chainIDs[:len(n.chainIDs)-1] {
		fields["layer_id"] = json.RawMessage(fmt.Sprintf("%q", chainID))
		if parent != "" {
			fields["parent"] = json.RawMessage(fmt.Sprintf("%q", parent))
		}
		b, err := json.Marshal(fields)
		if err != nil {
			return
		}
		id := fmt.Sprintf("%x", sha256.Sum256(b))
		index[id], parent = i, "sha256:"+id
	}
	if _, ok := index[dir]; ok {
		n.index, n.proven = index, true
	}
}

// find returns the place of the layer in directory dir, if it is known.
func (n *legacyNames) find(dir string) (int, bool) {
	if len(n.chainIDs) == 1 || dir == n.top {
		return len(n.chainIDs) - 1, true
	}
	if !n.proven {
		return 0, false
	}
	if i, ok := n.index[dir]; ok {
		return i, true
	}
	return len(n.chainIDs) - 1, true
}
