package templates

import (
	"io"
	"strings"
	"testing"
)

// What isn't linear in the texts' size shows in the time that this test takes.
func TestSummaryOfHugeTextsIsLinear(t *testing.T) {
	size := 1_000_000
	if testing.Short() {
		size = 50_000
	}
	huge := strings.Repeat("x", size)
	im := ImageReport{
		Base: BaseReport{Name: huge, Evidence: huge, Layers: 1}, Disagreements: []string{huge, strings.Repeat("é 世", size/3)}, Cleared: []string{huge}, Losses: []string{huge},
		Layers: []LayerReport{{Instruction: huge, Fate: "base"}}, Deleted: []DeletedPath{{Path: huge}}, Wasted: []WastedPath{{Path: huge, How: "deleted"}}, Causes: []Cause{{Why: "deleted", Dir: huge, Path: huge, Remedy: huge, Files: 1}}, Choices: []Choice{{Base: huge, Name: huge}, {Base: huge}},
	}
	for range 3000 {
		im.Layers = append(im.Layers, LayerReport{Instruction: "RUN make", Fate: "merged", Bytes: 1})
	}
	r := &Report{Source: huge, Images: []ImageReport{im}, Warnings: []string{huge}}
	for _, write := range []func(io.Writer, *Report, Look) error{WritePlan, WriteSummary} {
		var b strings.Builder
		if err := write(&b, r, Look{Width: 80}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if columns.StringWidth(strings.TrimSuffix(line, "\n")) > 80 {
				t.Fatalf("a line of %d columns", columns.StringWidth(line))
			}
		}
		if n := strings.Count(b.String(), "xxx\n"); n > 100 || n == 0 {
			t.Errorf("%d lines of the texts", n)
		}
	}
}
