package archive

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"docker-flatten/rebuild/image"
)

// CheckDir makes sure that there is a directory to put path in.
func CheckDir(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err != nil {
		return image.PathError("write to", dir, err)
	}
	if !info.IsDir() {
		return &image.Error{Op: "write to", Object: dir, Err: errors.New("not a directory")}
	}
	return nil
}

// LinkTarget is the file that path leads to through symbolic links, which may
// be missing.
func LinkTarget(path string) (string, error) {
	for range 40 { // as many links as Linux follows
		dir, file := filepath.Split(path)
		real, err := filepath.EvalSymlinks(cmp.Or(dir, "."))
		if errors.Is(err, fs.ErrNotExist) {
			return path, nil // there is no directory, as CheckDir says
		}
		if err != nil {
			return "", err
		}
		path = filepath.Join(real, file)
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
		if err != nil || info.Mode().Type() != fs.ModeSymlink {
			return path, err
		}
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = real + string(filepath.Separator) + to // not cleaned: .. may come after a link
		}
		path = to
	}
	return "", errors.New("too many symbolic links")
}

// outerOf is how an archive is compressed as a whole, by its file's name.
func outerOf(path string) string {
	path = strings.ToLower(path)
	for _, c := range []struct{ kind, long, short string }{
		{image.Gzip, ".tar.gz", ".tgz"}, {image.Zstandard, ".tar.zst", ".tzst"},
		{image.XZ, ".tar.xz", ".txz"}, {image.Bzip2, ".tar.bz2", ".tbz2"}, {image.Bzip2, ".tbz", ".tbz"},
	} {
		if strings.HasSuffix(path, c.long) || strings.HasSuffix(path, c.short) {
			return c.kind
		}
	}
	return image.Uncompressed
}
