//go:build linux

package hostile

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// bombCases are small inputs that want much time or memory.
func bombCases() []hostileCase {
	built := func(name, why string, im func() image) hostileCase {
		return hostileCase{name: name, why: why, build: im, want: survives(nil), time: 20 * time.Second}
	}
	// one is an image of the base and a layer that is written as it is compressed.
	one := func(write func(put func(tar.Header))) func() image {
		return func() image {
			return image{layers: []layer{app().layers[0], streamedBytes(func(w io.Writer) {
				write(func(h tar.Header) { putHeader(w, h) })
				_, err := w.Write(make([]byte, 1024))
				must(err)
			})}}
		}
	}
	times := func(n int, h func(i int) tar.Header) func() image {
		return one(func(put func(tar.Header)) {
			for i := range n {
				put(h(i))
			}
		})
	}
	reg := func(name string) tar.Header {
		return tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
	}
	record := func(key, value string) func(i int) tar.Header {
		return func(i int) tar.Header {
			h := reg(fmt.Sprintf("f%d", i))
			h.PAXRecords = map[string]string{key: value}
			return h
		}
	}
	stored := func(name, why string, b func(raw []byte) []byte) hostileCase {
		return hostileCase{name: name, why: why, build: func() image {
			im := plain()
			im.layers[1] = im.layers[1].as(b)
			return im
		}}
	}
	refused := func(c hostileCase, says string) hostileCase {
		c.want = want{code: 1, says: says}
		return c
	}
	maybe := func(c hostileCase) hostileCase {
		c.want = want{code: -1}
		return c
	}
	onDisk := func(name, why string, w want, make func(p *place) string) hostileCase {
		return hostileCase{name: name, why: why, make: make, want: w}
	}
	described := descriptor(ociManifest, encode(plain().manifest()))
	return []hostileCase{
		// Indexes in indexes
		{name: "index-10-wide-8-deep", why: "a hundred million ways through eighty documents", layout: nested(10, 8, true), want: survives(nil)},
		{name: "index-10-wide-7-deep", why: "one level less, so that no limit of depth ends it", layout: nested(10, 7, true), want: survives(nil)},
		{name: "index-2-wide-8-deep", why: "every level lists the next one twice", layout: nested(2, 8, false), want: survives(nil)},
		{name: "index-100-wide-4-deep", why: "wide instead of deep", layout: nested(100, 4, false), want: survives(nil)},
		{name: "index-300-wide-3-deep", why: "wider", layout: nested(300, 3, false), want: survives(nil), time: time.Minute},
		{name: "index-10-wide-8-deep-archive", why: "the layout beside a docker-archive's manifest.json", tar: append(archive(plain()), nested(10, 8, true)...).tar(), want: survives(nil)},
		{name: "index-10-wide-7-deep-archive", why: "one level less", tar: append(archive(plain()), nested(10, 7, true)...).tar(), want: survives(nil)},
		{name: "index-10-wide-8-deep-oci-archive", why: "the same as one file", tar: nested(10, 8, true).tar(), want: survives(nil)},
		badLayout("index-1000-deep", "one thousand indexes, each in the next", `(?i)index|depth|deep|within`, nested(1, 1000, false)),
		badLayout("index-of-itself", "a blob that lists its own digest isn't what the digest says", `(?i)digest`, cycle(1)),
		badLayout("index-cycle", "two that list each other", `(?i)digest`, cycle(2)),
		{name: "index-same-image-20000-times", why: "one image under many entries", layout: repeated(20000), want: survives(nil)},
		{name: "index-20000-missing", why: "many entries that lead nowhere", layout: layout(plain()).index(many(20000, func(i int) object {
			return descriptor(ociManifest, fmt.Append(nil, i))
		})...), want: fails(`(?i)no |missing|found|holds`)},
		{name: "index-300-platforms", why: "many images to do", layout: platforms(300), want: survives(nil)},

		// Paths
		built("deep-1000", "1,000 paths, each 32,000 components deep, in a few bytes", times(1000, func(i int) tar.Header { return reg(long("a/", 64000) + fmt.Sprint(i)) })),
		built("deep-1000-apart", "the same, with nothing in common", times(1000, func(i int) tar.Header { return reg(fmt.Sprint(i, "/", long("a/", 64000), "f")) })),
		built("deep-10000-of-2000", "more paths, less deep", times(10000, func(i int) tar.Header { return reg(fmt.Sprint(i, "/", long("a/", 4000), "f")) })),
		built("deep-dotdot", "down and up again", times(1000, func(i int) tar.Header { return reg(fmt.Sprint(long("a/../", 60000), i)) })),
		built("deep-whiteouts", "whiteouts so deep", times(1000, func(i int) tar.Header { return reg(fmt.Sprint(i, "/", long("a/", 64000), ".wh.f")) })),
		built("deep-opaque", "opaque markers so deep", times(1000, func(i int) tar.Header { return reg(fmt.Sprint(i, "/", long("a/", 64000), ".wh..wh..opq")) })),
		built("deep-links", "every parent through links", one(func(put func(tar.Header)) {
			put(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: long("a/", 30000)})
			for i := range 2000 {
				put(reg(fmt.Sprint("l/", i)))
			}
		})),
		built("links-square", "a link to a link to a link, each doubling the way", one(func(put func(tar.Header)) {
			for i := range 200 {
				put(tar.Header{Name: fmt.Sprint("l", i), Typeflag: tar.TypeSymlink, Linkname: fmt.Sprintf("l%d/l%d", i+1, i+1)})
			}
			put(tar.Header{Name: "l200", Typeflag: tar.TypeSymlink, Linkname: "."})
			put(reg("l0/f"))
		})),
		built("deep-names", "a thousand names of 64,000 bytes in one component", times(1000, func(i int) tar.Header { return reg(long("n", 64000) + fmt.Sprint(i)) })),

		// Texts in headers
		built("pax-records", "240 values of 900,000 bytes", times(240, record("SCHILY.xattr.user.x", long("x", 900000)))),
		built("pax-vendor", "a vendor's records", times(240, record("VENDOR.x", long("x", 900000)))),
		built("pax-many-keys", "20,000 keys on one entry", one(func(put func(tar.Header)) {
			h := reg("f")
			h.PAXRecords = map[string]string{}
			for i := range 20000 {
				h.PAXRecords[fmt.Sprintf("SCHILY.xattr.user.%d", i)] = "x"
			}
			put(h)
		})),
		built("pax-global-many", "10,000 global headers", one(func(put func(tar.Header)) {
			for i := range 10000 {
				put(tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "g", PAXRecords: map[string]string{fmt.Sprint("VENDOR.", i): long("x", 1000)}})
			}
		})),
		built("unames", "user names of a megabyte", times(240, func(i int) tar.Header {
			h := reg(fmt.Sprintf("f%d", i))
			h.Uname = long("u", 1000000)
			return h
		})),
		built("gnames", "group names, each its own", times(400, func(i int) tar.Header {
			h := reg(fmt.Sprintf("f%d", i))
			h.Gname = fmt.Sprint(i, long("g", 600000))
			return h
		})),
		built("linknames", "targets of a megabyte", times(240, func(i int) tar.Header {
			return tar.Header{Name: fmt.Sprintf("f%d", i), Typeflag: tar.TypeSymlink, Linkname: long("t/", 900000), Format: tar.FormatPAX}
		})),
		built("gnu-longname-200M", "a long name of 200 MB", func() image {
			return image{layers: []layer{app().layers[0], header('L', 200<<20)}}
		}),
		built("pax-header-200M", "a PAX header of 200 MB", func() image {
			return image{layers: []layer{app().layers[0], header('x', 200<<20)}}
		}),

		// Sparse files
		built("sparse-1T", "one hole of exactly 1 TiB", func() image { return holes(1 << 40) }),
		built("sparse-1T-less", "a byte less", func() image { return holes(1<<40 - 1) }),
		built("sparse-8E", "as large as a number goes", func() image { return holes(1<<63 - 1) }),
		built("sparse-1.0-1T", "in the newer form", func() image { return holes10(1 << 40) }),
		built("sparse-gnu-1T", "in the oldest form", func() image { return holesGNU(1 << 40) }),
		built("sparse-many", "a map of 200,000 pieces of nothing", func() image {
			return upper(sparse("200000", many(400000, func(i int) string { return fmt.Sprint(i / 2 * (1 - i%2)) })...))
		}),

		// Compression
		stored("gzip-100000-empty-members", "a gzip file may have members of nothing, but a reader a member costs", func(b []byte) []byte {
			return slices.Concat(gzipped(b), bytes.Repeat(gzipped(nil), 100000))
		}),
		stored("gzip-empty-members-first", "before the contents, too", func(b []byte) []byte {
			return slices.Concat(bytes.Repeat(gzipped(nil), 30000), gzipped(b))
		}),
		stored("gzip-member-a-byte", "every byte a member of its own", func(b []byte) []byte {
			var out []byte
			for i := range b {
				out = append(out, gzipped(b[i:i+1])...)
			}
			return out
		}),
		maybe(stored("gzip-header-long", "a name of a megabyte in the header", func(b []byte) []byte {
			z := gzipped(b)
			z[3] |= 8
			return slices.Concat(z[:10], []byte(long("n", 1<<20)), []byte{0}, z[10:])
		})),
		refused(stored("gzip-no-end", "the sums are missing, and nobody else would take the result", func(b []byte) []byte { z := gzipped(b); return z[:len(z)-8] }), `(?i)truncated|unexpected|early|damaged|gzip`),
		refused(stored("gzip-sum-wrong", "or wrong", func(b []byte) []byte { z := gzipped(b); z[len(z)-6] ^= 1; return z }), `(?i)checksum|damaged|gzip|invalid`),
		maybe(stored("gzip-then-rubbish", "something behind the last member", func(b []byte) []byte { return append(gzipped(b), "rubbish behind"...) })),
		maybe(stored("gzip-then-zeros", "padding behind it", func(b []byte) []byte { return append(gzipped(b), make([]byte, 5000)...) })),
		refused(stored("gzip-twice", "compressed twice is no tar", func(b []byte) []byte { return gzipped(gzipped(b)) }), ``),
		refused(stored("gzip-header-only", "nothing but the magic", func([]byte) []byte { return []byte{0x1f, 0x8b, 8} }), ``),
		stored("zstd-skippable-first", "zstd may begin with a frame to skip", func(b []byte) []byte { return append(skippable(10), zstded(b)...) }),
		stored("zstd-skippable-many", "or with many", func(b []byte) []byte { return append(bytes.Repeat(skippable(1), 50000), zstded(b)...) }),
		stored("zstd-skippable-behind", "or end with them", func(b []byte) []byte { return slices.Concat(zstded(b), bytes.Repeat(skippable(4), 50000)) }),
		stored("zstd-skippable-between", "or have them in between", func(b []byte) []byte { return slices.Concat(zstded(b[:600]), skippable(100), zstded(b[600:])) }),
		stored("zstd-100000-empty-frames", "frames of nothing", func(b []byte) []byte { return slices.Concat(bytes.Repeat(zstdEmpty, 100000), zstded(b)) }),
		refused(stored("zstd-window", "a frame that wants a window of 2 TiB", func([]byte) []byte { return []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xf8, 1, 0, 0} }), `(?i)zstd|window|memory|damaged|magic`),
		refused(stored("zstd-size", "a frame that says it holds 8 EiB", func([]byte) []byte {
			return []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 0, 0}
		}), `(?i)zstd|window|memory|damaged|size|unexpected`),
		refused(stored("zstd-skippable-short", "a frame to skip that isn't there", func([]byte) []byte { return skippable(1 << 20)[:100] }), ``),
		refused(stored("zstd-skippable-4G", "or that says it is 4 GiB long", func(b []byte) []byte {
			return slices.Concat([]byte{0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff}, zstded(b))
		}), ``),
		refused(stored("zstd-dictionary", "a frame that needs a dictionary", func([]byte) []byte { return []byte{0x28, 0xb5, 0x2f, 0xfd, 1, 0x58, 7, 1, 0, 0} }), `(?i)zstd|dictionary|damaged`),
		maybe(stored("bzip2-layer", "a compression that images don't use", bzip2d)),
		maybe(stored("xz-layer", "nor this", xzed)),
		{name: "gzip-512M", why: "half a gigabyte of zeros in half a megabyte: work, but no memory", build: func() image { return image{layers: []layer{app().layers[0], streamed(gzipWriter, zeros(512<<20))}} }, want: survives(nil), slow: true, time: time.Minute},
		{name: "zstd-512M", why: "the same in zstd", build: func() image { return image{layers: []layer{app().layers[0], streamed(zstdWriter, zeros(512<<20))}} }, want: survives(nil), slow: true, time: time.Minute},
		onDisk("xz-archive", "an archive in xz around a small bomb", survives(nil), func(p *place) string {
			return p.file("image.tar.xz", xzed(append(archive(plain()), member{name: "zeros", body: make([]byte, 32<<20)}).tar()))
		}),
		onDisk("bzip2-archive", "and in bzip2", survives(nil), func(p *place) string {
			return p.file("image.tar.bz2", bzip2d(append(archive(plain()), member{name: "zeros", body: make([]byte, 8<<20)}).tar()))
		}),
		onDisk("gzip-archive-twice", "an archive compressed twice", survives(nil), func(p *place) string {
			return p.file("image.tar.gz", gzipped(gzipped(archive(plain()).tar())))
		}),
		onDisk("gzip-archive-zeros", "an archive that is nothing but zeros", fails(``), func(p *place) string {
			var out bytes.Buffer
			w := gzipWriter(&out)
			_, err := io.CopyN(w, zeroReader{}, 256<<20)
			must(err)
			must(w.Close())
			return p.file("image.tar.gz", out.Bytes())
		}),

		// Documents
		onDisk("manifest-json-1G", "a manifest.json of a gigabyte that takes no room on the disk", fails(`(?i)manifest\.json|large|long|limit|size|archive`), func(p *place) string {
			return hollow(p, "manifest.json", 1<<30)
		}),
		onDisk("index-json-1G", "an index.json in an archive", fails(`(?i)index\.json|large|long|limit|size|archive`), func(p *place) string {
			return hollow(p, "index.json", 1<<30)
		}),
		onDisk("repositories-1G", "a repositories", fails(`(?i)repositories|large|long|limit|size|archive`), func(p *place) string {
			return hollow(p, "repositories", 1<<30)
		}),
		onDisk("index-json-file-1G", "an index.json in a directory", fails(`(?i)index\.json|large|long|limit|size`), func(p *place) string {
			dir := layout(plain()).dir(p, "layout")
			must(os.Truncate(dir+"/index.json", 1<<30))
			return dir
		}),
		onDisk("manifest-blob-1G", "a manifest whose descriptor says so", fails(``), func(p *place) string {
			f := layout(plain())
			m := encode(plain().manifest())
			dir := f.index(with(descriptor(ociManifest, m), "size", 1<<30)).dir(p, "layout")
			must(os.Truncate(dir+"/blobs/sha256/"+hex(m), 1<<30))
			return dir
		}),
		onDisk("config-blob-1G", "and a config", fails(``), func(p *place) string {
			im := plain()
			m := im.manifest()
			m["config"] = with(m["config"].(object), "size", 1<<30)
			dir := manifestLayout(im, m).dir(p, "layout")
			must(os.Truncate(dir+"/blobs/sha256/"+hex(im.document()), 1<<30))
			return dir
		}),
		bad("config-17M", "a config of one long text", `more than \d+ bytes`, image{config: object{"User": long("u", 17<<20)}}),
		bad("config-300000-triggers", "each of which a builder's parser would have to read", `more than \d+ values`, image{config: object{"OnBuild": many(300000, func(int) string { return "RUN x" })}}),
		bad("history-100000", "entries of four values each", `more than \d+ values`, image{history: many(100000, func(int) object {
			return object{"created": "2020-01-01T00:00:00Z", "created_by": "CMD x", "comment": "", "empty_layer": true}
		})}),
		built("config-commas", "what isn't a value doesn't count", func() image {
			im := plain()
			im.config = object{"Labels": object{"l": long(`\",`, 500000)}}
			return im
		}),
		onDisk("layer-blob-1T", "a layer's blob that is a hole of 1 TiB", fails(``), func(p *place) string {
			im := plain()
			dir := layout(im).dir(p, "layout")
			must(os.Truncate(dir+"/blobs/sha256/"+hex(im.layers[1].raw), 1<<40))
			return dir
		}),
		badTar("json-deep", "brackets, a million deep", ``, archive(plain()).set("manifest.json", []byte(long("[", 1000000))).tar()),
		badTar("json-deep-config", "a config of a million braces", ``, archive(image{raw: []byte(long(`{"a":`, 5000000))}).tar()),
		bad("json-number", "a number of a million digits", ``, image{raw: []byte(`{"rootfs":{"diff_ids":[]},"created":` + long("9", 1000000) + `}`)}),

		// Many
		{name: "200000-members", why: "an archive of 200,000 empty files", build: nil, make: func(p *place) string {
			return p.file("image.tar", files(append(many(200000, func(i int) member { return member{name: fmt.Sprint("f", i)} }), archive(plain())...)).tar())
		}, want: survives(nil)},
		{name: "200000-entries", why: "a layer of 200,000 empty files", build: func() image {
			return app(many(200000, func(i int) any { return fmt.Sprintf("d%d/f%d", i%100, i) })...)
		}, want: want{code: 0}, memory: 400 << 20},
		{name: "200000-whiteouts", why: "or of 200,000 whiteouts of nothing", build: func() image {
			return app(many(200000, func(i int) any { return fmt.Sprintf("d%d/.wh.f%d", i%100, i) })...)
		}, want: want{code: 0}, memory: 400 << 20},
		{name: "50000-hardlinks", why: "one file of 50,000 names", build: func() image {
			return app(append([]any{"f=x"}, many(50000, func(i int) any { return fmt.Sprintf("l%d => f", i) })...)...)
		}, want: want{code: 0}},
		{name: "50000-hardlinks-in-a-row", why: "each to the one before", build: func() image {
			return app(append([]any{"l0=x"}, many(50000, func(i int) any { return fmt.Sprintf("l%d => l%d", i+1, i) })...)...)
		}, want: want{code: 0}},
		{name: "10000-levels", why: "one directory in the other, listed one by one", build: func() image {
			return app(many(5000, func(i int) any { return long("d/", 2*i+2) })...)
		}, want: want{code: -1}},
		{name: "2000-layers", why: "more layers than any engine takes", build: func() image {
			return image{layers: many(2000, func(i int) layer { return of(fmt.Sprintf("f%d=%d", i, i)) })}
		}, want: want{code: -1}},
		{name: "50000-layers-of-nothing", why: "a config that counts 50,000 layers which aren't there", image: &image{diffIDs: many(50000, func(i int) string { return digest(fmt.Append(nil, i)) })}, want: fails(`(?i)layers`)},
		{name: "2000-layers-recovered", why: "each of which has to be looked at over those below it", build: func() image {
			return image{layers: many(2000, func(i int) layer { return of(many(40, func(j int) any { return fmt.Sprintf("f%d-%d=", i, j) })...) })}
		}, args: []string{"--base", "1", "--dry-run", "--dockerfile", "original"}, want: want{code: 1, says: `2000 layers of \d+ entries: limit exceeded`}},
		{name: "5000-times-one-layer", why: "one blob as 5,000 layers", build: func() image {
			l := of("f=x")
			return image{layers: many(5000, func(int) layer { return l })}
		}, want: want{code: -1}},
		{name: "100000-images", why: "an archive that lists one image 100,000 times, each under another name", make: func(p *place) string {
			f := archive(plain())
			entry := strings.Trim(string(f.get("manifest.json")), "[]")
			list := many(100000, func(i int) string { return strings.Replace(entry, "app:1", fmt.Sprintf("app:%d", i), 1) })
			return p.file("image.tar", f.set("manifest.json", []byte("["+strings.Join(list, ",")+"]")).tar())
		}, want: survives(nil)},
		{name: "100000-images-wrong-name", why: "and so does the hint", make: func(p *place) string {
			f := archive(plain())
			entry := strings.Trim(string(f.get("manifest.json")), "[]")
			list := many(100000, func(i int) string { return strings.Replace(entry, "app:1", fmt.Sprintf("app:%d", i), 1) })
			return p.file("image.tar", f.set("manifest.json", []byte("["+strings.Join(list, ",")+"]")).tar()) + ":other"
		}, want: fails(`no such image`)},
		{name: "20000-names-of-layout", why: "a layout of 20,000 names", layout: layout(plain()).index(many(20000, func(i int) object {
			return with(described, "annotations", object{"org.opencontainers.image.ref.name": fmt.Sprint("n", i)})
		})...), want: survives(nil)},
		{name: "legacy-6000", why: "a chain of 6,000 layers in the oldest form", make: func(p *place) string {
			return p.file("image.tar", legacy(6000).tar())
		}, want: survives(nil), memory: 400 << 20, time: time.Minute},
		{name: "legacy-loop", why: "a chain that bites its tail", tar: legacy(5).set("i4/json", []byte(`{"id":"i4","parent":"i0"}`)).tar(), want: fails(``)},
		{name: "legacy-itself", why: "a layer that is its own parent", tar: legacy(1).set("i0/json", []byte(`{"id":"i0","parent":"i0"}`)).tar(), want: fails(``)},
	}
}

