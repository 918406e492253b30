package image

import (
	"bytes"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Equals tells whether old is what Store would make of images of s, as far as
// that can be told without writing their layers: it has the same configs for
// the diff IDs that old has, and the same manifests and index for the layers
// that old has. What a layer on top of the base holds is not compared.
func (s *Source) Equals(images []NewImage, old *Source) (bool, error) {
	if len(old.Images) != len(images) || (old.Index == nil) != (s.Index == nil) {
		return false, nil
	}
	manifests := map[*Image]v1.Descriptor{}
	for i, n := range images {
		same, err := n.equals(old.Images[i])
		if err != nil || !same {
			return false, err
		}
		manifests[n.From] = old.Images[i].Descriptor
	}
	if s.Index == nil {
		return true, nil
	}
	_, root, err := s.Index.rebuild(manifests, s.Index.MediaType != old.Index.MediaType)
	return err == nil && root.Digest == old.Index.descriptor.Digest, err
}

func (n NewImage) equals(old *Image) (bool, error) {
	layers := n.Keep
	if n.Write != nil {
		layers++
	}
	if len(old.DiffIDs) != layers {
		return false, nil
	}
	config, err := n.Config(old.DiffIDs)
	if err != nil || !bytes.Equal(config, old.RawConfig) {
		return false, err
	}
	if old.Manifest == nil {
		return true, nil
	}
	made := &newImage{NewImage: n, config: config, diffIDs: old.DiffIDs}
	convert := n.From.isDocker() && !old.isDocker()
	var list []*resultLayer
	for i, b := range old.layers {
		l := &resultLayer{desc: b.desc, raw: b.raw}
		if i < n.Keep && i < len(n.From.layers) && n.From.layers[i] != nil && n.From.layers[i].raw != nil {
			base := n.From.layers[i]
			l.desc, l.raw = base.desc, base.raw
			if convert {
				l.desc.MediaType = ociType(l.desc.MediaType)
			}
		}
		list = append(list, l)
	}
	if n.Write != nil {
		made.layer = &newLayer{}
	}
	raw, _, err := made.manifest(list, convert)
	return err == nil && bytes.Equal(raw, old.rawManifest), err
}
