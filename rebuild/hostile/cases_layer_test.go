//go:build linux

package hostile

import (
	"archive/tar"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// layerCases are layers whose headers, whiteouts, links and names are at the edge
// of what a format says, or a step beyond it.
func layerCases() []hostileCase {
	lower := of("d/", "d/a=1", "d/b=2", "f=file", "g => f", "s -> d", "etc/", "etc/motd=hello")
	on := func(upper ...any) image { return image{layers: []layer{lower, of(upper...)}} }
	raw := func(list []block, shows ...any) image {
		return image{layers: []layer{lower, rawLayer(blocks(true, list...), shows...)}}
	}
	file := func(name, body string, change func(*entry)) entry {
		e := entry{name: name, body: body, kind: tar.TypeReg, mode: 0o644, time: 1}
		change(&e)
		return e
	}
	unsure := func(name, why string, im image) hostileCase {
		return hostileCase{name: name, why: why, image: &im, want: survives(nil)}
	}
	xattr := func(name, value string) any {
		return file("x", "1", func(e *entry) { e.xattrs = map[string]string{name: value} })
	}
	record := func(kv ...string) []block { return []block{pax('x', kv...), reg("a", "x")} }
	squashed := func(name, why string, im image) hostileCase {
		c := good(name, why, im)
		c.args = []string{"--base", "scratch"}
		return c
	}
	const nfc, nfd = "caf\u00e9", "cafe\u0301"
	return []hostileCase{
		// Times, owners, devices
		good("mtime-before-1970", "a binary time before 1970", raw([]block{{name: "a", kind: '0', mtime: base256(-100, 12), body: "x"}}, file("a", "x", func(e *entry) { e.time = -100 }))),
		good("mtime-fraction-negative", "a second and a half before 1970", raw(record("mtime", "-1.5"), file("a", "x", func(e *entry) { e.time = -2 }))),
		unsure("mtime-half-before", "less than a second before it, which has no sign as a whole number", raw(record("mtime", "-0.5"))),
		unsure("mtime-exponent", "a time with an exponent", raw(record("mtime", "1e9"))),
		unsure("mtime-overflow", "a time of more than 64 bits", raw(record("mtime", "9223372036854775808"))),
		unsure("atime-negative", "other times before 1970", raw(record("atime", "-1", "ctime", "-9999999999.999999999"))),
		unsure("uid-pax-33-bits", "an owner of 33 bits in PAX", raw(record("uid", "4294967296"))),
		unsure("uid-pax-negative", "or of less than nothing", raw(record("uid", "-1", "gid", "-2"))),
		unsure("uid-pax-overflow", "or of more than 64 bits", raw(record("uid", "9223372036854775808"))),
		unsure("device-beyond", "device numbers that Linux doesn't have", on(entry{name: "c", kind: tar.TypeChar, mode: 0o600, major: 1<<21 - 1, minor: 1<<21 - 1, time: 1})),
		unsure("mode-type-bits", "a mode that says the file is a directory", raw([]block{{name: "a", kind: '0', mode: "0040755\x00", body: "x"}})),

		// PAX and GNU
		bad("pax-path-nul", "a path with a NUL within", `(?i)tar|header|path|name`, raw(record("path", "etc/a\x00b"))),
		unsure("pax-linkpath-nul", "or a target", raw([]block{pax('x', "linkpath", "etc/motd\x00b"), {name: "l", kind: '2', link: "x"}})),
		unsure("pax-key-empty", "a record without a key", raw(record("", "x"))),
		unsure("pax-key-newline", "a key of two lines", raw(record("VENDOR.a\nb", "x"))),
		unsure("pax-charset", "names that say they are in another alphabet", raw(record("hdrcharset", "BINARY", "path", "etc/\xff"))),
		unsure("pax-path-slashes", "a path of nothing but slashes", raw(record("path", "////"))),
		unsure("pax-path-dots", "or dots", raw(record("path", "../.."))),
		bad("pax-size-trailing", "a size with a letter behind it", `(?i)tar|header|damaged`, raw(record("size", "1x"))),
		unsure("pax-size-plus", "a size with a sign", raw(record("size", "+1"))),
		unsure("pax-size-of-directory", "a directory that PAX gives a size", raw([]block{pax('x', "size", "512"), {name: "q/", kind: '5'}, reg("a", "x")})),
		unsure("global-within", "a global header in the middle that deletes a record", raw([]block{reg("a", "x"), pax('g', "uid", "5"), reg("b", "y"), pax('g', "uid", ""), reg("c", "z")})),
		bad("global-broken", "a global header that is none", `(?i)tar|header|damaged`, raw([]block{reg("a", "x"), {name: "g", kind: 'g', body: "rubbish"}, reg("b", "y")})),
		unsure("sparse-major-only", "half of what a sparse file needs", raw(record("GNU.sparse.major", "1"))),
		unsure("sparse-name-only", "another half", raw(record("GNU.sparse.name", "etc/evil"))),
		unsure("sparse-size-only", "a third half", raw(record("GNU.sparse.size", "1000000"))),
		unsure("sparse-version-9", "a version that is to come", raw(record("GNU.sparse.major", "9", "GNU.sparse.minor", "9", "GNU.sparse.name", "s", "GNU.sparse.realsize", "9"))),
		bad("sparse-odd", "a map of an odd number of numbers", `(?i)tar|sparse|header`, raw(sparse("10", "0", "5", "6"))),
		bad("sparse-blocks-huge", "a map that says it has a thousand million pieces", `(?i)tar|sparse|header`, raw([]block{
			pax('x', "GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.name", "s", "GNU.sparse.size", "10", "GNU.sparse.numblocks", "1000000000", "GNU.sparse.map", "0,5"), reg("GNUSparseFile.0/s", "abcde"),
		})),
		bad("sparse-overflow", "a piece whose end is beyond all numbers", `(?i)tar|sparse|header`, raw(sparse("10", "9223372036854775807", "5"))),
		bad("sparse-body-short", "pieces of more than the body has", `(?i)tar|sparse|header|truncated`, raw(sparse("100", "0", "50"))),
		bad("sparse-1.0-no-end", "a map in the body that doesn't end", `(?i)tar|sparse|header|truncated|unexpected`, raw([]block{
			pax('x', "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "s", "GNU.sparse.realsize", "10"), reg("GNUSparseFile.0/s", strings.Repeat("1", 1024)),
		})),
		unsure("sparse-twice", "both forms at once", raw([]block{
			pax('x', "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.map", "0,5", "GNU.sparse.numblocks", "1", "GNU.sparse.size", "9", "GNU.sparse.name", "s", "GNU.sparse.realsize", "10"), reg("GNUSparseFile.0/s", "1\n0\n5\n"+string(make([]byte, 506))+"abcde"),
		})),
		unsure("longname-slash", "a long name of nothing but a slash", raw([]block{{name: "././@LongLink", kind: 'L', body: "/\x00"}, reg("a", "x")})),
		unsure("longname-and-pax", "two ways to a long name that say two names", raw([]block{{name: "././@LongLink", kind: 'L', body: "etc/gnu\x00"}, pax('x', "path", "etc/pax"), reg("a", "x")})),

		// Names
		unsure("name-slashes", "a file called by slashes alone", raw([]block{reg("///", "x"), reg("etc/f", "y")})),
		either("file-with-slash", "a file whose name ends in a slash is one to engines", raw([]block{reg("p/", "x"), reg("etc/f", "y")}, file("p", "x", func(*entry) {}), "etc/f=y")),
		good("case-twins", "two names that some file systems take for one", on("README=1", "readme=2", "D/", "D/a=3")),
		good("unicode-twins", "or that look the same", on(nfc+"=1", nfd+"=2", nfc+"/../x=3")),
		good("unicode-twins-deleted", "of which one is deleted", image{layers: []layer{of(nfc+"=1", nfd+"=2", "k=1", "\u212a=2"), of(".wh."+nfd, ".wh.\u212a")}}),
		good("name-tilde", "what a shell would act on", on("~=1", "*=2", "$(id)=3", "-rf=4", "d/ =5", "\t=6", "#=7")),
		good("name-proc", "places that a running system would act on", on("proc/self/mem=x", "dev/full=y", "sys/kernel/x=z", ".dockerenv=", "etc/resolv.conf=w")),

		// xattrs
		unsure("xattr-empty-name", "an attribute without a name", raw(record("SCHILY.xattr.", "x"))),
		unsure("xattr-no-namespace", "or without a class", on(xattr("a", "x"))),
		unsure("xattr-equals", "a name with the sign that ends names", raw([]block{{name: "p", kind: 'x', body: "24 SCHILY.xattr.a=b=ccc\n"}, reg("a", "x")})),
		good("xattr-long", "a value that no file system holds", on(xattr("user.x", long("x", 900000)))),
		good("xattr-nul", "a value of zeros", on(xattr("user.x", "\x00\x00"))),
		good("capability-short", "a capability of a wrong size", on(xattr("security.capability", "\x01"))),
		good("capability-long", "or of too many bytes", on(xattr("security.capability", "\x01\x00\x00\x03"+long("\x00", 60)))),
		unsure("xattr-libarchive", "libarchive's way to write them", raw(record("LIBARCHIVE.xattr.user.x", "eA"))),
		unsure("acl-text", "a list of rights as text", raw(record("SCHILY.acl.access", "user::rwx,\nuser:root:rwx"))),
		unsure("xattr-500", "many attributes", on(file("x", "1", func(e *entry) {
			e.xattrs = map[string]string{}
			for i := range 500 {
				e.xattrs[fmt.Sprint("user.", i)] = "v"
			}
		}))),

		// Whiteouts
		good("whiteout-is-hard-link", "a whiteout may be a hard link", on("n=1", ".wh.f => n")),
		good("whiteout-is-fifo", "or a FIFO", on(entry{name: ".wh.f", kind: tar.TypeFifo, time: 1})),
		good("whiteout-is-device", "or a device", on(entry{name: ".wh.f", kind: tar.TypeChar, major: 1, minor: 3, time: 1})),
		good("opaque-is-symlink", "an opaque marker that is a link", on("d/", "d/.wh..wh..opq -> /tmp")),
		good("opaque-with-body", "or has a body", on("d/", "d/.wh..wh..opq=body")),
		good("opaque-twice", "or comes twice", on("d/", "d/.wh..wh..opq", "d/n=1", "d/.wh..wh..opq")),
		unsure("opaque-is-hard-link", "or is a hard link", on("n=1", "d/", "d/.wh..wh..opq => n")),
		unsure("hardlink-to-opaque", "a link to the marker", on("d/", "d/.wh..wh..opq", "h => d/.wh..wh..opq")),
		unsure("hardlink-to-whiteout-name", "a link to a whiteout by its written name", on(".wh.f", "h => .wh.f")),
		unsure("below-whiteout", "a file below a whiteout", on(".wh.f", ".wh.f/child=x")),
		unsure("below-whiteout-directory", "or below one that is a directory", on(".wh.f/", ".wh.f/child=x")),
		unsure("whiteout-of-slash", "a whiteout of nothing, as a directory", on("d/.wh./")),
		unsure("whiteout-of-nul", "a whiteout of a NUL", raw([]block{pax('x', "path", "d/.wh.\x00"), reg("a", "")})),
		good("whiteout-case", "a whiteout in another case is a file", on(".WH.f=1")),
		good("whiteout-of-long", "a whiteout whose name is as long as names go", on(".wh."+long("n", 251))),
		good("aufs-markers-within", "aufs' names below a directory", on("d/.wh..wh.aufs=1", "d/.wh..wh.orph/", "d/.wh..wh.orph/x=1")),
		good("delete-then-make-deep", "a directory deleted and made again over three layers", image{layers: []layer{of("p/", "p/q/", "p/q/r=1"), of(".wh.p"), of("p/", "p/q/", "p/q/n=2")}}),
		squashed("delete-then-make-deep-scratch", "and from scratch", image{layers: []layer{of("p/", "p/q/", "p/q/r=1"), of(".wh.p"), of("p/", "p/q/", "p/q/n=2")}}),

		// Hard links
		bad("hardlink-cycle", "two that are each other's target", `(?i)link`, on("p => q", "q => p")),
		bad("hardlink-forward", "a target that comes later", `(?i)link`, on("p => q", "q=1")),
		good("hardlink-then-deleted-later", "a target that a later layer deletes", image{layers: []layer{lower, of("h => f"), of(".wh.f", ".wh.g")}}),
		squashed("hardlink-then-deleted-later-scratch", "and from scratch", image{layers: []layer{lower, of("h => f"), of(".wh.f", ".wh.g")}}),
		squashed("hardlink-target-replaced-later", "or replaces, with a file that keeps the old one's name", image{layers: []layer{lower, of("h => f"), of("f=new", "i => h")}}),
		good("hardlink-to-fifo", "a second name of a FIFO", on(entry{name: "p", kind: tar.TypeFifo, mode: 0o644, time: 1}, "h => p")),
		good("hardlink-to-device", "or of a device", on(entry{name: "p", kind: tar.TypeChar, mode: 0o600, major: 1, minor: 3, time: 1}, "h => p")),
		bad("hardlink-to-root", "the root can't have two names", `(?i)link|director`, on("h => /")),
		bad("hardlink-to-empty", "nor can nothing", `(?i)link|director`, raw([]block{{name: "h", kind: '1'}})),
		good("hardlink-dotted", "a target that is written with dots", on("h => ./d/../f", "i => /f")),
		unsure("hardlink-through-link", "a target below a link", on("l -> d", "n=1", "h => l/a")),

		// Compression of a layer
		{name: "gzip-extra", why: "a layer with the largest extra field", image: ptr(func() image {
			im := plain()
			im.layers[1] = im.layers[1].as(func(b []byte) []byte {
				z := gzipped(b)
				z[3] |= 4
				return slices.Concat(z[:10], []byte{0xff, 0xff}, make([]byte, 0xffff), z[10:])
			})
			return im
		}()), want: becomes(plain())},
		{name: "gzip-size-wrong", why: "a layer whose length is another than its end says", image: ptr(func() image {
			im := plain()
			im.layers[1] = im.layers[1].as(func(b []byte) []byte { z := gzipped(b); z[len(z)-1] ^= 1; return z })
			return im
		}()), want: fails(`(?i)gzip|damaged|checksum|size|invalid`)},
		{name: "zstd-sum-wrong", why: "a layer's frame whose sum is wrong", image: ptr(func() image {
			im := plain()
			im.layers[1] = im.layers[1].as(func(b []byte) []byte { z := zstded(b); z[len(z)-1] ^= 1; return z })
			return im
		}()), want: fails(``)},
		{name: "zstd-then-rubbish", why: "rubbish behind a layer's frame", image: ptr(func() image {
			im := plain()
			im.layers[1] = im.layers[1].as(func(b []byte) []byte { return append(zstded(b), "rubbish"...) })
			return im
		}()), want: survives(ptr(plain()))},
		{name: "gzip-in-zstd", why: "a layer packed twice in two ways", image: ptr(func() image {
			im := plain()
			im.layers[1] = im.layers[1].as(func(b []byte) []byte { return zstded(gzipped(b)) })
			return im
		}()), want: fails(``)},
	}
}

// placeCases are names and destinations that can't be, or that something else is.
func placeCases() []hostileCase {
	var cases []hostileCase
	line := func(name, why string, w want, args ...string) {
		cases = append(cases, hostileCase{name: name, why: why, want: w, args: args})
	}
	// to is a good image and a destination; prepare makes what is there.
	to := func(name, why string, w want, prepare func(p *place), args ...string) {
		cases = append(cases, hostileCase{name: name, why: why, want: w, args: append([]string{"--base", "1"}, args...), make: func(p *place) string {
			if prepare != nil {
				prepare(p)
			}
			return p.file("image.tar", archive(plain()).tar())
		}})
	}
	mkdir := func(name string) func(p *place) {
		return func(p *place) { must(os.MkdirAll(p.path(name), 0o755)) }
	}
	link := func(target, name string) func(p *place) {
		return func(p *place) { must(os.Symlink(target, p.path(name))) }
	}
	for name, s := range map[string]string{
		"newline": "a\nb", "dash": "-a", "at": "a@", "at-empty": "a@sha256:", "at-short": "a@sha256:abc", "at-only": "@sha256:" + long("a", 64), "at-two": "a@sha256:" + long("a", 64) + "@sha256:" + long("b", 64),
		"at-algorithm": "a@rot13:" + long("a", 64), "at-upper": "a@sha256:" + long("A", 64), "colon-last": "a:", "colon-two": "a:b:c", "slash-first": "docker-daemon:/a", "slashes": "a//b", "dots": "a/../b", "space": "a b", "not-utf8": "a\xff",
		"port-only": "docker://:5000", "registry-at": "docker://h/a@sha256:abc", "registry-user": "docker://user:secret@h/a", "registry-scheme": "docker://http://h/a", "registry-query": "docker://h/a?b=c",
	} {
		args := []string{s}
		if strings.HasPrefix(s, "-") {
			args = []string{"--", s}
		}
		line("image-"+name, "no name of an image", misused(``), args...)
	}
	line("tag-at", "a tag that is a digest of odd form", misused(``), "-t", "a@b", "a.tar")
	line("tag-129", "a tag of 129 letters", misused(``), "-t", "a:"+long("b", 129), "a.tar")
	line("tag-dash", "a tag that begins with a dash", misused(``), "-t", "a:-b", "a.tar")
	line("base-overflow", "more layers than numbers count", survives(nil), "--base", "99999999999999999999", "a.tar")
	line("base-newline", "a base of two lines", want{code: 2}, "--base", "a\nRUN touch /forged", "a.tar")
	line("report-without-name", "a page with an ending and no name", survives(nil), "--dry-run", "--report", ".html", "a.tar")
	line("archive-reference-newline", "an archive's image of two lines", survives(nil), "docker-archive:a.tar:b\nc")

	to("output-is-directory", "a directory where the archive shall be", fails(``), mkdir("out/image.tar"), "-o", "docker-archive:out/image.tar")
	to("output-is-directory-forced", "which no force replaces", fails(``), mkdir("out/image.tar"), "--force", "-o", "docker-archive:out/image.tar")
	to("output-is-full-directory-forced", "least of all with something in it", fails(``), mkdir("out/image.tar/precious"), "--force", "-o", "oci-archive:out/image.tar")
	to("output-link-loop", "a link to itself", fails(``), link("image.tar", "out/image.tar"), "-o", "out/image.tar")
	to("output-parent-link-loop", "or above it", fails(``), link("x", "out/x"), "-o", "out/x/image.tar")
	to("output-parent-is-file", "a file where a directory is needed", fails(``), func(p *place) { must(os.WriteFile(p.path("out/x"), nil, 0o644)) }, "-o", "out/x/image.tar")
	to("output-name-255", "the longest name, which has no room for a passing one", survives(nil), nil, "-o", "out/"+long("n", 251)+".tar")
	to("output-name-256", "a letter more", fails(``), nil, "-o", "out/"+long("n", 252)+".tar")
	to("output-path-5000", "a path that no system call takes", fails(``), nil, "-o", "out/"+long("d/", 5000)+"x.tar")
	to("layout-name-256", "a layout's", fails(``), nil, "-o", "oci:out/"+long("n", 256)+":a")
	to("context-name-256", "a context's", fails(``), nil, "--base", "scratch", "--context", "out/"+long("n", 256))
	to("output-proc", "a file of the kernel that can't be written", fails(``), nil, "--force", "-o", "docker-archive:/proc/version")
	to("output-proc-new", "a directory of the kernel where nothing can be made", fails(``), nil, "-o", "docker-archive:/proc/x.tar")
	to("output-sys", "or another", fails(``), nil, "-o", "docker-archive:/sys/x.tar")
	to("output-descriptor-closed", "a descriptor that isn't open", fails(``), nil, "-o", "docker-archive:/proc/self/fd/99")
	to("layout-is-file", "a file where the layout shall be", fails(``), func(p *place) { must(os.WriteFile(p.path("out/l"), []byte("x"), 0o644)) }, "-o", "oci:out/l:a")
	to("layout-is-strange", "a directory of other things", fails(``), func(p *place) {
		must(os.MkdirAll(p.path("out/l"), 0o755))
		must(os.WriteFile(p.path("out/l/precious"), []byte("x"), 0o644))
	}, "-o", "oci:out/l:a")
	to("layout-index-is-directory", "a layout whose index.json is a directory", fails(``), mkdir("out/l/index.json"), "-o", "oci:out/l:a")
	to("layout-index-is-fifo", "or a FIFO", fails(``), func(p *place) {
		must(os.MkdirAll(p.path("out/l"), 0o755))
		must(unix.Mkfifo(p.path("out/l/index.json"), 0o644))
	}, "-o", "oci:out/l:a")
	to("layout-index-rubbish", "or rubbish", fails(``), func(p *place) {
		f := layout(plain())
		must(os.Rename(f.set("index.json", []byte("rubbish")).dir(p, "l"), p.path("out/l")))
	}, "-o", "oci:out/l:a")
	to("layout-blobs-is-file", "or are a file", fails(``), func(p *place) {
		must(os.Rename(layout(plain()).without("blobs/sha256/"+hex(plain().layers[0].raw)).dir(p, "l"), p.path("out/l")))
		must(os.RemoveAll(p.path("out/l/blobs")))
		must(os.WriteFile(p.path("out/l/blobs"), []byte("x"), 0o644))
	}, "-o", "oci:out/l:a")
	to("output-is-input", "the input itself", fails(``), nil, "-o", "in/image.tar")
	to("output-is-input-linked", "or a link to it", fails(``), link("../in/image.tar", "out/image.tar"), "-o", "out/image.tar")
	to("context-is-file", "a file where the context shall be", fails(``), func(p *place) { must(os.WriteFile(p.path("out/c"), []byte("x"), 0o644)) }, "--context", "out/c")
	to("context-is-strange", "a directory of other things", fails(``), func(p *place) {
		must(os.MkdirAll(p.path("out/c"), 0o755))
		must(os.WriteFile(p.path("out/c/precious"), []byte("x"), 0o644))
	}, "--context", "out/c")
	to("context-is-output", "one name for two products", survives(nil), nil, "--context", "out/x.tar", "-o", "out/x.tar")
	to("report-is-output", "or a page", survives(nil), nil, "--report", "out/x.html", "-o", "docker-archive:out/x.html")
	to("report-is-directory", "a page that is a directory", fails(``), mkdir("out/x.html"), "--dry-run", "--report", "out/x.html")
	to("report-twice", "two pages of one name", survives(nil), nil, "--dry-run", "--report", "out/x.html", "--report", "out/./x.html")
	return cases
}
