package layer

import (
	"archive/tar"
	"fmt"
	"slices"
	"strings"
	"time"
)

// stackCase is a stack with what it shows, worked out by hand.
type stackCase struct {
	name    string
	layers  [][]ent
	shows   string // what render says of the whole stack
	writes  string // the entries of the layers above the first, merged; "" = not said
	refused bool   // engines refuse to load the original
	graphs  bool   // shows so with a graph driver alone: containerd unpacks it otherwise
}

// namedACL gives a user and others what a mode can't say.
const namedACL = aclVersion + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x05\x00\xe8\x03\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x01\x00\xff\xff\xff\xff"

const capValue = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func layers(l ...[]ent) [][]ent { return l }
func of(e ...ent) []ent         { return e }

var bigID = 4294967294

// The names say the rules. A path is shown as name/ (directory), name=body,
// name->target, name| (fifo), name%c1:3 (device), name&first (hard link).
var stackCases = []stackCase{
	// Whiteouts.
	{name: "whiteout of a base file", layers: layers(of(file("f", "1"), file("g", "2")), of(gone("f"))),
		shows: "g=2", writes: ".wh.f"},
	{name: "whiteout of a base directory", layers: layers(of(dirE("d"), file("d/f", "1"), file("g", "2")), of(gone("d"))),
		shows: "g=2", writes: ".wh.d"},
	{name: "whiteout of an upper file", layers: layers(of(file("g", "2")), of(file("f", "1")), of(gone("f"))),
		shows: "g=2", writes: ""},
	{name: "whiteout of an upper directory", layers: layers(of(file("g", "2")), of(dirE("d"), file("d/f", "1")), of(gone("d"))),
		shows: "g=2"},
	{name: "whiteout of something that is nowhere", layers: layers(of(file("g", "2")), of(gone("f"))),
		shows: "g=2"},
	{name: "whiteout below a directory that is nowhere makes the directory", layers: layers(of(file("g", "2")), of(gone("d/f"))),
		shows: "d/ g=2", writes: "d/"},
	{name: "whiteouts and markers below a whiteout of the same layer", refused: true, layers: layers(of(dirE("d"), file("d/f", "1"), dirE("d/e"), file("d/e/f", "1"), file("g", "2")), of(gone("d"), gone("d/f"), gone("d/e/f"), opaque("d/e"))),
		shows: "g=2", writes: ".wh.d"},
	{name: "whiteout below a whiteout of nothing in the same layer", refused: true, layers: layers(of(file("g", "2")), of(gone("d"), gone("d/f"))),
		shows: "g=2"},
	{name: "whiteout before a file of the same layer", layers: layers(of(file("f", "1")), of(gone("f"), file("f", "2"))),
		shows: "f=2", writes: "f"},
	{name: "whiteout after a file of the same layer", refused: true, layers: layers(of(file("f", "1")), of(file("f", "2"), gone("f"))),
		shows: "f=2", writes: "f"},
	{name: "whiteout before a directory of the same layer is void", layers: layers(of(dirE("d"), file("d/f", "1")), of(gone("d"), dirE("d"), file("d/g", "2"))),
		shows: "d/ d/f=1 d/g=2", writes: "d/ d/g"},
	{name: "whiteout after a directory of the same layer makes it opaque", refused: true, layers: layers(of(dirE("d"), file("d/f", "1")), of(dirE("d"), file("d/g", "2"), gone("d"))),
		shows: "d/ d/g=2", writes: "d/ d/.wh..wh..opq d/g"},
	{name: "whiteout before an unlisted directory of the same layer makes it opaque", refused: true, layers: layers(of(dirE("d"), file("d/f", "1")), of(gone("d"), file("d/g", "2"))),
		shows: "d/ d/g=2", writes: "d/ d/.wh..wh..opq d/g"},
	{name: "deleted and made again across layers", layers: layers(of(dirE("d"), file("d/f", "1"), file("d/g", "1")), of(gone("d")), of(dirE("d"), file("d/f", "2"))),
		shows: "d/ d/f=2", writes: "d/ d/.wh..wh..opq d/f"},
	{name: "a file deleted and made again across layers", layers: layers(of(file("f", "1")), of(gone("f")), of(file("f", "2"))),
		shows: "f=2", writes: "f"},
	{name: "deleted, made again, deleted", layers: layers(of(dirE("d"), file("d/f", "1")), of(gone("d")), of(dirE("d"), file("d/f", "2")), of(gone("d"))),
		shows: "", writes: ".wh.d"},
	{name: "deleted, then its parent deleted", layers: layers(of(dirE("d"), dirE("d/e"), file("d/e/f", "1")), of(dirE("d"), dirE("d/e"), gone("d/e/f")), of(dirE("d"), gone("d/e"))),
		shows: "d/", writes: "d/ d/.wh.e"},
	{name: "names that only look like whiteouts", layers: layers(of(file(".whx", "1"), file("a.wh.b", "2"), file(".wh", "3")), of(gone(".whx"), file("c.wh.", "4"))),
		shows: ".wh=3 a.wh.b=2 c.wh.=4", writes: ".wh..whx c.wh."},
	{name: "whiteout of a name of 255 bytes", layers: layers(of(file(long('a'), "1"), file("g", "2")), of(gone(long('a')))),
		shows: "g=2", writes: ".wh." + long('a')},
	{name: "a link to a whiteout is a whiteout", layers: layers(of(file("a", "1"), file("b", "2"), file("g", "3")), of(gone("a"), link("b", "a"))),
		shows: "g=3", writes: ".wh.a .wh.b"},
	{name: "a link to a whiteout of nothing is a whiteout", layers: layers(of(dirE("d"), file("d/f", "1"), file("g", "2")), of(gone("q"), link("d", "q"))),
		shows: "g=2", writes: ".wh.d"},
	{name: "a link to a link to a whiteout is a whiteout", layers: layers(of(file("a", "1"), file("b", "2"), file("g", "3")), of(gone("q"), link("a", "q"), link("b", "a"))),
		shows: "g=3", writes: ".wh.a .wh.b"},
	{name: "a link to a whiteout takes an unlisted directory of its layer", layers: layers(of(dirE("d"), file("d/f", "1"), file("g", "2")), of(file("d/n", "3"), gone("q"), link("d", "q"))),
		shows: "g=2", writes: ".wh.d"},
	{name: "a link to a whiteout that a file has replaced", layers: layers(of(file("a", "1"), file("b", "2")), of(gone("a"), file("a", "3"), link("b", "a"))),
		shows: "a=3 b&a", writes: "a b"},
	{name: "a link to a whiteout in another directory", layers: layers(of(dirE("d"), file("d/a", "1"), file("hl", "2")), of(dirE("d"), gone("d/a"), link("hl", "d/a")), of(file("top", "x"))),
		shows: "d/ top=x", writes: "d/ d/.wh.a .wh.hl top"},
	{name: "a link to what a lower layer's whiteout has hidden", refused: true, layers: layers(of(file("a", "1")), of(gone("a"), file("b", "2")), of(link("c", "b"))),
		shows: "b=2 c&b", writes: ".wh.a b c"},
	{name: "aufs's own files in an unlisted directory make it", layers: layers(of(file("g", "1")), of(file("d/.wh..wh.plnk", ""))),
		shows: "d/ g=1", writes: "d/"},
	{name: "aufs's own files hide directories that are called whiteouts", layers: layers(of(file(".wh.d/f", "1"), file("g", "2")), of(file(".wh..wh.d", ""))),
		shows: "g=2", writes: ".wh..wh.d"},
	{name: "whiteouts and markers of any type", layers: layers(of(dirE("d"), file("d/f", "1"), file("g", "2"), file("h", "3")), of(ent{name: ".wh.g", kind: 'Z', mtime: epoch}, symlink(".wh.h", "x"), ent{name: "d/.wh..wh..opq", kind: 'D', mtime: epoch}, ent{name: "./", kind: 'V', mtime: epoch}, file("n", "4"))),
		shows: "d/ n=4", writes: "d/ d/.wh..wh..opq .wh.g .wh.h n"},
	{name: "whiteouts and markers with overlayfs's own xattrs", layers: layers(of(dirE("d"), file("d/f", "1"), file("g", "2")), of(gone("g").xattr("trusted.overlay.redirect", "/d"), opaque("d").xattr("trusted.overlay.whiteout", "y").xattr("trusted.overlay.metacopy", ""))),
		shows: "d/", writes: "d/ d/.wh..wh..opq .wh.g"},
	{name: "aufs's own files are skipped", layers: layers(of(file("f", "1")), of(file(".wh..wh.aufs", ""), dirE(".wh..wh.orph"), dirE(".wh..wh.plnk"), file("g", "2"))),
		shows: "f=1 g=2", writes: "g"},
	{name: "a file below an aufs directory is an ordinary one", layers: layers(of(file("f", "1")), of(dirE(".wh..wh.plnk"), file(".wh..wh.plnk/12.34", "2"), link("g", ".wh..wh.plnk/12.34"))),
		shows: ".wh..wh.plnk/ .wh..wh.plnk/12.34=2 f=1 g&.wh..wh.plnk/12.34"},

	// Opaque directories.
	{name: "opaque marker first", layers: layers(of(dirE("d"), file("d/f", "1")), of(opaque("d"), dirE("d"), file("d/g", "2"))),
		shows: "d/ d/g=2", writes: "d/ d/.wh..wh..opq d/g"},
	{name: "opaque marker last", layers: layers(of(dirE("d"), file("d/f", "1")), of(dirE("d"), file("d/g", "2"), opaque("d"))),
		shows: "d/ d/g=2", writes: "d/ d/.wh..wh..opq d/g"},
	{name: "opaque marker in an unlisted directory", layers: layers(of(dirE("d").chmod(0o700), file("d/f", "1")), of(opaque("d"))),
		shows: "d/", writes: "d/.wh..wh..opq"},
	{name: "opaque directory that replaces an own file of the same name", layers: layers(of(dirE("d"), file("d/f", "1")), of(dirE("d"), opaque("d"), file("d/f", "2"))),
		shows: "d/ d/f=2", writes: "d/ d/.wh..wh..opq d/f"},
	{name: "nested opaque directories", layers: layers(of(dirE("d"), dirE("d/e"), file("d/e/f", "1"), file("d/g", "1")), of(dirE("d"), opaque("d"), dirE("d/e"), opaque("d/e"), file("d/e/h", "2"))),
		shows: "d/ d/e/ d/e/h=2", writes: "d/ d/.wh..wh..opq d/e/ d/e/h"},
	{name: "opaque inner directory", layers: layers(of(dirE("d"), dirE("d/e"), file("d/e/f", "1"), file("d/g", "1")), of(dirE("d"), dirE("d/e"), opaque("d/e"))),
		shows: "d/ d/e/ d/g=1", writes: "d/ d/e/ d/e/.wh..wh..opq"},
	{name: "opaque three times in a row", layers: layers(of(dirE("d"), file("d/f", "1")), of(dirE("d"), opaque("d"), file("d/1", "1")), of(dirE("d"), opaque("d"), file("d/2", "2")), of(dirE("d"), opaque("d"), file("d/3", "3"))),
		shows: "d/ d/3=3", writes: "d/ d/.wh..wh..opq d/3"},
	{name: "opaque over upper layers only", layers: layers(of(file("g", "1")), of(dirE("d"), file("d/f", "1")), of(dirE("d"), opaque("d"), file("d/h", "2"))),
		shows: "d/ d/h=2 g=1", writes: "d/ d/h"},
	{name: "opaque over an empty base directory needs no marker", layers: layers(of(dirE("d")), of(dirE("d"), opaque("d"), file("d/h", "2"))),
		shows: "d/ d/h=2", writes: "d/ d/h"},
	{name: "opaque root does nothing", layers: layers(of(file("f", "1")), of(file(".wh..wh..opq", ""), file("g", "2"))),
		shows: "f=1 g=2", writes: "g"},
	{name: "opaque by the overlay's own xattr", graphs: true, layers: layers(of(dirE("d"), file("d/f", "1")), of(dirE("d").xattr("trusted.overlay.opaque", "y"), file("d/g", "2")), of(dirE("d"))),
		shows: "d/ d/g=2", writes: "d/ d/.wh..wh..opq d/g"},
	{name: "opaque marker on a file does nothing", layers: layers(of(dirE("d"), file("d/f", "1")), of(file("d", "2"), opaque("d"))),
		shows: "d=2", writes: "d"},
	{name: "opaque marker on a directory that a file replaces", layers: layers(of(dirE("d"), file("d/f", "1")), of(opaque("d"), file("d", "2"))),
		shows: "d=2", writes: "d"},
	{name: "opaque marker on a fifo does nothing", layers: layers(of(dirE("d"), file("d/f", "1")), of(fifo("d"), opaque("d"))),
		shows: "d|", writes: "d"},
	{name: "opaque marker on a symlink to a file does nothing", layers: layers(of(dirE("d"), file("d/f", "1")), of(file("x", "2"), symlink("d", "x"), opaque("d"))),
		shows: "d->x x=2", writes: "x d"},
	{name: "opaque marker on a symlink to a symlink to a directory", layers: layers(of(dirE("d"), file("d/f", "1")), of(dirE("d"), symlink("l", "d/"), symlink("m", "/l"), opaque("m"))),
		shows: "d/ l->d/ m->/l", writes: "d/ d/.wh..wh..opq l m"},
	{name: "opaque marker on a whiteout does nothing", layers: layers(of(dirE("d"), file("d/f", "1"), file("g", "2")), of(gone("d"), opaque("d"))),
		shows: "g=2", writes: ".wh.d"},
	{name: "opaque marker on a whiteout of nothing does nothing", layers: layers(of(file("g", "2")), of(gone("d"), opaque("d"))),
		shows: "g=2", writes: ""},
	{name: "deleted directory comes back as a plain parent", layers: layers(of(dirE("d"), dirE("d/e"), file("d/e/f", "1"), file("d/e/g", "1")), of(dirE("d"), gone("d/e")), of(file("d/e/g", "2"))),
		shows: "d/ d/e/ d/e/g=2", writes: "d/ d/e/ d/e/.wh..wh..opq d/e/g"},

	// Replacements, every type by every other.
	{name: "directory by file, children gone", layers: layers(of(dirE("d"), file("d/f", "1")), of(file("d", "2"))), shows: "d=2", writes: "d"},
	{name: "directory by symlink", layers: layers(of(dirE("d"), file("d/f", "1"), dirE("e")), of(symlink("d", "e"))), shows: "d->e e/", writes: "d"},
	{name: "directory by fifo", layers: layers(of(dirE("d"), file("d/f", "1")), of(fifo("d"))), shows: "d|", writes: "d"},
	{name: "directory by device", layers: layers(of(dirE("d"), file("d/f", "1")), of(char("d", 1, 3))), shows: "d%c1:3", writes: "d"},
	{name: "file by directory", layers: layers(of(file("d", "1")), of(dirE("d"), file("d/f", "2"))), shows: "d/ d/f=2", writes: "d/ d/f"},
	{name: "symlink by directory", layers: layers(of(symlink("d", "e"), dirE("e"), file("e/g", "1")), of(dirE("d"), file("d/f", "2"))), shows: "d/ d/f=2 e/ e/g=1", writes: "d/ d/f"},
	{name: "file by symlink", layers: layers(of(file("f", "1")), of(symlink("f", "nowhere"))), shows: "f->nowhere", writes: "f"},
	{name: "symlink by file", layers: layers(of(symlink("f", "g"), file("g", "1")), of(file("f", "2"))), shows: "f=2 g=1", writes: "f"},
	{name: "fifo by block device", layers: layers(of(fifo("f")), of(block("f", 8, 1))), shows: "f%b8:1", writes: "f"},
	{name: "block device by fifo", layers: layers(of(block("f", 8, 1)), of(fifo("f"))), shows: "f|", writes: "f"},
	{name: "directory by file by directory", layers: layers(of(dirE("d"), file("d/f", "1")), of(file("d", "2")), of(dirE("d"), file("d/g", "3"))),
		shows: "d/ d/g=3", writes: "d/ d/.wh..wh..opq d/g"},
	{name: "directory by file by unlisted directory", layers: layers(of(dirE("d"), file("d/f", "1")), of(file("d", "2")), of(file("d/g", "3"))),
		shows: "d/ d/g=3", writes: "d/ d/.wh..wh..opq d/g"},
	{name: "directory over directory keeps children, takes metadata", layers: layers(of(dirE("d").chmod(0o755).xattr("user.a", "1"), file("d/f", "1")), of(dirE("d").chmod(0o700).chown(1, 2))),
		shows: "d/ d/f=1", writes: "d/"},
	{name: "metadata only, three times", layers: layers(of(dirE("d"), file("d/f", "1")), of(dirE("d").chmod(0o700)), of(dirE("d").chmod(0o711)), of(dirE("d").chmod(0o1777))),
		shows: "d/ d/f=1", writes: "d/"},
	{name: "a 0:0 character device hides what is below it", layers: layers(of(dirE("d"), file("d/f", "1")), of(char("d", 0, 0)), of(dirE("d"), file("d/g", "2"))),
		shows: "d/ d/g=2", writes: "d/ d/.wh..wh..opq d/g"},
	{name: "children under a replaced directory in a later layer", layers: layers(of(dirE("d"), dirE("d/e"), file("d/e/f", "1")), of(file("d", "x")), of(dirE("d"), dirE("d/e"), file("d/e/g", "2"))),
		shows: "d/ d/e/ d/e/g=2", writes: "d/ d/.wh..wh..opq d/e/ d/e/g"},

	// Hard links.
	{name: "link group stays", layers: layers(of(file("g", "1")), of(file("a", "x"), link("b", "a"), link("c", "b"))),
		shows: "a=x b&a c&a g=1", writes: "a b c"},
	{name: "first name deleted", layers: layers(of(file("g", "1")), of(file("a", "x"), link("b", "a"), link("c", "a")), of(gone("a"))),
		shows: "b=x c&b g=1", writes: "b c"},
	{name: "last name deleted", layers: layers(of(file("g", "1")), of(file("a", "x"), link("b", "a"), link("c", "a")), of(gone("c"))),
		shows: "a=x b&a g=1", writes: "a b"},
	{name: "every name deleted", layers: layers(of(file("g", "1")), of(file("a", "x"), link("b", "a")), of(gone("a"), gone("b"))),
		shows: "g=1"},
	{name: "first name overwritten", layers: layers(of(file("g", "1")), of(file("a", "x"), link("b", "a"), link("c", "a")), of(file("a", "new"))),
		shows: "a=new b=x c&b g=1", writes: "b c a"},
	{name: "first name renamed", layers: layers(of(file("g", "1")), of(file("a", "x"), link("b", "a")), of(gone("a"), file("z", "x"))),
		shows: "b=x g=1 z=x", writes: "b z"},
	{name: "one name of a base group overwritten", layers: layers(of(file("a", "x"), link("b", "a")), of(file("a", "new"))),
		shows: "a=new b=x", writes: "a"},
	{name: "first name of a base group deleted", layers: layers(of(file("a", "x"), link("b", "a"), link("c", "a")), of(gone("a"))),
		shows: "b=x c&b", writes: ".wh.a"},
	{name: "one name gets another mode in a later layer", layers: layers(of(file("g", "1")), of(file("a", "x"), link("b", "a")), of(file("b", "x").chmod(0o755))),
		shows: "a=x b=x g=1", writes: "a b"},
	{name: "group extended in a later layer is a new group", layers: layers(of(file("g", "1")), of(file("a", "x"), link("b", "a")), of(file("a", "x"), link("c", "a"))),
		shows: "a=x b=x c&a g=1", writes: "b a c"},
	{name: "group replaced as a whole", layers: layers(of(file("a", "x"), link("b", "a")), of(file("a", "y"), link("b", "a"))),
		shows: "a=y b&a", writes: "a b"},
	{name: "promoted name sits in a directory listed later", layers: layers(of(file("g", "1")), of(file("a", "x"), dirE("d").chmod(0o700), link("d/b", "a")), of(gone("a"))),
		shows: "d/ d/b=x g=1", writes: "d/ d/b"},
	{name: "link to a symlink", layers: layers(of(file("g", "1")), of(symlink("a", "g"), link("b", "a"))),
		shows: "a->g b&a g=1", writes: "a b"},
	{name: "link to a symlink whose first name goes", layers: layers(of(file("g", "1")), of(symlink("a", "g"), link("b", "a")), of(gone("a"))),
		shows: "b->g g=1", writes: "b"},
	{name: "link to a fifo", layers: layers(of(file("g", "1")), of(fifo("a"), link("b", "a").chmod(0o600)), of(gone("a"))),
		shows: "b| g=1", writes: "b"},
	{name: "link to a device", layers: layers(of(file("g", "1")), of(char("a", 1, 3), link("b", "a"), link("c", "a")), of(gone("a"))),
		shows: "b%c1:3 c&b g=1", writes: "b c"},
	{name: "link to a base file becomes a file", refused: true, layers: layers(of(file("a", "x")), of(link("b", "a"))),
		shows: "a=x b=x", writes: "b"},
	{name: "two links to a base file are one inode", refused: true, layers: layers(of(file("a", "x")), of(link("b", "a"), link("c", "a"))),
		shows: "a=x b=x c&b", writes: "b c"},
	{name: "links to a base file from two layers are one inode", refused: true, layers: layers(of(file("a", "x")), of(link("b", "a")), of(link("c", "a"))),
		shows: "a=x b=x c&b", writes: "b c"},
	{name: "the header of a link to a file of the base that it replaces", refused: true, layers: layers(of(fifo("b").chmod(0o600), file("g", "1")), of(link("b", "b").chmod(0o4644).at(epoch.Add(time.Hour)))),
		shows: "b| g=1", writes: "b"},
	{name: "a link to a file of the base that a link there has changed", refused: true, layers: layers(of(dirE("a"), fifo("b").chmod(0o600), link("c", "b").chmod(0o644)), of(link("d", "./a/../b").chmod(0o644))),
		shows: "a/ b| c&b d|", writes: "d"},
	{name: "a deletion below a directory that a link to a whiteout replaces", refused: true, layers: layers(of(file("c/b", "0"), file("g", "1")), of(file("c/a", ""), gone("b"), link("c", "b"), gone("c/a"))),
		shows: "g=1", writes: ".wh.c"},
	{name: "link to an upper file of a lower layer", refused: true, layers: layers(of(file("g", "1")), of(file("a", "x")), of(link("b", "a"))),
		shows: "a=x b&a g=1", writes: "a b"},
	{name: "link into an opaque directory", layers: layers(of(dirE("d"), file("d/f", "1")), of(dirE("d"), opaque("d"), file("d/a", "x"), link("b", "d/a"))),
		shows: "b=x d/ d/a&b"},
	{name: "group with a name in a deleted directory", layers: layers(of(file("g", "1")), of(dirE("d"), file("d/a", "x"), link("b", "d/a")), of(gone("d"))),
		shows: "b=x g=1", writes: "b"},
	{name: "group with a name in a directory made opaque", layers: layers(of(file("g", "1")), of(dirE("d"), file("d/a", "x"), link("b", "d/a")), of(dirE("d"), opaque("d"))),
		shows: "b=x d/ g=1", writes: "b d/"},
	{name: "a link's header changes the inode", layers: layers(of(file("g", "1")), of(file("a", "x").xattr("user.a", "1").xattr("security.capability", capValue), link("b", "a").chmod(0o4711).chown(5, 6).at(epoch.Add(time.Hour)).xattr("user.b", "2"))),
		shows: "a=x b&a g=1", writes: "a b"},
	{name: "a link's header gives a symlink its owner", graphs: true, layers: layers(of(file("g", "1")), of(symlink("a", "g"), link("b", "a").chown(5, 6).at(epoch.Add(time.Hour)))),
		shows: "a->g b&a g=1", writes: "a b"},
	{name: "link with a leading slash and dots", layers: layers(of(file("g", "1")), of(dirE("d"), file("d/a", "x"), link("b", "/d/../d/./a"))),
		shows: "b=x d/ d/a&b g=1"},
	{name: "the header of a link to a name with a slash sets no mode and no time", graphs: true, layers: layers(of(file("g", "1")), of(file("a", "x").chmod(0o6755).xattr("user.a", "1"), link("b", "a/").chmod(0o4711).chown(5, 6).at(epoch.Add(time.Hour)).xattr("user.b", "2"))),
		shows: "a=x b&a g=1", writes: "a b"},
	{name: "nor does that of a link by way of a directory that isn't there", graphs: true, layers: layers(of(file("g", "1")), of(file("a", "x").chmod(0o2745).xattr("security.capability", capValue), link("b", "no/../a").chmod(0o4711).at(epoch.Add(time.Hour)))),
		shows: "a=x b&a g=1", writes: "a b"},
	{name: "nor by way of a file, or a symlink elsewhere", layers: layers(of(file("g", "1")), of(file("a", "x"), file("n", "y"), link("b", "n/../a").chmod(0o600), dirE("d"), dirE("d/e"), symlink("s", "d/e"), link("c", "s/../a").chmod(0o400), link("h", "a/.").chmod(0o111))),
		shows: "a=x b&a c&a d/ d/e/ g=1 h&a n=y s->d/e"},
	{name: "nor by way of a symlink to another symlink", graphs: true, layers: layers(of(file("g", "1")), of(dirE("d"), dirE("d/e"), file("a", "x"), symlink("d/a", "nowhere"), symlink("s", "d/e"), link("b", "s/../a").chmod(0o4600))),
		shows: "a=x b&a d/ d/a->nowhere d/e/ g=1 s->d/e"},
	{name: "but that of one by way of a symlink to another file does", graphs: true, layers: layers(of(file("g", "1")), of(dirE("d"), dirE("d/e"), file("a", "x"), file("d/a", "y"), symlink("s", "d/e"), link("b", "s/../a").chmod(0o4600))),
		shows: "a=x b&a d/ d/a=y d/e/ g=1 s->d/e"},
	{name: "and one by a name with dots and slashes", layers: layers(of(file("g", "1")), of(dirE("d"), file("d/a", "x"), link("b", "..//d/../d/./a").chmod(0o4600), link("c", "./d/a").chmod(0o4640), link("e", "/d/a").chmod(0o4644))),
		shows: "b=x c&b d/ d/a&b e&b g=1"},
	{name: "link to a symlink by a name that isn't found as it stands", graphs: true, layers: layers(of(file("g", "1")), of(symlink("a", "g"), link("b", "no/../a").chown(5, 6).at(epoch.Add(time.Hour)))),
		shows: "a->g b&a g=1", writes: "a b"},
	{name: "link of a file in a setgid directory", layers: layers(of(dirE("d").chmod(0o2755).chown(0, 7)), of(file("d/e/f", "1"), link("d/e/g", "d/e/f"))),
		shows: "d/ d/e/ d/e/f=1 d/e/g&d/e/f"},
	{name: "unlisted directories inherit setgid", layers: layers(of(file("g", "1")), of(dirE("d").chmod(0o2755), file("d/e/f/h", "1")), of(dirE("d"))),
		shows: "d/ d/e/ d/e/f/ d/e/f/h=1 g=1", writes: "d/ d/e/ d/e/f/h"},
	{name: "unlisted directories in one with setgid are left to the engine", layers: layers(of(file("g", "1")), of(dirE("d").chmod(0o2755).chown(0, 7), file("d/e/f/h", "1"), gone("d/u/w")), of(file("z", "1"))),
		shows: "d/ d/e/ d/e/f/ d/e/f/h=1 d/u/ g=1 z=1", writes: "d/ d/u/ d/e/f/h z"},
	{name: "a directory gets setgid after an unlisted one was made in it", layers: layers(of(file("g", "1")), of(file("d/e/h", "1"), dirE("d").chmod(0o2755))),
		shows: "d/ d/e/ d/e/h=1 g=1", writes: "d/ d/e/ d/e/h"},

	// Symbolic links and parents.
	{name: "dangling symlink", layers: layers(of(file("g", "1")), of(symlink("l", "/no/where"))), shows: "g=1 l->/no/where", writes: "l"},
	{name: "symlink loop", layers: layers(of(file("g", "1")), of(symlink("l", "m"), symlink("m", "l"))), shows: "g=1 l->m m->l"},
	{name: "entry below a symlink of a lower layer replaces it", layers: layers(of(dirE("d"), file("d/f", "1"), symlink("l", "d")), of(file("l/g", "2"))),
		shows: "d/ d/f=1 l/ l/g=2", writes: "l/ l/g"},
	{name: "whiteout below a symlink of a lower layer replaces it", layers: layers(of(dirE("d"), file("d/f", "1"), symlink("l", "d")), of(gone("l/f"))),
		shows: "d/ d/f=1 l/", writes: "l/"},
	{name: "entry below a symlink of its own layer follows it", layers: layers(of(file("g", "1")), of(dirE("d"), symlink("l", "d"), file("l/f", "2"))),
		shows: "d/ d/f=2 g=1 l->d", writes: "d/ l d/f"},
	{name: "whiteout below an absolute symlink of its own layer follows it", layers: layers(of(dirE("d"), file("d/f", "1"), file("d/g", "1")), of(dirE("d"), dirE("e"), symlink("e/l", "/d"), gone("e/l/f"))),
		shows: "d/ d/g=1 e/ e/l->/d", writes: "d/ d/.wh.f e/ e/l"},
	{name: "opaque marker below a symlink of its own layer follows it", layers: layers(of(dirE("d"), file("d/f", "1")), of(dirE("d"), symlink("l", "./d"), opaque("l"))),
		shows: "d/ l->./d", writes: "d/ d/.wh..wh..opq l"},
	{name: "entry below a dangling symlink of its own layer makes the target", refused: true, layers: layers(of(file("g", "1")), of(symlink("l", "d/e"), file("l/f", "2"))),
		shows: "d/ d/e/ d/e/f=2 g=1 l->d/e"},
	{name: "40 symlinks in a path", layers: layers(of(file("g", "1")), chain(40)),
		shows: "g=1 l0/ l0/f=2" + chained(40)},
	{name: "missing parent that the base lists with an engine's own metadata", layers: layers(of(dirE("d"), file("d/f", "1")), of(file("d/g", "2"))),
		shows: "d/ d/f=1 d/g=2", writes: "d/ d/g"},
	{name: "missing parent of a whiteout that the base lists with an engine's own metadata", layers: layers(of(dirE("d"), file("d/f", "1")), of(gone("d/f"))),
		shows: "d/", writes: "d/ d/.wh.f"},
	{name: "missing parent of a whiteout that the base lists with other metadata", layers: layers(of(dirE("d").chmod(0o1777), file("d/f", "1")), of(gone("d/f"))),
		shows: "d/", writes: "d/.wh.f"},
	{name: "missing parent that the base lists with an xattr", layers: layers(of(dirE("d").xattr("user.a", "1"), file("d/f", "1")), of(file("d/g", "2"))),
		shows: "d/ d/f=1 d/g=2", writes: "d/g"},
	{name: "missing parent that nobody lists", layers: layers(of(file("d/f", "1")), of(file("d/g", "2"))),
		shows: "d/ d/f=1 d/g=2", writes: "d/ d/g"},
	{name: "missing parent that the base lists and an upper layer lists otherwise", layers: layers(of(dirE("d").chmod(0o1777), file("d/f", "1")), of(dirE("d").chmod(0o700)), of(file("d/g", "2"))),
		shows: "d/ d/f=1 d/g=2", writes: "d/ d/g"},
	{name: "missing parents, some with an engine's own metadata", layers: layers(of(dirE("d"), dirE("d/e").chmod(0o700), file("d/e/f", "1")), of(file("d/e/g", "2"))),
		shows: "d/ d/e/ d/e/f=1 d/e/g=2", writes: "d/ d/e/g"},
	{name: "missing parents", layers: layers(of(file("g", "1")), of(file("a/b/c/f", "2"))), shows: "a/ a/b/ a/b/c/ a/b/c/f=2 g=1", writes: "a/ a/b/ a/b/c/ a/b/c/f"},
	{name: "missing parent that the base has otherwise", layers: layers(of(dirE("d").chmod(0o700).chown(3, 4).xattr("user.a", "1"), file("d/f", "1")), of(file("d/g", "2"))),
		shows: "d/ d/f=1 d/g=2", writes: "d/g"},
	{name: "missing parent that an upper layer lists", layers: layers(of(file("g", "1")), of(dirE("d").chmod(0o700), file("d/f", "1")), of(file("d/g", "2"))),
		shows: "d/ d/f=1 d/g=2 g=1", writes: "d/ d/f d/g"},
	{name: "missing parent replaces a file", layers: layers(of(file("d", "1")), of(file("d/g", "2"))), shows: "d/ d/g=2", writes: "d/ d/g"},
	{name: "directory listed after its children", layers: layers(of(file("g", "1")), of(file("d/f", "1"), dirE("d").chmod(0o500))), shows: "d/ d/f=1 g=1", writes: "d/ d/f"},
	{name: "deleted in a directory that the result lists otherwise", layers: layers(of(dirE("d"), file("d/f", "1"), file("d/g", "1")), of(gone("d/f")), of(dirE("d").chmod(0o700))),
		shows: "d/ d/g=1", writes: "d/ d/.wh.f"},

	// Access control lists.
	{name: "what is made in a directory with a default ACL takes it", layers: layers(of(file("g", "1")), of(dirE("d").xattr("system.posix_acl_default", namedACL), file("d/f", "1").chmod(0o640), dirE("d/e").chmod(0o711), file("d/e/h", "2"), fifo("d/p"), symlink("d/l", "f"), link("d/k", "d/f"), gone("d/w")), of(dirE("d"), dirE("d/e").chmod(0o700))),
		shows: "d/ d/e/ d/e/h=2 d/f=1 d/k&d/f d/l->f d/p| g=1", writes: "d/ d/f d/e/ d/e/h d/p d/l d/k"},
	{name: "an upper layer gives a directory a default ACL that its files don't have", layers: layers(of(file("g", "1")), of(dirE("d"), file("d/f", "1"), dirE("d/e"), file("d/u/h", "2"), fifo("d/p"), symlink("d/l", "f"), link("d/k", "d/f")), of(dirE("d").xattr("system.posix_acl_default", namedACL))),
		shows: "d/ d/e/ d/f=1 d/k&d/f d/l->f d/p| d/u/ d/u/h=2 g=1"},
	{name: "a directory listed after its files, with a default ACL", layers: layers(of(file("g", "1")), of(file("d/f", "1"), file("d/u/f", "1"), dirE("d").xattr("system.posix_acl_default", namedACL), file("d/n", "2"), dirE("d/u"))),
		shows: "d/ d/f=1 d/n=2 d/u/ d/u/f=1 g=1", writes: "d/ d/f d/u/ d/u/f d/n"},
	{name: "ACLs that say nothing", layers: layers(of(file("g", "1")), of(dirE("d").xattr("system.posix_acl_default", namedACL), file("d/f", "1").xattr("system.posix_acl_access", modeACL(0o644)), dirE("d/e").xattr("system.posix_acl_default", aclVersion).xattr("system.posix_acl_access", modeACL(0o755)), file("d/e/f", "2"))),
		shows: "d/ d/e/ d/e/f=2 d/f=1 g=1"},
	{name: "a default ACL that says what a mode says", layers: layers(of(file("g", "1")), of(dirE("d").xattr("system.posix_acl_default", modeACL(0o700)), file("d/f", "1"), dirE("d/e"), file("d/e/f", "2")), of(dirE("d"), file("d/n", "3"))),
		shows: "d/ d/e/ d/e/f=2 d/f=1 d/n=3 g=1"},
	{name: "a link's header gives an ACL and takes it", layers: layers(of(file("g", "1")), of(file("a", "1"), link("b", "a").xattr("system.posix_acl_access", namedACL), file("c", "1").xattr("system.posix_acl_access", namedACL), link("d", "c").xattr("system.posix_acl_access", modeACL(0o644)))),
		shows: "a=1 b&a c=1 d&c g=1"},
	{name: "a default ACL of the root", graphs: true, layers: layers(of(file("g", "1")), of(dirE("").named("/").xattr("system.posix_acl_default", namedACL), file("f", "1"), dirE("d")), of(file("h", "1"))),
		shows: "d/ f=1 g=1 h=1"},
	{name: "a default ACL of the base, whose directory an upper layer lists", layers: layers(of(dirE("d").xattr("system.posix_acl_default", namedACL), file("d/f", "1")), of(dirE("d"), file("d/n", "2"), file("d/u/n", "3"))),
		shows: "d/ d/f=1 d/n=2 d/u/ d/u/n=3"},
	{name: "a default ACL of the base, whose directory no upper layer lists", graphs: true, layers: layers(of(dirE("d").xattr("system.posix_acl_default", namedACL), file("d/f", "1")), of(file("d/n", "2"))),
		shows: "d/ d/f=1 d/n=2", writes: "d/n"},

	// Names.
	{name: "dot and slash prefixes", layers: layers(of(file("./a", "1"), file("/b", "1"), dirE("./d"), file(".//d//f", "1")), of(file("/a", "2"), gone("./b"), file("d/./g", "2"), file("../up", "3"))),
		shows: "a=2 d/ d/f=1 d/g=2 up=3"},
	{name: "spaces, newlines, quotes, backslashes", layers: layers(of(file("a b", "1"), file("n\nl", "1"), file(`q"'`, "1"), file(`b\s`, "1")), of(gone("a b"), gone("n\nl"), gone(`q"'`), file(`b\s`, "2"), file(" ", "3"), file("\t", "4"))),
		shows: "\t=4  =3 b\\s=2"},
	{name: "invalid UTF-8", layers: layers(of(file("\xff\xfe", "1"), file("é", "1")), of(gone("\xff\xfe"), file("\xe9", "2"), dirE("\x80"), file("\x80/é", "3"))),
		shows: "\x80/ \x80/é=3 é=1 \xe9=2"},
	{name: "components of 255 bytes", layers: layers(of(dirE(long('a')), file(long('a')+"/"+long('b'), "1"), file(long('c'), "1")), of(gone(strings.Repeat("c", 251)), file(long('a')+"/"+long('d'), "2"))),
		shows: long('a') + "/ " + long('a') + "/" + long('b') + "=1 " + long('a') + "/" + long('d') + "=2 " + long('c') + "=1"},
	{name: "the root, applied", layers: layers(of(file("g", "1")), of(dirE("").chmod(0o711).named("/"), file("a", "1"))), shows: "a=1 g=1", writes: "/ a"},
	{name: "the root, passed over", layers: layers(of(file("g", "1")), of(dirE("").chmod(0o711).named("./"), file("a", "1"))), shows: "a=1 g=1", writes: "./ a"},
	{name: "the root of a lower layer", layers: layers(of(file("g", "1")), of(dirE("").chmod(0o711).named("/")), of(file("a", "1"))), shows: "a=1 g=1", writes: "./ a"},
	{name: "the root of the base", layers: layers(of(dirE("").chmod(0o711).named("/"), file("g", "1")), of(file("a", "1"))), shows: "a=1 g=1", writes: "a"},
	{name: "a file called .", layers: layers(of(file("g", "1")), of(file(".", "x"), file("a", "2"))), shows: "a=2 g=1", writes: "a"},
	{name: "a symlink called ./", layers: layers(of(file("g", "1")), of(symlink("./", "g"), file("a", "2"))), shows: "a=2 g=1", writes: "a"},
	{name: "a link called . to nothing", layers: layers(of(file("g", "1")), of(link(".", "nowhere"), file("a", "2"))), shows: "a=2 g=1", writes: "a"},
	{name: "a fifo called .", layers: layers(of(file("g", "1")), of(file("a", "2"), fifo("."))), shows: "a=2 g=1", writes: "a"},
	{name: "a file whose cleaned name is .", layers: layers(of(file("g", "1")), of(file("a/..", "x"), file("a", "2"))), shows: "a=2 g=1", writes: "a"},
	{name: "two entries called .", refused: true, layers: layers(of(file("g", "1")), of(file(".", "x"), char("a/..", 0, 0), file("a", "2"))), shows: "a=2 g=1", writes: "a"},
	{name: "a name twice in one layer", refused: true, layers: layers(of(file("f", "0")), of(file("f", "1"), file("./f", "22"))), shows: "f=22", writes: "f"},
	{name: "a file twice in one layer by two names", layers: layers(of(file("f", "0")), of(file("f", "1").xattr("user.a", "1"), file("/f", "22"))), shows: "f=22", writes: "f"},
	{name: "a file, then a directory in one layer", layers: layers(of(file("d", "0"), file("g", "1")), of(file("d", "1"), link("h", "d"), dirE("/d"), file("d/f", "2"), symlink("n", "g"), dirE("../n"))),
		shows: "d/ d/f=2 g=1 h=1 n/", writes: "h d/ d/f n/"},
	{name: "a directory, then a file, then a directory in one layer", layers: layers(of(file("g", "1")), of(dirE("d").xattr("user.a", "1"), file("d/f", "1"), opaque("d"), file("/d", "2"), dirE("../d"), file("d/g", "3"))),
		shows: "d/ d/g=3 g=1", writes: "d/ d/g"},
	{name: "a directory twice in one layer keeps the xattrs of both", layers: layers(of(file("g", "1")), of(dirE("d").chmod(0o700).chown(3, 4).xattr("user.a", "1").xattr("user.b", "1"), file("d/f", "1"), dirE("d").named("/d").record("comment", "x").xattr("user.b", "2").xattr("user.c", "2"))),
		shows: "d/ d/f=1 g=1", writes: "d/ d/f"},
	{name: "a directory three times in one layer, by way of a symlink", layers: layers(of(dirE("d").xattr("user.z", "1")), of(dirE("d"), symlink("l", "."), dirE("d/e").xattr("user.a", "1"), dirE("l/d/e").xattr("user.b", "1"), dirE("/d/e").chmod(0o711))),
		shows: "d/ d/e/ l->.", writes: "d/ l d/e/"},
	{name: "an unlisted directory that its layer lists later", layers: layers(of(file("g", "1")), of(file("d/f", "1"), dirE("d").xattr("user.a", "1"), dirE("/d").xattr("user.b", "1"))),
		shows: "d/ d/f=1 g=1", writes: "d/ d/f"},
	{name: "the root twice in one layer keeps the xattrs of both", layers: layers(of(dirE("").named("/").xattr("user.z", "1"), file("g", "1")), of(dirE("").named("/").chmod(0o700).xattr("user.a", "1").xattr("user.b", "1"), dirE("").named("..").chmod(0o711).xattr("user.b", "2"))),
		shows: "g=1", writes: "/"},
	{name: "the root, passed over after it was applied", layers: layers(of(file("g", "1")), of(dirE("").named("/").chmod(0o700).xattr("user.a", "1"), dirE("").named("./").chmod(0o711).xattr("user.b", "2"))),
		shows: "g=1", writes: "/"},
	{name: "the root, applied after it was passed over", layers: layers(of(file("g", "1")), of(dirE("").named("./").chmod(0o711).xattr("user.b", "2"), dirE("").named("/").chmod(0o700).xattr("user.a", "1"))),
		shows: "g=1", writes: "/"},
	{name: "a linked name twice in one layer", refused: true, layers: layers(of(file("g", "0")), of(file("f", "1"), link("h", "f"), file("f", "2"))), shows: "f=2 g=0 h=1", writes: "h f"},

	// Metadata.
	{name: "owners up to the end", layers: layers(of(file("g", "1")), of(file("a", "1").chown(bigID, bigID), dirE("d").chown(2097152, 2097151), symlink("l", "a").chown(3000000000, 1))),
		shows: "a=1 d/ g=1 l->a"},
	{name: "setuid, setgid, sticky", layers: layers(of(file("g", "1")), of(file("a", "1").chmod(0o4755), file("b", "1").chmod(0o2755), dirE("d").chmod(0o1777), dirE("e").chmod(0o7777))),
		shows: "a=1 b=1 d/ e/ g=1"},
	{name: "extended attributes", layers: layers(of(file("g", "1")), of(file("a", "1").xattr("security.capability", capValue).xattr("user.bin", "\x00\x01\n=\xff").xattr("user.empty", "").xattr("trusted.t", "x"), dirE("d").xattr("user.d", "1"))),
		shows: "a=1 d/ g=1"},
	{name: "extended attributes dropped by a later copy", layers: layers(of(file("a", "1").xattr("user.a", "1"), dirE("d").xattr("user.d", "1")), of(file("b", "1").xattr("user.b", "1")), of(file("a", "1"), file("b", "1"), dirE("d"))),
		shows: "a=1 b=1 d/"},
	{name: "times with fractions, before 1970, after 2106", layers: layers(of(file("g", "1")), of(
		file("a", "1").at(time.Unix(1, 5e8)), file("b", "1").at(time.Unix(-7, 25e7)), file("c", "1").at(time.Unix(-1e9, 0)), symlink("l", "a").at(time.Unix(-5, 0)),
		file("d", "1").at(time.Unix(5e9, 1)), dirE("e").at(time.Unix(1e9, 999999999)), file("z", "1").at(time.Unix(0, 0)))),
		shows: "a=1 b=1 c=1 d=1 e/ g=1 l->a z=1"},
	{name: "GNU, USTAR and PAX headers", layers: layers(of(file("g", "1")), of(
		file("a", "1").in(tar.FormatGNU), file("b", "1").in(tar.FormatUSTAR).owned("user", "group"), file("c", "1").in(tar.FormatPAX).record("comment", "x"),
		file(strings.Repeat("gnu-long/", 30)+"f", "1").in(tar.FormatGNU), symlink("l", strings.Repeat("t", 150)).in(tar.FormatGNU))),
		shows: "a=1 b=1 c=1 g=1 " + longDirs("gnu-long", 30, "f=1") + "l->" + strings.Repeat("t", 150)},
	{name: "devices and fifos", layers: layers(of(file("g", "1")), of(char("null", 1, 3), block("sda", 8, 1048575), fifo("p"), char("x", 4095, 255))),
		shows: "g=1 null%c1:3 p| sda%b8:1048575 x%c4095:255"},
	{name: "device replaced by one of another number", layers: layers(of(char("null", 1, 3)), of(char("null", 1, 5))), shows: "null%c1:5", writes: "null"},

	// Nothing.
	{name: "empty layers", layers: layers(of(file("g", "1")), of(), of()), shows: "g=1"},
	{name: "empty layers between others", layers: layers(of(), of(file("a", "1")), of(), of(gone("a"), file("b", "2")), of()), shows: "b=2"},
	{name: "an upper layer that changes nothing", layers: layers(of(dirE("d"), file("d/f", "1")), of(dirE("d"), file("d/f", "1"))), shows: "d/ d/f=1", writes: "d/ d/f"},
}

// chain is a layer with n symbolic links, each to the one before, and an entry
// whose path leads through all of them.
func chain(n int) []ent {
	l := of(dirE("l0"))
	for i := range n {
		l = append(l, symlink(fmt.Sprintf("l%d", i+1), fmt.Sprintf("l%d", i)))
	}
	return append(l, file(fmt.Sprintf("l%d/f", n), "2"))
}

// chained renders chain's links.
func chained(n int) string {
	var words []string
	for i := range n {
		words = append(words, fmt.Sprintf(" l%d->l%d", i+1, i))
	}
	slices.Sort(words)
	return strings.Join(words, "")
}

func long(c byte) string { return strings.Repeat(string(c), 255) }

// longDirs renders n directories of one name within each other, and a last word.
func longDirs(name string, n int, last string) string {
	var s strings.Builder
	path := ""
	for range n {
		path += name + "/"
		fmt.Fprintf(&s, "%s ", path)
	}
	if last != "" {
		fmt.Fprintf(&s, "%s%s ", path, last)
	}
	return s.String()
}
