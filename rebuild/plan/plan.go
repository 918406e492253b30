package plan

import (
	"fmt"

	"docker-flatten/rebuild/layer"
	"docker-flatten/templates"
)

// Plan is all that is decided about the result of one image.
type Plan struct {
	*Config
	Tree       *layer.Merged
	From       string // what the Dockerfile's FROM names
	Dockerfile []byte // what the native builder carries out, and the engine's classic builder
	Report     templates.ImageReport

	page templates.Dockerfile // what Dockerfile says
}

// With completes the plan with the merged layers. Its Dockerfile has been read
// back: a *ConfigError says that it gives another config than the image has.
// shares are what a sample of each of the image's layers leaves of it when it is
// compressed, 1 for all of it; nil where that isn't known.
func (c *Config) With(tree *layer.Merged, shares []float64) (*Plan, error) {
	from, err := c.from(c.Replay)
	if err != nil {
		return nil, err
	}
	d := c.dockerfile(tree, c.Replay, from)
	if c.needsBase(c.Replay) {
		d.Notes = append([]string{"FROM names the base by its content; --context DIR writes it beside this file."}, d.Notes...)
	}
	text, err := d.Render()
	if err != nil {
		return nil, fmt.Errorf("generate dockerfile: %w", err)
	}
	if err := prove(text, c.Replay); err != nil {
		return nil, err
	}
	report, err := c.report(tree, text, shares)
	if err != nil {
		return nil, err
	}
	return &Plan{Config: c, Tree: tree, From: from, Dockerfile: text, Report: report, page: d}, nil
}

// NeedsBase tells whether FROM names a base that nobody else has: the builder
// is given BaseDocument's image under that name.
func (p *Plan) NeedsBase() bool { return p.needsBase(p.Replay) }
