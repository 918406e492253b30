package image

import (
	"encoding/json"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

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

// KindOfType is what errors call a document or blob of a media type.
func KindOfType(t types.MediaType) string {
	switch {
	case t.IsIndex():
		return "index"
	case t.IsImage():
		return "manifest"
	case t.IsConfig():
		return "config"
	}
	return "blob"
}

// actualType is a manifest's media type: as the document says, else as its
// descriptor does, else by what is in it (the OCI image spec leaves the field
// out of documents before 1.1).
func actualType(described types.MediaType, raw []byte) types.MediaType {
	var m struct {
		MediaType types.MediaType   `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
		Version   int               `json:"schemaVersion"`
		Config    struct {
			MediaType types.MediaType `json:"mediaType"`
		} `json:"config"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return described
	}
	switch {
	case m.MediaType != "":
		return m.MediaType
	case m.Version == 1:
		return types.DockerManifestSchema1
	case described.IsIndex(), described.IsImage():
		return described
	case m.Manifests != nil:
		return types.OCIImageIndex
	case m.Config.MediaType == types.DockerConfigJSON:
		return types.DockerManifestSchema2
	}
	return types.OCIManifestSchema1
}
