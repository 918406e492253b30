package templates

import (
	"encoding/json"
	"errors"
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
	return text(t, func(w *strings.Builder, r *Report) error { return WritePlan(w, r, width) }, r)
}

func summaryText(t *testing.T, r *Report, width int) string {
	t.Helper()
	return text(t, func(w *strings.Builder, r *Report) error { return WriteSummary(w, r, width) }, r)
}

// unknown is the report of an image about which hardly anything is known.
func unknown() *Report {
	return &Report{Source: "x", Images: []ImageReport{{Layers: []LayerReport{{}, {Fate: "merged"}}}, {Unchanged: true}}}
}

var fixtures = map[string]func() *Report{
	"prototype": prototype, "tiny": tiny, "ninety": ninety, "hostile": hostile, "platforms": platforms, "unknown": unknown,
	"empty": func() *Report { return &Report{} },
}

func TestSummaryReadsLikeDockerHistory(t *testing.T) {
	const want = `docker-daemon:demo:latest (linux/amd64): 7 layers above the base merged into 1
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

deleted from the base: 241 paths, 1.24MB (still in its layers)
  1.2MB  /usr/share/doc/ (240 paths)
   40kB  /etc/motd (replaced)

wasted, the largest files:
  52.4MB  layer 4, deleted by 8      /layerfile.txt
   2.1MB  layer 2, overwritten by 3  /var/lib/dpkg/status
      4B  layer 5, overwritten by 6  /a.txt

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
	if n := strings.Count(got, "\n"); n > 30 {
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

type brokenWriter struct{}

var errBroken = errors.New("broken pipe")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteErrorsComeBack(t *testing.T) {
	r := prototype()
	for name, err := range map[string]error{
		"plan": WritePlan(brokenWriter{}, r, 80), "summary": WriteSummary(brokenWriter{}, r, 80), "json": WriteJSON(brokenWriter{}, r),
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
	if !strings.HasPrefix(got, r.Source) || !strings.Contains(got, "(linux/amd64): 4 layers above") {
		t.Error(got)
	}
}
