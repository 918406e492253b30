package templates

import (
	"fmt"
	"strings"
)

// layer makes a merged layer's report; what isn't overwritten or deleted is kept.
func layer(instruction string, paths int, overwritten, deleted, kept int64) LayerReport {
	return LayerReport{
		DiffID: "sha256:" + strings.Repeat("ab", 32), Instruction: instruction, Dialect: "classic", Fate: "merged",
		Paths: paths, Bytes: overwritten + deleted + kept,
		OverwrittenBytes: overwritten, DeletedBytes: deleted, KeptBytes: kept,
	}
}

// inBase makes it a layer of the base.
func inBase(l LayerReport) LayerReport {
	l.Fate = "base"
	return l
}

// prototype is the report of the image that the first docker-flatten was made
// for: a base, seven RUNs, one of which removes a file, and metadata.
func prototype() *Report {
	layers := []LayerReport{
		inBase(layer("ADD file:9d1c9e0e in /", 8412, 310_000, 1_240_000, 115_450_000)),
		layer("RUN apt-get update", 61, 2_100_000, 0, 17_400_000),
		layer("RUN apt-get install -y ruby", 2120, 0, 0, 24_800_000),
		layer("RUN dd if=/dev/zero of=layerfile.txt bs=1M count=50", 1, 0, 52_428_800, 0),
		layer("RUN echo one > a.txt", 1, 4, 0, 0),
		layer("RUN echo two > a.txt", 1, 0, 0, 4),
		layer("RUN apt-get clean", 0, 0, 0, 0),
		layer("RUN rm layerfile.txt", 0, 0, 0, 0),
	}
	before := []HistoryLine{
		{Created: "2013-10-01T10:00:00Z", CreatedBy: "/bin/sh -c #(nop) ADD file:9d1c9e0e in / ", Layer: 0},
		{Created: "2013-10-02T10:00:00Z", CreatedBy: "/bin/sh -c #(nop)  MAINTAINER someone@example.com", Layer: -1},
	}
	for i, l := range layers[1:] {
		before = append(before, HistoryLine{Created: "2013-10-02T10:00:00Z", CreatedBy: "/bin/sh -c " + strings.TrimPrefix(l.Instruction, "RUN "), Layer: i + 1})
	}
	after := append([]HistoryLine{}, before[:2]...)
	after = append(after, HistoryLine{CreatedBy: "ADD layer.tar.gz /", Comment: "docker-flatten", Layer: 1})
	for _, h := range []string{"EXPOSE 123 234", `CMD ["/bin/sh"]`} {
		before = append(before, HistoryLine{CreatedBy: "/bin/sh -c #(nop)  " + h, Layer: -1})
		after = append(after, HistoryLine{CreatedBy: h, Layer: -1})
	}
	return &Report{
		Source: "docker-daemon:demo:latest", Output: "docker-daemon:demo:flat", Tags: []string{"demo:flat"},
		ID: "sha256:" + strings.Repeat("0123456789abcdef", 4), Builder: "native", Verify: "structure", Checked: CheckedNow,
		Images: []ImageReport{{
			Platform: "linux/amd64", SourceID: "sha256:" + strings.Repeat("fedcba9876543210", 4),
			ID:     "sha256:" + strings.Repeat("0123456789abcdef", 4),
			Base:   BaseReport{Name: "debian:12", Layers: 1, Kind: "local", Evidence: "local image with the same 1 layer"},
			Layers: layers,
			Merged: &MergedReport{Paths: 2183, TarBytes: 43_500_000, Compressed: 14_200_000, FromLayers: 7},
			Before: Totals{Layers: 8, Bytes: 213_728_808, Compressed: 71_000_000, Paths: 10596},
			After:  Totals{Layers: 2, Bytes: 157_650_004, Compressed: 61_200_000, Paths: 10595},
			Deleted: []DeletedPath{
				{Path: "usr/share/doc", Dir: true, Paths: 240, Bytes: 1_200_000},
				{Path: "etc/motd", Paths: 1, Bytes: 40_000, Replaced: true},
			},
			Wasted: []WastedPath{
				{Path: "layerfile.txt", Layer: 3, By: 7, How: "deleted", Bytes: 52_428_800},
				{Path: "var/lib/dpkg/status", Layer: 1, By: 2, How: "overwritten", Bytes: 2_100_000},
				{Path: "a.txt", Layer: 4, By: 5, How: "overwritten", Bytes: 4},
			},
			Disagreements: []string{"ENV LANG is C.UTF-8 in the config, but no history entry sets it"},
			History:       before, NewHistory: after,
			Dockerfile: "# Flattened from demo:latest.\nFROM debian:12\nMAINTAINER someone@example.com\nADD layer.tar.gz /\nEXPOSE 123 234\nCMD [\"/bin/sh\"]\n",
		}},
	}
}

