//go:build linux

package hostile

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/mholt/archiver/v4"
)

// The judge: what an engine shows that unpacks every layer into a directory of
// its own and lays the directories over each other, written down as plainly as
// possible.

// node is a file or directory. Hard links share an inode.
type node struct {
	*inode
	children map[string]*node // of a directory
	opaque   bool
	whiteout bool
}

type inode struct {
	entry
	made  bool // a directory that no entry lists
	layer int  // that made it
}

func (n *node) isDir() bool { return !n.whiteout && n.kind == tar.TypeDir }

func madeDir() *node {
	return &node{inode: &inode{entry: entry{kind: tar.TypeDir}, made: true}, children: map[string]*node{}}
}

// tree lays the layers over each other. A link from a layer of number base or
// more to a file of a lower one makes a copy, as an overlay does.
func tree(layers [][]entry, base int) (*node, error) {
	root := madeDir()
	copies := map[*inode]*inode{}
	for i, l := range layers {
		own, err := unpack(l, i, func(name string) *inode {
			n, err := find(root, name)
			if err != nil || n == nil || n.whiteout || n.isDir() {
				return nil
			}
			if i < base || n.layer >= base {
				return n.inode
			}
			if copies[n.inode] == nil {
				c := *n.inode
				copies[n.inode] = &c
			}
			return copies[n.inode]
		})
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
		own.opaque = false // the roots of all layers unite
		root = lay(root, own)
	}
	return root, nil
}

func lay(lower, upper *node) *node {
	out := &node{inode: upper.inode, children: map[string]*node{}}
	if lower != nil && lower.isDir() && !upper.opaque {
		maps.Copy(out.children, lower.children)
	}
	for name, up := range upper.children {
		switch {
		case up.whiteout:
			delete(out.children, name)
		case up.isDir():
			out.children[name] = lay(out.children[name], up)
		default:
			out.children[name] = up
		}
	}
	return out
}

func unpack(entries []entry, layer int, lower func(string) *inode) (*node, error) {
	root := madeDir()
	for _, e := range entries {
		name := path.Clean("/" + e.name)
		if name == "/" {
			continue // the root's own metadata isn't judged here
		}
		dir, err := walk(root, path.Dir(name), true)
		if err != nil {
			return nil, err
		}
		base := path.Base(name)
		if base == ".wh..wh..opq" {
			dir.opaque = true
			continue
		}
		if strings.HasPrefix(base, ".wh..wh.") {
			continue
		}
		old := dir.children[base]
		if hidden, ok := strings.CutPrefix(base, ".wh."); ok {
			if old = dir.children[hidden]; old == nil {
				dir.children[hidden] = &node{inode: &inode{}, whiteout: true}
			} else if old.isDir() {
				old.opaque = true
			}
			continue
		}
		made := &inode{entry: e, layer: layer}
		switch e.kind {
		case tar.TypeDir:
			if old != nil && old.isDir() {
				old.inode = made
			} else {
				dir.children[base] = &node{inode: made, children: map[string]*node{}}
			}
		case tar.TypeLink:
			target, err := find(root, e.link)
			switch {
			case err == nil && target != nil && target.whiteout:
				// A whiteout is a file of the layer's directory: the link is
				// one more whiteout.
				dir.children[base] = &node{inode: &inode{}, whiteout: true}
			case err == nil && target != nil && !target.isDir():
				dir.children[base] = &node{inode: target.inode}
			default:
				low := lower(e.link)
				if low == nil {
					return nil, fmt.Errorf("%s: no such file as %s", e.name, e.link)
				}
				dir.children[base] = &node{inode: low}
			}
		default:
			dir.children[base] = &node{inode: made}
		}
	}
	return root, nil
}

// walk goes to a directory, through the symbolic links of the same layer.
func walk(root *node, dir string, create bool) (*node, error) {
	at := []*node{root}
	parts := strings.Split(dir, "/")
	for links := 0; len(parts) > 0; {
		part := parts[0]
		parts = parts[1:]
		here := at[len(at)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			at = at[:max(1, len(at)-1)]
			continue
		}
		next := here.children[part]
		switch {
		case next == nil || next.whiteout:
			if !create {
				return nil, errors.New("no such directory")
			}
			dir := madeDir()
			dir.opaque = next != nil
			here.children[part] = dir
			next = dir
		case next.kind == tar.TypeSymlink:
			if links++; links > 100 {
				return nil, errors.New("a loop of links")
			}
			if strings.HasPrefix(next.link, "/") {
				at = at[:1]
			}
			parts = append(strings.Split(next.link, "/"), parts...)
			continue
		case !next.isDir():
			return nil, errors.New("not a directory")
		}
		at = append(at, next)
	}
	return at[len(at)-1], nil
}

