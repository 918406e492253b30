package image

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// openLegacyArchive opens an archive from before Docker 1.10, which has no
// manifest.json: repositories names the topmost layer of each image, and each
// layer's json its parent. A config document is made of these as Docker does it
// when it loads such an archive (moby, image/tarexport legacyLoadImage).
func (s *Source) openLegacyArchive(ctx context.Context, ix *tarIndex, opt Options) error {
	raw, err := ix.document("repositories")
	if err != nil {
		return err
	}
	var repositories map[string]map[string]string
	if err := json.Unmarshal(raw, &repositories); err != nil {
		return &Error{Op: "open", Object: ix.name, Err: detail(ErrNotArchive, "repositories: %s", err)}
	}
	var saved []savedImage // Config is the topmost layer's ID here
	for repository, tags := range repositories {
		for tag, id := range tags {
			name := repository + ":" + tag
			if i := slices.IndexFunc(saved, func(m savedImage) bool { return m.Config == id }); i >= 0 {
				saved[i].RepoTags = append(saved[i].RepoTags, name)
			} else {
				saved = append(saved, savedImage{Config: id, RepoTags: []string{name}})
			}
		}
	}
	for _, m := range saved {
		slices.Sort(m.RepoTags)
	}
	slices.SortFunc(saved, func(a, b savedImage) int { return slices.Compare(a.RepoTags, b.RepoTags) })
	chosen, err := chooseSaved(saved, s.Ref, ix.name)
	if err != nil {
		return err
	}
	im, err := ix.legacyImage(ctx, chosen)
	if err != nil {
		return err
	}
	if err := checkPlatform(opt.Platform, im.Platform, ix.name); err != nil {
		return err
	}
	s.Images = []*Image{im}
	return nil
}

// legacyLayer is what is used of a layer's json.
type legacyLayer struct {
	Parent  string `json:"parent"`
	Author  string `json:"author"`
	Created string `json:"created"`
	Comment string `json:"comment"`
	Config  struct {
		Cmd []string `json:"Cmd"`
	} `json:"container_config"`
}

func (ix *tarIndex) legacyImage(ctx context.Context, m savedImage) (*Image, error) {
	fail := func(err error) (*Image, error) { return nil, &Error{Op: "read", Object: ix.name, Err: err} }
	var chain []legacyLayer // topmost first
	var ids []string
	var top []byte
	for id := m.Config; id != ""; {
		if slices.Contains(ids, id) {
			return fail(fmt.Errorf("layer %s is its own ancestor", id))
		}
		raw, err := ix.document(id + "/json")
		if err != nil {
			return nil, err
		}
		if top == nil {
			top = raw
		}
		var l legacyLayer
		if err := json.Unmarshal(raw, &l); err != nil {
			return fail(fmt.Errorf("%s/json: %w", id, err))
		}
		chain, ids = append(chain, l), append(ids, id)
		id = l.Parent
	}
	im := &Image{Names: m.RepoTags}
	history := []map[string]string{}
	for i := len(chain) - 1; i >= 0; i-- {
		f := ix.find(ids[i] + "/layer.tar")
		if f == nil {
			return fail(fmt.Errorf("layer %s isn't in the archive", ids[i]))
		}
		b := &blob{object: fmt.Sprintf("layer %d of %d (%s)", len(chain)-i, len(chain), ids[i]), file: f, open: section(f)}
		if err := b.check(ctx); err != nil { // for its diff ID, which nothing tells
			return nil, err
		}
		im.layers, im.DiffIDs = append(im.layers, b), append(im.DiffIDs, b.diffID)
		entry := map[string]string{}
		for key, value := range map[string]string{
			"created": chain[i].Created, "author": chain[i].Author, "comment": chain[i].Comment, "created_by": strings.Join(chain[i].Config.Cmd, " "),
		} {
			if value != "" {
				entry[key] = value
			}
		}
		history = append(history, entry)
	}
	config, err := legacyConfig(top, im.DiffIDs, history)
	if err != nil {
		return fail(err)
	}
	if im.Platform, _, err = parseConfig(config); err != nil {
		return fail(err)
	}
	im.RawConfig, im.ID = config, digestOfBytes(config).String()
	return im, nil
}

// legacyConfig makes a config document of the topmost layer's json (moby,
// image/v1 MakeConfigFromV1Config).
func legacyConfig(top []byte, diffIDs []v1.Hash, history any) ([]byte, error) {
	config, err := parseDocument(top)
	if err != nil {
		return nil, err
	}
	for _, gone := range []string{"id", "parent", "Size", "parent_id", "layer_id", "throwaway"} {
		delete(config, gone)
	}
	if err := config.set("rootfs", map[string]any{"type": "layers", "diff_ids": diffIDs}); err != nil {
		return nil, err
	}
	if err := config.set("history", history); err != nil {
		return nil, err
	}
	if config["os"] == nil {
		if err := config.set("os", "linux"); err != nil {
			return nil, err
		}
	}
	return config.bytes(), nil
}
