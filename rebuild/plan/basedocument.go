package plan

import (
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"docker-flatten/history"
)

// BaseDocument is the config document of the base alone, of the layers of the
// given diff IDs, as the plan's Dockerfile needs it.
func (p *Plan) BaseDocument(diffIDs []v1.Hash) ([]byte, error) {
	return p.baseDocument(p.Replay.Base, diffIDs)
}

func (c *Config) baseDocument(config *history.Image, diffIDs []v1.Hash) ([]byte, error) {
	base := *config
	base.Platform = c.config.Platform
	base.RootFS.Type, base.RootFS.DiffIDs = "layers", nil
	for _, d := range diffIDs {
		base.RootFS.DiffIDs = append(base.RootFS.DiffIDs, digest.Digest(d.String()))
	}
	base.History = nil // it comes as it stands in the source
	document, err := encode(base)
	if err != nil || len(c.baseHistory) == 0 {
		return document, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(document, &fields); err != nil {
		return nil, err
	}
	if fields["history"], err = encode(c.baseHistory); err != nil {
		return nil, err
	}
	return encode(fields)
}
