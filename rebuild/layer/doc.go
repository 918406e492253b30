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
//   - A name is cleaned as an absolute path, so that none leaves the root. An entry
//     whose cleaned name is "." is passed over if it isn't a directory; a root
//     ("/") that isn't one is refused.
//   - A path may be as long as Linux opens it: 4,094 bytes below the root, 255 in a
//     component, 4,095 in a symbolic link's target, 40 symbolic links on the way.
//     A whiteout's prefix doesn't count: its own name never is in a file system.
//   - A parent that a layer doesn't list is created by it, 0755 and 0:0, and
//     that is what shows, even where a lower layer has the directory with other
//     metadata, or has something else there. So say engines with a graph driver;
//     containerd copies the metadata of the topmost lower layer that has the
//     directory. The merged layer lists such a parent, and all agree, unless the
//     base lists it with other metadata and no upper layer lists it, or it is in a
//     directory with the setgid bit, of which engines pass on the bit or the group:
//     left unlisted, it shows on each engine what the original shows there. Doubtful
//     tells where it is listed and engines disagree.
//   - A symbolic link that a layer itself has created is followed in the
//     parents of its later entries; one that only a lower layer has is not: it
//     is replaced by a directory.
//   - ".wh.NAME" hides NAME of the lower layers, "DIR/.wh..wh..opq" everything
//     that they have below DIR. Neither touches entries of the same layer.
//     A whiteout followed by a directory entry of the same name leaves just the
//     directory, which then unites with the lower one. An opaque marker in the
//     root directory does nothing: overlayfs unites the roots of all layers.
//     Nor does one where its layer has a file or a whiteout for a directory, nor
//     anything that deletes below a whiteout of its layer: some tools write that,
//     podman takes it, and moby and containerd refuse it.
//     Other names of aufs (".wh..wh.plnk") are whiteouts of ".wh.plnk".
//   - A hard link to a name that its own layer has a whiteout for is one more
//     whiteout: engines write it as a device, and link that.
//   - A directory over a directory keeps the lower one's children and takes
//     none of its metadata; every other entry replaces whatever was there.
//   - A hard link's header acts on the inode: owner, mode and times become the
//     link's, its xattrs are added, and changing the owner drops setuid and
//     security.capability, as it does in the kernel. Mode and times stay if the
//     target's name isn't found as it stands, only once it is cleaned ("x/" for a
//     file): moby looks at the target before it sets them.
//   - A layer may list a path twice if it spells it otherwise ("a", "/a"; moby's
//     load refuses it otherwise). The later entry counts, but a directory keeps the
//     xattrs that only the first one sets, the root's among them. A directory after
//     something else of that name is refused if a lower layer has one, too.
//   - At a whiteout and an opaque marker only the name counts: no type, no xattrs.
//   - What a layer makes in a directory of its own takes the directory's default
//     ACL (system.posix_acl_default), unless its entry sets others: the order of
//     entries counts. The merged layer lists directories first, so it spells out
//     which ACLs its entries have and, in such a directory, have not. A directory
//     that no entry lists is refused there: its very mode would come from the ACL.
//   - The metadata of the root is that of the topmost layer: an entry named "/"
//     there sets it, "./" and entries of lower layers don't.
//   - Overlayfs's own xattrs act as if they were set on a mounted layer:
//     trusted.overlay.opaque=y is an opaque marker. What redirect, metacopy and
//     whiteout show depends on the kernel and its settings, so they are refused
//     above the base, and so is a directory of an upper layer that unites with one
//     for which the base has them. What no upper layer unites with shows whatever
//     it showed. The lowest layer has nothing below to redirect to, and keeps the
//     first two.
//   - A sparse file is one with zeros in its holes, and is written with them:
//     engines refuse the GNU form, and can't save an image again that they have
//     loaded with a PAX one.
//
// What an image may cost is bounded; the limits stand in budget.go, and an error
// that is ErrLimit names the one exceeded.
package layer
