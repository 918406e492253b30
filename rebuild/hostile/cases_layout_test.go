//go:build linux

package hostile

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// layoutCases are OCI layouts whose documents, names and files lie.
func layoutCases() []hostileCase {
	im := plain()
	f := layout(im)
	m := im.manifest()
	raw := encode(m)
	config := im.document()
	up := im.layers[1].raw
	blob := func(b []byte) string { return "blobs/sha256/" + hex(b) }
	d := descriptor(ociManifest, raw)
	unsure := func(name, why string, f files) hostileCase {
		return hostileCase{name: name, why: why, layout: f, want: survives(&im), args: []string{"--base", "1"}}
	}
	// manifest is the layout with fields of the manifest changed.
	manifest := func(kv ...any) files { return manifestLayout(im, with(m, kv...)) }
	config1 := func(kv ...any) files { return manifest("config", with(m["config"].(object), kv...)) }
	layer1 := func(kv ...any) files {
		l := m["layers"].([]object)
		return manifest("layers", []object{l[0], with(l[1], kv...)})
	}
	index := func(s string) files { return f.set("index.json", []byte(s)) }
	// special is a layout of which one file is something else.
	special := func(name, why, says, file string, make func(p *place, path string)) hostileCase {
		return hostileCase{name: name, why: why, want: fails(says), make: func(p *place) string {
			dir := f.dir(p, "layout")
			must(os.Remove(dir + "/" + file))
			make(p, dir+"/"+file)
			return "oci:" + dir
		}}
	}
	unread := func(name, why, file string, make func(p *place, path string)) hostileCase {
		c := special(name, why, "", file, make)
		c.want = survives(nil)
		return c
	}
	fifo := func(_ *place, path string) { must(unix.Mkfifo(path, 0o644)) }
	directory := func(_ *place, path string) { must(os.Mkdir(path, 0o755)) }
	link := func(to string) func(*place, string) {
		return func(_ *place, path string) { must(os.Symlink(to, path)) }
	}
	outside := func(b []byte) func(*place, string) {
		return func(p *place, path string) { must(os.Symlink(p.file("outside", b), path)) }
	}
	cases := []hostileCase{
		// index.json
		badLayout("index-missing", "no index.json", `(?i)index\.json|layout`, f.without("index.json")),
		badLayout("index-empty", "of no bytes", `(?i)index\.json`, index("")),
		badLayout("index-null", "null", `(?i)no image|index\.json`, index("null")),
		badLayout("index-list", "a list", `(?i)index\.json`, index("[]")),
		badLayout("index-no-images", "no image", `(?i)no image`, f.index()),
		badLayout("index-manifests-null", "no list of them", `(?i)no image`, index(`{"schemaVersion":2,"manifests":null}`)),
		badLayout("index-manifests-object", "an object instead", ``, index(`{"manifests":{}}`)),
		badLayout("index-cut", "half of it", `(?i)index\.json`, index(string(f.get("index.json")[:50]))),
		badLayout("index-is-manifest", "a manifest instead", ``, f.set("index.json", raw)),
		unsure("index-schema-1", "another schema version", f.set("index.json", encode(with(indexOf(d), "schemaVersion", 1)))),
		unsure("index-media-type", "another media type", f.set("index.json", encode(with(indexOf(d), "mediaType", "text/html")))),
		unsure("index-twice", "the same image twice is one, or two without a name", f.index(d, d)),
		badLayout("index-two", "two images of which none was named", `2 images`, layout(plain(), app("x=y"))),
		{name: "index-name-wrong", why: "a name that isn't there", layout: f, ref: ":other", want: fails(`(?i)no such image`)},
		{name: "index-name-twice", why: "one name for two images", layout: f.index(with(d, "annotations", object{"org.opencontainers.image.ref.name": "a"}), with(descriptor(ociManifest, []byte("x")), "annotations", object{"org.opencontainers.image.ref.name": "a"})), ref: ":a", want: survives(nil)},
		badLayout("index-annotations-text", "annotations that are a text", ``, f.index(with(d, "annotations", "text"))),
		badLayout("oci-layout-missing", "no oci-layout", `(?i)oci-layout|layout`, f.without("oci-layout")),
		unsure("oci-layout-version", "a version that nobody knows", f.set("oci-layout", []byte(`{"imageLayoutVersion":"9.0"}`))),
		unsure("oci-layout-rubbish", "an oci-layout of rubbish", f.set("oci-layout", []byte(`rubbish`))),

		// Descriptors
		badLayout("digest-path", "a digest that is a path", ``, f.index(with(d, "digest", "sha256:../../../../../../etc/passwd"))),
		badLayout("digest-algorithm-path", "an algorithm that is one", ``, f.index(with(d, "digest", "../../etc:passwd"))),
		badLayout("digest-empty", "no digest", ``, f.index(with(d, "digest", ""))),
		badLayout("digest-short", "half a digest", ``, f.index(with(d, "digest", d["digest"].(string)[:40]))),
		badLayout("digest-upper", "in upper case", ``, f.index(with(d, "digest", strings.ToUpper(d["digest"].(string))))),
		badLayout("digest-sha512", "another algorithm", ``, f.index(with(d, "digest", "sha512:"+long("ab", 128)))),
		badLayout("digest-md5", "one that isn't safe", ``, f.index(with(d, "digest", "md5:"+long("ab", 32)))),
		badLayout("digest-number", "a number", ``, f.index(with(d, "digest", 1))),
		badLayout("digest-missing-blob", "a blob that isn't there", ``, f.without(blob(raw))),
		unsure("size-wrong", "a size that isn't the manifest's", f.index(with(d, "size", len(raw)+1))),
		unsure("size-negative", "a negative one", f.index(with(d, "size", -1))),
		unsure("size-zero", "none", f.index(with(d, "size", 0))),
		unsure("size-huge", "too large to be true", f.index(with(d, "size", 1<<62))),
		badLayout("size-float", "half a byte", ``, f.index(with(d, "size", 1.5))),
		badLayout("manifest-wrong-bytes", "a manifest of the right size with other bytes", `(?i)digest`, f.set(blob(raw), []byte(strings.Replace(string(raw), `"schemaVersion":2`, `"schemaVersion":3`, 1)))),
		badLayout("manifest-longer", "and of another size", ``, f.set(blob(raw), append(raw[:len(raw):len(raw)], ' '))),
		badLayout("config-wrong-bytes", "a config with other bytes", `(?i)digest`, f.set(blob(config), []byte(strings.Replace(string(config), "amd64", "arm64", 1)))),
		badLayout("config-longer", "of another size", ``, f.set(blob(config), append(config[:len(config):len(config)], ' '))),
		badLayout("config-missing", "not there", ``, f.without(blob(config))),
		unsure("config-size-wrong", "a size that isn't the config's", config1("size", len(config)-1)),
		badLayout("config-digest-path", "a digest that is a path", ``, config1("digest", "sha256:../../index.json")),
		badLayout("layer-wrong-bytes", "a layer with other bytes", `(?i)digest`, f.set(blob(up), []byte(strings.Replace(string(up), "bye", "BYE", 1)))),
		badLayout("layer-longer", "and longer", ``, f.set(blob(up), append(up[:len(up):len(up)], make([]byte, 512)...))),
		badLayout("layer-shorter", "and shorter", ``, f.set(blob(up), up[:len(up)-512])),
		badLayout("layer-empty", "and empty", ``, f.set(blob(up), nil)),
		badLayout("layer-missing", "and not there", ``, f.without(blob(up))),
		badLayout("layer-size-wrong", "a size that isn't the layer's", ``, layer1("size", len(up)-512)),
		badLayout("layer-size-negative", "a negative one", ``, layer1("size", -1)),
		badLayout("layer-digest-path", "a digest that is a path", ``, layer1("digest", "sha256:../../../../../etc/passwd")),
		unsure("layer-urls", "a layer that is said to be somewhere else, too", layer1("urls", []string{"http://127.0.0.1:1/x", "file:///etc/passwd"})),
		unsure("layer-data", "a descriptor that brings its data", layer1("data", "cnViYmlzaA==")),

		// Manifests
		badLayout("manifest-null", "null", ``, manifestLayout(im, nil)),
		badLayout("manifest-no-config", "no config", ``, manifest("config", nil)),
		badLayout("manifest-no-layers", "no layers for two diff IDs", `(?i)layers`, manifest("layers", nil)),
		badLayout("manifest-layers-fewer", "one for two", `(?i)layers`, manifest("layers", m["layers"].([]object)[:1])),
		badLayout("manifest-layers-swapped", "in the wrong order", `(?i)digest|diff`, manifest("layers", []object{m["layers"].([]object)[1], m["layers"].([]object)[0]})),
		badLayout("manifest-schema1", "the schema that registries gave up", `(?i)schema`, func() files {
			doc := encode(object{"schemaVersion": 1, "name": "app", "tag": "1", "architecture": "amd64", "fsLayers": []object{{"blobSum": digest(up)}}, "history": []object{{"v1Compatibility": "{}"}}})
			return f.blob(doc).index(descriptor("application/vnd.docker.distribution.manifest.v1+prettyjws", doc))
		}()),
		unsure("manifest-schema-3", "one that is to come", manifest("schemaVersion", 3)),
		unsure("manifest-media-type-other", "a media type that isn't its descriptor's", manifest("mediaType", "application/vnd.docker.distribution.manifest.v2+json")),
		unsure("manifest-media-type-none", "none, as before OCI 1.1", manifest("mediaType", "")),
		{name: "manifest-says-index", why: "a manifest that says it is an index", layout: manifest("mediaType", ociIndex), want: fails(``)},
		{name: "manifest-and-index", why: "a document that is both", layout: manifest("manifests", []object{d}), want: survives(nil)},
		{name: "descriptor-says-index", why: "a descriptor that says so", layout: f.index(with(d, "mediaType", ociIndex)), want: survives(&im), args: []string{"--base", "1"}},
		unsure("descriptor-media-type", "a media type that is no image's", func() files {
			doc := encode(with(m, "mediaType", "text/html"))
			return f.blob(doc).index(descriptor("text/html", doc))
		}()),
		badLayout("artifact", "an artifact, not an image", ``, config1("mediaType", "application/vnd.example.sbom+json")),
		badLayout("artifact-empty", "an artifact with the empty config", ``, func() files {
			doc := encode(with(m, "artifactType", "application/vnd.example", "config", descriptor("application/vnd.oci.empty.v1+json", []byte("{}"))))
			return f.blob(doc).blob([]byte("{}")).index(descriptor(ociManifest, doc))
		}()),
		unsure("layer-media-type-foreign", "a layer that may not be given away", layer1("mediaType", "application/vnd.oci.image.layer.nondistributable.v1.tar")),
		unsure("layer-media-type-unknown", "a kind of layer that nobody knows", layer1("mediaType", "application/vnd.example.layer")),
		unsure("layer-media-type-wrong", "a plain tar that says it is compressed", layer1("mediaType", ociLayer+"+gzip")),
		unsure("layer-media-type-encrypted", "a layer that says it is encrypted", layer1("mediaType", ociLayer+"+encrypted")),
		unsure("manifest-subject", "a manifest that is about another", manifest("subject", d)),
		unsure("manifest-annotations-long", "an annotation of a megabyte", manifest("annotations", object{"x": long("y", 1<<20)})),
		unsure("manifest-annotations-20000", "20,000 annotations", manifest("annotations", func() object {
			o := object{}
			for i := range 20000 {
				o[fmt.Sprint("k", i)] = "v"
			}
			return o
		}())),
		unsure("base-annotation-wrong", "a base by a digest that isn't there", manifest("annotations", object{"org.opencontainers.image.base.name": "docker.io/library/none", "org.opencontainers.image.base.digest": "sha256:../../x"})),
		unsure("base-annotation-registry", "a base in a registry that nobody may ask", manifest("annotations", object{"org.opencontainers.image.base.name": "127.0.0.1:1/app:1"})),
		{name: "attestation-only", why: "an index of nothing but attestations", layout: func() files {
			doc := encode(indexOf(with(d, "platform", object{"os": "unknown", "architecture": "unknown"}, "annotations", object{"vnd.docker.reference.type": "attestation-manifest"})))
			return f.blob(doc).index(descriptor(ociIndex, doc))
		}(), want: fails(`(?i)no image`)},
		{name: "platform-not-there", why: "a platform that isn't in the index", layout: platforms(3), args: []string{"--platform", "linux/s390x"}, want: fails(`(?i)no image`)},
		{name: "platform-not-there-of-300", why: "the hint names a few of many", layout: platforms(2000), args: []string{"--platform", "linux/s390x"}, want: fails(`(?i)no image`)},

		// Files that aren't regular
		special("index-is-directory", "index.json as a directory", `(?i)index\.json|directory|regular`, "index.json", directory),
		special("index-is-fifo", "as a FIFO", `(?i)index\.json|fifo|pipe|regular`, "index.json", fifo),
		special("index-is-dev-zero", "as a device without an end", `(?i)index\.json|device|regular`, "index.json", link("/dev/zero")),
		special("index-is-loop", "as a link to itself", `(?i)index\.json|link`, "index.json", link("index.json")),
		unread("oci-layout-is-fifo", "oci-layout as a FIFO, which nobody need read", "oci-layout", fifo),
		unread("oci-layout-is-directory", "as a directory", "oci-layout", directory),
		special("manifest-is-fifo", "a manifest as a FIFO", `(?i)fifo|pipe|regular`, blob(raw), fifo),
		special("manifest-is-dev-zero", "as a device", `(?i)device|regular|size|large`, blob(raw), link("/dev/zero")),
		special("manifest-is-directory", "as a directory", `(?i)directory|regular`, blob(raw), directory),
		special("config-is-fifo", "a config as a FIFO", `(?i)fifo|pipe|regular`, blob(config), fifo),
		special("config-is-dev-zero", "as a device", `(?i)device|regular|size|large`, blob(config), link("/dev/zero")),
		special("layer-is-fifo", "a layer as a FIFO", `(?i)fifo|pipe|regular`, blob(up), fifo),
		special("layer-is-dev-zero", "as a device", `(?i)device|regular|size|large|digest`, blob(up), link("/dev/zero")),
		special("layer-is-directory", "as a directory", `(?i)directory|regular`, blob(up), directory),
		special("layer-is-socket", "as a socket", ``, blob(up), func(_ *place, path string) { must(unix.Mknod(path, unix.S_IFSOCK|0o600, 0)) }),
		special("blobs-is-file", "blobs as a file", ``, blob(up), func(_ *place, path string) {
			must(os.RemoveAll(path[:strings.Index(path, "/blobs")] + "/blobs"))
			must(os.WriteFile(path[:strings.Index(path, "/blobs")]+"/blobs", nil, 0o644))
		}),
		{name: "index-is-link-out", why: "index.json as a link out of the layout", want: survives(nil), make: func(p *place) string {
			dir := f.dir(p, "layout")
			must(os.Remove(dir + "/index.json"))
			outside(f.get("index.json"))(p, dir+"/index.json")
			return "oci:" + dir
		}},
		{name: "index-is-link-passwd", why: "to a file that isn't the layout's business", want: fails(``), make: func(p *place) string {
			dir := f.dir(p, "layout")
			must(os.Remove(dir + "/index.json"))
			must(os.Symlink("/etc/passwd", dir+"/index.json"))
			return "oci:" + dir
		}},
		{name: "layer-is-link-out", why: "a blob as a link, as tools that save room make it", want: survives(&im), args: []string{"--base", "1"}, make: func(p *place) string {
			dir := f.dir(p, "layout")
			must(os.Remove(dir + "/" + blob(up)))
			outside(up)(p, dir+"/"+blob(up))
			return "oci:" + dir
		}},
	}
	return cases
}