// ninety is the report of an image with 90 layers on a base of three, most of
// them tiny.
func ninety() *Report {
	r := prototype()
	im := &r.Images[0]
	im.Base = BaseReport{Name: "ubuntu:24.04", Layers: 3, Kind: "annotation", Evidence: "annotation org.opencontainers.image.base.name, and its 3 layers are the same"}
	im.Layers, im.History = nil, nil
	for i := range 90 {
		l := layer(fmt.Sprintf("RUN make install-component-%d && rm -rf /var/cache/component-%d", i, i), 12+i, int64(i%7)*20_000, int64(i%5)*13_000, 90_000)
		switch {
		case i == 0:
			l = layer("ADD file:1234 in /", 3200, 0, 0, 76_000_000)
		case i%30 == 7:
			l = layer(fmt.Sprintf("COPY dir-%d /opt/app", i), 800, 40_000_000, 3_000_000, int64(i)*1_000_000)
		case i == 61:
			l = layer("RUN pip install --no-cache-dir torch transformers accelerate", 42_000, 0, 0, 2_400_000_000)
		}
		if i < 3 {
			l = inBase(l)
		}
		im.Layers = append(im.Layers, l)
		im.History = append(im.History, HistoryLine{CreatedBy: l.Instruction + " # buildkit", Comment: "buildkit.dockerfile.v0", Layer: i})
	}
	im.Before = Totals{Layers: 90, Bytes: 2_800_000_000, Paths: 64_000}
	im.After = Totals{Layers: 4, Bytes: 2_650_000_000, Paths: 52_000}
	im.Deleted, im.Disagreements = nil, nil
	return r
}

// hostile is the report of an image whose history and paths try to do harm:
// control characters, HTML, broken UTF-8, marks that turn the writing
// direction, a script of many lines.
func hostile() *Report {
	r := prototype()
	r.Source = "docker-archive:evil\x1b]0;title\x07.tar"
	im := &r.Images[0]
	im.Base.Name = "<b>base</b>"
	for i, text := range evil {
		im.Layers[i+1].Instruction = text
		im.History[i].CreatedBy = text
		im.History[i].Comment = text
		im.NewHistory[0].CreatedBy += text
	}
	im.Wasted[0].Path = evil[0]
	im.Wasted[1].Path = evil[2]
	im.Deleted[0].Path = evil[1]
	im.Disagreements = evil
	im.Dockerfile += strings.Join(evil, "\n")
	r.Warnings = evil
	return r
}

var evil = []string{
	`RUN echo '</style></title></pre><script>alert("injected")</script><img src=https://evil.example/x onerror=alert(1)>'`,
	"RUN printf '\x1b[2J\x1b[31m\x9b\x00\x07' # \u202egnp.exe\u2066",
	"COPY caf\xe9 \xff\xfe /",
	"RUN <<EOF\nset -e\n" + strings.Repeat("for f in /usr/share/locale/*; do\n\trm -rf \"$f\"\ndone\n", 200) + "EOF",
	"{{.Secret}} ]]> --> <!-- \" ' ` & &amp; <",
}

// platforms is the report of an index with two platforms, one of which has
// nothing to flatten.
func platforms() *Report {
	r := prototype()
	second := r.Images[0]
	second.Platform = "linux/arm64/v8"
	second.Deleted, second.Wasted, second.Disagreements = nil, nil, nil
	third := r.Images[0]
	third.Platform, third.Unchanged = "linux/riscv64", true
	third.Layers = third.Layers[:2]
	third.Merged, third.NewHistory = nil, nil
	r.Images = append(r.Images, second, third)
	return r
}

// tiny is the report of four layers FROM scratch, of a few bytes each.
func tiny() *Report {
	r := prototype()
	im := &r.Images[0]
	im.Base = BaseReport{Name: "scratch", Kind: "none", Evidence: "no base found"}
	im.Layers = []LayerReport{
		layer("COPY hello /", 1, 0, 0, 812_000),
		layer("RUN echo hello > message.txt", 1, 6, 0, 0),
		layer("RUN echo hello world > message.txt", 1, 12, 0, 0),
		layer("RUN echo hello flat world > message.txt", 1, 0, 0, 17),
	}
	im.Before, im.After = Totals{Layers: 4, Bytes: 812_035, Paths: 4}, Totals{Layers: 1, Bytes: 812_017, Paths: 2}
	im.Deleted, im.Wasted, im.Disagreements = nil, nil, nil
	im.Merged = &MergedReport{Paths: 2, TarBytes: 815_104, FromLayers: 4}
	im.History = []HistoryLine{{CreatedBy: "COPY hello /", Layer: 0}, {CreatedBy: "RUN echo hello > message.txt", Layer: 1}, {CreatedBy: "RUN echo hello world > message.txt", Layer: 2}, {CreatedBy: "RUN echo hello flat world > message.txt", Layer: 3}, {CreatedBy: `CMD ["/hello"]`, Layer: -1}}
	im.NewHistory = []HistoryLine{{CreatedBy: "ADD layer.tar.gz /", Layer: 0}, {CreatedBy: `CMD ["/hello"]`, Layer: -1}}
	im.Dockerfile = "FROM scratch\nADD layer.tar.gz /\nCMD [\"/hello\"]\n"
	return r
}
