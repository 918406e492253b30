//go:build linux

package hostile

import (
	"archive/tar"
	"fmt"
	"slices"
	"strings"
)

// upper is an image whose second layer is made of blocks, and shows the entries.
func upper(list []block, shows ...any) image {
	return image{layers: []layer{app().layers[0], rawLayer(blocks(true, list...), shows...)}}
}

// upperBytes is the same with bytes that needn't be a tar.
func upperBytes(b []byte, shows ...any) image {
	return image{layers: []layer{app().layers[0], rawLayer(b, shows...)}}
}

func reg(name, body string) block { return block{name: name, kind: '0', body: body} }

// tarCases are layers that a tar writer with bad intentions writes.
func tarCases() []hostileCase {
	x := func(kind byte, name, link string) entry {
		return entry{name: name, link: link, kind: kind, mode: 0o644, time: 1}
	}
	device := func(kind byte, name string, major, minor int64) entry {
		return entry{name: name, kind: kind, mode: 0o600, major: major, minor: minor, time: 1}
	}
	notTar := `(?i)tar|truncated|damaged|unexpected|header|archive`
	two := blocks(true, reg("a", "1"), reg("b", "2"))
	cases := []hostileCase{
		// Names
		good("dotdot", "a name may not leave the root", app("../../"+canary+"=x", "a/../../../"+canary+"2=y")),
		good("dotdot-dir", "a directory may not either", app("../"+canary+"/", "../"+canary+"/f=x")),
		good("absolute", "an absolute name is below the root", app("/"+canary+"=x", "//etc//motd=y")),
		good("absolute-tmp", "nor is /tmp the machine's", app("/tmp/"+canary+"=x")),
		good("dots-within", "names are cleaned", app("./etc/./motd=x", "etc/../srv/f=y")),
		good("empty-component", "slashes in a row are one", app("etc///motd=x")),
		good("backslash", "a backslash is a letter", app(`etc\motd=x`, `..\..\`+canary+`=y`)),
		good("newline", "a newline is a letter of a name", app("etc/a\nb=x", "RUN evil\n=y")),
		good("escapes", "a name with terminal escapes goes through, unsaid", app("etc/\x1b]0;owned\x07=x")),
		good("not-utf8", "a name needn't be text", upper([]block{reg("etc/\xff\xfe", "x")}, "etc/\xff\xfe=x")),
		good("name-of-255", "the longest name of a component", app("etc/"+long("n", 255)+"=x")),
		good("name-of-100", "a name that fills its field has no NUL", upper([]block{reg(long("n", 100), "x")}, long("n", 100)+"=x")),
		either("name-of-300", "no file system takes such a component", app("etc/"+long("n", 300)+"=x")),
		either("path-of-5000", "longer than PATH_MAX", app(strings.TrimSuffix(long("dir/", 5000), "/")+"=x")),
		either("name-empty", "a header without a name", upper([]block{reg("", "x"), reg("etc/f", "y")}, "etc/f=y")),
		{name: "name-nul-pax", why: "a PAX path with a NUL has two readings", image: ptr(upper([]block{pax('x', "path", "etc/a\x00b"), reg("etc/c", "x")})), want: survives(nil)},
		either("name-is-dot-file", "engines skip an entry that is the directory itself", upper([]block{reg(".", "x"), reg("etc/f", "y")}, "etc/f=y")),
		good("dot-is-file", "Docker skips `.` whatever it is", upper([]block{reg("./", "x"), reg("etc/f", "y")}, "etc/f=y")),
		good("dot-is-symlink", "the root can't become a link", upper([]block{{name: ".", kind: '2', link: "/" + canary}, reg("etc/f", "y")}, "etc/f=y")),
		{name: "root-is-file", why: "/ that is a file would replace the root", image: ptr(upper([]block{reg("/", "x")})), want: survives(nil)},
		{name: "root-is-symlink", why: "/ that is a link would replace the root", image: ptr(app(x(tar.TypeSymlink, "/", "/tmp"))), want: survives(nil)},
		good("root-listed", "the root as an entry sets its metadata", app("./", "etc/f=x")),
		good("prefix", "USTAR's prefix and name are one path", upper([]block{{prefix: "etc/a", name: "b", kind: '0', body: "x"}}, "etc/a/b=x")),
		good("prefix-dotdot", "so a prefix can't lead out", upper([]block{{prefix: "../..", name: canary, kind: '0', body: "x"}}, canary+"=x")),
		good("old-magic", "a header of tar before POSIX", upper([]block{{magic: "\x00\x00\x00\x00\x00\x00\x00\x00", name: "etc/f", kind: 0, body: "x"}}, "etc/f=x")),
		good("old-directory", "a name that ends in a slash was a directory then", upper([]block{{magic: "\x00\x00\x00\x00\x00\x00\x00\x00", name: "etc/d/", kind: 0}}, "etc/d/")),

		// Types
		good("link-out", "a symbolic link may point anywhere", app("etc/l -> ../../../../etc/passwd", "etc/m -> /")),
		good("through-own-link", "a layer's own link is followed, below the root", app("l -> ../../../../tmp", "l/"+canary+"=x")),
		good("through-absolute-link", "absolute ones too", app("l -> /tmp", "l/"+canary+"=x")),
		good("through-lower-link", "a lower layer's link is replaced by a directory", image{layers: []layer{of("l -> /tmp", "bin/"), of("l/" + canary + "=x")}}),
		bad("link-loop-parent", "a loop of links has no end to follow", `(?i)loop|link`, app("a -> b", "b -> a", "a/f=x")),
		bad("link-to-itself-parent", "the shortest loop", `(?i)loop|link`, app("a -> a", "a/f=x")),
		good("link-loop", "a loop that nobody follows does no harm", app("a -> b", "b -> a")),
		bad("link-chain-parent", "300 links in a row are more than engines follow", `(?i)loop|link`, app(chain(300)...)),
		good("link-of-4000", "a long target", app("a -> "+long("t/", 4000))),
		either("link-empty", "a link to nothing", upper([]block{{name: "a", kind: '2'}, reg("etc/f", "y")}, x(tar.TypeSymlink, "a", ""), "etc/f=y")),
		bad("hardlink-to-nothing", "engines refuse a link without a target", `(?i)link`, app("a => nowhere")),
		bad("hardlink-out", "a link's target is below the root, too", `(?i)link`, app("a => ../../../../etc/passwd")),
		bad("hardlink-to-directory", "no engine links directories", `(?i)link`, app("d/", "a => d")),
		bad("hardlink-to-itself", "a link can't be its own target", `(?i)link|exist`, app("a => a")),
		good("hardlink-to-link", "a hard link to a symbolic one", app("s -> etc/motd", "h => s")),
		good("hardlink-to-lower", "a target that a lower layer has", app("h => bin/sh")),
		good("hardlink-chain", "a link to a link to a link", app("a=x", "b => a", "c => b", "d => c")),
		good("hardlink-then-replaced", "the first name is replaced, the second keeps the file", app("a=x", "b => a", "a=y")),
		either("hardlink-with-body", "a link that brings a body of its own", upper([]block{reg("a", "x"), {name: "b", kind: '1', link: "a", size: "00000000000\x00", body: ""}}, "a=x", x(tar.TypeLink, "b", "a"))),
		{name: "hardlink-with-size", why: "the size of a link isn't followed by a body, or is", image: ptr(upper([]block{reg("a", "x"), {name: "b", kind: '1', link: "a", size: "00000001000\x00"}, reg("c", "z")})), want: survives(nil)},
		{name: "directory-with-size", why: "the same of a directory", image: ptr(upper([]block{{name: "d/", kind: '5', size: "00000001000\x00"}, reg("c", "z")})), want: survives(nil)},
		{name: "symlink-with-size", why: "the same of a symbolic link", image: ptr(upper([]block{{name: "s", kind: '2', link: "t", size: "00000001000\x00"}, reg("c", "z")})), want: survives(nil)},
		good("devices", "devices are entries", app(device(tar.TypeChar, "dev/null", 1, 3), device(tar.TypeBlock, "dev/sda", 8, 0))),
		{name: "device-0-0", why: "to an overlay that device is a whiteout", image: ptr(app(device(tar.TypeChar, "etc/motd", 0, 0))), want: survives(nil)},
		good("fifo", "a FIFO must not be opened", app(x(tar.TypeFifo, "pipe", ""))),
		either("device-large", "numbers that need base-256", app(device(tar.TypeChar, "d", 1<<20-1, 1<<20-1))),
		either("socket-type", "a type that nobody has", upper([]block{{name: "a", kind: 's'}, reg("etc/f", "y")}, "etc/f=y")),
		{name: "unknown-type", why: "unknown types are files, or refused", image: ptr(upper([]block{{name: "a", kind: 'Z', body: "x"}, reg("etc/f", "y")})), want: survives(nil)},
		{name: "contiguous", why: "type 7 is a file to tar", image: ptr(upper([]block{{name: "a", kind: '7', body: "x"}})), want: survives(nil)},
		{name: "gnu-volume", why: "a volume header is no file", image: ptr(upper([]block{{name: "a", kind: 'V'}, reg("etc/f", "y")})), want: survives(nil)},
		{name: "gnu-multivolume", why: "nor is a continued file", image: ptr(upper([]block{{name: "a", kind: 'M', body: "x"}})), want: survives(nil)},
		{name: "gnu-dumpdir", why: "nor a dumped directory", image: ptr(upper([]block{{name: "a", kind: 'D', body: "x"}})), want: survives(nil)},

		// Same name again
		good("file-twice", "the last one counts", app("a=1", "a=2")),
		either("file-then-directory", "a directory replaces a file", app("a=1", "a/", "a/b=2")),
		either("directory-then-file", "and a file a directory", app("a/", "a/b=2", "a=1")),
		good("directory-twice", "the children stay, the metadata is the last's", app("d/", "d/a=1", entry{name: "d/", kind: tar.TypeDir, mode: 0o700, uid: 5, time: 1})),
		good("file-over-lower-directory", "everything below it goes", app("etc=now a file")),
		good("directory-over-lower-file", "and the other way round", app("bin/sh/", "bin/sh/x=y")),
		good("link-over-lower-directory", "a link hides the directory", app("etc -> bin")),
		bad("below-a-file", "a file has no children", `(?i)not a directory|directory`, app("a=1", "a/b=2")),
		good("below-a-lower-file", "a lower file is replaced by a directory", app("etc/motd/x=2")),
		good("10000-times-the-same", "the last of many", app(many(10000, func(i int) any { return fmt.Sprintf("a=%d", i) })...)),

		// Numbers
		bad("size-negative", "base-256 can say less than nothing", notTar, upper([]block{{name: "a", kind: '0', size: base256(-1, 12)}})),
		bad("size-minus", "octal digits with a sign", notTar, upper([]block{{name: "a", kind: '0', size: "-0000000001\x00"}})),
		bad("size-huge", "the largest number there is", notTar, upper([]block{{name: "a", kind: '0', size: base256(1<<62, 12)}})),
		bad("size-overflow", "a size that wraps when it is padded", notTar, upper([]block{{name: "a", kind: '0', size: base256(1<<63-1, 12)}})),
		bad("size-letters", "no number at all", notTar, upper([]block{{name: "a", kind: '0', size: "zzzzzzzzzzz\x00"}})),
		bad("size-beyond-end", "the body isn't there", notTar, upper([]block{{name: "a", kind: '0', size: "00000100000\x00", body: "x"}})),
		good("size-base256", "GNU's binary size", upper([]block{{name: "a", kind: '0', size: base256(1, 12), body: "x"}}, "a=x")),
		good("size-spaces", "a size in spaces", upper([]block{{name: "a", kind: '0', size: "         1 \x00", body: "x"}}, "a=x")),
		{name: "mode-negative", why: "a mode of less than nothing", image: ptr(upper([]block{{name: "a", kind: '0', mode: base256(-1, 8), body: "x"}})), want: survives(nil)},
		{name: "uid-negative", why: "an owner of less than nothing", image: ptr(upper([]block{{name: "a", kind: '0', uid: base256(-1, 8), body: "x"}})), want: survives(nil)},
		{name: "mtime-negative", why: "before 1970", image: ptr(upper([]block{{name: "a", kind: '0', mtime: base256(-1<<40, 12), body: "x"}})), want: survives(nil)},
		{name: "mtime-huge", why: "after the end of time", image: ptr(upper([]block{{name: "a", kind: '0', mtime: base256(1<<62, 12), body: "x"}})), want: survives(nil)},
		good("uid-large", "IDs of 32 bits", app(entry{name: "a", kind: tar.TypeReg, uid: 1<<32 - 2, gid: 1 << 31, time: 1})),
		{name: "uid-too-large", why: "an ID of more than 32 bits", image: ptr(app(entry{name: "a", kind: tar.TypeReg, uid: 1 << 40, time: 1})), want: survives(nil)},
		good("mode-special", "setuid, setgid and sticky stay", app(entry{name: "a", kind: tar.TypeReg, mode: 0o7777, time: 1}, entry{name: "d/", kind: tar.TypeDir, mode: 0o7777, time: 1})),
		bad("checksum-wrong", "a header that was changed", notTar, upper([]block{{name: "a", kind: '0', sum: "000001\x00 "}})),
		good("checksum-signed", "old tars added signed bytes", upper([]block{signedSum("etc/\xfc")}, "etc/\xfc=")),

		// PAX
		good("pax-path", "a PAX path overrides the name", upper([]block{pax('x', "path", "etc/real"), reg("etc/fake", "x")}, "etc/real=x")),
		good("pax-path-out", "and stays below the root", upper([]block{pax('x', "path", "../../"+canary), reg("a", "x")}, canary+"=x")),
		good("pax-linkpath", "a PAX link path counts", upper([]block{reg("t", "x"), pax('x', "linkpath", "t"), {name: "h", kind: '1', link: "nowhere"}}, "t=x", "h => t")),
		good("pax-size", "a PAX size overrides the header's", upper([]block{pax('x', "size", "3"), {name: "a", kind: '0', size: "00000000000\x00", body: "abc"}}, "a=abc")),
		bad("pax-size-negative", "and may not be negative", notTar, upper([]block{pax('x', "size", "-1"), reg("a", "x")})),
		bad("pax-size-huge", "nor more than there is", notTar, upper([]block{pax('x', "size", "9223372036854775807"), reg("a", "x")})),
		bad("pax-size-overflow", "nor no number", notTar, upper([]block{pax('x', "size", "99999999999999999999999"), reg("a", "x")})),
		bad("pax-length-wrong", "a record that says it is longer than it is", notTar, upper([]block{{name: "p", kind: 'x', body: "999 path=a\n"}, reg("a", "x")})),
		bad("pax-length-zero", "a record of nothing", notTar, upper([]block{{name: "p", kind: 'x', body: "0 path=a\n"}, reg("a", "x")})),
		bad("pax-length-negative", "a record of less than nothing", notTar, upper([]block{{name: "p", kind: 'x', body: "-5 path=a\n"}, reg("a", "x")})),
		bad("pax-no-equals", "a record without a value", notTar, upper([]block{{name: "p", kind: 'x', body: "8 patha\n"}, reg("a", "x")})),
		bad("pax-no-newline", "a record without an end", notTar, upper([]block{{name: "p", kind: 'x', body: "9 path=ab"}, reg("a", "x")})),
		either("pax-duplicate", "the last record counts", upper([]block{pax('x', "path", "etc/one", "path", "etc/two"), reg("a", "x")}, "etc/two=x")),
		either("pax-empty-value", "an empty value takes the override back", upper([]block{pax('x', "path", ""), reg("etc/a", "x")}, "etc/a=x")),
		{name: "pax-alone", why: "a PAX header that nothing follows", image: ptr(upper([]block{reg("a", "x"), pax('x', "path", "b")})), want: survives(nil)},
		{name: "pax-twice", why: "two PAX headers for one entry", image: ptr(upper([]block{pax('x', "path", "b"), pax('x', "path", "c"), reg("a", "x")})), want: survives(nil)},
		{name: "pax-global", why: "a global header changes nothing, or all that follows", image: ptr(upper([]block{pax('g', "comment", "0123456789012345678901234567890123456789"), reg("a", "x")}, "a=x")), want: becomes(upper([]block{pax('g', "comment", "0123456789012345678901234567890123456789"), reg("a", "x")}, "a=x"))},
		{name: "pax-global-path", why: "a global path would name every entry the same", image: ptr(upper([]block{pax('g', "path", "evil"), reg("a", "x"), reg("b", "y")})), want: survives(nil)},
		{name: "pax-global-size", why: "a global size would shift every body", image: ptr(upper([]block{pax('g', "size", "512"), reg("a", "x"), reg("b", "y")})), want: survives(nil)},
		{name: "pax-mtime-odd", why: "a time with a thousand digits", image: ptr(upper([]block{pax('x', "mtime", "1."+long("3", 1000)), reg("a", "x")})), want: survives(nil)},
		{name: "pax-mtime-nan", why: "a time that is none", image: ptr(upper([]block{pax('x', "mtime", "NaN"), reg("a", "x")})), want: survives(nil)},
		{name: "pax-uid-text", why: "an owner that is no number", image: ptr(upper([]block{pax('x', "uid", "root"), reg("a", "x")})), want: survives(nil)},
		good("xattr", "xattrs stay", app(entry{name: "a", kind: tar.TypeReg, xattrs: map[string]string{"user.a": "1", "security.capability": "\x01\x00\x00\x02"}, time: 1})),
		{name: "xattr-odd", why: "names with control characters", image: ptr(app(entry{name: "a", kind: tar.TypeReg, xattrs: map[string]string{"user.\x1b[31m": "\x00\xff\n"}, time: 1})), want: survives(nil)},

		// GNU
		good("gnu-longname", "GNU's way to a long name", upper([]block{{name: "././@LongLink", kind: 'L', body: "etc/" + long("n", 200) + "\x00"}, reg("etc/n", "x")}, "etc/"+long("n", 200)+"=x")),
		good("gnu-longlink", "and to a long target", upper([]block{{name: "././@LongLink", kind: 'K', body: long("t/", 200) + "\x00"}, {name: "l", kind: '2', link: "t"}}, "l -> "+long("t/", 200))),
		either("gnu-longname-twice", "the last long name counts", upper([]block{{name: "././@LongLink", kind: 'L', body: "etc/one\x00"}, {name: "././@LongLink", kind: 'L', body: "etc/two\x00"}, reg("n", "x")}, "etc/two=x")),
		{name: "gnu-longname-alone", why: "a long name that nothing follows", image: ptr(upper([]block{reg("a", "x"), {name: "././@LongLink", kind: 'L', body: "etc/one\x00"}})), want: survives(nil)},
		{name: "gnu-longname-chain", why: "1,000 long names for one entry", image: ptr(upper(append(many(1000, func(i int) block {
			return block{name: "././@LongLink", kind: 'L', body: fmt.Sprintf("etc/%d\x00", i)}
		}), reg("n", "x")))), want: survives(nil)},
		{name: "gnu-longname-empty", why: "a long name of no length", image: ptr(upper([]block{{name: "././@LongLink", kind: 'L', body: ""}, reg("a", "x")})), want: survives(nil)},
		{name: "gnu-longname-2M", why: "a name of two million bytes", image: ptr(upper([]block{{name: "././@LongLink", kind: 'L', body: long("n", 2<<20) + "\x00"}, reg("a", "x")})), want: survives(nil)},
		{name: "gnu-sparse-old", why: "a sparse header without a map", image: ptr(upper([]block{{name: "a", kind: 'S', magic: "ustar  \x00", body: "x"}})), want: survives(nil)},
		bad("gnu-sparse-overlap", "pieces of a sparse file that lie over each other", notTar+`|sparse`, upper(sparse("10", "0", "5", "3", "5"))),
		bad("gnu-sparse-beyond", "a piece behind the end of the file", notTar+`|sparse`, upper(sparse("10", "8", "5"))),
		bad("gnu-sparse-negative", "a piece of negative length", notTar+`|sparse`, upper(sparse("10", "0", "-5"))),
		{name: "gnu-sparse-right", why: "a sparse file is a file", image: ptr(upper(sparse("10", "2", "5"))), want: becomes(upper(sparse("10", "2", "5"), entry{name: "s", kind: tar.TypeReg, mode: 0o644, body: "\x00\x00abcde\x00\x00\x00", time: 1}))},

		// The whole
		good("empty", "a layer of no bytes but the end", image{layers: []layer{app().layers[0], of()}}),
		either("no-bytes", "a layer of no bytes at all", upperBytes([]byte{})),
		either("no-end", "a tar without its two blocks of end", upperBytes(blocks(false, reg("etc/f", "x")), "etc/f=x")),
		either("half-end", "one block of end", upperBytes(append(blocks(false, reg("etc/f", "x")), make([]byte, 512)...), "etc/f=x")),
		good("after-the-end", "what follows the end is part of the layer's digest alone", upperBytes(append(blocks(true, reg("etc/f", "x")), long("rubbish", 10000)...), "etc/f=x")),
		good("tar-after-the-end", "a second tar behind the first isn't read", upperBytes(append(blocks(true, reg("etc/f", "x")), blocks(true, reg("etc/g", "y"))...), "etc/f=x")),
		bad("zero-block-within", "one empty block isn't the end, or is", notTar, upperBytes(slices.Concat(blocks(false, reg("a", "x")), make([]byte, 512), []byte(long("no header ", 512))))),
		bad("text", "a layer that is no tar", notTar, upperBytes([]byte(long("this is no tar. ", 4096)))),
		bad("short", "a layer of fewer bytes than a header", notTar, upperBytes([]byte("short"))),
		either("unpadded", "a last body without its padding", upperBytes(blocks(false, block{name: "a", kind: '0', body: "x", short: true}), "a=x")),
		good("zstd-magic-name", "the first name begins as zstd's frames do", image{layers: []layer{app().layers[0], rawLayer(blocks(true, reg("\x28\xb5\x2f\xfdname", "x")), "\x28\xb5\x2f\xfdname=x")}}),
		good("gzip-magic-name", "or as gzip's members", image{layers: []layer{app().layers[0], rawLayer(blocks(true, reg("\x1f\x8bname", "x")), "\x1f\x8bname=x")}}),
		either("gzip-magic-deflate-name", "all three bytes of it, which engines take for gzip", image{layers: []layer{app().layers[0], rawLayer(blocks(true, reg("\x1f\x8b\x08name", "x")), "\x1f\x8b\x08name=x")}}),
		either("bzip2-magic-name", "or as bzip2's", image{layers: []layer{app().layers[0], rawLayer(blocks(true, reg("BZh9name", "x")), "BZh9name=x")}}),
		either("xz-magic-name", "or as xz's", image{layers: []layer{app().layers[0], rawLayer(blocks(true, reg("\xfd7zXZ\x00", "x")), "\xfd7zXZ=x")}}),
		good("skippable-magic-name", "or as a skippable frame", image{layers: []layer{app().layers[0], rawLayer(blocks(true, reg("\x50\x2a\x4d\x18", "x")), "\x50\x2a\x4d\x18=x")}}),
	}
	for _, n := range []int{1, 100, 511, 512, 513, 600, 1023, 1024, 1500} {
		cases = append(cases, hostileCase{
			name: fmt.Sprintf("cut-at-%d", n), why: "a layer that ends early, with a diff ID that agrees", image: ptr(upperBytes(two[:n])), want: survives(nil),
		})
	}
	return cases
}

func ptr[T any](v T) *T { return &v }

func chain(n int) []any {
	return append(many(n, func(i int) any { return fmt.Sprintf("l%d -> l%d", i, i+1) }), fmt.Sprintf("l%d/", n), "l0/f=x")
}

// signedSum is an empty file whose checksum adds its bytes as signed ones.
func signedSum(name string) block {
	b := blocks(false, block{name: name, kind: '0', sum: "        "})
	sum := 0
	for _, c := range b[:512] {
		sum += int(int8(c))
	}
	return block{name: name, kind: '0', sum: fmt.Sprintf("%06o\x00 ", sum)}
}

// sparse is a file in GNU's PAX form 0.1 of a sparse file, with a map of offsets
// and lengths.
func sparse(size string, pieces ...string) []block {
	return []block{
		pax('x', "GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.name", "s", "GNU.sparse.size", size,
			"GNU.sparse.numblocks", fmt.Sprint(len(pieces)/2), "GNU.sparse.map", strings.Join(pieces, ",")),
		reg("GNUSparseFile.0/s", "abcde"),
	}
}
