package image

import "github.com/google/go-containerregistry/pkg/v1/types"

// ociLayerType is the media type of a layer by its compression.
func ociLayerType(kind string) types.MediaType {
	switch kind {
	case Gzip:
		return types.OCILayer
	case Zstandard:
		return types.OCILayerZStd
	}
	return types.OCIUncompressedLayer
}