var zstdEmpty = []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0}

// putHeader writes an entry without a body, in PAX's form. The standard library's
// writer takes half a minute for the many large texts of these tables.
func putHeader(w io.Writer, h tar.Header) {
	b := block{name: h.Name, link: h.Linkname, kind: h.Typeflag, mode: fmt.Sprintf("%07o\x00", h.Mode)}
	var records []string
	for _, k := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		records = append(records, k, h.PAXRecords[k])
	}
	for _, f := range []struct {
		key, text string
		room      int
		short     *string
	}{{"path", h.Name, 100, &b.name}, {"linkpath", h.Linkname, 100, &b.link}, {"uname", h.Uname, 0, nil}, {"gname", h.Gname, 0, nil}} {
		if len(f.text) <= f.room {
			continue
		}
		records = append(records, f.key, f.text)
		if f.short != nil {
			*f.short = f.text[:f.room]
		}
	}
	var list []block
	switch {
	case h.Typeflag == tar.TypeXGlobalHeader:
		list = []block{pax('g', records...)}
	case len(records) > 0:
		list = []block{pax('x', records...), b}
	default:
		list = []block{b}
	}
	_, err := w.Write(blocks(false, list...))
	must(err)
}

// nested is a layout of indexes in indexes above one image. Each of deep levels
// lists the next one's index wide times, or, if apart, wide different indexes
// that each list all of the next level.
func nested(wide, deep int, apart bool) files {
	im := plain()
	f := layout(im)
	next := many(wide, func(int) object { return descriptor(ociManifest, encode(im.manifest())) })
	for level := range deep - 1 {
		var list []object
		for i := range wide {
			if i > 0 && !apart {
				list = append(list, list[0])
				continue
			}
			doc := encode(with(indexOf(next...), "annotations", object{"n": fmt.Sprint(level, "/", i)}))
			f = append(f, member{name: "blobs/sha256/" + hex(doc), body: doc})
			list = append(list, descriptor(ociIndex, doc))
		}
		next = list
	}
	top := encode(indexOf(next...))
	return append(f, member{name: "blobs/sha256/" + hex(top), body: top}).index(descriptor(ociIndex, top))
}

