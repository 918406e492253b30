//go:build linux

package hostile

import "archive/tar"

// overlayCases are layers whose meaning is the engine's alone: whiteouts, opaque
// directories and what an overlay keeps in xattrs. Every case runs on its base
// and from scratch.
func overlayCases() []hostileCase {
	xattr := func(name, value string) map[string]string { return map[string]string{name: value} }
	dir := func(name string, x map[string]string) entry {
		return entry{name: name, kind: tar.TypeDir, mode: 0o755, xattrs: x, time: 1}
	}
	both := func(cases ...hostileCase) []hostileCase {
		var out []hostileCase
		for _, c := range cases {
			out = append(out, c)
			c.name += "-scratch"
			c.args = []string{"--base", "scratch"}
			out = append(out, c)
		}
		return out
	}
	lower := of("d/", "d/a=1", "d/b=2", "d/sub/", "d/sub/c=3", "f=file", "g => f", "s -> d")
	on := func(upper ...any) image { return image{layers: []layer{lower, of(upper...)}} }
	return both(
		good("whiteout-then-hardlink", "the link is one to a whiteout: both names are gone", on(".wh.f", "h => f")),
		good("whiteout-then-hardlink-over", "the same over a name that is there", on(".wh.f", "d/a => f")),
		good("hardlink-then-whiteout", "a link to a lower file that is deleted afterwards", on("h => f", ".wh.f")),
		good("whiteout-one-of-a-group", "the other names of a file stay", on(".wh.f")),
		good("whiteout-then-file", "a whiteout before a file of that name", on(".wh.f", "f=new")),
		good("file-then-whiteout", "a whiteout doesn't touch its own layer", on("f=new", ".wh.f")),
		good("whiteout-then-directory", "the directory unites with the lower one", on(".wh.d", "d/", "d/new=x")),
		good("directory-then-whiteout", "a whiteout behind the directory makes it opaque", on("d/", "d/new=x", ".wh.d")),
		good("whiteout-then-child", "a parent that no entry lists replaces the whiteout", on(".wh.d", "d/new=x")),
		good("whiteout-of-nothing", "nothing to hide", on(".wh.nothing", "d/.wh.nothing")),
		good("whiteout-below-nothing", "not even a directory", on("no/such/.wh.thing")),
		good("whiteout-below-file", "a parent that was a file becomes a directory", on("f/.wh.x")),
		good("whiteout-below-lower-link", "a lower link isn't followed", on("s/.wh.a")),
		good("whiteout-below-own-link", "an own one is", on("l -> d", "l/.wh.a")),
		good("whiteout-is-directory", "a whiteout may be written as a directory", on(dir(".wh.f", nil))),
		good("whiteout-is-symlink", "or as a link", on(".wh.f -> d")),
		good("whiteout-with-body", "or with a body", on(".wh.f=body")),
		good("whiteout-twice", "once is enough", on(".wh.f", ".wh.f")),
		bad("whiteout-of-root", "a whiteout needs a name", `(?i)whiteout`, on(".wh.")),
		bad("whiteout-of-dot", "and . is none", `(?i)whiteout`, on("d/.wh..")),
		bad("whiteout-of-dotdot", "nor is ..", `(?i)whiteout`, on("d/.wh...")),
		either("whiteout-of-whiteout", "aufs' own names are left out", on(".wh..wh.f")),
		good("aufs-plnk", "so are its directories", on(".wh..wh.plnk/", ".wh..wh.plnk/1.2=x", ".wh..wh.aufs=y")),
		good("opaque", "everything below is hidden", on("d/", "d/.wh..wh..opq", "d/new=x")),
		good("opaque-late", "wherever in the layer it says so", on("d/", "d/new=x", "d/.wh..wh..opq")),
		good("opaque-first", "even before the directory", on("d/.wh..wh..opq", "d/", "d/new=x")),
		good("opaque-alone", "without listing the directory", on("d/.wh..wh..opq")),
		good("opaque-root", "the roots of all layers unite", on(".wh..wh..opq", "new=x")),
		good("opaque-nothing", "nothing is below", on("new/.wh..wh..opq")),
		good("opaque-then-file", "the directory becomes a file", on("d/.wh..wh..opq", "d=file")),
		good("opaque-on-own-file", "Docker takes it: an xattr that nobody sees", image{layers: []layer{lower, {
			raw: tarOf([]entry{at("f=new"), at("f/.wh..wh..opq")}), entries: []entry{at("f=new")},
		}}}),
		good("opaque-is-directory", "written as a directory", on("d/", dir("d/.wh..wh..opq", nil))),
		good("opaque-below-own-link", "through a link of its layer", on("l -> d", "l/.wh..wh..opq")),
		good("opaque-and-hardlink", "a link to a file that the marker hides", on("d/", "d/.wh..wh..opq", "h => f", "d/n => f")),
		hostileCase{name: "xattr-opaque", why: "to an overlay this is the marker itself", image: ptr(on(dir("d/", xattr("trusted.overlay.opaque", "y")), "d/new=x")), want: survives(nil)},
		hostileCase{name: "xattr-opaque-no", why: "another value means nothing", image: ptr(on(dir("d/", xattr("trusted.overlay.opaque", "n")), "d/new=x")), want: survives(nil)},
		hostileCase{name: "xattr-redirect", why: "an overlay would show another directory in its place", image: ptr(on(dir("r/", xattr("trusted.overlay.redirect", "/d")))), want: survives(nil)},
		hostileCase{name: "xattr-redirect-out", why: "or one outside", image: ptr(on(dir("r/", xattr("trusted.overlay.redirect", "/../../etc")))), want: survives(nil)},
		hostileCase{name: "xattr-metacopy", why: "or another file's bytes", image: ptr(on(entry{name: "f", kind: tar.TypeReg, xattrs: xattr("trusted.overlay.metacopy", ""), time: 1})), want: survives(nil)},
		hostileCase{name: "xattr-origin", why: "or take it for copied up", image: ptr(on(entry{name: "f", kind: tar.TypeReg, xattrs: xattr("trusted.overlay.origin", "\x00\xfb"), time: 1})), want: survives(nil)},
		hostileCase{name: "xattr-user-overlay", why: "rootless overlays use these", image: ptr(on(dir("d/", xattr("user.overlay.opaque", "y")))), want: survives(nil)},
		good("parents-unlisted", "parents that only a lower layer lists", on("d/sub/new=x")),
		good("parents-of-nobody", "parents that nobody lists", on("p/q/r=x")),
		good("own-link-to-lower", "an own link leads to a directory that the layer makes", on("l -> d/sub", "l/new=x")),
		either("replaced-and-back", "a directory becomes a link and one again", on("d -> s", "d/", "d/x=y")),
		good("group-split", "one name of a group is replaced", on("g=other")),
		good("group-across", "a link from above to a group below", on("h => g", "i => f")),
	)
}
