package image

import (
	"encoding/json"
	"fmt"
	"maps"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// resultLayer is a layer as the result stores it.
type resultLayer struct {
	desc  v1.Descriptor
	raw   json.RawMessage // the source's descriptor; nil = desc says all
	layer *Layer          // unchanged from the source, or
	file  File            // made here
	from  *Image          // whose layer it was, nil for a new one
}

// isDocker tells whether the image's manifest has Docker's media types. What
// has no manifest gets an OCI one.
func (im *Image) isDocker() bool {
	return im.Manifest != nil && im.Manifest.MediaType == types.DockerManifestSchema2
}

// descriptor returns the layer's descriptor for a manifest, to the letter of
// the source's where it has one.
func (l *resultLayer) descriptor(convert bool) (json.RawMessage, error) {
	if l.raw == nil {
		return Marshal(l.desc)
	}
	if !convert {
		return l.raw, nil
	}
	d, err := ParseDocument(l.raw)
	if err != nil {
		return nil, err
	}
	if err := d.Set("mediaType", l.desc.MediaType); err != nil {
		return nil, err
	}
	return d.Bytes(), nil
}

// manifest makes the new image's manifest of its source's: all fields survive
// but those of layers and config. convert makes an OCI one of a Docker one.
func (n *Made) manifest(layers []*resultLayer, convert bool) ([]byte, v1.Descriptor, error) {
	from := n.New.From
	var old []byte
	if from.Manifest != nil {
		old = from.Manifest.Raw
	}
	fail := func(err error) ([]byte, v1.Descriptor, error) {
		return nil, v1.Descriptor{}, fmt.Errorf("make manifest: %w", err)
	}
	mediaType, configType := types.OCIManifestSchema1, types.OCIConfigJSON
	if from.Manifest != nil {
		mediaType, configType = from.Manifest.MediaType, from.Manifest.Config.MediaType
		if convert {
			mediaType, configType = ociType(mediaType), ociType(configType)
		}
	}
	config := v1.Descriptor{MediaType: configType, Digest: DigestOf(n.Config), Size: int64(len(n.Config))}
	raw := old
	if from.Manifest == nil || convert || n.Layer != nil || n.New.Keep != len(from.DiffIDs) || config.Digest != from.Manifest.Config.Digest || config.Size != from.Manifest.Config.Size || len(n.New.Annotations) > 0 {
		m, err := ParseDocument(old)
		if err != nil {
			return fail(err)
		}
		list := []json.RawMessage{}
		for _, l := range layers {
			d, err := l.descriptor(convert)
			if err != nil {
				return fail(err)
			}
			list = append(list, d)
		}
		annotations := n.New.annotations(mediaType)
		delete(m, "annotations")
		fields := []struct {
			key   string
			value any
			set   bool
		}{
			{"schemaVersion", 2, true},
			{"mediaType", mediaType, m["mediaType"] != nil || from.Manifest == nil || convert},
			{"config", config, true},
			{"layers", list, true},
			{"annotations", annotations, len(annotations) > 0},
		}
		for _, f := range fields {
			if f.set {
				if err := m.Set(f.key, f.value); err != nil {
					return fail(err)
				}
			}
		}
		raw = m.Bytes()
	}
	return raw, v1.Descriptor{MediaType: mediaType, Digest: DigestOf(raw), Size: int64(len(raw))}, nil
}

// annotations are those of the source's manifest, and those that the image is
// given. A manifest of Docker's own format isn't given any.
func (n NewImage) annotations(mediaType types.MediaType) map[string]string {
	all := map[string]string{}
	if n.From.Manifest != nil {
		maps.Copy(all, n.From.Manifest.Annotations)
	}
	for key, value := range n.Annotations {
		delete(all, key)
		if value != "" && mediaType != types.DockerManifestSchema2 {
			all[key] = value
		}
	}
	return all
}
