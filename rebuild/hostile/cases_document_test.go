//go:build linux

package hostile

import (
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
)

// documentCases are configs, manifests and indexes whose JSON has two readings,
// none, or one that no decoder's author thought of.
func documentCases() []hostileCase {
	im := plain()
	f := layout(im)
	m := im.manifest()
	raw := encode(m)
	d := descriptor(ociManifest, raw)
	document := string(im.document())
	// config is an image of which a part of the config's text is replaced.
	config := func(old, new string) image {
		if !strings.Contains(document, old) {
			panic("no " + old)
		}
		im := plain()
		im.raw = []byte(strings.Replace(document, old, new, 1))
		return im
	}
	field := func(text string) image { return config(`"config":{`, `"config":{`+text+`,`) }
	top := func(text string) image { return config(`{`, `{`+text+`,`) }
	unsure := func(name, why string, im image) hostileCase {
		return hostileCase{name: name, why: why, image: &im, want: survives(nil)}
	}
	// kept is an image whose config comes out with a text as it went in.
	kept := func(name, why, text string, im image) hostileCase {
		return hostileCase{name: name, why: why, image: &im, want: want{code: 0}, keeps: text}
	}
	one := func(name, why string, f files) hostileCase {
		return hostileCase{name: name, why: why, layout: f, want: survives(&im), args: []string{"--base", "1"}}
	}
	manifest := func(old, new string) files {
		if !strings.Contains(string(raw), old) {
			panic("no " + old)
		}
		b := []byte(strings.Replace(string(raw), old, new, 1))
		return f.blob(b).index(descriptor(ociManifest, b))
	}
	entry := func(kv ...any) files { return f.index(with(d, kv...)) }
	layer1 := func(kv ...any) files {
		l := m["layers"].([]object)
		return manifestLayout(im, with(m, "layers", []object{l[0], with(l[1], kv...)}))
	}
	forged := strings.Replace(document, "/bin/sh", "/forged", 1)
	data := base64.StdEncoding.EncodeToString
	return []hostileCase{
		// Numbers
		kept("number-long", "an integer that no float holds stays to the digit", `"X":12345678901234567890123456789`, field(`"X":12345678901234567890123456789`)),
		kept("number-forms", "so does how it is written", `"X":[1.0,1e2,-0,0.10]`, field(`"X":[1.0,1e2,-0,0.10]`)),
		kept("number-exponent", "and one beyond all numbers", `"X":1e999`, field(`"X":1e999`)),
		unsure("interval-exponent", "a time beyond all numbers in a field that is read", field(`"Healthcheck":{"Test":["NONE"],"Interval":1e999}`)),
		unsure("interval-float", "or half a nanosecond", field(`"Healthcheck":{"Test":["NONE"],"Interval":1.5}`)),
		unsure("interval-overflow", "or more than 64 bits", field(`"Healthcheck":{"Test":["NONE"],"Retries":9223372036854775808}`)),

		// Keys
		kept("key-case", "a field that is another one in another case", `"cmd":["/forged"]`, field(`"cmd":["/forged"]`)),
		unsure("key-twice-cmd", "two commands, of which decoders take the first or the last", field(`"Cmd":["/forged"]`)),
		unsure("key-twice-label", "two labels of one name", field(`"Labels":{"a":"1","a":"2"}`)),
		bad("key-twice-rootfs", "two lists of layers, the last of which is wrong", ``, config(`"rootfs":{`, `"rootfs":{"diff_ids":["`+digest([]byte("a"))+`"],"x":{`)),
		unsure("key-escaped", "a key that is spelled with escapes", config(`"Cmd"`, `"\u0043md"`)),
		kept("key-empty", "a key of nothing", `"":1`, field(`"":1`)),

		// Depth, texts, types
		kept("deep-5000", "5,000 brackets in a field that nobody reads", strings.Repeat("[", 5000), field(`"X":`+strings.Repeat("[", 5000)+strings.Repeat("]", 5000))),
		unsure("deep-20000", "and 20,000, which Go's decoder refuses", field(`"X":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000))),
		unsure("not-utf8-label", "bytes that are no text in a label", field("\"Labels\":{\"a\":\"\xff\xfe\"}")),
		unsure("not-utf8-key", "or in a key", field("\"\xc0\xaf\":1")),
		unsure("surrogate-label", "half a character in a label", field(`"Labels":{"a":"\ud83d"}`)),
		bad("bom", "a byte order mark before the config", ``, config(`{`, "\ufeff{")),
		bad("utf16", "a config in two bytes a letter", ``, func() image {
			im := plain()
			for _, c := range document {
				im.raw = append(im.raw, byte(c), 0)
			}
			return im
		}()),
		unsure("history-object", "a history that is an object", func() image { im := plain(); im.fields = object{"history": object{"a": 1}}; return im }()),
		unsure("history-number", "or a number", func() image { im := plain(); im.fields = object{"history": 5}; return im }()),
		unsure("history-nulls", "steps that are null", func() image { im := plain(); im.fields = object{"history": []any{nil, nil}}; return im }()),
		bad("rootfs-null", "no root", ``, func() image { im := plain(); im.fields = object{"rootfs": nil}; return im }()),
		bad("rootfs-list", "a root that is a list", ``, func() image { im := plain(); im.fields = object{"rootfs": []any{}}; return im }()),
		bad("diffids-null", "diff IDs that are null", `(?i)layers`, func() image {
			im := plain()
			im.fields = object{"rootfs": object{"type": "layers", "diff_ids": nil}}
			return im
		}()),
		bad("diffids-numbers", "or numbers", ``, func() image {
			im := plain()
			im.fields = object{"rootfs": object{"type": "layers", "diff_ids": []any{1, 2}}}
			return im
		}()),
		unsure("config-list", "a config that is a list", func() image { im := plain(); im.fields = object{"config": []any{1}}; return im }()),
		unsure("config-string", "or a text", func() image { im := plain(); im.fields = object{"config": "x"}; return im }()),
		unsure("architecture-number", "an architecture that is a number", func() image { im := plain(); im.fields = object{"architecture": 64}; return im }()),
		unsure("os-features", "features that are a text", func() image { im := plain(); im.fields = object{"os.features": "x"}; return im }()),
		unsure("created-number", "a time that is a number", func() image { im := plain(); im.fields = object{"created": 1700000000}; return im }()),
		unsure("created-month-13", "a month that isn't", func() image { im := plain(); im.fields = object{"created": "2020-13-45T25:61:61Z"}; return im }()),
		unsure("created-year-10000", "a year of five digits", func() image { im := plain(); im.fields = object{"created": "10000-01-01T00:00:00Z"}; return im }()),
		unsure("created-step-year-0", "a step before the calendar", func() image {
			im := plain()
			im.history = []object{{"created": "-0001-01-01T00:00:00Z", "created_by": "a"}, {"created": "99999-01-01T00:00:00+99:99", "created_by": "b"}}
			return im
		}()),
		unsure("created-nanoseconds", "a fraction of a hundred digits", top(`"x":1,"created":"2020-01-01T00:00:00.`+strings.Repeat("9", 100)+`Z"`)),

		// What descriptors say
		one("data-config", "a config's descriptor brings other bytes than its digest's", manifestLayout(im, with(m, "config", with(m["config"].(object), "data", data([]byte(forged)))))),
		one("data-manifest", "so does a manifest's", entry("data", data([]byte(`{"schemaVersion":2}`)))),
		one("data-not-base64", "or brings no bytes at all", layer1("data", "%%%")),
		{name: "data-without-blob", why: "the right bytes, but no blob", layout: manifestLayout(im, with(m, "config", with(m["config"].(object), "data", data(im.document())))).without("blobs/sha256/" + hex(im.document())), want: survives(&im), args: []string{"--base", "1"}},
		one("urls-config", "a config that is said to be in a file", manifestLayout(im, with(m, "config", with(m["config"].(object), "urls", []string{"file:///etc/passwd"})))),
		badLayout("size-overflow", "a size of more than 64 bits", ``, f.set("index.json", []byte(strings.Replace(string(f.get("index.json")), fmt.Sprintf(`"size":%d`, len(raw)), `"size":9223372036854775808`, 1)))),
		badLayout("size-text", "a size in quotes", ``, entry("size", "5")),
		one("size-null", "no size", entry("size", nil)),
		badLayout("layer-size-overflow", "a layer's size of more than 64 bits", ``, func() files {
			l := fmt.Sprintf(`%d}]`, len(im.layers[1].raw))
			return manifest(l, "18446744073709551616}]")
		}()),
		badLayout("layer-size-larger", "a layer's size that is more than the blob", ``, layer1("size", len(im.layers[1].raw)+1)),
		one("media-type-null", "no media type", entry("mediaType", nil)),
		badLayout("media-type-list", "a list of them", ``, entry("mediaType", []string{ociManifest})),
		one("platform-list", "a platform that is a list", entry("platform", []string{"linux"})),
		one("platform-empty", "a platform of nothing", entry("platform", object{})),
		one("platform-lies", "a platform that isn't the config's", entry("platform", object{"os": "plan9", "architecture": "mips"})),
		one("annotations-null", "annotations that are null", entry("annotations", nil)),
		badLayout("annotations-numbers", "or numbers", ``, entry("annotations", object{"org.opencontainers.image.ref.name": 1})),
		one("artifact-type", "an image that says what artefact it is", entry("artifactType", "application/vnd.example")),
		one("descriptor-says-layer", "a manifest that its descriptor calls a layer", entry("mediaType", ociLayer)),
		one("subject-itself", "a manifest about what can't be: its own digest", manifestLayout(im, with(m, "subject", descriptor(ociManifest, []byte("itself"))))),
		one("subject-rubbish", "or about nothing", manifestLayout(im, with(m, "subject", "x"))),
		badLayout("layers-nulls", "layers that are null", ``, manifestLayout(im, with(m, "layers", []any{nil, nil}))),
		one("layers-key-twice", "two lists of layers in one manifest", manifest(`"layers":[`, `"layers":[],"layers":[`)),
		badLayout("layers-key-twice-wrong", "the last of which is empty", `(?i)layers`, manifest(`"schemaVersion"`, `"layers":[],"schemaVersion"`)),
		one("manifest-bom", "a manifest behind a byte order mark", manifest(`{`, "\ufeff{")),
		one("manifest-behind", "or with something behind it", func() files {
			b := append(slices.Clone(raw), "{}"...)
			return f.blob(b).index(descriptor(ociManifest, b))
		}()),
		{name: "layers-same-twice", why: "a layout's layer listed twice is two layers", layout: layout(image{layers: []layer{of("a=x"), of("a=x")}}), want: becomes(image{layers: []layer{of("a=x"), of("a=x")}}), args: []string{"--base", "1"}},
		{name: "blob-sha512", why: "a manifest in the other hash that OCI allows, rightly named", want: survives(&im), args: []string{"--base", "1"}, make: func(p *place) string {
			dir := f.index(with(d, "digest", sha512Of(raw))).dir(p, "layout")
			must(os.MkdirAll(dir+"/blobs/sha512", 0o755))
			must(os.WriteFile(dir+"/blobs/sha512/"+strings.TrimPrefix(sha512Of(raw), "sha512:"), raw, 0o644))
			return "oci:" + dir
		}},
		{name: "blob-sha512-wrong", why: "and one whose bytes aren't those", want: fails(`(?i)digest`), args: []string{"--base", "1"}, make: func(p *place) string {
			dir := f.index(with(d, "digest", sha512Of([]byte("other")))).dir(p, "layout")
			must(os.MkdirAll(dir+"/blobs/sha512", 0o755))
			must(os.WriteFile(dir+"/blobs/sha512/"+strings.TrimPrefix(sha512Of([]byte("other")), "sha512:"), raw, 0o644))
			return "oci:" + dir
		}},
		{name: "name-line", why: "a name that is a line of its own", layout: entry("annotations", object{"org.opencontainers.image.ref.name": "a\nhint: b"}), ref: ":other", want: fails(`no such image`)},
	}
}

// savedCases are docker-archives whose tar has more than one reading.
func savedCases() []hostileCase {
	im := plain()
	f := archive(im)
	config := hex(im.document()) + ".json"
	low, up := hex(im.layers[0].raw)+"/layer.tar", hex(im.layers[1].raw)+"/layer.tar"
	saved := func(kv ...any) files {
		return f.set("manifest.json", encode([]object{with(object{"Config": config, "RepoTags": []string{"app:1"}, "Layers": []string{low, up}}, kv...)}))
	}
	fine := func(name, why string, b []byte) hostileCase {
		return hostileCase{name: name, why: why, tar: b, want: becomes(im), args: []string{"--base", "1"}}
	}
	unsure := func(name, why string, b []byte) hostileCase {
		return hostileCase{name: name, why: why, tar: b, want: survives(&im), args: []string{"--base", "1"}}
	}
	packed := func(name, why, file string, w want, b []byte) hostileCase {
		return hostileCase{name: name, why: why, want: w, args: []string{"--base", "1"}, make: func(p *place) string { return p.file(file, b) }}
	}
	// by is the archive with the upper layer's member written in another way.
	by := func(list ...block) []byte {
		head := f.without(up).without("manifest.json").tar()
		head = head[:len(head)-1024]
		body := string(f.get("manifest.json"))
		return slices.Concat(head, blocks(true, append(list, reg("manifest.json", body))...))
	}
	body := string(im.layers[1].raw)
	whole := f.tar()
	return []hostileCase{
		fine("manifest-twice-last-right", "of two manifest.json the last one counts, as in a tar", append(files{{name: "manifest.json", body: []byte("[]")}}, f...).tar()),
		fine("manifest-by-pax", "a manifest.json that only PAX calls so", slices.Concat(func() []byte { b := f.without("manifest.json").tar(); return b[:len(b)-1024] }(),
			blocks(true, pax('x', "path", "manifest.json"), reg("other", string(f.get("manifest.json")))))),
		unsure("manifest-is-link", "a manifest.json that is a link", append(f.without("manifest.json"), member{name: "m", body: f.get("manifest.json")}, member{name: "manifest.json", link: "m"}).tar()),
		unsure("manifest-is-hard-link", "or a hard link", append(f.without("manifest.json"), member{name: "m", body: f.get("manifest.json")}, member{name: "manifest.json", link: "m", hard: true}).tar()),
		badTar("manifest-is-directory", "or a directory", ``, append(f.without("manifest.json"), member{name: "manifest.json/"}).tar()),
		unsure("layer-name-cleaned", "a name that is the member's when cleaned", saved("Layers", []string{low, "x/../" + up}).tar()),
		unsure("layer-name-dotted", "or begins with a dot", saved("Layers", []string{"./" + low, up}).tar()),
		unsure("layer-name-absolute", "or with a slash", saved("Layers", []string{"/" + low, up}).tar()),
		badTar("layer-name-nul", "or ends with a NUL", ``, saved("Layers", []string{low, up + "\x00"}).tar()),
		unsure("layer-link-above", "a link that leads above the archive's root, and into it again", append(f.without(up), member{name: "x.tar", body: im.layers[1].raw}, member{name: up, link: "../../../../../x.tar"}).tar()),
		unsure("layer-below-link", "a directory that is a link", append(saved("Layers", []string{low, "d/layer.tar"}), member{name: "d", link: strings.TrimSuffix(up, "/layer.tar")}).tar()),
		unsure("layer-link-later", "a hard link to a member that comes later", append(append(f.without(up), member{name: up, link: "later", hard: true}), member{name: "later", body: im.layers[1].raw}).tar()),
		fine("layer-pax-size", "a member whose size only PAX tells", by(pax('x', "size", fmt.Sprint(len(body))), block{name: up, kind: '0', size: "00000000000\x00", body: body})),
		fine("layer-size-base256", "or a binary number", by(block{name: up, kind: '0', size: base256(int64(len(body)), 12), body: body})),
		badTar("layer-pax-size-short", "a size that ends the layer early", ``, by(pax('x', "size", "512"), reg(up, body))),
		unsure("layer-contiguous", "a layer of another type that is a file", by(block{name: up, kind: '7', body: body})),
		badTar("layer-is-fifo", "a layer that is a FIFO", ``, by(block{name: up, kind: '6'})),
		badTar("layer-is-device", "or a device", ``, by(block{name: up, kind: '3'})),
		unsure("layer-sparse", "a layer that was saved as a sparse file: its bytes aren't those of the layer", by(
			pax('x', "GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.name", up, "GNU.sparse.size", fmt.Sprint(len(body)),
				"GNU.sparse.numblocks", "1", "GNU.sparse.map", fmt.Sprintf("0,%d", len(body)-1024)),
			block{name: "GNUSparseFile.0/l", kind: '0', body: body[:len(body)-1024]})),
		unsure("global-header-within", "a global header between the members", by(pax('g', "path", "evil"), reg(up, body))),
		fine("two-archives", "a second archive behind the first one's end isn't read", slices.Concat(whole, archive(app("other=x")).tar())),
		packed("gzip-then-rubbish", "rubbish behind the archive's gzip", "image.tar.gz", survives(&im), append(gzipped(whole), "rubbish"...)),
		packed("gzip-then-zeros", "or zeros, as from a tape", "image.tar.gz", survives(&im), append(gzipped(whole), make([]byte, 4096)...)),
		packed("gzip-in-two", "or a second member that goes on", "image.tar.gz", becomes(im), slices.Concat(gzipped(whole[:3000]), gzipped(whole[3000:]))),
		packed("gzip-header-crc-wrong", "a header whose own sum is wrong", "image.tar.gz", survives(&im), func() []byte {
			z := gzipped(whole)
			z[3] |= 2
			return slices.Concat(z[:10], []byte{0, 0}, z[10:])
		}()),
		packed("gzip-extra-64k", "the largest extra field", "image.tar.gz", becomes(im), func() []byte {
			z := gzipped(whole)
			z[3] |= 4
			return slices.Concat(z[:10], []byte{0xff, 0xff}, make([]byte, 0xffff), z[10:])
		}()),
		packed("gzip-extra-missing", "an extra field that isn't there", "image.tar.gz", fails(``), []byte{0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 1}),
		packed("gzip-reserved-flags", "flags that nobody has defined", "image.tar.gz", survives(&im), func() []byte { z := gzipped(whole); z[3] |= 0xe0; return z }()),
		packed("zstd-sum-wrong", "a frame whose sum is wrong", "image.tar.zst", fails(``), func() []byte { z := zstded(whole); z[len(z)-1] ^= 1; return z }()),
		packed("zstd-then-rubbish", "rubbish behind the frame", "image.tar.zst", survives(&im), append(zstded(whole), "rubbish"...)),
		packed("zstd-skippable-around", "frames to skip on all sides", "image.tar.zst", becomes(im), slices.Concat(skippable(9), zstded(whole[:2000]), skippable(0), zstded(whole[2000:]), skippable(300))),
		packed("zstd-window-2G", "a window of more than 2 GiB for a few bytes", "image.tar.zst", fails(``), []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa9, 0x01, 0x00, 0x00}),
		packed("xz-then-rubbish", "rubbish behind an xz stream", "image.tar.xz", survives(&im), append(xzed(whole), "rubbish!"...)),
		packed("xz-twice", "two streams with padding between them", "image.tar.xz", survives(&im), slices.Concat(xzed(whole[:3072]), make([]byte, 4), xzed(whole[3072:]))),
		packed("bzip2-sum-wrong", "a block whose sum is wrong", "image.tar.bz2", fails(``), func() []byte { z := bzip2d(whole); z[11] ^= 1; return z }()),
		packed("suffix-lies", "a name that says gzip, and plain bytes", "image.tar.gz", becomes(im), whole),
	}
}
