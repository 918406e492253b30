package plan

import (
	"bytes"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
)

// document returns the config document raw with its layers and its history
// replaced: every other field, known or not, keeps the value that it has, to
// the letter of its numbers and strings. Fields come out in the order of their
// names, so that the same image gives the same document whatever wrote it.
func document(raw []byte, diffIDs []v1.Hash, history []json.RawMessage) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("read config document: %w", err)
	}
	rootfs := map[string]json.RawMessage{}
	if old, ok := fields["rootfs"]; ok && json.Unmarshal(old, &rootfs) != nil {
		rootfs = map[string]json.RawMessage{}
	}
	if _, ok := rootfs["type"]; !ok {
		rootfs["type"] = json.RawMessage(`"layers"`)
	}
	var err error
	if rootfs["diff_ids"], err = encode(diffIDs); err != nil {
		return nil, err
	}
	if fields["rootfs"], err = encode(rootfs); err != nil {
		return nil, err
	}
	if fields["history"], err = encode(history); err != nil {
		return nil, err
	}
	return encode(fields)
}

// encode is json.Marshal without its habit of writing < as \u003c.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("write config document: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// Digest is the digest of a config document.
func Digest(document []byte) string { return digest.FromBytes(document).String() }