// damageCases are honest files of which bytes are changed or missing.
func damageCases() []hostileCase {
	im := plain()
	packed := plain()
	packed.layers[1] = packed.layers[1].as(gzipped)
	var cases []hostileCase
	cut := func(name string, b []byte, n int) {
		w := fails(``)
		if n > 90 {
			w = survives(&im) // what is missing may be the padding at the end
		}
		cases = append(cases, hostileCase{
			name: fmt.Sprintf("%s-cut-at-%d-percent", name, n), why: "a download that ended early", tar: b[:len(b)*n/100], want: w, args: []string{"--base", "1"},
		})
	}
	flip := func(name string, b []byte, n int) {
		c := append([]byte(nil), b...)
		c[len(c)*n/97] ^= 0x41
		cases = append(cases, hostileCase{
			name: fmt.Sprintf("%s-byte-%d-of-97", name, n), why: "a byte that changed on its way", tar: c, want: survives(&im), args: []string{"--base", "1"},
		})
	}
	forms := []struct {
		name string
		b    []byte
	}{
		{"archive", archive(im).tar()}, {"archive-gz", gzipped(archive(im).tar())}, {"oci-archive", layout(packed).tar()},
		{"archive-zst", zstded(archive(im).tar())}, {"archive-xz", xzed(archive(im).tar())},
	}
	for _, form := range forms {
		for _, n := range []int{1, 20, 45, 70, 95} {
			cut(form.name, form.b, n)
		}
		for n := 5; n < 97; n += 12 {
			flip(form.name, form.b, n)
		}
	}
	gz := packed.layers[1].stored
	for n := 0; n < len(gz); n += max(1, len(gz)/8) {
		b := append([]byte(nil), gz...)
		b[n] ^= 0x10
		cases = append(cases, badLayout(fmt.Sprintf("gzip-byte-%d", n), "a byte of a compressed layer, whose digest then is another", ``, layout(packed).set("blobs/sha256/"+hex(gz), b)))
		// The digests agree: only gzip itself, or the diff ID, can tell.
		other := packed
		other.layers = []layer{packed.layers[0], {raw: packed.layers[1].raw, stored: b, entries: packed.layers[1].entries}}
		cases = append(cases, hostileCase{name: fmt.Sprintf("gzip-byte-%d-agreed", n), why: "the same with a digest that agrees", layout: layout(other), want: survives(&im), args: []string{"--base", "1"}})
	}
	return cases
}
