package examples

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/go-units"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestPrototypeHistories holds the table of the two histories in the
// prototype's README against the images.
func TestPrototypeHistories(t *testing.T) {
	flat := filepath.Join(t.TempDir(), "flat.tar")
	if out, err := exec.Command(binary, "-q", "-t", "demo:flat", "--compression", "none", "-o", flat, "prototype/image.tar").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	table := sideBySide(historyRows(t, "prototype/image.tar"), historyRows(t, flat))

	text, _ := readme(t, "prototype")
	const begin, end = "<!-- histories: TestPrototypeHistories writes this table -->\n", "<!-- end of histories -->\n"
	head, rest, ok := strings.Cut(text, begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("prototype/README.md has no place for the table of histories")
	}
	switch {
	case old == table:
	case *update:
		if err := os.WriteFile("prototype/README.md", []byte(head+begin+table+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("prototype/README.md has\n%snot\n%s", old, table)
	}
}

// row is one history entry: its instruction and its layer's size.
type row struct{ instruction, size string }

// historyRows are the history entries of an archive's image, the newest first.
func historyRows(t *testing.T, archive string) []row {
	t.Helper()
	im, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := im.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := im.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for _, h := range config.History {
		r := row{instruction: h.CreatedBy}
		if !h.EmptyLayer {
			r.size = units.HumanSizeWithPrecision(float64(fileBytes(t, layers[0])), 3)
			layers = layers[1:]
		}
		if text, ok := strings.CutPrefix(r.instruction, "/bin/sh -c #(nop) "); ok {
			r.instruction = strings.TrimSpace(text)
		} else if text, ok := strings.CutPrefix(r.instruction, "/bin/sh -c "); ok {
			r.instruction = "RUN " + text
		}
		if before, after, ok := strings.Cut(r.instruction, "file:"); ok {
			r.instruction = before + "file:" + after[:12] + after[64:]
		}
		rows = append([]row{r}, rows...)
	}
	if len(layers) != 0 {
		t.Fatalf("%s: %d layers without a history entry", archive, len(layers))
	}
	return rows
}

func fileBytes(t *testing.T, l v1.Layer) (n int64) {
	t.Helper()
	r, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
		n += h.Size
	}
}

// sideBySide is a Markdown table of two histories: what they share at both ends
// on the same lines, and between them what became what.
func sideBySide(before, after []row) string {
	same, tail := 0, 0
	for same < len(before) && same < len(after) && before[same] == after[same] {
		same++
	}
	for tail < min(len(before), len(after))-same && before[len(before)-1-tail] == after[len(after)-1-tail] {
		tail++
	}
	var b strings.Builder
	b.WriteString("| before | | after | |\n|---|--:|---|--:|\n")
	line := func(x, y row) {
		code := func(s string) string {
			if s != "" {
				s = "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
			}
			return s
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", code(x.instruction), x.size, code(y.instruction), y.size)
	}
	for i := range same {
		line(before[i], after[i])
	}
	b1, a1 := before[same:len(before)-tail], after[same:len(after)-tail]
	for i := range max(len(b1), len(a1)) {
		var x, y row
		if i < len(b1) {
			x = b1[i]
		}
		if i < len(a1) {
			y = a1[i]
		}
		line(x, y)
	}
	for i := len(before) - tail; i < len(before); i++ {
		line(before[i], before[i])
	}
	return b.String()
}
