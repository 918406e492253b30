//go:build linux

package hostile

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// archiveCases are docker-archives, new and old, with documents, names and links
// that lie.
func archiveCases() []hostileCase {
	f := archive(plain())
	config := hex(plain().document()) + ".json"
	low, up := hex(plain().layers[0].raw)+"/layer.tar", hex(plain().layers[1].raw)+"/layer.tar"
	// saved is the archive with another entry in manifest.json.
	saved := func(kv ...any) files {
		return f.set("manifest.json", encode([]object{with(object{"Config": config, "RepoTags": []string{"app:1"}, "Layers": []string{low, up}}, kv...)}))
	}
	manifest := func(s string) []byte { return f.set("manifest.json", []byte(s)).tar() }
	moved := func(name string, to ...member) files { return append(f.without(name), to...) }
	fine := func(name, why string, b []byte) hostileCase {
		return hostileCase{name: name, why: why, tar: b, want: becomes(plain()), args: []string{"--base", "1"}}
	}
	unsure := func(name, why string, b []byte) hostileCase {
		return hostileCase{name: name, why: why, tar: b, want: survives(ptr(plain())), args: []string{"--base", "1"}}
	}
	special := func(name, why, says string, make func(p *place) string) hostileCase {
		return hostileCase{name: name, why: why, make: make, want: fails(says)}
	}
	out := "/etc/passwd"
	old := legacy(3)
	return []hostileCase{
		// manifest.json
		badTar("manifest-missing", "a tar of something else", `(?i)archive`, f.without("manifest.json").tar()),
		badTar("manifest-empty", "a manifest.json of no bytes", `(?i)manifest\.json`, manifest("")),
		badTar("manifest-no-images", "no image in it", `(?i)no image`, manifest("[]")),
		badTar("manifest-null", "null instead of a list", `(?i)no image|manifest\.json`, manifest("null")),
		badTar("manifest-object", "an object instead of a list", `(?i)manifest\.json`, manifest(`{"Config":"x"}`)),
		badTar("manifest-number", "a number in it", `(?i)manifest\.json`, manifest(`[1]`)),
		badTar("manifest-null-image", "an image that is null", ``, manifest(`[null]`)),
		badTar("manifest-cut", "half of it", `(?i)manifest\.json`, manifest(string(f.get("manifest.json")[:40]))),
		unsure("manifest-bom", "a byte order mark before it", manifest("\ufeff"+string(f.get("manifest.json")))),
		unsure("manifest-behind", "something behind it", manifest(string(f.get("manifest.json"))+"rubbish")),
		fine("manifest-spaces", "spaces around it", manifest(strings.Repeat(" ", 100000)+string(f.get("manifest.json"))+"\n\n\n")),
		badTar("manifest-wrong-types", "Layers that is a text", `(?i)manifest\.json`, saved("Layers", "x").tar()),
		badTar("manifest-layers-null", "no list of layers, but a config of two", `(?i)layers`, saved("Layers", nil).tar()),
		badTar("manifest-layers-fewer", "one layer for two diff IDs", `(?i)layers`, saved("Layers", []string{low}).tar()),
		badTar("manifest-layers-more", "three for two", `(?i)layers`, saved("Layers", []string{low, up, up}).tar()),
		badTar("manifest-layers-swapped", "the right ones in the wrong order", `(?i)digest|diff`, saved("Layers", []string{up, low}).tar()),
		badTar("manifest-layers-same", "one of them twice", `(?i)digest|diff`, saved("Layers", []string{low, low}).tar()),
		badTar("manifest-twice-in-archive", "the last one counts, as in a tar", `(?i)no image`, append(f, member{name: "manifest.json", body: []byte("[]")}).tar()),
		fine("manifest-case", "keys in another case are the same to Docker's decoder", manifest(strings.Replace(string(f.get("manifest.json")), "Config", "CONFIG", 1))),
		fine("manifest-unknown", "fields that nobody knows", saved("X", object{"y": 1}).tar()),
		fine("manifest-tags-null", "an image without a name", saved("RepoTags", nil).tar()),
		fine("manifest-tags-none", "Docker's sign for no name", saved("RepoTags", []string{"<none>:<none>"}).tar()),
		unsure("manifest-tags-wrong", "names that are none", saved("RepoTags", []string{"UPPER CASE:1", "../../" + canary, ""}).tar()),
		unsure("manifest-tags-10000", "many names", saved("RepoTags", many(10000, func(i int) string { return fmt.Sprint("app:", i) })).tar()),

		// Names and links of members
		badTar("config-missing", "a config that isn't there", `(?i)no `, saved("Config", "missing.json").tar()),
		badTar("config-outside", "a name that leads out of the archive", `(?i)no |archive`, saved("Config", "../../../../.."+out).tar()),
		badTar("config-absolute", "or to the machine's files", `(?i)no |archive`, saved("Config", out).tar()),
		badTar("config-empty-name", "no name at all", ``, saved("Config", "").tar()),
		{name: "config-wrong-hash", why: "a config that isn't what its name says, which engines take", tar: f.set(config, []byte(strings.Replace(string(plain().document()), "amd64", "arm64", 1))).tar(), want: survives(nil)},
		fine("config-other-name", "a name that says no digest", append(saved("Config", "config.json"), member{name: "config.json", body: plain().document()}).tar()),
		fine("config-odd-name", "a name of hexadecimal digits that are no digest", append(saved("Config", long("ab", 63)+".json"), member{name: long("ab", 63) + ".json", body: plain().document()}).tar()),
		fine("config-not-its-hash", "Docker takes a config whose name is another digest", append(saved("Config", strings.Repeat("ab", 32)+".json"), member{name: strings.Repeat("ab", 32) + ".json", body: plain().document()}).tar()),
		badTar("config-is-link-out", "a link to the machine's files", ``, moved(config, member{name: config, link: out}).tar()),
		badTar("config-is-link-up", "or upwards", ``, moved(config, member{name: config, link: "../../../../../.." + out}).tar()),
		badTar("config-link-loop", "a link to itself", ``, moved(config, member{name: config, link: config}).tar()),
		badTar("config-link-ring", "two that lead to each other", ``, moved(config, member{name: config, link: "b"}, member{name: "b", link: config}).tar()),
		fine("config-is-link", "a link within the archive, as Docker writes for layers", moved(config, member{name: "real", body: plain().document()}, member{name: config, link: "real"}).tar()),
		badTar("config-is-directory", "a directory", ``, moved(config, member{name: config + "/", body: nil}).tar()),
		badTar("config-not-json", "a config of rubbish", ``, append(saved("Config", "c"), member{name: "c", body: []byte("rubbish")}).tar()),
		badTar("config-empty", "a config of no bytes", ``, append(saved("Config", "c"), member{name: "c"}).tar()),
		badTar("layer-missing", "a layer that isn't there", `(?i)isn't in the archive|no `, f.without(up).tar()),
		badTar("layer-outside", "a layer's name that leads out", `(?i)no `, saved("Layers", []string{low, "../../../.." + out}).tar()),
		badTar("layer-is-link-out", "a layer that is a link to the machine", ``, moved(up, member{name: up, link: out}).tar()),
		badTar("layer-is-hard-link-out", "or a hard link", ``, moved(up, member{name: up, link: out, hard: true}).tar()),
		fine("layer-is-link", "equal layers are links in Docker's archives", moved(up, member{name: "x/layer.tar", body: plain().layers[1].raw}, member{name: up, link: "../x/layer.tar"}).tar()),
		fine("layer-is-hard-link", "or hard links", moved(up, member{name: "x/layer.tar", body: plain().layers[1].raw}, member{name: up, link: "x/layer.tar", hard: true}).tar()),
		badTar("layer-link-ring", "links in a ring", ``, moved(up, member{name: up, link: "../a"}, member{name: "a", link: "b"}, member{name: "b", link: "a"}).tar()),
		badTar("layer-link-chain", "1,000 links before the file", ``, append(moved(up, many(1000, func(i int) member {
			return member{name: fmt.Sprint("l", i), link: fmt.Sprint("l", i+1)}
		})...), member{name: up, link: "../l0"}).tar()),
		badTar("layer-is-directory", "a layer that is a directory", ``, moved(up, member{name: up + "/"}).tar()),
		badTar("layer-is-manifest", "a layer that is manifest.json", `(?i)digest|diff|tar`, saved("Layers", []string{low, "manifest.json"}).tar()),
		badTar("layer-is-config", "or the config", `(?i)digest|diff|tar`, saved("Layers", []string{low, config}).tar()),
		badTar("layer-empty-name", "no name", ``, saved("Layers", []string{low, ""}).tar()),
		badTar("layer-is-archive", "the archive's own name", ``, saved("Layers", []string{low, "."}).tar()),
		fine("layer-twice-in-archive", "the same member twice", append(f, member{name: up, body: plain().layers[1].raw}).tar()),
		badTar("layer-twice-differs", "twice, the last one wrong", `(?i)digest|diff|tar`, append(f, member{name: up, body: of("evil=x").raw}).tar()),
		fine("members-dotted", "names that begin with ./", func() []byte {
			g := slices.Clone(f)
			for i := range g {
				g[i].name = "./" + g[i].name
			}
			return g.tar()
		}()),
		fine("members-escape", "members that nobody asked for, with names that lead out", append(files{{name: "../../" + canary, body: []byte("x")}, {name: "/" + canary, body: []byte("x")}}, f...).tar()),
		fine("members-links-out", "or links that lead out, and a file through them", append(files{{name: "l", link: "/tmp"}, {name: "l/" + canary, body: []byte("x")}}, f...).tar()),

		// Diff IDs
		bad("diffid-wrong", "a layer that isn't what the config says", `(?i)digest|diff`, image{layers: plain().layers, diffIDs: []string{digest(plain().layers[0].raw), digest([]byte("other"))}}),
		bad("diffid-base-wrong", "the lowest one, too", `(?i)digest|diff`, image{layers: plain().layers, diffIDs: []string{digest([]byte("other")), digest(plain().layers[1].raw)}}),
		bad("diffid-no-digest", "what is no digest", ``, image{layers: plain().layers, diffIDs: []string{"x", "y"}}),
		bad("diffid-empty", "an empty one", ``, image{layers: plain().layers, diffIDs: []string{"", ""}}),
		bad("diffid-path", "one that is a path", ``, image{layers: plain().layers, diffIDs: []string{"sha256:../../../../etc/passwd", "../x:y"}}),
		bad("diffid-short", "one that is too short", ``, image{layers: plain().layers, diffIDs: []string{"sha256:abcd", "sha256:abcd"}}),
		bad("diffid-upper", "one in upper case", ``, image{layers: plain().layers, diffIDs: many(2, func(i int) string { return strings.ToUpper(digest(plain().layers[i].raw)) })}),
		bad("diffid-sha512", "another algorithm", ``, image{layers: plain().layers, diffIDs: []string{"sha512:" + long("ab", 128), "sha512:" + long("ab", 128)}}),
		bad("diffid-compressed", "the digest of the compressed bytes", `(?i)digest|diff`, func() image {
			im := plain()
			im.layers[1] = im.layers[1].as(gzipped)
			im.diffIDs = []string{digest(im.layers[0].raw), digest(im.layers[1].stored)}
			return im
		}()),
		good("layers-none", "an image of no layers", image{}),
		good("layers-equal", "twice the same layer", image{layers: []layer{of("a=x"), of("a=x")}}),

		// With a layout beside it
		fine("with-layout", "as Docker 25 and newer write it", append(f, layout(plain())...).tar()),
		unsure("layout-of-another", "the layout tells of another image", append(f, layout(app("other=x"))...).tar()),
		unsure("layout-broken", "an index.json of rubbish", append(f, member{name: "index.json", body: []byte("rubbish")}).tar()),
		unsure("layout-blob-wrong", "a manifest that isn't what its name says", append(f, layout(plain()).set("blobs/sha256/"+hex(encode(plain().manifest())), []byte("{}"))...).tar()),

		// Before manifest.json
		{name: "legacy", why: "as Docker wrote it before 1.10", tar: old.tar(), want: want{code: 0}},
		badTar("legacy-empty", "repositories without a name", `(?i)no image`, old.set("repositories", []byte(`{}`)).tar()),
		badTar("legacy-null", "that is null", `(?i)no image`, old.set("repositories", []byte(`null`)).tar()),
		badTar("legacy-rubbish", "that is none", `(?i)repositories`, old.set("repositories", []byte(`rubbish`)).tar()),
		badTar("legacy-id-missing", "an ID that isn't there", ``, old.set("repositories", []byte(`{"app":{"1":"missing"}}`)).tar()),
		badTar("legacy-id-outside", "an ID that leads out", ``, old.set("repositories", []byte(`{"app":{"1":"../../../../etc"}}`)).tar()),
		badTar("legacy-id-absolute", "an ID that is a path", ``, old.set("repositories", []byte(`{"app":{"1":"/etc"}}`)).tar()),
		badTar("legacy-parent-missing", "a parent that isn't there", ``, old.set("i0/json", []byte(`{"id":"i0","parent":"no"}`)).tar()),
		badTar("legacy-parent-outside", "a parent that leads out", ``, old.set("i0/json", []byte(`{"id":"i0","parent":"../../../../etc"}`)).tar()),
		badTar("legacy-parent-number", "a parent that is a number", ``, old.set("i0/json", []byte(`{"parent":1}`)).tar()),
		badTar("legacy-no-layer", "a layer that isn't there", ``, old.without("i1/layer.tar").tar()),
		badTar("legacy-several", "two images of which none was named", `2 images`, old.set("repositories", []byte(`{"app":{"1":"i0","2":"i1"}}`)).tar()),
		badTar("legacy-json-rubbish", "a layer's json of rubbish", ``, old.set("i1/json", []byte(`rubbish`)).tar()),

		// Files that are no archive
		badTar("file-empty", "no bytes", `(?i)empty`, []byte{}),
		badTar("file-text", "a text", `(?i)not`, []byte(long("text ", 5000))),
		badTar("file-zeros", "nothing but zeros", ``, make([]byte, 10240)),
		badTar("file-gzip-text", "a compressed text", `(?i)not|archive`, gzipped([]byte(long("text ", 5000)))),
		badTar("file-one-block", "one header and no more", ``, blocks(false, reg("manifest.json", ""))),
		badTar("file-zip", "another kind of archive", `(?i)not`, []byte("PK\x03\x04"+long("zip", 600))),
		special("file-missing", "no file", `(?i)no such file`, func(p *place) string { return p.path("in/missing.tar") }),
		special("file-directory", "a directory that is no layout", `(?i)layout|directory`, func(p *place) string {
			must(os.Mkdir(p.path("in/d.tar"), 0o755))
			return p.path("in/d.tar")
		}),
		special("file-link-loop", "a link to itself", `(?i)link`, func(p *place) string {
			must(os.Symlink("l.tar", p.path("in/l.tar")))
			return p.path("in/l.tar")
		}),
		special("file-link-dangling", "a link to nothing", `(?i)no such file`, func(p *place) string {
			must(os.Symlink("nothing", p.path("in/l.tar")))
			return p.path("in/l.tar")
		}),
		special("file-dev-null", "a device that is empty", ``, func(p *place) string {
			must(os.Symlink("/dev/null", p.path("in/n.tar")))
			return p.path("in/n.tar")
		}),
		special("file-dev-zero", "a device without an end", ``, func(p *place) string {
			must(os.Symlink("/dev/zero", p.path("in/z.tar")))
			return p.path("in/z.tar")
		}),
		special("file-socket", "a socket", ``, func(p *place) string {
			must(unix.Mknod(p.path("in/s.tar"), unix.S_IFSOCK|0o600, 0))
			return p.path("in/s.tar")
		}),
		special("file-hole-1T", "a hole of 1 TiB", ``, func(p *place) string {
			path := p.file("h.tar", nil)
			must(os.Truncate(path, 1<<40))
			return path
		}),
	}
}
