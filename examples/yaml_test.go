package examples

import (
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// The examples' YAML keeps to a small part of the language, which this reader
// knows and nothing more: block mappings and sequences, plain and quoted
// scalars on one line, lists in brackets, and literal blocks (|). Whatever else
// stands in a file is an error, and so is a key that stands there twice.

// yamlLine is one line that isn't empty or a comment.
type yamlLine struct {
	number, indent int
	text           string // without indentation and comment
}

type yamlReader struct {
	raw   []string
	lines []yamlLine
}

// readYAML returns the documents of a file: map[string]any, []any, string, int
// and bool.
func readYAML(t *testing.T, name string) []any {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	documents, err := parseYAML(string(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return documents
}

func parseYAML(text string) (documents []any, err error) {
	defer func() {
		if e, ok := recover().(error); ok {
			documents, err = nil, e
		}
	}()
	r := &yamlReader{raw: strings.Split(text, "\n")}
	flush := func() {
		if len(r.lines) == 0 {
			return
		}
		documents = append(documents, r.node(r.lines[0].indent))
		if len(r.lines) > 0 {
			panic(fmt.Errorf("line %d: %q is out of place", r.lines[0].number, r.lines[0].text))
		}
	}
	for i, line := range r.raw {
		if strings.Contains(line, "\t") {
			return nil, fmt.Errorf("line %d: a tab", i+1)
		}
		if line == "---" {
			flush()
			continue
		}
		text := strings.TrimLeft(line, " ")
		if text != "" && text[0] != '#' {
			r.lines = append(r.lines, yamlLine{number: i + 1, indent: len(line) - len(text), text: text})
		}
	}
	flush()
	return documents, nil
}

// node reads the mapping or sequence whose lines are indented by indent.
func (r *yamlReader) node(indent int) any {
	if strings.HasPrefix(r.lines[0].text+" ", "- ") {
		var list []any
		for len(r.lines) > 0 && r.lines[0].indent == indent && strings.HasPrefix(r.lines[0].text+" ", "- ") {
			rest := strings.TrimPrefix(r.lines[0].text, "-")
			inner := strings.TrimLeft(rest, " ")
			if _, _, ok := cutKey(inner); ok { // a mapping that begins behind the dash
				deeper := indent + 1 + len(rest) - len(inner)
				r.lines[0].indent, r.lines[0].text = deeper, inner
				list = append(list, r.node(deeper))
				continue
			}
			list = append(list, r.value(indent, inner))
		}
		return list
	}
	m := map[string]any{}
	for len(r.lines) > 0 && r.lines[0].indent == indent {
		line := r.lines[0]
		key, rest, ok := cutKey(line.text)
		if !ok {
			panic(fmt.Errorf("line %d: no key: %q", line.number, line.text))
		}
		if _, twice := m[key]; twice {
			panic(fmt.Errorf("line %d: %s is there twice", line.number, key))
		}
		m[key] = r.value(indent, rest)
	}
	return m
}

// value reads what stands behind a key or a dash on the first line, and below.
func (r *yamlReader) value(indent int, text string) any {
	line := r.lines[0]
	r.lines = r.lines[1:]
	text = withoutComment(text)
	switch {
	case text == "|":
		return r.literal(line.number, indent)
	case text == "":
		if len(r.lines) == 0 {
			return nil
		}
		next := r.lines[0]
		if next.indent > indent || next.indent == indent && strings.HasPrefix(next.text, "- ") && !strings.HasPrefix(line.text, "- ") {
			return r.node(next.indent)
		}
		return nil
	case text[0] == '[' && strings.HasSuffix(text, "]"):
		list := []any{}
		for _, item := range strings.Split(text[1:len(text)-1], ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, scalar(line.number, item))
			}
		}
		return list
	case text == "{}":
		return map[string]any{}
	}
	return scalar(line.number, text)
}

// literal reads the block below line number.
func (r *yamlReader) literal(number, indent int) string {
	var b strings.Builder
	depth := 0
	i := number
	for ; i < len(r.raw); i++ {
		text := strings.TrimLeft(r.raw[i], " ")
		own := len(r.raw[i]) - len(text)
		if text == "" {
			b.WriteString("\n")
			continue
		}
		if own <= indent {
			break
		}
		if depth == 0 {
			depth = own
		}
		b.WriteString(r.raw[i][min(depth, own):] + "\n")
	}
	for len(r.lines) > 0 && r.lines[0].number <= i {
		r.lines = r.lines[1:]
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func scalar(number int, text string) any {
	if len(text) > 1 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0] {
		if text[0] == '\'' {
			return strings.ReplaceAll(text[1:len(text)-1], "''", "'")
		}
		s, err := strconv.Unquote(text)
		if err != nil {
			panic(fmt.Errorf("line %d: %s: %w", number, text, err))
		}
		return s
	}
	if strings.ContainsAny(text[:1], "&*!|>%@`{}[],\"'") || strings.Contains(text, ": ") || strings.HasSuffix(text, ":") {
		panic(fmt.Errorf("line %d: %s: quote it", number, text))
	}
	if text == "true" || text == "false" {
		return text == "true"
	}
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return text
}

// cutKey splits "key: value" and "key:".
func cutKey(text string) (key, rest string, ok bool) {
	if strings.HasPrefix(text, `"`) { // a key with spaces
		if key, rest, ok = strings.Cut(text[1:]+" ", `": `); !ok || strings.Contains(key, `"`) {
			return "", "", false
		}
		return key, strings.TrimSpace(rest), true
	}
	if strings.ContainsAny(text[:1], "'[{") {
		return "", "", false
	}
	key, rest, ok = strings.Cut(text+" ", ": ")
	if strings.Contains(key, " ") {
		return "", "", false
	}
	return key, strings.TrimSpace(rest), ok
}

// withoutComment cuts what follows " #" outside quotes.
func withoutComment(text string) string {
	if text != "" && (text[0] == '"' || text[0] == '\'') {
		if end := strings.LastIndexByte(text, text[0]); end > 0 {
			if rest := strings.TrimSpace(text[end+1:]); rest == "" || rest[0] == '#' {
				return text[:end+1]
			}
		}
		return text
	}
	if i := strings.Index(text, " #"); i >= 0 {
		text = text[:i]
	}
	return strings.TrimSpace(text)
}

// at follows a path of keys and indices into a document; nil where it ends
// early.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			list, _ := v.([]any)
			if p >= len(list) {
				return nil
			}
			v = list[p]
		}
	}
	return v
}

func TestReadYAML(t *testing.T) {
	const text = `# a comment
name: "a b"   # another
on:
  push: [main, 'v 1']
list:
- x: 1
  y: true
-   z:
      - plain text
      - key: v
run: |
  one # not a comment
    two

  three
empty: {}
nothing:
---
second: a:b
"quoted key": c
`
	got, err := parseYAML(text)
	want := []any{
		map[string]any{
			"name": "a b", "on": map[string]any{"push": []any{"main", "v 1"}},
			"list": []any{
				map[string]any{"x": 1, "y": true},
				map[string]any{"z": []any{"plain text", map[string]any{"key": "v"}}},
			},
			"run": "one # not a comment\n  two\n\nthree\n", "empty": map[string]any{}, "nothing": nil,
		},
		map[string]any{"second": "a:b", "quoted key": "c"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parseYAML = %#v, %v", got, err)
	}
	for _, bad := range []string{"a: 1\na: 2", "a: 1\n  b: 2", "a: *x", "a: {b: c}", "\ta: 1", "a: b: c", "- a\nb: 1", "just text"} {
		if got, err := parseYAML(bad); err == nil {
			t.Errorf("%q passes: %#v", bad, got)
		}
	}
}