func find(root *node, name string) (*node, error) {
	name = path.Clean("/" + name)
	dir, err := walk(root, path.Dir(name), false)
	if err != nil {
		return nil, err
	}
	return dir.children[path.Base(name)], nil
}

// describe is one line a path. loose are the directories of which only the
// existence is judged, because a layer has made them without listing them.
func describe(root *node) (lines map[string]string, loose map[string]bool) {
	lines, loose = map[string]string{}, map[string]bool{}
	first := map[*inode]string{}
	var visit func(name string, n *node)
	visit = func(name string, n *node) {
		for _, k := range slices.Sorted(maps.Keys(n.children)) {
			c, p := n.children[k], name+"/"+k
			line := string(c.kind)
			if c.made {
				loose[p] = true
			} else {
				line += fmt.Sprintf(" %o %d:%d %d %q", c.mode&0o7777, c.uid, c.gid, c.time, c.link)
				if c.kind == tar.TypeReg {
					line += " " + hex([]byte(c.body))[:12]
				}
				if c.kind == tar.TypeChar || c.kind == tar.TypeBlock {
					line += fmt.Sprintf(" %d:%d", c.major, c.minor)
				}
				for _, x := range slices.Sorted(maps.Keys(c.xattrs)) {
					line += fmt.Sprintf(" %s=%q", x, c.xattrs[x])
				}
			}
			if !c.isDir() {
				if f, ok := first[c.inode]; ok {
					line += " the same as " + f
				} else {
					first[c.inode] = p
				}
			}
			lines[p] = line
			visit(p, c)
		}
	}
	visit("", root)
	return lines, loose
}

// sameTrees fails where two trees differ.
func sameTrees(t *testing.T, want, have *node) {
	t.Helper()
	w, looseW := describe(want)
	h, looseH := describe(have)
	n := 0
	for _, p := range slices.Sorted(maps.Keys(w)) {
		if looseW[p] || looseH[p] {
			if h[p] == "" || h[p][0] != w[p][0] {
				t.Errorf("%q: want %s, have %s", p, w[p], h[p])
			}
		} else if h[p] != w[p] && n < 10 {
			n++
			t.Errorf("%q:\nwant %s\nhave %s", p, w[p], h[p])
		}
	}
	for _, p := range slices.Sorted(maps.Keys(h)) {
		if w[p] == "" && n < 10 {
			n++
			t.Errorf("%q is new: %s", p, h[p])
		}
	}
}

// stored is an image that the program wrote, read with the standard library.
type stored struct {
	document []byte
	layers   [][]byte // uncompressed
}

// readFile reads the files of a tar, or of a directory.
func readFiles(name string) (map[string][]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	got := map[string][]byte{}
	if info.IsDir() {
		return got, filepath.WalkDir(name, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(name, p)
			if err != nil {
				return err
			}
			got[filepath.ToSlash(rel)], err = os.ReadFile(p)
			return err
		})
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return nil, err
		}
		if got[h.Name], err = io.ReadAll(tr); err != nil {
			return nil, err
		}
	}
}

// readImage reads the image of a docker-archive, or the one called name of a
// layout, and checks every digest on the way.
func readImage(f map[string][]byte, name string) (stored, error) {
	var s stored
	if saved, ok := f["manifest.json"]; ok {
		var list []struct {
			Config string
			Layers []string
		}
		if err := json.Unmarshal(saved, &list); err != nil {
			return s, err
		}
		if len(list) != 1 {
			return s, fmt.Errorf("%d images", len(list))
		}
		s.document = f[list[0].Config]
		for _, l := range list[0].Layers {
			b, err := unpacked(f[l])
			if err != nil {
				return s, fmt.Errorf("%s: %w", l, err)
			}
			s.layers = append(s.layers, b)
		}
		return s, s.check()
	}
	type desc struct {
		Digest      string
		Size        int64
		Annotations map[string]string
	}
	blob := func(d desc) ([]byte, error) {
		_, sum, _ := strings.Cut(d.Digest, ":")
		b, ok := f["blobs/sha256/"+sum]
		if !ok {
			return nil, fmt.Errorf("no blob %s", d.Digest)
		}
		if hex(b) != sum || int64(len(b)) != d.Size {
			return nil, fmt.Errorf("blob %s is %s, of %d bytes", d.Digest, hex(b), len(b))
		}
		return b, nil
	}
	var index struct{ Manifests []desc }
	if err := json.Unmarshal(f["index.json"], &index); err != nil {
		return s, fmt.Errorf("index.json: %w", err)
	}
	for _, d := range index.Manifests {
		if name != "" && d.Annotations["org.opencontainers.image.ref.name"] != name {
			continue
		}
		b, err := blob(d)
		if err != nil {
			return s, err
		}
		var m struct {
			Config desc
			Layers []desc
		}
		if err := json.Unmarshal(b, &m); err != nil {
			return s, err
		}
		if s.document, err = blob(m.Config); err != nil {
			return s, err
		}
		for _, l := range m.Layers {
			if b, err = blob(l); err != nil {
				return s, err
			}
			if b, err = unpacked(b); err != nil {
				return s, err
			}
			s.layers = append(s.layers, b)
		}
		return s, s.check()
	}
	return s, fmt.Errorf("no image %q in %s", name, f["index.json"])
}

