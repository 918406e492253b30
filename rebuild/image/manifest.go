package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// document is a JSON object of which only some fields are known here: the
// others go through to the letter.
type document map[string]json.RawMessage

func parseDocument(raw []byte) (document, error) {
	d := document{}
	if len(raw) == 0 {
		return d, nil
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, err
	}
	return d, nil
}

func (d document) set(key string, value any) error {
	b, err := marshal(value)
	if err != nil {
		return err
	}
	d[key] = b
	return nil
}

// order is how the OCI image spec lists the fields of manifests and indexes,
// and of descriptors.
var order = []string{"schemaVersion", "mediaType", "artifactType", "digest", "size", "config", "layers", "manifests", "subject", "annotations"}

// bytes returns the object with its fields in the customary order, unknown ones
// at the end by name: the same fields give the same bytes.
func (d document) bytes() []byte {
	var keys []string
	for k := range d {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		i, j := slices.Index(order, a), slices.Index(order, b)
		switch {
		case i >= 0 && j >= 0:
			return i - j
		case i >= 0:
			return -1
		case j >= 0:
			return 1
		}
		return strings.Compare(a, b)
	})
	var b bytes.Buffer
	for i, k := range keys {
		b.WriteByte(",{"[boolIndex(i == 0)])
		name, err := marshal(k)
		if err != nil {
			panic(err) // a string always has a JSON form
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(d[k])
	}
	b.WriteByte('}')
	return b.Bytes()
}

func boolIndex(b bool) int {
	if b {
		return 1
	}
	return 0
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// layerType is the media type of a layer by its compression.
func layerType(kind string, oci bool) types.MediaType {
	switch {
	case kind == Zstandard:
		return types.OCILayerZStd
	case kind == Gzip && oci:
		return types.OCILayer
	case kind == Gzip:
		return types.DockerLayer
	case oci:
		return types.OCIUncompressedLayer
	}
	return types.DockerUncompressedLayer
}

// ociTypes are the OCI image spec's counterparts of Docker's media types
// (image-spec, media-types.md, "Compatibility Matrix").
var ociTypes = map[types.MediaType]types.MediaType{
	types.DockerManifestSchema2:   types.OCIManifestSchema1,
	types.DockerManifestList:      types.OCIImageIndex,
	types.DockerConfigJSON:        types.OCIConfigJSON,
	types.DockerLayer:             types.OCILayer,
	types.DockerUncompressedLayer: types.OCIUncompressedLayer,
	types.DockerForeignLayer:      types.OCIRestrictedLayer,
}

func ociType(t types.MediaType) types.MediaType {
	if o, ok := ociTypes[t]; ok {
		return o
	}
	return t
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
		return marshal(l.desc)
	}
	if !convert {
		return l.raw, nil
	}
	d, err := parseDocument(l.raw)
	if err != nil {
		return nil, err
	}
	if err := d.set("mediaType", l.desc.MediaType); err != nil {
		return nil, err
	}
	return d.bytes(), nil
}

// manifest makes the new image's manifest of its source's: all fields survive
// but those of layers and config. convert makes an OCI one of a Docker one.
func (n *newImage) manifest(layers []*resultLayer, convert bool) ([]byte, v1.Descriptor, error) {
	from := n.From
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
	config := v1.Descriptor{MediaType: configType, Digest: digestOfBytes(n.config), Size: int64(len(n.config))}
	raw := from.rawManifest
	if from.Manifest == nil || convert || n.layer != nil || n.Keep != len(from.DiffIDs) || config.Digest != from.Manifest.Config.Digest || config.Size != from.Manifest.Config.Size || len(n.Annotations) > 0 {
		m, err := parseDocument(from.rawManifest)
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
		annotations := n.annotations(mediaType)
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
				if err := m.set(f.key, f.value); err != nil {
					return fail(err)
				}
			}
		}
		raw = m.bytes()
	}
	return raw, v1.Descriptor{MediaType: mediaType, Digest: digestOfBytes(raw), Size: int64(len(raw))}, nil
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

// rebuild makes the index anew with the images' new manifests in the places of
// the old ones. It returns the documents of all indexes, innermost first.
func (info *IndexInfo) rebuild(manifests map[*Image]v1.Descriptor, convert bool) (docs [][]byte, root v1.Descriptor, err error) {
	index, err := parseDocument(info.Raw)
	if err != nil {
		return nil, v1.Descriptor{}, fmt.Errorf("make index: %w", err)
	}
	list := []json.RawMessage{}
	for _, e := range info.entries {
		var d v1.Descriptor
		if e.index != nil {
			inner, innerRoot, err := e.index.rebuild(manifests, convert)
			if err != nil {
				return nil, v1.Descriptor{}, err
			}
			docs, d = append(docs, inner...), innerRoot
		} else {
			var ok bool
			if d, ok = manifests[e.image]; !ok {
				return nil, v1.Descriptor{}, fmt.Errorf("make index: the image for %s is missing", e.image.Platform)
			}
		}
		entry, err := parseDocument(e.raw)
		if err != nil {
			return nil, v1.Descriptor{}, fmt.Errorf("make index: %w", err)
		}
		delete(entry, "data") // the old manifest, embedded
		for key, value := range map[string]any{"mediaType": d.MediaType, "digest": d.Digest, "size": d.Size} {
			if err := entry.set(key, value); err != nil {
				return nil, v1.Descriptor{}, err
			}
		}
		list = append(list, entry.bytes())
	}
	mediaType := info.MediaType
	if convert {
		mediaType = ociType(mediaType)
	}
	if err := index.set("manifests", list); err != nil {
		return nil, v1.Descriptor{}, err
	}
	if index["mediaType"] != nil || convert {
		if err := index.set("mediaType", mediaType); err != nil {
			return nil, v1.Descriptor{}, err
		}
	}
	raw := index.bytes()
	return append(docs, raw), v1.Descriptor{MediaType: mediaType, Digest: digestOfBytes(raw), Size: int64(len(raw))}, nil
}
