package templates

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// node is what a page holds, in order: an element's start with its attributes,
// or text.
type node struct {
	element string
	attrs   map[string]string
	text    string
	in      string // the element that the text is in
}

// nodes takes a page apart. Both kinds are well-formed but for HTML's void
// elements, so that every tag of the templates has to match.
func nodes(t *testing.T, page string) []node {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict = false
	d.AutoClose = []string{"meta"}
	var all []node
	var open []string
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			attrs := make(map[string]string)
			for _, a := range token.Attr {
				attrs[a.Name.Local] = a.Value
			}
			all = append(all, node{element: token.Name.Local, attrs: attrs})
			open = append(open, token.Name.Local)
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1] != token.Name.Local {
				t.Fatalf("</%s> closes %v", token.Name.Local, open)
			}
			open = open[:len(open)-1]
		case xml.CharData:
			n := node{text: string(token)}
			if len(open) > 0 {
				n.in = open[len(open)-1]
			}
			all = append(all, n)
		}
	}
	if len(open) > 0 {
		t.Fatalf("not closed: %v", open)
	}
	return all
}

func htmlPage(t *testing.T, r *Report) string {
	t.Helper()
	return text(t, func(w *strings.Builder, r *Report) error { return WriteHTML(w, r) }, r)
}

func svgPage(t *testing.T, r *Report) string {
	t.Helper()
	return text(t, func(w *strings.Builder, r *Report) error { return WriteSVG(w, r) }, r)
}

var known = strings.Fields(`html head meta title style body main header h1 h2 h3 h4 p span strong nav a svg defs pattern rect
	desc section code dl div dt dd small ul li i figure g path line details summary pre table thead tbody tr th td ol footer text script`)

func TestPagesNeedNothingElseAndNothingOfTheImageBecomesMarkup(t *testing.T) {
	for name, fixture := range fixtures {
		for kind, page := range map[string]string{"html": htmlPage(t, fixture()), "svg": svgPage(t, fixture())} {
			for _, n := range nodes(t, page) {
				if n.element != "" && !slices.Contains(known, n.element) {
					t.Errorf("%s %s: element %s", name, kind, n.element)
				}
				for attr, value := range n.attrs {
					switch {
					case strings.HasPrefix(attr, "on") || attr == "src" || attr == "srcdoc":
						t.Errorf("%s %s: attribute %s=%q", name, kind, attr, value)
					case attr == "href" && !strings.HasPrefix(value, "#image-"):
						t.Errorf("%s %s: a link to %q", name, kind, value)
					case attr == "style" && !regexp.MustCompile(`^(width:[0-9.]+%|fill:var\(--[a-z-]+\)|margin:0|position:absolute)$`).MatchString(value):
						t.Errorf("%s %s: style %q", name, kind, value)
					}
				}
				if n.in == "style" && regexp.MustCompile(`(?i)@import|https?:|url\([^#]|expression`).MatchString(n.text) {
					t.Errorf("%s %s: a style that loads something", name, kind)
				}
			}
			if strings.ContainsAny(page, "\x00\x07\x1b\u202e\u2066\u009b") || strings.Contains(page, "ZgotmplZ") {
				t.Errorf("%s %s: a character that must not be there", name, kind)
			}
		}
	}
}

// TestHTMLForbidsWhatItDoesNotUse takes the policy and the script from the page
// as a browser does: the script runs only if its hash is the policy's.
func TestHTMLForbidsWhatItDoesNotUse(t *testing.T) {
	for name, fixture := range fixtures {
		page := htmlPage(t, fixture())
		before, rest, found := strings.Cut(page, "<script>")
		script, after, closed := strings.Cut(rest, "</script>")
		if !found || !closed || strings.Contains(before+after, "<script") {
			t.Fatalf("%s: not just one script", name)
		}
		sum := sha256.Sum256([]byte(script))
		want := fmt.Sprintf("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-%s'; base-uri 'none'; form-action 'none'", base64.StdEncoding.EncodeToString(sum[:]))
		policy := ""
		for _, n := range nodes(t, page) {
			if n.attrs["http-equiv"] == "Content-Security-Policy" {
				policy = n.attrs["content"]
			}
		}
		if policy != want {
			t.Errorf("%s: the policy is %s\nwant %s", name, policy, want)
		}
		if script != pageScript {
			t.Errorf("%s: the script isn't the one it should be", name)
		}
	}
}

// TestScriptNeedsNothingElse looks for what would let text of an image become
// markup or code, or would ask another machine for something.
func TestScriptNeedsNothingElse(t *testing.T) {
	for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval", "Function(", "setTimeout", "fetch", "XMLHttp", "import", "http", "<", "&"} {
		if strings.Contains(pageScript, bad) {
			t.Errorf("the script has %q", bad)
		}
	}
}