// cycle is a layout of n indexes that list each other in a ring, which only
// wrong digests can do.
func cycle(n int) files {
	f := layout(plain())
	name := func(i int) string { return hex(fmt.Append(nil, "index", i%n)) }
	list := func(i int) object {
		return object{"mediaType": ociIndex, "digest": "sha256:" + name(i), "size": len(encode(indexOf(object{"mediaType": ociIndex, "digest": "sha256:" + name(0), "size": 100})))}
	}
	for i := range n {
		f = f.set("blobs/sha256/"+name(i), encode(indexOf(list(i+1))))
	}
	return f.index(list(0))
}

func repeated(n int) files {
	m := encode(plain().manifest())
	doc := encode(indexOf(many(n, func(int) object { return descriptor(ociManifest, m) })...))
	return layout(plain()).blob(doc).index(descriptor(ociIndex, doc))
}

// platforms is a layout of an index of n images.
func platforms(n int) files {
	f := layout(plain())
	var list []object
	for i := range n {
		im := plain()
		im.fields = object{"architecture": fmt.Sprint("arch", i)}
		m := encode(im.manifest())
		f = append(f, member{name: "blobs/sha256/" + hex(m), body: m}, member{name: "blobs/sha256/" + hex(im.document()), body: im.document()})
		list = append(list, with(descriptor(ociManifest, m), "platform", object{"os": "linux", "architecture": fmt.Sprint("arch", i)}))
	}
	doc := encode(indexOf(list...))
	return f.blob(doc).index(descriptor(ociIndex, doc))
}

