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
	r := &Report{
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
				{Path: "etc/motd", Paths: 3, Bytes: 40_000, Dir: true, Replaced: true, How: "emptied"},
			},
			Causes: []Cause{
				{Why: "deleted", Low: 3, High: 3, By: 7, Dir: "/", Path: "/layerfile.txt", Files: 1, Bytes: 52_428_800, Remedy: "delete them in the RUN that makes them, or build in a stage of its own"},
				{Why: "changed", Low: 1, High: 2, By: -1, Dir: "/var/lib/dpkg", Path: "/var/lib/dpkg/status", Files: 2, Bytes: 2_100_000, Remedy: "install packages in one RUN: each RUN writes dpkg's database anew"},
				{Why: "deleted", InBase: true, By: 7, Dir: "/usr/share/doc", Path: "/usr/share/doc/a/b", Files: 240, Bytes: 1_240_000},
				{Why: "changed", InBase: true, By: 1, Dir: "/var", Path: "/var/x", Files: 1, Bytes: 310_000},
				{Why: "changed", Low: 4, High: 4, By: 5, Dir: "/", Path: "/a.txt", Files: 1, Bytes: 4},
			},
			WastedTotal: Sum{Count: 245, Bytes: 56_078_804},
			Choices: []Choice{
				{Base: "1", Name: "debian:12", Chosen: true, Layers: 2, Bytes: 159_200_004, SharedLayers: 1, SharedBytes: 117_000_000},
				{Base: "scratch", Name: "scratch", Layers: 1, Bytes: 157_650_004},
			},
			Directories: []Directory{
				{Path: "/", Files: 6000, KeptBytes: 157_650_004, OverwrittenBytes: 2_410_004, DeletedBytes: 53_668_800},
				{Path: "/usr", Files: 5000, KeptBytes: 120_000_000, DeletedBytes: 1_240_000},
				{Path: "/usr/lib", Files: 900, KeptBytes: 100_000_000},
				{Path: "/usr/share/doc", Files: 240, DeletedBytes: 1_240_000},
				{Path: "/var", Files: 800, KeptBytes: 30_000_000, OverwrittenBytes: 2_410_000},
			},
			AllDirs: 640,
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
	im := &r.Images[0]
	im.Layers[3].Files, im.Layers[3].FileCount = []File{{Path: "/layerfile.txt", Bytes: 52_428_800, Fate: "deleted", By: 7}}, 1
	im.Layers[0].Files, im.Layers[0].FileCount = []File{{Path: "/usr/lib/libc.so.6", Bytes: 1_900_000, Fate: "kept"}, {Path: "/var/x", Bytes: 310_000, Fate: "overwritten", By: 1}}, 8000
	return withSavings(r)
}

// withSavings works the savings out of a report's layers.
func withSavings(r *Report) *Report {
	for i := range r.Images {
		im := &r.Images[i]
		s := Savings{BaseLayers: im.Base.Layers}
		for _, l := range im.Layers {
			s.Bytes += l.Bytes
			s.Wasted += l.OverwrittenBytes + l.DeletedBytes
			if l.Fate != "base" {
				s.Goes += l.OverwrittenBytes + l.DeletedBytes
			}
		}
		s.Scratch, s.More = s.Wasted, s.Wasted-s.Goes
		im.Savings = s
	}
	return r
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
	return withSavings(r)
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
	for i, text := range evil {
		im.Causes[i].Dir, im.Causes[i].Path, im.Causes[i].Remedy = text, text, text
		if i > 0 { // the first is the root
			im.Directories[i].Path += text
		}
		im.Layers[i].Files = []File{{Path: text, Bytes: 5, Fate: text}}
		im.Layers[i].FileCount = 3
	}
	im.Choices[0].Name, im.Choices[0].Base, im.Choices[0].Evidence = evil[0], evil[1], evil[2]
	im.Choices[1].Name, im.Choices[1].Base = evil[3], evil[4]
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
	return withSavings(r)
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
	im.Deleted, im.Wasted, im.Disagreements, im.Choices, im.Directories, im.AllDirs = nil, nil, nil, nil, nil, 0
	im.Causes = []Cause{{Why: "changed", Low: 1, High: 2, By: -1, Dir: "/", Path: "/message.txt", Files: 2, Bytes: 18}}
	im.WastedTotal = Sum{Count: 2, Bytes: 18}
	im.Merged = &MergedReport{Paths: 2, TarBytes: 815_104, FromLayers: 4}
	im.History = []HistoryLine{{CreatedBy: "COPY hello /", Layer: 0}, {CreatedBy: "RUN echo hello > message.txt", Layer: 1}, {CreatedBy: "RUN echo hello world > message.txt", Layer: 2}, {CreatedBy: "RUN echo hello flat world > message.txt", Layer: 3}, {CreatedBy: `CMD ["/hello"]`, Layer: -1}}
	im.NewHistory = []HistoryLine{{CreatedBy: "ADD layer.tar.gz /", Layer: 0}, {CreatedBy: `CMD ["/hello"]`, Layer: -1}}
	im.Dockerfile = "FROM scratch\nADD layer.tar.gz /\nCMD [\"/hello\"]\n"
	return withSavings(r)
}

