package plan

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"docker-flatten/templates"
)

// Fields of a config document that say how and when an image was made, or what
// its layers are, and not what runs from it.
var notOfTheImage = []string{
	"created", "history", "rootfs", "comment",
	// Of Docker's images before 1.10, and its builder's container.
	"id", "parent", "parent_id", "layer_id", "throwaway", "Size", "size", "container", "container_config", "docker_version",
	// BuildKit's notes of what it built from.
	"moby.buildkit.buildinfo.v1", "moby.buildkit.cache.v0",
}

// Fields of a config document's "config" that are of the container that a builder
// committed. Engines don't take them over into other containers.
var notOfTheConfig = []string{
	"Hostname", "Domainname", "Image", "Tty", "OpenStdin", "StdinOnce", "AttachStdin", "AttachStdout", "AttachStderr",
}

// CompareConfigs holds two config documents against each other, by the fields
// that say what runs from the image and where: every field of "config" but
// notOfTheConfig's, and of the document but notOfTheImage's; so fields that no
// tool knows count. A field that has its zero value is as good as absent, but for a
// StopTimeout of 0: engines wait ten seconds where there is none. The order counts
// where there is one: in Env, Cmd, OnBuild and the like.
//
// The differences name the fields as "config.Env", and have values as JSON.
func CompareConfigs(want, have []byte) ([]templates.Difference, error) {
	w, wantConfig, err := countingFields(want)
	if err != nil {
		return nil, err
	}
	h, haveConfig, err := countingFields(have)
	if err != nil {
		return nil, err
	}
	return slices.Concat(differences("", 1, w, h), differences("config.", 2, wantConfig, haveConfig)), nil
}

// countingFields gives the fields that count, without those that are zero.
func countingFields(document []byte) (fields, config map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		return nil, nil, fmt.Errorf("read config document: %w", err)
	}
	config, _ = fields["config"].(map[string]any)
	for _, name := range notOfTheImage {
		delete(fields, name)
	}
	for _, name := range notOfTheConfig {
		delete(config, name)
	}
	if config != nil {
		delete(fields, "config")
	}
	if check, ok := config["Healthcheck"].(map[string]any); ok {
		maps.DeleteFunc(check, func(_ string, v any) bool { return isZero(v) })
	}
	for _, name := range []string{"ExposedPorts", "Volumes"} {
		keys, _ := config[name].(map[string]any)
		for key, v := range keys {
			if isZero(v) { // null in some tools' documents
				keys[key] = map[string]any{}
			}
		}
	}
	maps.DeleteFunc(fields, func(_ string, v any) bool { return isZero(v) })
	maps.DeleteFunc(config, func(name string, v any) bool { return isZero(v) && (name != "StopTimeout" || v == nil) })
	return fields, config, nil
}

func isZero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case json.Number:
		f, err := v.Float64()
		return err == nil && f == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// Objects within objects are told apart member by member as far as a name has so
// many parts, and so many bytes before its last one. What is deeper is compared
// whole: a small document may have thousands of names that are as long as itself.
const (
	deepestName   = 8
	longestPrefix = 128
)

// differences compares fields, whose names have so many parts, and the members of
// those that are objects.
func differences(prefix string, parts int, want, have map[string]any) []templates.Difference {
	var out []templates.Difference
	keys := maps.Clone(want)
	if keys == nil {
		keys = map[string]any{}
	}
	maps.Copy(keys, have)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		w, inWant := want[key]
		h, inHave := have[key]
		if inWant && inHave && equal(w, h) {
			continue
		}
		wantMembers, ok := w.(map[string]any)
		haveMembers, alsoOK := h.(map[string]any)
		if ok && alsoOK && parts < deepestName && len(prefix)+len(key) < longestPrefix {
			out = append(out, differences(prefix+key+".", parts+1, wantMembers, haveMembers)...)
			continue
		}
		out = append(out, templates.Difference{Path: prefix + key, What: cmp.Or(presence(inWant, inHave), "value"), Other: text(w, inWant), Image: text(h, inHave)})
	}
	return out
}

// presence is "missing" or "extra" of what one side has alone.
func presence(inWant, inHave bool) string {
	switch {
	case !inHave:
		return "missing"
	case !inWant:
		return "extra"
	}
	return ""
}

func text(v any, there bool) string {
	if !there {
		return ""
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// equal compares two values as JSON means them: 1e9 is 1000000000.
func equal(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		if !ok || a == b {
			return ok
		}
		if !strings.ContainsAny(string(a+b), ".eE") {
			return false // a float would round large ones
		}
		x, errX := a.Float64()
		y, errY := b.Float64()
		return errX == nil && errY == nil && x == y
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equal)
	}
	if _, ok := b.([]any); ok {
		return false
	}
	if _, ok := b.(map[string]any); ok {
		return false
	}
	return a == b
}
