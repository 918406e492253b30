// Package imagetest builds small images in memory, readably, for tests and
// examples.
package imagetest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Image is an image to be written as a docker-archive.
type Image struct {
	Names   []string       // RepoTags
	Fields  map[string]any // of the config document; architecture, os and created have defaults
	Config  map[string]any // the document's "config"
	Created time.Time      // of the first step; each further one is a second later
	Steps   []Step
}

// Step is one history entry, and the layer that it made.
type Step struct {
	By      string // created_by
	Comment string
	Author  string
	Files   []File // nil: the step made no layer
}

// File is one entry of a layer. Its name says what it is: a directory if it
// ends in /, a symbolic link if Link is set, a hard link if HardLink is, else a
// regular file.
type File struct {
	Name, Body     string
	Link, HardLink string
	Mode           int64 // default 0755 for a directory, 0644 for a file
	UID, GID       int
	PAX            map[string]string
}

// Layer returns the uncompressed tar of a layer; every entry has the time when.
func Layer(when time.Time, files []File) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{
			Name: f.Name, Mode: f.Mode, Uid: f.UID, Gid: f.GID, ModTime: when,
			Typeflag: tar.TypeReg, Size: int64(len(f.Body)), PAXRecords: f.PAX, Format: tar.FormatPAX,
		}
		switch {
		case strings.HasSuffix(f.Name, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, max(h.Mode, 0o755)
		case f.Link != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Link, 0o777
		case f.HardLink != "":
			h.Typeflag, h.Linkname = tar.TypeLink, f.HardLink
		}
		h.Mode = max(h.Mode, 0o644)
		must(w.WriteHeader(h))
		_, err := w.Write([]byte(f.Body))
		must(err)
	}
	must(w.Close())
	return b.Bytes()
}

// Document returns the image's config document and its layers' tars.
func (im Image) Document() (document []byte, layers [][]byte) {
	fields := map[string]any{"architecture": "amd64", "os": "linux", "created": im.Created, "config": im.Config}
	for k, v := range im.Fields {
		fields[k] = v
	}
	var history []map[string]any
	diffIDs := []string{}
	for i, s := range im.Steps {
		when := im.Created.Add(time.Duration(i) * time.Second)
		entry := map[string]any{"created": when, "created_by": s.By}
		if s.Comment != "" {
			entry["comment"] = s.Comment
		}
		if s.Author != "" {
			entry["author"] = s.Author
		}
		if s.Files == nil {
			entry["empty_layer"] = true
		} else {
			layer := Layer(when, s.Files)
			layers = append(layers, layer)
			diffIDs = append(diffIDs, "sha256:"+hash(layer))
		}
		history = append(history, entry)
	}
	fields["history"] = history
	fields["rootfs"] = map[string]any{"type": "layers", "diff_ids": diffIDs}
	document, err := json.Marshal(fields)
	must(err)
	return document, layers
}

// Archive returns the images as one docker-archive, as docker save writes it
// since version 25: layers and configs as blobs, manifest.json last.
func Archive(images ...Image) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(name string, body []byte) string {
		must(w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}))
		_, err := w.Write(body)
		must(err)
		return name
	}
	written := map[string]bool{}
	blob := func(body []byte) string {
		name := "blobs/sha256/" + hash(body)
		if !written[name] {
			written[name] = true
			put(name, body)
		}
		return name
	}
	var manifest []map[string]any
	for _, im := range images {
		document, layers := im.Document()
		names := []string{}
		for _, l := range layers {
			names = append(names, blob(l))
		}
		manifest = append(manifest, map[string]any{"Config": blob(document), "RepoTags": im.Names, "Layers": names})
	}
	m, err := json.Marshal(manifest)
	must(err)
	put("manifest.json", m)
	must(w.Close())
	return b.Bytes()
}

func hash(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// Must stops a test at what can't fail but through a wrong fixture.
func Must(err error) { must(err) }

// must stops at what can't happen in memory but through a wrong fixture.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