// heavyBase is the report of an image whose waste lies nearly all in its base.
func heavyBase() *Report {
	r := prototype()
	im := &r.Images[0]
	im.Base = BaseReport{Name: "registry.example/team/toolchain:3", Layers: 5, Kind: "local", Evidence: "local image with the same 5 layers"}
	im.Layers = []LayerReport{
		inBase(layer("ADD file:9d1c9e0e in /", 3200, 4_000_000, 2_000_000, 70_000_000)),
		inBase(layer("RUN apt-get update && apt-get install -y build-essential", 5200, 2_100_000, 41_000_000, 61_000_000)),
		inBase(layer("COPY sources /usr/src/app", 900, 0, 36_500_000, 0)),
		inBase(layer("RUN make -C /usr/src/app install", 310, 14_000_000, 9_500_000, 12_000_000)),
		inBase(layer("RUN rm -rf /usr/src/app /var/lib/apt/lists/*", 0, 0, 0, 0)),
		layer("COPY app /srv/app", 12, 35_700, 0, 8_200_000),
		layer("RUN chown -R app:app /srv/app", 12, 0, 0, 35_700),
	}
	im.Causes = []Cause{
		{Why: "deleted", InBase: true, Low: 1, High: 1, By: 4, Dir: "/var/lib/apt/lists", Path: "/var/lib/apt/lists/x", Files: 32, Bytes: 41_000_000},
		{Why: "deleted", InBase: true, Low: 2, High: 3, By: 4, Dir: "/usr/src/app", Path: "/usr/src/app/a.o", Files: 1210, Bytes: 46_000_000},
		{Why: "changed", InBase: true, Low: 3, High: 3, By: -1, Dir: "/usr/lib", Path: "/usr/lib/libx.so", Files: 3, Bytes: 14_000_000},
		{Why: "owner", Low: 5, High: 5, By: 6, Dir: "/srv/app", Path: "/srv/app/main.py", Files: 12, Bytes: 35_700, Remedy: "COPY --chown=app:app"},
	}
	im.WastedTotal = Sum{Count: 1260, Bytes: 109_135_700}
	im.Before = Totals{Layers: 7, Bytes: 260_371_400, Paths: 9634, Estimate: 90_000_000}
	im.After = Totals{Layers: 6, Bytes: 260_335_700, Paths: 9622, Estimate: 89_900_000}
	im.Choices = []Choice{
		{Base: "5", Name: im.Base.Name, Chosen: true, Layers: 6, Bytes: 260_335_700, SharedLayers: 5, SharedBytes: 252_100_000},
		{Base: "1", Name: "debian:12", Layers: 2, Bytes: 157_235_700, SharedLayers: 1, SharedBytes: 76_000_000, Evidence: "guessed from the history"},
		{Base: "scratch", Name: "scratch", Layers: 1, Bytes: 151_235_700},
	}
	im.Deleted, im.Disagreements = nil, nil
	im.Directories = []Directory{
		{Path: "/", Files: 9600, KeptBytes: 151_235_700, OverwrittenBytes: 20_135_700, DeletedBytes: 89_000_000},
		{Path: "/usr", Files: 8000, KeptBytes: 128_000_000, OverwrittenBytes: 14_000_000, DeletedBytes: 46_000_000},
		{Path: "/usr/bin", Files: 900, KeptBytes: 31_000_000},
		{Path: "/usr/lib", Files: 3000, KeptBytes: 81_000_000, OverwrittenBytes: 14_000_000},
		{Path: "/usr/lib/gcc", Files: 700, KeptBytes: 41_000_000, OverwrittenBytes: 4_000_000},
		{Path: "/usr/lib/x86_64-linux-gnu", Files: 700, KeptBytes: 31_000_000, OverwrittenBytes: 9_000_000},
		{Path: "/usr/share", Files: 2000, KeptBytes: 16_000_000},
		{Path: "/usr/src", Files: 1210, DeletedBytes: 46_000_000},
		{Path: "/usr/src/app", Files: 1210, DeletedBytes: 46_000_000},
		{Path: "/var", Files: 800, KeptBytes: 12_000_000, OverwrittenBytes: 6_100_000, DeletedBytes: 43_000_000},
		{Path: "/var/lib", Files: 700, KeptBytes: 11_000_000, OverwrittenBytes: 6_100_000, DeletedBytes: 41_000_000},
		{Path: "/var/lib/apt/lists", Files: 32, DeletedBytes: 41_000_000},
		{Path: "/srv/app", Files: 12, KeptBytes: 8_235_700, OverwrittenBytes: 35_700},
	}
	im.AllDirs = 1210
	return withSavings(r)
}

