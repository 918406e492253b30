// Package layer reads the layers of a container image, merges the upper ones
// into a single layer, and checks such a layer against the ones it replaces.
// It is the only package that knows whiteouts.
//
// What a stack of layers means is what an engine that unpacks every layer into
// a directory of its own and mounts the directories as one overlay shows; the
// rules come from the OCI image specification (layer.md) and, where that is
// silent, from moby's pkg/archive (Unpack and createTarFile with
// OverlayWhiteoutFormat) and the kernel's overlayfs:
//
//   - A name is cleaned as an absolute path, so that none leaves the root.
//   - A parent that a layer doesn't list is created by it, 0755 and 0:0, and
//     that is what shows, even where a lower layer has the directory with other
//     metadata, or has something else there.
//   - A symbolic link that a layer itself has created is followed in the
//     parents of its later entries; one that only a lower layer has is not: it
//     is replaced by a directory.
//   - ".wh.NAME" hides NAME of the lower layers, "DIR/.wh..wh..opq" everything
//     that they have below DIR. Neither touches entries of the same layer.
//     A whiteout followed by a directory entry of the same name leaves just the
//     directory, which then unites with the lower one. An opaque marker in the
//     root directory does nothing: overlayfs unites the roots of all layers.
//   - A directory over a directory keeps the lower one's children and takes
//     none of its metadata; every other entry replaces whatever was there.
//   - A hard link's header acts on the inode: owner, mode and times become the
//     link's, its xattrs are added, and changing the owner drops
//     security.capability, as it does in the kernel.
//   - The metadata of the root is that of the topmost layer: an entry named "/"
//     there sets it, "./" and entries of lower layers don't.
package layer