func TestHTMLShowsTheWholeReport(t *testing.T) {
	var shown strings.Builder
	for _, n := range nodes(t, htmlPage(t, hostile())) {
		shown.WriteString(n.text)
	}
	r := prototype()
	for _, n := range nodes(t, htmlPage(t, r)) {
		shown.WriteString(n.text)
	}
	im := r.Images[0]
	want := []string{
		"docker-daemon:demo:latest", "demo:flat", r.ID, "linux/amd64", "local image with the same 1 layer",
		"8 → 2", "214MB → 158MB", "71MB → 61.2MB", "Base: debian:12", "54.5MB stays behind", "/layerfile.txt",
		"/usr/share/doc/", "240 paths", "Replaced in the base", "another directory now", "Config and history disagree", im.Disagreements[0], im.Dockerfile,
		"in layer 4, deleted by layer 8", "one layer, out of 7",
		// and of the hostile one, its texts as texts
		evil[0], "COPY caf· · /", evil[3], evil[4], "RUN printf '·[2J·[31m···' # ·gnp.exe·", "<b>base</b>",
	}
	for _, l := range im.Layers {
		want = append(want, l.Instruction)
	}
	for _, h := range slices.Concat(im.History, im.NewHistory) {
		want = append(want, strings.TrimSpace(h.CreatedBy))
	}
	for _, part := range want {
		if !strings.Contains(shown.String(), part) {
			t.Errorf("no %.80q", part)
		}
	}
}

func TestBothPagesMarkTheBoundary(t *testing.T) {
	for kind, page := range map[string]string{"html": htmlPage(t, prototype()), "svg": svgPage(t, prototype())} {
		if !strings.Contains(page, `class="boundary"`) || !strings.Contains(page, "The base ends here") {
			t.Errorf("%s: no boundary", kind)
		}
	}
	for kind, page := range map[string]string{"html": htmlPage(t, tiny()), "svg": svgPage(t, tiny())} {
		if strings.Contains(page, "The base ends here") {
			t.Errorf("%s: a boundary where there is no base", kind)
		}
	}
}

func TestEveryLayerOfThePictureLeadsToItsRow(t *testing.T) {
	ids := make(map[string]bool)
	var links []string
	for _, n := range nodes(t, htmlPage(t, platforms())) {
		if id := n.attrs["id"]; id != "" {
			if ids[id] {
				t.Errorf("two elements with the id %s", id)
			}
			ids[id] = true
		}
		if to, ok := n.attrs["href"]; ok {
			links = append(links, to)
		}
	}
	if len(links) < 16 {
		t.Errorf("only %d links", len(links))
	}
	for _, to := range links {
		if !ids[strings.TrimPrefix(to, "#")] {
			t.Errorf("%s leads nowhere", to)
		}
	}
}

func TestPictureAddsUp(t *testing.T) {
	for name, fixture := range fixtures {
		for _, im := range fixture().Images {
			const width = 1000
			p := draw(&im, width, 44, 108)
			total := int64(0)
			for _, l := range im.Layers {
				total += parts(l)
			}
			if total == 0 {
				if len(p.Before)+len(p.After) > 0 {
					t.Errorf("%s: a picture of nothing", name)
				}
				continue
			}
			x := 0.0
			for _, s := range p.Before {
				if math.Abs(s.X-x) > 1e-6 || s.W <= 0 {
					t.Fatalf("%s: a gap before %+v", name, s)
				}
				x += s.W
			}
			if math.Abs(x-width) > 1e-6 {
				t.Errorf("%s: the strip is %f wide", name, x)
			}
			last := p.After[len(p.After)-1]
			if !im.Unchanged {
				kept := 0.0
				for _, r := range p.Ribbons {
					kept += r.X1 - r.X0
				}
				if last.Layer != 0 || math.Abs(last.W-kept) > 1e-6 || math.Abs(last.X-p.Boundary) > 1e-6 {
					t.Errorf("%s: the merged layer is %+v, the ribbons are %f wide", name, last, kept)
				}
			}
		}
	}
}

