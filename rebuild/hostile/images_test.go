//go:build linux

package hostile

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

type object = map[string]any

// image is an image of a test.
type image struct {
	names   []string // RepoTags; nil = app:1
	layers  []layer
	config  object   // the document's "config"
	fields  object   // further fields of the document, or others than usual
	history []object // nil = one plain step a layer
	raw     []byte   // the whole document, instead of all this
	diffIDs []string // others than the layers'
}

// app is an image of two layers, and what the others are made of.
func app(upper ...any) image {
	return image{layers: []layer{of("bin/", "bin/sh=shell", "etc/", "etc/motd=hello", "var/", "var/log=old"), of(upper...)}}
}

// plain is an image that nothing is wrong with.
func plain() image { return app("etc/motd=bye", ".wh.var", "srv/", "srv/data=data") }

func (im image) document() []byte {
	if im.raw != nil {
		return im.raw
	}
	ids := im.diffIDs
	history := im.history
	for i, l := range im.layers {
		if im.diffIDs == nil {
			ids = append(ids, l.id())
		}
		if im.history == nil {
			history = append(history, object{"created": "2020-01-01T00:00:00Z", "created_by": "step " + string(rune('a'+i%26))})
		}
	}
	if ids == nil {
		ids = []string{}
	}
	d := object{
		"architecture": "amd64", "os": "linux", "created": "2020-01-01T00:00:00Z", "config": im.config,
		"rootfs": object{"type": "layers", "diff_ids": ids}, "history": history,
	}
	if im.config == nil {
		d["config"] = object{"Env": []string{"PATH=/bin"}, "Cmd": []string{"/bin/sh"}}
	}
	maps.Copy(d, im.fields)
	return encode(d)
}

func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	must(e.Encode(v))
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

const (
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	ociLayer    = "application/vnd.oci.image.layer.v1.tar"
)

func descriptor(kind string, b []byte) object {
	return object{"mediaType": kind, "digest": digest(b), "size": len(b)}
}

// with is the descriptor with other or further fields.
func with(d object, kv ...any) object {
	d = maps.Clone(d)
	for i := 0; i < len(kv); i += 2 {
		d[kv[i].(string)] = kv[i+1]
	}
	return d
}

func layerKind(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		return ociLayer + "+gzip"
	case bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}), bytes.HasPrefix(b, skippable(0)[:4]):
		return ociLayer + "+zstd"
	}
	return ociLayer
}

func (im image) manifest() object {
	layers := []object{}
	for _, l := range im.layers {
		layers = append(layers, descriptor(layerKind(l.blob()), l.blob()))
	}
	return object{"schemaVersion": 2, "mediaType": ociManifest, "config": descriptor(ociConfig, im.document()), "layers": layers}
}

// member is one file of an archive or a directory.
type member struct {
	name string
	body []byte
	link string // of a symbolic link
	hard bool   // a hard link instead
}

type files []member

func (f files) set(name string, body []byte) files {
	f = slices.Clone(f)
	for i := range f {
		if f[i].name == name {
			f[i].body = body
			return f
		}
	}
	return append(f, member{name: name, body: body})
}

func (f files) without(name string) files {
	return slices.DeleteFunc(slices.Clone(f), func(m member) bool { return m.name == name })
}

func (f files) get(name string) []byte {
	for _, m := range f {
		if m.name == name {
			return m.body
		}
	}
	panic("no file " + name)
}

func (f files) tar() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range f {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: m.name, Mode: 0o644, Size: int64(len(m.body))}
		if strings.HasSuffix(m.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if m.link != "" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, m.link, 0
			if m.hard {
				h.Typeflag = tar.TypeLink
			}
		}
		must(w.WriteHeader(h))
		if m.link == "" {
			_, err := w.Write(m.body)
			must(err)
		}
	}
	must(w.Close())
	return b.Bytes()
}

// dir puts the files into a directory of the input.
func (f files) dir(p *place, name string) string {
	root := p.path("in/" + name)
	must(os.MkdirAll(root, 0o755))
	for _, m := range f {
		path := filepath.Join(root, m.name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		if m.link != "" {
			must(os.Symlink(m.link, path))
			continue
		}
		must(os.WriteFile(path, m.body, 0o644))
	}
	return root
}

// archive is the images as docker save writes them.
func archive(images ...image) files {
	var f files
	var saved []object
	for _, im := range images {
		document := im.document()
		names := []string{}
		for _, l := range im.layers {
			name := strings.TrimPrefix(l.id(), "sha256:") + "/layer.tar"
			names = append(names, name)
			f = f.set(name, l.blob())
		}
		tags := im.names
		if tags == nil {
			tags = []string{"app:1"}
		}
		config := hex(document) + ".json"
		f = f.set(config, document)
		saved = append(saved, object{"Config": config, "RepoTags": tags, "Layers": names})
	}
	return f.set("manifest.json", encode(saved))
}

// layout is the images as an OCI layout; the first name of each is its name
// there.
func layout(images ...image) files {
	var f files
	var entries []object
	for _, im := range images {
		m := encode(im.manifest())
		d := descriptor(ociManifest, m)
		if len(im.names) > 0 {
			d["annotations"] = object{"org.opencontainers.image.ref.name": im.names[0]}
		}
		entries = append(entries, d)
		f = f.blob(m).blob(im.document())
		for _, l := range im.layers {
			f = f.blob(l.blob())
		}
	}
	return f.index(entries...)
}

func (f files) blob(b []byte) files { return f.set("blobs/sha256/"+hex(b), b) }

// index gives a layout its index.json.
func (f files) index(entries ...object) files {
	return f.set("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)).set("index.json", encode(indexOf(entries...)))
}

func indexOf(entries ...object) object {
	if entries == nil {
		entries = []object{}
	}
	return object{"schemaVersion": 2, "mediaType": ociIndex, "manifests": entries}
}

// manifestLayout is a layout of one manifest, which needn't be its image's.
func manifestLayout(im image, manifest object) files {
	f := layout(im)
	m := encode(manifest)
	return f.blob(m).index(descriptor(ociManifest, m))
}

// many makes n things.
func many[T any](n int, f func(i int) T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

func long(s string, n int) string { return strings.Repeat(s, n/len(s)+1)[:n] }
