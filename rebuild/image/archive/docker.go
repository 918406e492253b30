package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
)

// Open opens one image of a docker-archive: the one that the reference names,
// or the only one.
func Open(ctx context.Context, ref image.Ref, opt image.Options) (*image.Source, error) {
	ix, err := OpenTar(ctx, ref.Path, opt)
	if err != nil {
		return nil, err
	}
	src, err := OpenIn(ctx, ix, ref, opt)
	if err != nil {
		return nil, errors.Join(err, ix.Close())
	}
	return src, nil
}

// OpenIn is Open for an archive whose tar is open. The source closes it.
func OpenIn(ctx context.Context, ix *Tar, ref image.Ref, opt image.Options) (*image.Source, error) {
	ref.Transport = image.Archive
	var im *image.Image
	var err error
	switch {
	case ix.Has("manifest.json"):
		im, err = ix.openSaved(ctx, ref, opt)
	case ix.Has("repositories"):
		im, err = ix.openLegacy(ctx, ref)
	case ix.Has("index.json"):
		err = &image.Error{Op: "open", Object: ix.Name, Err: image.Detail(image.ErrNotArchive, "not a docker-archive: it has no manifest.json"), Hint: "it is an OCI archive: oci-archive:" + ref.Path}
	default:
		what := fmt.Sprintf("a tar file of %d files without manifest.json and index.json", ix.Len())
		err = &image.Error{Op: "open", Object: ix.Name, Err: image.Detail(image.ErrNotArchive, "not an image archive: %s", what), Hint: "docker save writes one; docker export doesn't"}
	}
	if err != nil {
		return nil, err
	}
	if err := image.CheckPlatform(opt.Platform, im.Platform, ix.Name); err != nil {
		return nil, err
	}
	src := &image.Source{Ref: ref, ID: im.ID, Images: []*image.Image{im}}
	src.OnClose(ix)
	return src, nil
}

// openSaved opens the image that manifest.json lists.
func (ix *Tar) openSaved(ctx context.Context, ref image.Ref, opt image.Options) (*image.Image, error) {
	raw, err := ix.Document("manifest.json")
	if err != nil {
		return nil, err
	}
	var saved []SavedImage
	if err := json.Unmarshal(raw, &saved); err != nil {
		return nil, &image.Error{Op: "open", Object: ix.Name, Err: image.Detail(image.ErrNotArchive, "manifest.json: %s", err)}
	}
	chosen, err := chooseSaved(saved, ref, ix.Name, func(list []placed) []placed { return ix.onlyImages(list, opt) })
	if err != nil {
		return nil, err
	}
	return ix.savedImage(ctx, chosen, ref, opt)
}

// mostLookedAt is how many entries are looked at to find the images among them.
const mostLookedAt = 100

// onlyImages leaves out the entries that are attestations, which BuildKit makes
// for a platform that is unknown, unless none is an image.
func (ix *Tar) onlyImages(list []placed, opt image.Options) []placed {
	var images, others []placed
	for i, m := range list {
		if i < mostLookedAt && ix.isAttestation(m.Config) {
			others = append(others, m)
		} else {
			images = append(images, m)
		}
	}
	if len(images) == 0 {
		return list
	}
	for _, m := range others {
		opt.Warnf("left out %s: it is for no platform, and no image", image.NameOrIndex(m.RepoTags, m.place))
	}
	return images
}

func (ix *Tar) isAttestation(config string) bool {
	raw, err := ix.Document(config)
	if err != nil {
		return false
	}
	p, _, err := image.ParseConfig(raw)
	return err == nil && p.OS == "unknown" && p.Architecture == "unknown"
}

// savedImage makes an image of an entry of manifest.json.
func (ix *Tar) savedImage(ctx context.Context, m SavedImage, ref image.Ref, opt image.Options) (*image.Image, error) {
	fail := func(err error) (*image.Image, error) { return nil, &image.Error{Op: "read", Object: ix.Name, Err: err} }
	config, err := ix.Document(m.Config)
	if err != nil {
		return nil, err
	}
	id := image.DigestOf(config)
	if want := DigestInName(m.Config); want != "" && want != id.Hex {
		// Engines go by the contents, so that a file of any other name is an image.
		// The blobs of a layout have no other names than their digests.
		if strings.HasPrefix(CleanMember(m.Config), "blobs/") {
			return fail(image.Detail(image.ErrDigest, "digest mismatch: config %s is %s", m.Config, id))
		}
		opt.Warnf("the config %s isn't what its name says: it is %s", m.Config, id)
	}
	platform, diffIDs, err := image.ParseConfig(config)
	if err != nil {
		return fail(err)
	}
	if len(diffIDs) != len(m.Layers) {
		return fail(fmt.Errorf("manifest.json lists %d layers, the config has %d", len(m.Layers), len(diffIDs)))
	}
	var layers []*image.Layer
	for i, name := range m.Layers {
		f := ix.Find(name)
		l := image.NewLayer(image.LayerName(i, len(diffIDs), diffIDs[i]), diffIDs[i], nil)
		if f == nil {
			return nil, &image.Error{
				Op: "read", Object: ix.Name, Err: fmt.Errorf("%s isn't in the archive: no %s", l, name),
				Hint: "the archive was written without the layers that its receiver has; save the image again, whole",
			}
		}
		layers = append(layers, l.InFile(f).At(ref.Path+":"+CleanMember(name)))
	}
	im := image.Image{Ref: ref, Names: image.TagNames(m.RepoTags), ID: id.String(), Platform: platform, DiffIDs: diffIDs, Config: config}
	if im.Manifest, err = ix.findManifest(ctx, id, diffIDs); err == nil && im.Manifest != nil {
		err = im.Manifest.Describe(layers)
	}
	if err != nil {
		return fail(err)
	}
	return image.Make(ctx, im, layers, image.SideBySide{}), nil
}

// findManifest looks for the manifest of an image in the layout that Docker 25
// and newer write into a docker-archive: the descriptors of its layers are
// worth keeping.
func (ix *Tar) findManifest(ctx context.Context, config v1.Hash, diffIDs []v1.Hash) (*image.Manifest, error) {
	if !ix.Has("index.json") {
		return nil, nil
	}
	raw, err := ix.Document("index.json")
	if err != nil {
		return nil, err
	}
	return image.FindManifest(raw, config, diffIDs, func(h v1.Hash) ([]byte, bool, error) {
		if ix.Find(image.BlobPath(h)) == nil {
			return nil, false, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		doc, err := ix.Document(image.BlobPath(h))
		return doc, true, err
	})
}
