package image

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// savedImage is an entry of a docker-archive's manifest.json.
type savedImage struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// openDockerArchive opens one image of the archive: the one that the reference
// names, or the only one.
func (s *Source) openDockerArchive(ctx context.Context, ix *tarIndex, opt Options) error {
	raw, err := ix.document("manifest.json")
	if err != nil {
		return err
	}
	var saved []savedImage
	if err := json.Unmarshal(raw, &saved); err != nil {
		return &Error{Op: "open", Object: ix.name, Err: detail(ErrNotArchive, "manifest.json: %s", err)}
	}
	chosen, err := chooseSaved(saved, s.Ref, ix.name)
	if err != nil {
		return err
	}
	im, err := ix.savedImage(chosen)
	if err != nil {
		return err
	}
	if err := ix.findManifest(im); err != nil {
		return err
	}
	if err := checkPlatform(opt.Platform, im.Platform, ix.name); err != nil {
		return err
	}
	s.Images = []*Image{im}
	return nil
}

// chooseSaved picks an image by name, by the ID of its config, or by its place
// in the list (@0 is the first, as in skopeo's docker-archive references).
func chooseSaved(saved []savedImage, ref Ref, object string) (savedImage, error) {
	if ref.Name == "" && len(saved) == 1 {
		return saved[0], nil
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(ref.Name, "@")); strings.HasPrefix(ref.Name, "@") && err == nil && n >= 0 && n < len(saved) {
		return saved[n], nil
	}
	var list []string
	for i, m := range saved {
		if ref.Name != "" && (hasName(m.RepoTags, ref.Name) || isIDOf(ref.Name, m.Config)) {
			return m, nil
		}
		list = append(list, nameOrIndex(m.RepoTags, i))
	}
	return savedImage{}, notChosen(object, ref, list)
}

// notChosen is the error for a file of several images of which none was named,
// or none has the name that was asked for.
func notChosen(object string, ref Ref, list []string) error {
	if len(list) == 0 {
		return &Error{Op: "open", Object: object, Err: detail(ErrNoImage, "it holds no image")}
	}
	if ref.Name != "" {
		return &Error{Op: "open", Object: object, Err: detail(ErrNoImage, "no such image in it: %s", ref.Name), Hint: "it holds " + strings.Join(list, ", ")}
	}
	return &Error{
		Op: "open", Object: object,
		Err:  detail(ErrSeveral, "it holds %d images: %s", len(list), strings.Join(list, ", ")),
		Hint: "choose one: " + ref.Transport + ":" + ref.Path + ":" + list[0],
	}
}

func nameOrIndex(names []string, i int) string {
	if len(names) > 0 {
		return names[0]
	}
	return "@" + strconv.Itoa(i)
}

// hasName tells whether one of names is name, however either is abbreviated.
func hasName(names []string, name string) bool {
	want, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false
	}
	want = reference.TagNameOnly(want)
	for _, n := range names {
		if got, err := reference.ParseNormalizedNamed(n); err == nil && reference.TagNameOnly(got).String() == want.String() {
			return true
		}
	}
	return false
}

// isIDOf tells whether id is the beginning, of 6 digits or more, of the digest
// in a config file's name.
func isIDOf(id, config string) bool {
	id = strings.TrimPrefix(id, "sha256:")
	return len(id) >= 6 && strings.HasPrefix(digestInName(config), id)
}

// digestInName is the sha256 that the name of a file in an archive consists of:
// HEX.json, HEX.tar, HEX.tar.gz, HEX/layer.tar, sha256:HEX, blobs/sha256/HEX;
// "" if there is none.
func digestInName(name string) string {
	base := path.Base(name)
	if base == "layer.tar" {
		base = path.Base(path.Dir(name))
	}
	base = strings.TrimPrefix(base, "sha256:")
	base, _, _ = strings.Cut(base, ".")
	if len(base) != 64 || strings.Trim(base, "0123456789abcdef") != "" {
		return ""
	}
	return base
}

// savedImage makes an image of an entry of manifest.json.
func (ix *tarIndex) savedImage(m savedImage) (*Image, error) {
	config, err := ix.document(m.Config)
	if err != nil {
		return nil, err
	}
	id := digestOfBytes(config)
	if want := digestInName(m.Config); want != "" && want != id.Hex {
		return nil, &Error{Op: "read", Object: ix.name, Err: detail(ErrDigest, "digest mismatch: config %s is %s", m.Config, id)}
	}
	platform, diffIDs, err := parseConfig(config)
	if err != nil {
		return nil, &Error{Op: "read", Object: ix.name, Err: err}
	}
	if len(diffIDs) != len(m.Layers) {
		return nil, &Error{Op: "read", Object: ix.name, Err: fmt.Errorf("manifest.json lists %d layers, the config has %d", len(m.Layers), len(diffIDs))}
	}
	im := &Image{Names: tagNames(m.RepoTags), ID: id.String(), Platform: platform, DiffIDs: diffIDs, RawConfig: config}
	for i, name := range m.Layers {
		f := ix.find(name)
		object := layerName(i, len(diffIDs), diffIDs[i])
		if f == nil {
			return nil, &Error{
				Op: "read", Object: ix.name, Err: fmt.Errorf("%s isn't in the archive: no %s", object, name),
				Hint: "the archive was written without the layers that its receiver has; save the image again, whole",
			}
		}
		im.layers = append(im.layers, &blob{object: object, diffID: diffIDs[i], file: f, open: section(f)})
	}
	return im, nil
}