// many is the report of an image of 101 layers on a base of 12.
func many() *Report {
	r := prototype()
	im := &r.Images[0]
	im.Base = BaseReport{Name: "python:3.12", Layers: 12, Kind: "parent", Evidence: "the engine's parent image, with the same 12 layers"}
	im.Layers, im.History, im.NewHistory = nil, nil, nil
	for i := range 101 {
		l := layer(fmt.Sprintf("RUN step %d --with some --more arguments && another command that is long", i), 40+i, int64(i%4)*900_000, int64(i%3)*1_300_000, int64(i%5)*2_000_000+300_000)
		for k := range 18 {
			l.Files = append(l.Files, File{Path: fmt.Sprintf("/usr/lib/python3/dist-packages/package%d/module%d.py", i, k), Bytes: int64(90_000 - k*1000), Fate: []string{"kept", "overwritten", "deleted"}[k%3], By: min(i+k%3, 100)})
		}
		l.FileCount = 40 + i
		if i < 12 {
			l = inBase(l)
		}
		im.Layers = append(im.Layers, l)
		im.History = append(im.History, HistoryLine{CreatedBy: l.Instruction, Layer: i})
		im.Before.Bytes += l.Bytes
	}
	im.Before.Layers, im.After.Layers = 101, 13
	im.After.Bytes = im.Before.Bytes - 200_000_000
	return withSavings(r)
}

// crowded is the report of an image of 300,000 files in so many directories that
// all lists are at their limits.
func crowded() *Report {
	r := many()
	im := &r.Images[0]
	im.Directories, im.Causes, im.Wasted, im.Deleted = []Directory{{Path: "/", Files: 300_000}}, nil, nil, nil
	for i := range 20 {
		top := Directory{Path: fmt.Sprintf("/directory-%02d", i), Files: 15_000}
		var below []Directory
		for k := range 19 {
			d := Directory{Path: fmt.Sprintf("%s/with-a-name-%02d", top.Path, k), Files: 700, KeptBytes: int64(1+k*k) * 50_000, DeletedBytes: int64(k%4) * 300_000, OverwrittenBytes: int64(i%3) * 200_000}
			top.KeptBytes, top.DeletedBytes, top.OverwrittenBytes = top.KeptBytes+d.KeptBytes, top.DeletedBytes+d.DeletedBytes, top.OverwrittenBytes+d.OverwrittenBytes
			below = append(below, d)
		}
		im.Directories = append(append(im.Directories, top), below...)
		root := &im.Directories[0]
		root.KeptBytes, root.DeletedBytes, root.OverwrittenBytes = root.KeptBytes+top.KeptBytes, root.DeletedBytes+top.DeletedBytes, root.OverwrittenBytes+top.OverwrittenBytes
	}
	for i := range 200 {
		dir := fmt.Sprintf("/directory-%02d/with-a-name-%02d/and/some/more/levels/of/directories/down/to/the/files", i%20, i%19)
		im.Causes = append(im.Causes, Cause{Why: []string{"deleted", "changed", "owner", "moved", "again"}[i%5], Low: i % 90, High: i%90 + i%3, By: 100, Dir: dir, Path: dir + "/file", Files: 3000 - i, Bytes: int64(2_000_000 - i*9000), InBase: i%4 == 0})
		im.Wasted = append(im.Wasted, WastedPath{Path: dir + "/file", Layer: i % 90, By: 100, How: "deleted", Bytes: int64(900_000 - i*4000), InBase: i%4 == 0})
	}
	for i := range 1000 {
		im.Deleted = append(im.Deleted, DeletedPath{Path: fmt.Sprintf("directory-%02d/gone-%d", i%20, i), How: "deleted", Paths: 1, Bytes: int64(i)})
	}
	im.DeletedTotal = Sum{Count: 80_000, Bytes: 90_000_000}
	im.OtherCauses, im.WastedTotal = Sum{Count: 9000, Bytes: 4_000_000}, Sum{Count: 100_000, Bytes: 220_000_000}
	im.AllDirs = 61_234
	im.Before.Paths, im.After.Paths = 412_000, 311_000
	return r
}
