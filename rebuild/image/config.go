package image

import (
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// What a config document may have. A builder's parser takes a tenth of a
// millisecond for an instruction, and a text is in memory several times while it
// is quoted and read back. Tools that have a limit of their own take 4 MiB.
const (
	LargestConfig = 16 << 20
	mostValues    = 1 << 18
)

// ParseConfig reads the two things of a config document that storing and
// reading need to know. Every document passes here before any other use, so that
// this is where one that is too large is refused.
func ParseConfig(raw []byte) (platform v1.Platform, diffIDs []v1.Hash, err error) {
	var c struct {
		OS           string   `json:"os"`
		Architecture string   `json:"architecture"`
		Variant      string   `json:"variant"`
		OSVersion    string   `json:"os.version"`
		OSFeatures   []string `json:"os.features"`
		RootFS       struct {
			DiffIDs []v1.Hash `json:"diff_ids"`
		} `json:"rootfs"`
	}
	switch {
	case len(raw) > LargestConfig:
		return v1.Platform{}, nil, fmt.Errorf("config document: more than %d bytes", LargestConfig)
	case values(raw) > mostValues:
		return v1.Platform{}, nil, fmt.Errorf("config document: more than %d values", mostValues)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return v1.Platform{}, nil, fmt.Errorf("config document: %w", err)
	}
	return v1.Platform{
		OS: c.OS, Architecture: c.Architecture, Variant: c.Variant, OSVersion: c.OSVersion, OSFeatures: c.OSFeatures,
	}, c.RootFS.DiffIDs, nil
}

// values counts the commas between the values of a JSON document, and with them
// all values but the first of each list and object.
func values(raw []byte) int {
	n, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch b := raw[i]; {
		case b == '"':
			quoted = !quoted
		case quoted && b == '\\':
			i++
		case !quoted && b == ',':
			n++
		}
	}
	return n
}
