package templates

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestDifferencesReadAsLines(t *testing.T) {
	long := strings.Repeat("x", 100)
	for want, d := range map[string]Difference{
		"/etc/passwd: mode 0755, not 0644":                       {Path: "/etc/passwd", What: "mode", Image: "0755", Other: "0644"},
		"/empty: only in OTHER (directory)":                      {Path: "/empty", What: "missing", Other: "directory"},
		"config.User: only in IMAGE (\"me\")":                    {Path: "config.User", What: "extra", Image: `"me"`},
		`config.Cmd: ["a"], not ["b"]`:                           {Path: "config.Cmd", What: "value", Image: `["a"]`, Other: `["b"]`},
		"/b: link group without /a, not with /a":                 {Path: "/b", What: "link group", Image: "without /a", Other: "with /a"},
		"/a\\x1b[31m: xattr user.\\u202ek \\a, not absent":       {Path: "/a\x1b[31m", What: "xattr user.\u202ek", Image: "\x07", Other: "absent"},
		"/l: link target …" + long[:20] + "1, not …" + long[:20]: {Path: "/l", What: "link target", Image: long + "1", Other: long},
		"/l: link target a, not " + long[:53] + "…" + long[:26]:  {Path: "/l", What: "link target", Image: "a", Other: long},
		"/" + long + long + ": mode 1, not 2":                    {Path: "/" + long + long, What: "mode", Image: "1", Other: "2"},
		`/a\xff: only in IMAGE (file)`:                           {Path: "/a\xff", What: "extra", Image: "file"},
		`/l: link target a\x01  b, not a\x02 b`:                  {Path: "/l", What: "link target", Image: "a\x01  b", Other: "a\x02 b"},
		`/l: link target "a ", not a`:                            {Path: "/l", What: "link target", Image: "a ", Other: "a"},
		`config.Env: ["A=b\u00a0c"], not ["A=b c"]`:              {Path: "config.Env", What: "value", Image: "[\"A=b\u00a0c\"]", Other: `["A=b c"]`},
		"/é: only in OTHER (file)":                               {Path: "/é", What: "missing", Other: "file"},
		`/e\u0301: only in IMAGE (file)`:                         {Path: "/e\u0301", What: "extra", Image: "file"},
		"/कि.txt: mode 1, not 2":                                 {Path: "/कि.txt", What: "mode", Image: "1", Other: "2"},
	} {
		if got := d.line(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestFirstDifferencesAndHowManyMore(t *testing.T) {
	c := &Comparison{Count: 31, Platforms: []PlatformComparison{{Platform: "linux/amd64", Count: 30}, {Platform: "linux/arm64", Only: SideOther, Count: 1}}}
	for i := range 30 {
		c.Platforms[0].Differences = append(c.Platforms[0].Differences, Difference{Path: fmt.Sprint("/", i), What: "extra", Image: "file"})
	}
	var b strings.Builder
	if err := WriteDifferences(&b, c); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 22 || lines[0] != "linux/amd64: /0: only in IMAGE (file)" || lines[20] != "… and 11 more" {
		t.Errorf("%q", lines)
	}
	b.Reset()
	c.Platforms[0].Differences, c.Count = nil, 1
	if err := WriteDifferences(&b, c); err != nil || b.String() != "linux/arm64: only in OTHER\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if err := WriteDifferences(nil, &Comparison{Same: true}); err != nil {
		t.Errorf("where nothing is to be written: %v", err)
	}
}

func TestVerdict(t *testing.T) {
	c := &Comparison{Image: "a:1", Other: "b\x1b:2", Same: true, Platforms: []PlatformComparison{{Paths: 7}, {Paths: 8}}}
	if got, want := c.Verdict(), "a:1 and b·:2 are the same: config and 15 paths of 2 platforms"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	c.Same, c.Count = false, 1
	if got, want := c.Verdict(), "a:1 differs from b·:2 in 1 place"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Names that aren't UTF-8 stay apart.
func TestComparisonJSONHasEveryByte(t *testing.T) {
	c := &Comparison{Platforms: []PlatformComparison{{Differences: []Difference{{Path: "/a\xff\\é", What: "link target", Image: "\xc3", Other: "\xc4"}}}}}
	var b strings.Builder
	if err := WriteComparisonJSON(&b, c); err != nil {
		t.Fatal(err)
	}
	var back Comparison
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil {
		t.Fatal(err)
	}
	if d := back.Platforms[0].Differences[0]; d != (Difference{Path: `/a\xff\é`, What: "link target", Image: `\xc3`, Other: `\xc4`}) {
		t.Errorf("%+q", d)
	}
	if c.Platforms[0].Differences[0].Path != "/a\xff\\é" {
		t.Error("the comparison itself has changed")
	}
}

func TestComparisonJSONHasAllDifferences(t *testing.T) {
	c := &Comparison{Platforms: []PlatformComparison{{}, {}}}
	for range 100 {
		c.Platforms[1].Differences = append(c.Platforms[1].Differences, Difference{Path: "/\x9b<&>", What: "extra"})
	}
	var b strings.Builder
	if err := WriteComparisonJSON(&b, c); err != nil {
		t.Fatal(err)
	}
	var back Comparison
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || len(back.Platforms[1].Differences) != 100 {
		t.Errorf("%v, %d", err, len(back.Platforms[1].Differences))
	}
	if !strings.Contains(b.String(), `"differences": []`) || strings.Contains(b.String(), "\x9b") {
		t.Errorf("%.300s", b.String())
	}
}
