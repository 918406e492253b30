package image

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Document is a JSON object of which only some fields are known here: the
// others go through to the letter.
type Document map[string]json.RawMessage

// ParseDocument reads a JSON object; nothing is an empty one, and null is, too.
func ParseDocument(raw []byte) (Document, error) {
	d := Document{}
	if len(raw) == 0 {
		return d, nil
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, err
	}
	if d == nil {
		d = Document{}
	}
	return d, nil
}

// Set sets a field. Readers take a name that differs in case for the same, and so
// have two values of it: such a one goes.
func (d Document) Set(key string, value any) error {
	b, err := Marshal(value)
	if err != nil {
		return err
	}
	for name := range d {
		if name != key && strings.EqualFold(name, key) {
			delete(d, name)
		}
	}
	d[key] = b
	return nil
}

// order is how the OCI image spec lists the fields of manifests and indexes,
// and of descriptors.
var order = []string{"schemaVersion", "mediaType", "artifactType", "digest", "size", "config", "layers", "manifests", "subject", "annotations"}

// Bytes returns the object with its fields in the customary order, unknown ones
// at the end by name: the same fields give the same bytes.
func (d Document) Bytes() []byte {
	var keys []string
	for k := range d {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		i, j := slices.Index(order, a), slices.Index(order, b)
		switch {
		case i >= 0 && j >= 0:
			return i - j
		case i >= 0:
			return -1
		case j >= 0:
			return 1
		}
		return strings.Compare(a, b)
	})
	var b bytes.Buffer
	for i, k := range keys {
		b.WriteByte(",{"[boolIndex(i == 0)])
		name, err := Marshal(k)
		if err != nil {
			panic(err) // a string always has a JSON form
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(d[k])
	}
	b.WriteByte('}')
	return b.Bytes()
}

func boolIndex(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Marshal is json.Marshal that leaves <, > and & as they are.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// LargestDocument is more bytes than any manifest or config document has.
const LargestDocument = 64 << 20
