//go:build linux

package hostile

import (
	"fmt"
	"strings"
)

// gateCases are images and limits of the gates that --max-waste, --max-layers
// and --max-size make of a dry run.
func gateCases() []hostileCase {
	gated := func(name, why string, im image, w want, args ...string) hostileCase {
		return hostileCase{name: name, why: why, image: &im, want: w, args: append([]string{"--dry-run"}, args...)}
	}
	limit := func(name, why, option, value string) hostileCase {
		return gated(name, why, plain(), misused(`(?i)`+option), option, value)
	}
	// named is an index of two platforms whose names say more than names do.
	named := func(variant string) files {
		f := layout(plain())
		var list []object
		for _, arch := range []string{"amd64", "arm64"} {
			im := plain()
			im.fields = object{"architecture": arch, "variant": variant}
			m := encode(im.manifest())
			f = f.blob(m).blob(im.document())
			list = append(list, with(descriptor(ociManifest, m), "platform", object{"os": "linux", "architecture": arch, "variant": variant}))
		}
		doc := encode(indexOf(list...))
		return f.blob(doc).index(descriptor(ociIndex, doc))
	}
	return []hostileCase{
		gated("waste-share", "a share that the image exceeds", plain(), exceeds(`wasted.*--max-waste 1%`), "--max-waste", "1%"),
		gated("waste-bytes", "or bytes", plain(), exceeds(`wasted.*--max-waste 1B`), "--max-waste", "1B"),
		gated("layers", "layers", plain(), exceeds(`2 layers: 1 too many`), "--max-layers", "1"),
		gated("layers-none", "none allowed", plain(), exceeds(`2 layers: 2 too many`), "--max-layers", "0"),
		gated("size", "or size", plain(), exceeds(`too much for --max-size`), "--max-size", "1B"),
		gated("all-three", "a line for each", plain(), exceeds(`wasted`), "--max-size", "1B", "--max-layers", "1", "--max-waste", "0"),
		gated("empty-image", "nothing is no waste, and no part of nothing", image{}, want{code: 0}, "--max-waste", "0%", "--max-size", "0", "--max-layers", "0"),
		gated("empty-files", "nor is a division by no bytes at all", image{layers: []layer{of("a"), of("a")}}, survives(nil), "--max-waste", "0%"),
		gated("sparse-2G", "a hole counts as what it says", holes(2<<30), exceeds(`too much`), "--max-size", "1GB"),
		gated("size-limit-huge", "a limit so large that nothing reaches it", plain(), want{code: 0}, "--max-size", "8000PB"),
		limit("size-overflow", "and one that wraps", "--max-size", "99999999999999999999EB"),
		limit("size-infinite", "no number has no end", "--max-size", "inf"),
		limit("size-nan", "and what is no number is no limit", "--max-size", "NaN"),
		limit("size-negative", "less than nothing", "--max-size", "-1"),
		limit("size-empty", "nothing", "--max-size", ""),
		limit("waste-nan", "a share that is no number would let everything pass", "--max-waste", "NaN%"),
		limit("waste-infinite", "so would one without an end", "--max-waste", "Inf%"),
		limit("waste-huge", "or one that is too large for a number", "--max-waste", "1e999%"),
		limit("waste-negative", "a share of less than nothing", "--max-waste", "-5%"),
		limit("waste-percent-alone", "a sign and no number", "--max-waste", "%"),
		limit("layers-overflow", "more layers than a number counts", "--max-layers", "99999999999999999999"),
		limit("layers-negative", "fewer than none", "--max-layers", "-1"),
		limit("layers-text", "a word", "--max-layers", "few"),
		{name: "without-dry-run", why: "a gate is for a dry run", image: ptr(plain()), want: misused(`--dry-run`), args: []string{"--max-layers", "1"}},
		{name: "platform-names", why: "a platform's name is in the line of its gate", layout: named("v8\x1b[2J\nhint: run rm -rf /"), want: exceeds(`too many`), args: []string{"--dry-run", "--max-layers", "1"}},
		{name: "platform-name-long", why: "and may be long", layout: named(long("v8", 3000)), want: survives(nil), args: []string{"--dry-run", "--max-layers", "2"}},
		{name: "60-platforms", why: "a line for each of many images", layout: platforms(60), want: exceeds(`too many`), args: []string{"--dry-run", "--max-layers", "1"}},
		{name: "1000-layers", why: "many layers that hide each other", build: func() image {
			return image{layers: many(1000, func(i int) layer { return of(fmt.Sprint("f=", i), strings.Repeat("d/", i%50+1)) })}
		}, want: exceeds(`wasted`), args: []string{"--dry-run", "--max-waste", "10%", "--max-layers", "100"}},
	}
}
