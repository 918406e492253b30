package templates

import (
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// text returns what write writes of r in the given width.
func text(t *testing.T, write func(w *strings.Builder, r *Report) error, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func planText(t *testing.T, r *Report, width int) string {
	t.Helper()
	return text(t, func(w *strings.Builder, r *Report) error { return WritePlan(w, r, Look{Width: width}) }, r)
}

func summaryText(t *testing.T, r *Report, width int) string {
	t.Helper()
	return text(t, func(w *strings.Builder, r *Report) error { return WriteSummary(w, r, Look{Width: width}) }, r)
}

// unknown is the report of an image about which hardly anything is known.
func unknown() *Report {
	return &Report{Source: "x", Images: []ImageReport{{Layers: []LayerReport{{}, {Fate: "merged"}}}, {Unchanged: true}}}
}

var fixtures = map[string]func() *Report{
	"prototype": prototype, "tiny": tiny, "ninety": ninety, "hostile": hostile, "platforms": platforms, "unknown": unknown,
	"empty": func() *Report { return &Report{} }, "heavy base": heavyBase, "many": many, "crowded": crowded,
}

func TestSummaryReadsLikeDockerHistory(t *testing.T) {
	const want = `54.5MB of 214MB (26%) go; --base scratch would save 1.55MB more (and share
  nothing)
docker-daemon:demo:latest (linux/amd64): 7 layers above the base merged into 1
base: debian:12, 1 layer — local image with the same 1 layer

#  BECOMES    SIZE    KEPT  WASTED  INSTRUCTION
8  merged       0B      0B          RUN rm layerfile.txt
7  merged       0B      0B          RUN apt-get clean
6  merged       4B      4B          RUN echo two > a.txt
5  merged       4B      0B      4B  RUN echo one > a.txt
4  merged   52.4MB      0B  52.4MB  RUN dd if=/dev/zero of=layerfile.txt bs=1M …
3  merged   24.8MB  24.8MB          RUN apt-get install -y ruby
2  merged   19.5MB  17.4MB   2.1MB  RUN apt-get update
1  kept      117MB   115MB  1.55MB  ADD file:9d1c9e0e in /

        LAYERS  BYTES  COMPRESSED  PATHS
before       8  214MB        71MB  10596
after        2  158MB      61.2MB  10595
          −75%   −26%        −14%    ≈0%

wasted: 56.1MB in 245 files; the base holds 1.55MB of it, and keeps that
  52.4MB  layer 4, deleted by 8               /layerfile.txt
          → delete them in the RUN that makes them, or build in a stage of its
          own
   2.1MB  layers 2–3, overwritten by several  /var/lib/dpkg/ (2 files)
          → install packages in one RUN: each RUN writes dpkg's database anew
  1.24MB  layer 1 (base), deleted by 8        /usr/share/doc/ (240 files)
  and 2 files more, 310kB

deleted from the base: 240 paths, 1.2MB (still in its layers)
  1.2MB  /usr/share/doc/ (240 paths)

replaced in the base: 3 paths, 40kB (still in its layers)
  40kB  /etc/motd/ (3 paths, another directory now)

config and history disagree: ENV LANG is C.UTF-8 in the config, but no history
  entry sets it

image: docker-daemon:demo:flat (native builder, checked against the source)
`
	if got := summaryText(t, prototype(), 80); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPlanDoesNotSayThatAnythingWasMade(t *testing.T) {
	got := planText(t, prototype(), 80)
	if !strings.Contains(got, "7 layers above the base to merge into 1") || strings.Contains(got, "image:") {
		t.Error(got)
	}
	recovered := prototype()
	recovered.Recovered = true // its context was written, but no layer was
	if got := summaryText(t, recovered, 80); !strings.Contains(got, "7 layers above the base to merge into 1") {
		t.Error(got)
	}
}

func TestSummaryTellsWasteApartWhereThereIsRoom(t *testing.T) {
	got := summaryText(t, prototype(), 140)
	if !regexp.MustCompile(`(?m)^#  BECOMES  PATHS +SIZE +KEPT +OVERWRITTEN +DELETED +INSTRUCTION$`).MatchString(got) ||
		!regexp.MustCompile(`(?m)^1  kept +8412 +117MB +115MB +310kB +1.24MB +ADD file`).MatchString(got) {
		t.Error(got)
	}
}

func TestSummaryOfManyLayersFoldsTheSmallOnesAndThePlanDoesNot(t *testing.T) {
	got := summaryText(t, ninety(), 80)
	if n := strings.Count(got, "\n"); n > 36 {
		t.Errorf("%d lines:\n%s", n, got)
	}
	for _, part := range []string{"… 22 small layers", "RUN pip install", "COPY dir-37", "annotation org.opencontainers"} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
	if n := strings.Count(planText(t, ninety(), 80), "RUN make install"); n != 85 {
		t.Errorf("the plan shows %d of 85 small layers", n)
	}
}

func TestReusedResultIsToldLikeANewOne(t *testing.T) {
	r := prototype()
	first := summaryText(t, r, 120)
	for how, want := range map[Checked]string{
		CheckedBefore: "(made by an earlier run, checked by the run that made it)",
		CheckedAgain:  "(made by an earlier run, checked again against the source)",
		CheckedNot:    "(made by an earlier run, not checked against the source)",
	} {
		r.Reused, r.Checked = true, how
		got := summaryText(t, r, 120)
		if !strings.Contains(got, want) {
			t.Errorf("%s: no %q in\n%s", how, want, got)
		}
		if a, b := strings.Count(first, "\n"), strings.Count(got, "\n"); a != b {
			t.Errorf("%s: %d lines, and %d of a new one", how, b, a)
		}
	}
}

func TestUnchangedTakesOneLine(t *testing.T) {
	for _, c := range []struct {
		base   BaseReport
		layers int
		want   string
	}{
		{BaseReport{Name: "debian:12", Layers: 1}, 2, "1 layer above debian:12"},
		{BaseReport{Name: "debian:12", Layers: 2}, 2, "no layer above debian:12"},
		{BaseReport{Layers: 1}, 2, "1 layer above its base"},
		{BaseReport{Name: "scratch"}, 1, "1 layer in all"},
		{BaseReport{Name: "scratch"}, 0, "0 layers in all"},
	} {
		r := &Report{Source: "demo", Images: []ImageReport{{Unchanged: true, Base: c.base, Layers: make([]LayerReport, c.layers)}}}
		if got := planText(t, r, 80); got != "demo: nothing to flatten: "+c.want+"\n" {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestEveryPlatformHasItsSection(t *testing.T) {
	got := summaryText(t, platforms(), 80)
	for _, p := range []string{"(linux/amd64): 7 layers", "(linux/arm64/v8): 7 layers", "(linux/riscv64): nothing to flatten"} {
		if !strings.Contains(got, p) {
			t.Errorf("no %q in\n%s", p, got)
		}
	}
}

func TestNoLineIsWiderThanAskedForAndNoneCanHarmATerminal(t *testing.T) {
	for name, fixture := range fixtures {
		for _, width := range []int{minWidth, 41, 59, 79, 80, 81, 99, 109, 110, 111, 140, 200} {
			for _, got := range []string{planText(t, fixture(), width), summaryText(t, fixture(), width)} {
				for line := range strings.Lines(got) {
					line = strings.TrimSuffix(line, "\n")
					if n := columns.StringWidth(line); n > width {
						t.Fatalf("%s: %d columns for %d: %q", name, n, width, line)
					}
					if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
						t.Fatalf("%s: %q", name, line)
					}
				}
			}
		}
	}
}

func TestHeadlineSaysWhatGoesAndWhatScratchWouldSave(t *testing.T) {
	for want, s := range map[string]Savings{
		"":                      {},
		"nothing of 1kB goes":   {Bytes: 1000, BaseLayers: 1},
		"400B of 1kB (40%) go":  {Bytes: 1000, Goes: 400, Scratch: 400, BaseLayers: 2},
		"1B of 1kB (<1%) go":    {Bytes: 1000, Goes: 1},
		"999B of 1kB (>99%) go": {Bytes: 1000, Goes: 999},
		"94.7MB of 309MB (31%) go; --base scratch would save 57.9MB more (and share nothing)": {Bytes: 309_000_000, Goes: 94_700_000, Scratch: 152_600_000, More: 57_900_000, BaseLayers: 1},
		"nothing of 1kB goes; --base scratch would save 300B (30%, and share nothing)":        {Bytes: 1000, More: 300, Scratch: 300, BaseLayers: 1},
	} {
		if got := headline(&ImageReport{Savings: s}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestPlanSaysWhatOtherBasesWouldGive(t *testing.T) {
	const want = `
BASE            LAYERS  BYTES    GOES  SHARED
this plan            6  260MB  35.7kB  252MB in 5 layers  registry.example/team/toolchain:3
--base 1             2  157MB   103MB  76MB in 1 layer    debian:12
--base scratch       1  151MB   109MB  nothing
`
	if got := planText(t, heavyBase(), 100); !strings.Contains(got, want) {
		t.Error(got)
	}
}

func TestEstimatesAreCalledSo(t *testing.T) {
	if got := planText(t, heavyBase(), 80); !strings.Contains(got, "before       7  260MB       ≈90MB") || !strings.Contains(got, "≈ is an estimate: samples") {
		t.Error(got)
	}
	if got := planText(t, prototype(), 80); strings.Contains(got, "estimate") {
		t.Error("what is known is called an estimate")
	}
	for kind, page := range map[string]string{"an estimate": htmlPage(t, heavyBase()), "none": htmlPage(t, prototype())} {
		if strings.Contains(page, "≈ is an estimate") != (kind == "an estimate") {
			t.Errorf("the page with %s", kind)
		}
	}
}

func TestWasteOfTheBaseIsInTheListAndMarked(t *testing.T) {
	for name, got := range map[string]string{"plan": planText(t, heavyBase(), 80), "summary": summaryText(t, heavyBase(), 80)} {
		if !strings.Contains(got, "the base holds nearly all of it, and keeps it") || !strings.Contains(got, "layer 2 (base), deleted by 5            /var/lib/apt/lists/ (32 files)") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	if got := planText(t, heavyBase(), 80); !strings.Contains(got, "copied by 7 for another owner  /srv/app/ (12 files)\n          → COPY --chown=app:app") {
		t.Error(got)
	}
}

func TestCopiesOfOneFileAreNamedByIt(t *testing.T) {
	r := tiny()
	r.Images[0].Causes[0].Copies = true
	if got := planText(t, r, 80); !strings.Contains(got, "layers 2–3, overwritten by several  /message.txt (2 copies)") {
		t.Error(got)
	}
}

func TestNothingIsShortenedWithoutAWidth(t *testing.T) {
	r := crowded()
	im := &r.Images[0]
	im.Layers[100].Instruction = "RUN " + strings.Repeat("one more command && ", 400) + "the end"
	im.Causes[0].Dir = "/" + strings.Repeat("deep/", 200)
	im.Disagreements = []string{strings.Repeat("word ", 500) + "last"}
	got := planText(t, r, 0)
	for _, part := range []string{"the end\n", strings.Repeat("deep/", 200) + " (3000 files)", "word last\n"} {
		if !strings.Contains(got, part) {
			t.Errorf("no %.40q", part)
		}
	}
	if strings.Contains(got, "…") {
		t.Error("something is shortened")
	}
}

func TestAPathIsShortenedOnce(t *testing.T) {
	for _, fixture := range fixtures {
		for _, width := range []int{40, 60, 80, 100, 140} {
			for line := range strings.Lines(planText(t, fixture(), width)) {
				if strings.Contains(line, "/") && strings.Count(line, "…") > 1 {
					t.Fatalf("%d columns: %q", width, line)
				}
			}
		}
	}
}

func TestCountsSayWhatListsLeaveOut(t *testing.T) {
	got := planText(t, crowded(), 80)
	for _, part := range []string{"wasted: 220MB in 100000 files", "deleted from the base: 1000 paths, 500kB", "and 990 paths more", "deleted or replaced besides: 79000 paths, 89.5MB"} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
}

func TestReplacedIsNotDeleted(t *testing.T) {
	r := prototype()
	r.Images[0].Deleted = []DeletedPath{
		{Path: "var", Dir: true, Replaced: true, How: "emptied", Paths: 9, Bytes: 10},
		{Path: "bin", Dir: true, Replaced: true, How: "replaced", Paths: 4, Bytes: 5},
		{Path: "srv", Replaced: true, How: "replaced", Paths: 1, Bytes: 1},
	}
	got := planText(t, r, 80)
	if strings.Contains(got, "deleted from the base") || !strings.Contains(got, "replaced in the base: 14 paths, 16B") {
		t.Error(got)
	}
	for _, part := range []string{"/var/ (9 paths, another directory now)", "/bin/ (4 paths, no directory any more)", "/srv (a directory now)"} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9]+m")

func TestColoursAreSparseAndChangeNoText(t *testing.T) {
	for name, fixture := range fixtures {
		for kind, show := range map[string]func(io.Writer, *Report, Look) error{"plan": WritePlan, "summary": WriteSummary} {
			for _, width := range []int{0, 40, 80, 120} {
				var plain, coloured strings.Builder
				if err := errors.Join(show(&plain, fixture(), Look{Width: width}), show(&coloured, fixture(), Look{Width: width, Colour: true})); err != nil {
					t.Fatal(err)
				}
				if got := escapes.ReplaceAllString(coloured.String(), ""); got != plain.String() {
					t.Fatalf("%s of %s, %d columns: another text", kind, name, width)
				}
				if strings.Contains(plain.String(), "\x1b") {
					t.Errorf("%s of %s: colours that nobody asked for", kind, name)
				}
			}
		}
	}
	var b strings.Builder
	if err := WritePlan(&b, prototype(), Look{Width: 80, Colour: true}); err != nil || !strings.HasPrefix(b.String(), "\x1b[1m54.5MB of 214MB") {
		t.Errorf("%v: the headline isn't bold:\n%s", err, b.String())
	}
}

func TestNothingToFlattenSaysJustThat(t *testing.T) {
	r := prototype()
	im := &r.Images[0]
	im.Unchanged, im.Layers = true, im.Layers[:2]
	im.Savings = Savings{Bytes: 100, BaseLayers: 1}
	const want = `docker-daemon:demo:latest (linux/amd64): nothing to flatten: 1 layer above debian:12

image: docker-daemon:demo:flat (the same image, with its layers as they were)
`
	if got := summaryText(t, r, 90); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var dockerfiles strings.Builder
	if err := ShowDockerfiles(&dockerfiles, r); err != nil || dockerfiles.Len() > 0 {
		t.Errorf("%v: a Dockerfile for what isn't made:\n%s", err, dockerfiles.String())
	}
	for kind, page := range map[string]string{"html": htmlPage(t, r), "svg": svgPage(t, r)} {
		if strings.Contains(page, "ADD layer") || strings.Contains(page, "uilt") {
			t.Errorf("%s: it says that something was built", kind)
		}
	}
	im.Savings = Savings{Bytes: 100, More: 40, Scratch: 40, BaseLayers: 1}
	if got := planText(t, r, 200); !strings.Contains(got, "1 layer above debian:12; --base scratch would save 40B (40%, and share nothing)\n") {
		t.Error(got)
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken pipe")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteErrorsComeBack(t *testing.T) {
	r := prototype()
	for name, err := range map[string]error{
		"plan": WritePlan(brokenWriter{}, r, Look{Width: 80}), "summary": WriteSummary(brokenWriter{}, r, Look{Width: 80}), "json": WriteJSON(brokenWriter{}, r),
		"html": WriteHTML(brokenWriter{}, r), "svg": WriteSVG(brokenWriter{}, r),
	} {
		if !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		before, after int64
		want          string
	}{
		{0, 0, ""}, {0, 5, ""}, {100, 100, "±0%"}, {100, 81, "−19%"}, {1000, 996, "−0.4%"},
		{100000, 99999, "≈0%"}, {100, 0, "−100%"}, {100, 150, "+50%"}, {1000, 1001, "+0.1%"},
	} {
		if got := percent(c.before, c.after); got != c.want {
			t.Errorf("%d to %d: %q, want %q", c.before, c.after, got, c.want)
		}
	}
}

func TestSizesHaveThreeFigures(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 999: "999B", 1000: "1kB", 1234: "1.23kB", 999_499: "999kB", 999_500: "1MB", 999_999: "1MB", 999_600_000: "1GB", 117_000_000: "117MB", 1 << 62: "4.61EB",
	} {
		if got := Size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestPathsAreCutInTheirMiddle(t *testing.T) {
	const path = "/usr/lib/x86_64-linux-gnu/perl-base/unicore/lib/Bpt/O.pl"
	for width := 12; width < 70; width++ {
		got := cutPath(path, width)
		if n := columns.StringWidth(got); n > width {
			t.Errorf("%d columns for %d: %q", n, width, got)
		}
		if !strings.HasPrefix(got, "/us") || !strings.HasSuffix(got, "O.pl") {
			t.Errorf("%d: %q", width, got)
		}
	}
}

func TestJSONIsOneObjectWithTheReportsFields(t *testing.T) {
	for name, fixture := range fixtures {
		got := text(t, func(w *strings.Builder, r *Report) error { return WriteJSON(w, r) }, fixture())
		var back Report
		d := json.NewDecoder(strings.NewReader(got))
		d.DisallowUnknownFields()
		if err := d.Decode(&back); err != nil || d.More() {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(got, "null") {
			t.Errorf("%s: a null in\n%s", name, got)
		}
		if strings.ContainsAny(got, "\x00\x07\x1b") {
			t.Errorf("%s: a control character", name)
		}
	}
	if got := text(t, func(w *strings.Builder, r *Report) error { return WriteJSON(w, r) }, hostile()); !strings.Contains(got, "<script>") {
		t.Error("HTML escapes in JSON")
	}
}

func TestALongNameOfTheImageIsBrokenRatherThanCut(t *testing.T) {
	r := tiny()
	r.Source = "docker-archive:/home/someone/" + strings.Repeat("a-long-directory/", 5) + "image.tar"
	got := strings.ReplaceAll(planText(t, r, 80), "\n  ", "")
	if !strings.Contains(got, "\n"+r.Source) || !strings.Contains(got, "(linux/amd64): 4 layers above") {
		t.Error(got)
	}
}

// A log is read as it is: nothing of it is folded, as on a terminal.
func TestOnlyATerminalFoldsLayers(t *testing.T) {
	im := ImageReport{Layers: []LayerReport{{Instruction: "RUN big", Fate: "merged", Bytes: 1_000_000}}}
	for range 100 {
		im.Layers = append(im.Layers, LayerReport{Instruction: "RUN small", Fate: "merged", Bytes: 1})
	}
	for width, want := range map[int]bool{0: true, 80: false} {
		var b strings.Builder
		if err := WriteSummary(&b, &Report{Source: "app", Images: []ImageReport{im}}, Look{Width: width}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "RUN small"); (n == 100) != want {
			t.Errorf("%d columns: %d layers of 100", width, n)
		}
	}
}
