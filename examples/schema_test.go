package examples

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"docker-flatten/templates"
)

const schemaFile = "json/schema.json"

// schema makes the schema of --json from the types that are encoded, and from
// their source, which has the comments and the constants.
type schema struct {
	comments map[string]string   // of types, and of fields as "Type.Field"
	values   map[string][]string // of the constants of a type
	defs     map[string]any
}

func newSchema(t *testing.T) *schema {
	t.Helper()
	s := &schema{comments: map[string]string{}, values: map[string][]string{}, defs: map[string]any{}}
	files, err := filepath.Glob("../templates/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.GenDecl); ok {
				for _, spec := range d.Specs {
					s.take(d, spec)
				}
			}
		}
	}
	return s
}

// take keeps what a declaration says.
func (s *schema) take(d *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		s.comments[spec.Name.Name] = line(d.Doc)
		if fields, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range fields.Fields.List {
				for _, name := range f.Names {
					s.comments[spec.Name.Name+"."+name.Name] = line(f.Comment)
				}
			}
		}
	case *ast.ValueSpec:
		kind, ok := spec.Type.(*ast.Ident)
		if !ok || d.Tok != token.CONST {
			return
		}
		for _, v := range spec.Values {
			if text, ok := v.(*ast.BasicLit); ok && text.Kind == token.STRING {
				if value, err := strconv.Unquote(text.Value); err == nil {
					s.values[kind.Name] = append(s.values[kind.Name], value)
				}
			}
		}
	}
}

// line is a comment in one line.
func line(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

// of is the schema of a type. Structs get definitions of their own.
func (s *schema) of(t *testing.T, typ reflect.Type) map[string]any {
	switch typ.Kind() {
	case reflect.Pointer:
		return s.of(t, typ.Elem())
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.String:
		out := map[string]any{"type": "string"}
		if values := s.values[typ.Name()]; len(values) > 0 {
			out["enum"] = values
		}
		return out
	case reflect.Slice:
		return map[string]any{"type": "array", "items": s.of(t, typ.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t, typ.Elem())}
	case reflect.Struct:
		if s.defs[typ.Name()] == nil {
			s.defs[typ.Name()] = true // in the making
			s.defs[typ.Name()] = s.object(t, typ)
		}
		return map[string]any{"$ref": "#/$defs/" + typ.Name()}
	}
	t.Fatalf("no schema for %s", typ)
	return nil
}

func (s *schema) object(t *testing.T, typ reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if name == "" {
			t.Fatalf("%s.%s has no JSON name", typ.Name(), f.Name)
		}
		property := s.of(t, f.Type)
		if text := s.comments[typ.Name()+"."+f.Name]; text != "" {
			property["description"] = text
		}
		properties[name] = property
		if !strings.Contains(options, "omitempty") {
			required = append(required, name)
		}
	}
	out := map[string]any{"type": "object", "properties": properties, "required": required}
	if text := s.comments[typ.Name()]; text != "" {
		out["description"] = text
	}
	return out
}

// text is the schema as the file has it.
func (s *schema) text(t *testing.T) []byte {
	t.Helper()
	top := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "What docker-flatten --json prints: a Report, or with --compare a Comparison. Fields get added.",
		"oneOf":   []any{s.of(t, reflect.TypeFor[templates.Report]()), s.of(t, reflect.TypeFor[templates.Comparison]())},
		"$defs":   s.defs,
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(top); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSchemaIsCurrent holds the schema against the types that it is made of.
func TestSchemaIsCurrent(t *testing.T) {
	want := newSchema(t).text(t)
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.ReplaceAll(have, []byte("\r\n"), []byte("\n")), want) {
		t.Errorf("%s isn't what the types say: go test ./examples -run Schema -update", schemaFile)
	}
}

// TestOutputsKeepToTheSchema validates what the program prints.
func TestOutputsKeepToTheSchema(t *testing.T) {
	compiled, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	const app, base, other = "inspect/app.tar", "inspect/base.tar", "no-daemon/app.oci.tar"
	out := filepath.Join(t.TempDir(), "out.tar")
	for _, c := range []struct {
		args string
		code int
		kind any
	}{
		{"-o " + out + " " + app, 0, &templates.Report{}},
		{"-o " + out + " " + app, 0, &templates.Report{}}, // found again
		{"--base " + base + " --context " + filepath.Join(t.TempDir(), "ctx") + " -o " + filepath.Join(t.TempDir(), "out") + "/ " + app, 0, &templates.Report{}},
		{"--dry-run --max-waste 5% --max-layers 3 --max-size 1GB " + app, 4, &templates.Report{}},
		{"--dry-run " + base, 0, &templates.Report{}},
		{"--dry-run " + other, 0, &templates.Report{}},
		{"--compare " + app + " " + out, 0, &templates.Comparison{}},
		{"--compare " + app + " " + other, 3, &templates.Comparison{}},
	} {
		cmd := exec.Command(binary, append([]string{"-q", "--json"}, strings.Fields(c.args)...)...)
		printed, err := cmd.Output()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%s: exit code %d, want %d: %v", c.args, code, c.code, err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(printed))
		if err != nil {
			t.Fatalf("%s: %v", c.args, err)
		}
		if err := compiled.Validate(value); err != nil {
			t.Errorf("%s: %v", c.args, err)
		}
		// The schema lets fields be added; these are the ones of today.
		d := json.NewDecoder(bytes.NewReader(printed))
		d.DisallowUnknownFields()
		if err := d.Decode(c.kind); err != nil {
			t.Errorf("%s: %v", c.args, err)
		}
	}
}

// TestSchemaRefuses has the schema tell what isn't its own.
func TestSchemaRefuses(t *testing.T) {
	compiled, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	printed, err := exec.Command(binary, "-q", "--json", "--dry-run", "--max-layers", "9", "inspect/app.tar").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(report map[string]any){
		"a field less": func(r map[string]any) { delete(r, "savings") },
		"another type": func(r map[string]any) { r["dry_run"] = "yes" },
		"no list":      func(r map[string]any) { r["images"] = nil },
		"a deep field": func(r map[string]any) { r["images"].([]any)[0].(map[string]any)["before"] = 1 },
		"another value": func(r map[string]any) {
			r["images"].([]any)[0].(map[string]any)["gates"].([]any)[0].(map[string]any)["unit"] = "inches"
		},
	} {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(printed))
		if err != nil {
			t.Fatal(err)
		}
		change(value.(map[string]any))
		if compiled.Validate(value) == nil {
			t.Errorf("%s passes", name)
		}
	}
	if values := newSchema(t).values["GateUnit"]; !slices.Equal(values, []string{"share", "bytes", "layers"}) {
		t.Errorf("values of GateUnit: %q", values)
	}
}
