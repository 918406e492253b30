package maker

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/temp"
)

// hasContext tells whether a directory has the Dockerfile of a context that this
// program wrote: its own, or one for each platform below it.
func hasContext(dir string) bool {
	names := []string{filepath.Join(dir, "Dockerfile")}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, filepath.Join(dir, e.Name(), "Dockerfile"))
		}
	}
	for _, name := range names {
		if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		head, _ := io.ReadAll(io.LimitReader(f, 16))
		f.Close()
		for _, first := range []string{"# Flattened from", "# Recovered from"} { // the templates' first lines
			if string(head) == first {
				return true
			}
		}
	}
	return false
}

// isBegun tells whether a run writes a context in a directory, or was killed when
// it did.
func isBegun(dir string) bool {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if temp.IsName(e.Name()) {
			return true
		}
	}
	return false
}

// complete holds what is written against what an earlier run left in its place: all
// of that must be the same. What isn't there, since the run was killed, Publish
// moves there.
func (x *Context) complete() error {
	if !x.exists {
		return nil
	}
	entries, err := os.ReadDir(x.dir)
	if err != nil {
		return image.PathError("write context", x.dir, err)
	}
	for _, e := range entries {
		if filepath.Join(x.dir, e.Name()) == x.staged.Path {
			continue
		}
		different, err := differs(filepath.Join(x.dir, e.Name()), filepath.Join(x.staged.Path, e.Name()))
		if err != nil {
			return image.PathError("write context", x.dir, err)
		}
		if different != "" {
			name, _ := filepath.Rel(x.dir, different)
			return x.has("another context: " + name + " isn't the same")
		}
		x.there[e.Name()] = true
	}
	return nil
}

// has is the error that the directory has something else.
func (x *Context) has(what string) error {
	return &image.Error{Op: "write context", Object: x.dir, Err: image.Detail(image.ErrExists, "the directory has %s", what), Hint: "name a new directory"}
}

// differs is the first path at or below old that isn't the same at or below made, by
// names, types, permissions, links and bytes; "" = none.
func differs(old, made string) (string, error) {
	a, err := os.Lstat(old)
	if err != nil {
		return "", err
	}
	b, err := os.Lstat(made)
	if os.IsNotExist(err) || err == nil && a.Mode() != b.Mode() {
		return old, nil
	}
	if err != nil {
		return "", err
	}
	same := true
	switch a.Mode().Type() {
	case fs.ModeDir:
		return directoryDiffers(old, made)
	case fs.ModeSymlink:
		var to [2]string
		for i, path := range []string{old, made} {
			if to[i], err = os.Readlink(path); err != nil {
				return "", err
			}
		}
		same = to[0] == to[1]
	case 0:
		if same = a.Size() == b.Size(); same {
			same, err = sameBytes(old, made)
		}
	}
	if err != nil || same {
		return "", err
	}
	return old, nil
}

func directoryDiffers(old, made string) (string, error) {
	a, err := os.ReadDir(old)
	if err != nil {
		return "", err
	}
	b, err := os.ReadDir(made)
	if err != nil {
		return "", err
	}
	if len(a) != len(b) {
		return old, nil
	}
	for _, e := range a {
		different, err := differs(filepath.Join(old, e.Name()), filepath.Join(made, e.Name()))
		if err != nil || different != "" {
			return different, err
		}
	}
	return "", nil
}

func sameBytes(old, made string) (bool, error) {
	f, err := os.Open(old)
	if err != nil {
		return false, err
	}
	defer f.Close()
	g, err := os.Open(made)
	if err != nil {
		return false, err
	}
	defer g.Close()
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errA := io.ReadFull(f, a)
		m, errB := io.ReadFull(g, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return false, nil
		}
		for _, err := range []error{errA, errB} {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return n == m, nil
			}
			if err != nil {
				return false, err
			}
		}
	}
}
