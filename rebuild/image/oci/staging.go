package oci

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/temp"
	"docker-flatten/rebuild/progress"
)

// Files of a layout.
const (
	marker    = "oci-layout"
	indexFile = "index.json"
)

// stagedKind is in the name of the directory that has a run's new blobs.
const stagedKind = "blobs"

// staging has the blobs of a result that a layout lacks, whole, in a directory
// that only its run uses. It lies in the directory blobs, so that a rename puts
// each in its place.
type staging struct {
	root    string
	dir     *temp.Dir
	blobs   []image.Item // that are in dir
	trusted []image.Item // that the layout has, and that are right
	made    []string     // directories that weren't there, outermost first
}

// stage writes what the layout lacks, or has wrong.
func (p *dirPlace) stage(ctx context.Context, items []image.Item) (s *staging, err error) {
	s = &staging{root: p.root}
	p.sweep()
	if err := s.makeDir(); err != nil {
		return s, image.PathError("write to", p.root, err)
	}
	total := int64(0)
	for _, it := range items {
		right, err := s.has(ctx, it)
		if err != nil {
			return s, image.PathError("write to", p.root, err)
		}
		if right {
			s.trusted = append(s.trusted, it)
			continue
		}
		s.blobs, total = append(s.blobs, it), total+it.Descriptor.Size
	}
	bar := p.opt.Start(progress.Storing, p.root, total)
	defer func() { bar.Done(err) }()
	for _, it := range s.blobs {
		if err := s.write(ctx, it, bar); err != nil {
			return s, fmt.Errorf("write to %s: %w", p.root, plainError(err))
		}
	}
	return s, ctx.Err()
}

// makeDir makes the directory. A run that gives up may remove the layout's
// directories, while they are empty, just when this one finds them there.
func (s *staging) makeDir() (err error) {
	blobs := filepath.Join(s.root, "blobs")
	for range 100 {
		if err = s.mkdir(blobs); err != nil {
			continue
		}
		if s.dir, err = temp.MakeDir(blobs, stagedKind); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// mkdir makes a directory of the layout, and those above it, and remembers which
// of them weren't there.
func (s *staging) mkdir(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	if path != s.root {
		if err := s.mkdir(filepath.Dir(path)); err != nil {
			return err
		}
	}
	err := os.Mkdir(path, 0o777)
	if err == nil {
		s.made = append(s.made, path)
		return nil
	}
	if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
		return nil
	}
	return err
}

func (s *staging) blob(it image.Item) string {
	return filepath.Join(s.root, filepath.FromSlash(image.BlobPath(it.Descriptor.Digest)))
}

func (s *staging) staged(it image.Item) string {
	return filepath.Join(s.dir.Path, it.Descriptor.Digest.Hex)
}

// has tells whether the layout has a blob, and has it right. What is there isn't
// believed before it has been hashed.
func (s *staging) has(ctx context.Context, it image.Item) (bool, error) {
	f, err := openRegular(s.blob(it))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("blob %s %w", it.Descriptor.Digest, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() != it.Descriptor.Size {
		return false, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, image.Until(ctx, f)); err != nil {
		if ctx.Err() != nil {
			return false, err
		}
		return false, nil // what can't be read is written anew
	}
	return hex.EncodeToString(sum.Sum(nil)) == it.Descriptor.Digest.Hex, nil
}

// write writes a blob where it is staged.
func (s *staging) write(ctx context.Context, it image.Item, bar progress.Bar) error {
	f, err := os.OpenFile(s.staged(it), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 256<<10)
	err = errors.Join(it.WriteTo(ctx, image.Counting(b, bar)), b.Flush())
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// place puts the blobs in their places, and makes the layout one. Undo takes back
// what place did; nothing that was there before is touched by it. The layout's
// lock is held.
func (s *staging) place() (undo func() error, err error) {
	var placed []string
	undo = func() error {
		var errs []error
		for _, path := range slices.Backward(placed) {
			errs = append(errs, os.Remove(path))
		}
		return errors.Join(errs...)
	}
	if s == nil {
		return undo, nil
	}
	for _, it := range s.trusted {
		if _, err := os.Stat(s.blob(it)); err != nil {
			return undo, fmt.Errorf("blob %s was removed meanwhile: %w", it.Descriptor.Digest, plainError(err))
		}
	}
	dirs := map[string]bool{}
	for _, it := range s.blobs {
		path := s.blob(it)
		if err := s.mkdir(filepath.Dir(path)); err != nil {
			return undo, err
		}
		_, before := os.Lstat(path)
		if err := os.Rename(s.staged(it), path); err != nil {
			return undo, err
		}
		if errors.Is(before, fs.ErrNotExist) {
			placed = append(placed, path)
		}
		dirs[filepath.Dir(path)] = true
	}
	for dir := range dirs {
		if err := temp.SyncDir(dir); err != nil {
			return undo, err
		}
	}
	path := filepath.Join(s.root, marker)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		err := writeDocument(path, []byte(layoutFile))
		if err == nil || isThere(path) { // it has its name though its directory isn't synced
			placed = append(placed, path)
		}
		if err != nil {
			return undo, err
		}
	}
	for _, dir := range s.made {
		if err := temp.SyncDir(filepath.Dir(dir)); err != nil {
			return undo, err
		}
	}
	return undo, nil
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// placed ends the staging of what has its place.
func (s *staging) placed() error {
	if s == nil {
		return nil
	}
	s.made = nil
	return s.discard()
}

// discard removes what is staged, and the directories that were made for it.
func (s *staging) discard() error {
	if s == nil {
		return nil
	}
	var err error
	if s.dir != nil {
		err = s.dir.Discard()
	}
	s.dir = nil
	s.removeMade()
	return err
}

// removeMade removes the directories that were made, unless other runs have put
// something there, or are about to.
func (s *staging) removeMade() {
	made := s.made
	s.made = nil
	if len(made) == 0 {
		return
	}
	lock, err := temp.TryAcquire(s.root)
	if lock == nil || err != nil {
		return
	}
	defer lock.Release()
	for _, dir := range slices.Backward(made) {
		if os.Remove(dir) != nil {
			return // it isn't empty
		}
	}
}

// writeDocument puts a small file at path.
func writeDocument(path string, b []byte) error {
	f, err := document(path, b)
	if err != nil {
		return err
	}
	if err := f.Publish(path); err != nil {
		return errors.Join(err, f.Discard())
	}
	return nil
}

// document writes a small file beside path.
func document(path string, b []byte) (*temp.File, error) {
	f, err := temp.Beside(path)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Discard())
	}
	return f, nil
}

// plainError is an error of the os package without the path, which the caller
// names.
func plainError(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p) && error(p) == err:
		return p.Err
	case errors.As(err, &l) && error(l) == err:
		return l.Err
	}
	return err
}
