package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
)

// openLegacyArchive opens an archive from before Docker 1.10, which has no
// manifest.json: repositories names the topmost layer of each image, and each
// layer's json its parent. A config document is made of these as Docker does it
// when it loads such an archive (moby, image/tarexport legacyLoadImage).
func (ix *Tar) openLegacy(ctx context.Context, ref image.Ref) (*image.Image, error) {
	raw, err := ix.Document("repositories")
	if err != nil {
		return nil, err
	}
	var repositories map[string]map[string]string
	if err := json.Unmarshal(raw, &repositories); err != nil {
		return nil, &image.Error{Op: "open", Object: ix.Name, Err: image.Detail(image.ErrNotArchive, "repositories: %s", err)}
	}
	var saved []SavedImage // Config is the topmost layer's ID here
	for repository, tags := range repositories {
		for tag, id := range tags {
			name := repository + ":" + tag
			if i := slices.IndexFunc(saved, func(m SavedImage) bool { return m.Config == id }); i >= 0 {
				saved[i].RepoTags = append(saved[i].RepoTags, name)
			} else {
				saved = append(saved, SavedImage{Config: id, RepoTags: []string{name}})
			}
		}
	}
	for _, m := range saved {
		slices.Sort(m.RepoTags)
	}
	slices.SortFunc(saved, func(a, b SavedImage) int { return slices.Compare(a.RepoTags, b.RepoTags) })
	chosen, err := chooseSaved(saved, ref, ix.Name, nil)
	if err != nil {
		return nil, err
	}
	return ix.legacyImage(ctx, chosen, ref)
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

func (ix *Tar) legacyImage(ctx context.Context, m SavedImage, ref image.Ref) (*image.Image, error) {
	fail := func(err error) (*image.Image, error) { return nil, &image.Error{Op: "read", Object: ix.Name, Err: err} }
	var chain []legacyLayer // topmost first
	var ids []string
	var top []byte
	seen := map[string]bool{}
	for id := m.Config; id != ""; {
		if seen[id] {
			return fail(fmt.Errorf("layer %s is its own ancestor", id))
		}
		seen[id] = true
		raw, err := ix.Document(id + "/json")
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
	im := image.Image{Ref: ref, Names: m.RepoTags}
	var layers []*image.Layer
	history := []map[string]string{}
	for i := len(chain) - 1; i >= 0; i-- {
		f := ix.Find(ids[i] + "/layer.tar")
		if f == nil {
			return fail(fmt.Errorf("layer %s isn't in the archive", ids[i]))
		}
		l := image.NewLayer(fmt.Sprintf("layer %d of %d (%s)", len(chain)-i, len(chain), ids[i]), v1.Hash{}, nil).InFile(f)
		if err := l.Check(ctx); err != nil { // for its diff ID, which nothing tells
			return nil, err
		}
		layers, im.DiffIDs = append(layers, l), append(im.DiffIDs, l.DiffID())
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
	if im.Platform, _, err = image.ParseConfig(config); err != nil {
		return fail(err)
	}
	im.Config, im.ID = config, image.DigestOf(config).String()
	return image.Make(ctx, im, layers, image.SideBySide{}), nil
}

// legacyConfig makes a config document of the topmost layer's json (moby,
// image/v1 MakeConfigFromV1Config).
func legacyConfig(top []byte, diffIDs []v1.Hash, history any) ([]byte, error) {
	config, err := image.ParseDocument(top)
	if err != nil {
		return nil, err
	}
	for _, gone := range []string{"id", "parent", "Size", "parent_id", "layer_id", "throwaway"} {
		delete(config, gone)
	}
	if err := config.Set("rootfs", map[string]any{"type": "layers", "diff_ids": diffIDs}); err != nil {
		return nil, err
	}
	if err := config.Set("history", history); err != nil {
		return nil, err
	}
	if config["os"] == nil {
		if err := config.Set("os", "linux"); err != nil {
			return nil, err
		}
	}
	return config.Bytes(), nil
}