// findManifest looks for the manifest of an image in the layout that Docker 25
// and newer write into a docker-archive: the descriptors of its layers are
// worth keeping.
func (ix *tarIndex) findManifest(im *Image) error {
	if _, ok := ix.members["index.json"]; !ok {
		return nil
	}
	raw, err := ix.document("index.json")
	if err != nil {
		return err
	}
	err = findManifest(raw, im, digestOfBytes(im.RawConfig), func(h v1.Hash) ([]byte, bool, error) {
		if ix.find(blobPath(h)) == nil {
			return nil, false, nil
		}
		doc, err := ix.document(blobPath(h))
		return doc, true, err
	})
	if err != nil {
		return &Error{Op: "read", Object: ix.name, Err: err}
	}
	return nil
}

// findManifest gives im the manifest that has the given config, if the index
// raw leads to one. get returns the document with a digest, if there is one.
func findManifest(raw []byte, im *Image, config v1.Hash, get func(v1.Hash) ([]byte, bool, error)) error {
	var walk func(raw []byte, depth int) error
	walk = func(raw []byte, depth int) error {
		var index v1.IndexManifest
		if err := json.Unmarshal(raw, &index); err != nil {
			return fmt.Errorf("index.json: %w", err)
		}
		for _, d := range index.Manifests {
			doc, ok, err := get(d.Digest)
			if err != nil {
				return err
			}
			if !ok || im.Manifest != nil || depth > deepestIndex {
				continue
			}
			if got := digestOfBytes(doc); got != d.Digest {
				return detail(ErrDigest, "digest mismatch: %s is %s", blobPath(d.Digest), got)
			}
			var m v1.Manifest
			switch {
			case d.MediaType.IsIndex():
				if err := walk(doc, depth+1); err != nil {
					return err
				}
			case json.Unmarshal(doc, &m) != nil || m.Config.Digest != config || restates(m, im.DiffIDs):
			default:
				if err := im.setManifest(doc, d); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return walk(raw, 0)
}

// restates tells whether a manifest says nothing that the config doesn't:
// graphdriver engines make one up when they save, of uncompressed layers.
func restates(m v1.Manifest, diffIDs []v1.Hash) bool {
	for i, l := range m.Layers {
		if i >= len(diffIDs) || l.Digest != diffIDs[i] || len(l.Annotations) > 0 {
			return false
		}
	}
	return len(m.Annotations) == 0
}

// blobPath is where a layout has the blob of a digest.
func blobPath(d v1.Hash) string { return "blobs/" + d.Algorithm + "/" + d.Hex }

// checkPlatform refuses an image that isn't for the platform asked for.
func checkPlatform(want string, have v1.Platform, object string) error {
	if want == "" {
		return nil
	}
	p, err := ParsePlatform(want)
	if err != nil {
		return err
	}
	if !platformMatches(p, have) {
		return &Error{Op: "open", Object: object, Err: detail(ErrNoImage, "the image is for %s, not for %s", have.String(), want)}
	}
	return nil
}

// ParsePlatform reads a platform as os/arch[/variant].
func ParsePlatform(s string) (v1.Platform, error) {
	p, err := v1.ParsePlatform(s)
	if err != nil || p.OS == "" || p.Architecture == "" {
		return v1.Platform{}, fmt.Errorf("platform %q: must be os/arch[/variant]", s)
	}
	return *p, nil
}

// platformMatches tells whether have is what want asks for. arm64 and
// arm64/v8 are the same, as are arm and arm/v7, where one side leaves the
// variant open (containerd's platforms.Normalize).
func platformMatches(want, have v1.Platform) bool {
	if want.OS != have.OS || want.Architecture != have.Architecture {
		return false
	}
	if want.OSVersion != "" && want.OSVersion != have.OSVersion {
		return false
	}
	return want.Variant == "" || want.Variant == have.Variant ||
		have.Variant == "" && (want.Architecture == "arm64" && want.Variant == "v8" || want.Architecture == "arm" && want.Variant == "v7" || want.Architecture == "amd64" && want.Variant == "v1")
}