// header is a layer of one metadata header of n bytes, without a body to match.
func header(kind byte, n int64) layer {
	return streamedBytes(func(w io.Writer) {
		_, err := w.Write(blocks(false, block{name: "x", kind: kind, size: fmt.Sprintf("%011o\x00", n)}))
		must(err)
		if kind == 'x' {
			head := fmt.Sprintf("%d path=", n)
			_, err = io.WriteString(w, head)
			must(err)
			_, err = io.Copy(w, io.LimitReader(letters{}, n-int64(len(head))-1))
			must(err)
			_, err = io.WriteString(w, "\n")
		} else {
			_, err = io.Copy(w, io.LimitReader(letters{}, n))
		}
		must(err)
		_, err = w.Write(blocks(true, block{name: "f", kind: '0', body: "x"}))
		must(err)
	})
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'n'
	}
	return len(p), nil
}

// holes is an image with a file of n bytes of which none is stored.
func holes(n int64) image { return upper(sparseEmpty(n)) }

func sparseEmpty(n int64) []block {
	return []block{
		pax('x', "GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.name", "s", "GNU.sparse.size", fmt.Sprint(n),
			"GNU.sparse.numblocks", "1", "GNU.sparse.map", fmt.Sprint(n, ",0")),
		{name: "GNUSparseFile.0/s", kind: '0'},
	}
}