// TestMapIsTrueToSize holds each tile's area against its bytes, and the sum of
// all against the whole.
func TestMapIsTrueToSize(t *testing.T) {
	for name, fixture := range fixtures {
		for _, im := range fixture().Images {
			m := mapOf(&im)
			if len(im.Directories) == 0 { // nothing is known
				if len(m.Tiles) > 0 {
					t.Errorf("%s: a map of nothing", name)
				}
				continue
			}
			number := func(s string) float64 {
				f, err := strconv.ParseFloat(s, 64)
				if err != nil || f < 0 || f > 100.001 {
					t.Fatalf("%s: %q: %v", name, s, err)
				}
				return f
			}
			area := 0.0
			for _, tile := range m.Tiles {
				x, y, w, h := number(tile.X), number(tile.Y), number(tile.W), number(tile.H)
				if x+w > 100.01 || y+h > 100.01 {
					t.Errorf("%s: %s lies outside", name, tile.Path)
				}
				area += w * h
				parts := 0.0
				for _, p := range tile.Parts {
					parts += number(p.H)
				}
				if math.Abs(parts-100) > 0.01 {
					t.Errorf("%s: the parts of %s are %f %% of it", name, tile.Path, parts)
				}
			}
			if math.Abs(area-100*100) > 5 {
				t.Errorf("%s: the tiles cover %f", name, area)
			}
		}
	}
	im := ImageReport{Directories: []Directory{{Path: "/", KeptBytes: 100}, {Path: "/a", KeptBytes: 60}, {Path: "/a/b", KeptBytes: 15}, {Path: "/c", DeletedBytes: 0, KeptBytes: 25}}}
	for _, tile := range mapOf(&im).Tiles {
		w, _ := strconv.ParseFloat(tile.W, 64)
		h, _ := strconv.ParseFloat(tile.H, 64)
		if want := map[string]float64{"/": 15, "/a/": 45, "/a/b/": 15, "/c/": 25}[tile.Path]; math.Abs(w*h/100-want) > 0.01 {
			t.Errorf("%s covers %f %%, want %f", tile.Path, w*h/100, want)
		}
	}
}

func TestPageSaysWhatItLeavesOut(t *testing.T) {
	page := htmlPage(t, crowded())
	for _, part := range []string{
		"The 240 largest of 61234 directories", "… and 22 files more", "… and 99950 files more", "… and 900 paths more", "Deleted or replaced besides: 79000 paths, 89.5MB.",
	} {
		if !strings.Contains(page, part) {
			t.Errorf("no %q", part)
		}
	}
	if len(page) > 2_000_000 {
		t.Errorf("%d bytes", len(page))
	}
}

func TestPagesAreTheSameEachTime(t *testing.T) {
	for name, fixture := range fixtures {
		for kind, page := range map[string]func(*testing.T, *Report) string{"html": htmlPage, "svg": svgPage} {
			if first, second := page(t, fixture()), page(t, fixture()); first != second {
				t.Errorf("%s %s differs", name, kind)
			}
		}
	}
}

// TestBrowserShowsThePages lets a real browser draw each page, when one is
// asked for, and looks for what a broken page wouldn't have.
func TestBrowserShowsThePages(t *testing.T) {
	if os.Getenv("DOCKER_FLATTEN_BROWSER") == "" {
		t.Skip("DOCKER_FLATTEN_BROWSER is not set: no browser draws the pages")
	}
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("DOCKER_FLATTEN_BROWSER is set, and there is no chromium in the PATH")
	}
	profile := t.TempDir()
	run := func(args ...string) []byte {
		t.Helper()
		args = append([]string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--user-data-dir=" + profile, "--window-size=800,1200",
		}, args...)
		out, err := exec.Command(browser, args...).Output()
		if err != nil {
			t.Fatalf("chromium: %v", err)
		}
		return out
	}
	for name, fixture := range fixtures {
		dir := t.TempDir()
		page := filepath.Join(dir, "report.html")
		if err := os.WriteFile(page, []byte(htmlPage(t, fixture())), 0o644); err != nil {
			t.Fatal(err)
		}
		dom := run("--dump-dom", "file://"+page)
		if !bytes.Contains(dom, []byte("Made by docker-flatten")) || bytes.Count(dom, []byte("<script")) != 1 {
			t.Errorf("%s: the browser sees another page", name)
		}
		picture := filepath.Join(dir, "report.svg")
		if err := os.WriteFile(picture, []byte(svgPage(t, fixture())), 0o644); err != nil {
			t.Fatal(err)
		}
		if dom := run("--dump-dom", "file://"+picture); bytes.Contains(dom, []byte("parsererror")) {
			t.Errorf("%s: the browser can't read the SVG", name)
		}
		if name != "prototype" && name != "ninety" {
			continue // each start of the browser takes seconds, and the others draw the same shapes
		}
		shot := filepath.Join(dir, "shot.png")
		run("--screenshot="+shot, "file://"+page)
		if info, err := os.Stat(shot); err != nil || info.Size() < 4096 {
			t.Errorf("%s: nothing drawn: %v", name, err)
		}
	}
}

func TestPagesKnowTheirSourceAgain(t *testing.T) {
	r := prototype()
	for kind, page := range map[string]string{"html": htmlPage(t, r), "svg": svgPage(t, r)} {
		head := []byte(page[:min(len(page), PageHead)])
		if !IsPage(head, r.Source) {
			t.Errorf("%s: isn't known for a page about %s", kind, r.Source)
		}
		if IsPage(head, "docker-daemon:other:1") {
			t.Errorf("%s: is taken for a page about another image", kind)
		}
	}
	if IsPage([]byte("<html><title>"+r.Source+"</title>docker-flatten"), r.Source) {
		t.Error("a page of somebody else's is taken for one")
	}
}