// check holds the layers against the config's diff IDs.
func (s stored) check() error {
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(s.document, &c); err != nil {
		return err
	}
	if len(c.RootFS.DiffIDs) != len(s.layers) {
		return fmt.Errorf("%d diff IDs for %d layers", len(c.RootFS.DiffIDs), len(s.layers))
	}
	for i, l := range s.layers {
		if digest(l) != c.RootFS.DiffIDs[i] {
			return fmt.Errorf("layer %d is %s, not %s", i, digest(l), c.RootFS.DiffIDs[i])
		}
	}
	return nil
}

func unpacked(b []byte) ([]byte, error) {
	switch {
	case len(b) > 262 && string(b[257:262]) == "ustar": // whatever its first name begins with
		return b, nil
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	case bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}), bytes.HasPrefix(b, skippable(0)[:4]):
		r, err := zstd.NewReader(nil)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return r.DecodeAll(b, nil)
	case bytes.HasPrefix(b, []byte("BZh")):
		return io.ReadAll(bzip2.NewReader(bytes.NewReader(b)))
	case bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")):
		r, err := archiver.Xz{}.OpenReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	return b, nil
}

// entriesOf reads a layer that the program wrote.
func entriesOf(b []byte) ([]entry, error) {
	var out []entry
	tr := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			return nil, err
		}
		e := entry{
			name: h.Name, body: string(body), link: h.Linkname, kind: h.Typeflag, mode: h.Mode, uid: h.Uid, gid: h.Gid,
			major: h.Devmajor, minor: h.Devminor, time: h.ModTime.Unix(),
		}
		for k, v := range h.PAXRecords {
			if x, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
				if e.xattrs == nil {
					e.xattrs = map[string]string{}
				}
				e.xattrs[x] = v
			}
		}
		out = append(out, e)
	}
}

// sameImage fails unless have shows what im shows, on the same base, with the
// same config.
func sameImage(t *testing.T, im image, have stored) {
	t.Helper()
	want := make([][]entry, len(im.layers))
	for i, l := range im.layers {
		want[i] = l.entries
	}
	base := 0
	for base < len(im.layers) && base < len(have.layers) && bytes.Equal(have.layers[base], im.layers[base].raw) {
		base++
	}
	if len(have.layers) > base+1 {
		t.Errorf("%d layers above a base of %d", len(have.layers)-base, base)
	}
	got := make([][]entry, len(have.layers))
	for i := range have.layers {
		if i < base {
			got[i] = want[i] // the same bytes, which a library needn't be able to read
			continue
		}
		var err error
		if got[i], err = entriesOf(have.layers[i]); err != nil {
			t.Errorf("layer %d of the result: %v", i, err)
			return
		}
		seen := map[string]bool{}
		for _, e := range got[i] {
			name := path.Clean("/" + e.name)
			if seen[name] {
				t.Errorf("the merged layer has %q twice", name)
			}
			seen[name] = true
		}
	}
	w, err := tree(want, base)
	if err != nil {
		t.Errorf("the case itself: %v", err)
		return
	}
	h, err := tree(got, base)
	if err != nil {
		t.Errorf("the result: %v", err)
		return
	}
	sameTrees(t, w, h)
	sameConfig(t, im.document(), have.document)
}

// sameConfig fails unless what a container gets from the config is the same.
func sameConfig(t *testing.T, want, have []byte) {
	t.Helper()
	var w, h map[string]any
	if err := errors.Join(json.Unmarshal(want, &w), json.Unmarshal(have, &h)); err != nil {
		t.Error(err)
		return
	}
	for _, k := range []string{"config", "architecture", "os", "variant", "os.version"} {
		if !reflect.DeepEqual(w[k], h[k]) {
			t.Errorf("%s: want %s, have %s", k, short(fmt.Sprint(w[k])), short(fmt.Sprint(h[k])))
		}
	}
}