func holes10(n int64) image {
	sparseMap := fmt.Sprintf("1\n%d\n0\n", n)
	return upper([]block{
		pax('x', "GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "s", "GNU.sparse.realsize", fmt.Sprint(n)),
		{name: "GNUSparseFile.0/s", kind: '0', body: sparseMap + string(make([]byte, 512-len(sparseMap)))},
	})
}

func holesGNU(n int64) image {
	b := blocks(false, block{name: "s", kind: 'S', magic: "ustar  \x00"})
	copy(b[386:398], base256(n, 12)) // the only piece: nothing, at the end
	copy(b[398:410], fmt.Sprintf("%011o\x00", 0))
	copy(b[483:495], base256(n, 12)) // the real size
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return upperBytes(append(b, make([]byte, 1024)...))
}

// hollow is an archive with a member that is one hole of n bytes.
func hollow(p *place, name string, n int64) string {
	head := blocks(false, block{name: name, kind: '0', size: fmt.Sprintf("%011o\x00", n)})
	path := p.file("image.tar", head)
	must(os.Truncate(path, int64(len(head))+n+1024))
	return path
}

// legacy is an archive as Docker wrote it before 1.10: a chain of n layers.
func legacy(n int) files {
	l := of("f=x").raw
	f := files{{name: "repositories", body: []byte(`{"app":{"1":"i0"}}`)}}
	for i := range n {
		doc := object{"id": fmt.Sprint("i", i), "created": "2014-01-01T00:00:00Z", "os": "linux", "architecture": "amd64"}
		if i < n-1 {
			doc["parent"] = fmt.Sprint("i", i+1)
		}
		f = append(f, member{name: fmt.Sprintf("i%d/json", i), body: encode(doc)}, member{name: fmt.Sprintf("i%d/layer.tar", i), body: l})
	}
	return f
}
