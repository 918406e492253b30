package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Annotations of an index.json's entries that name an image: the OCI image
// spec's, which may be a bare tag, and the one with which BuildKit and
// containerd write the whole name.
const (
	refNameAnnotation        = "org.opencontainers.image.ref.name"
	containerdNameAnnotation = "io.containerd.image.name"
)

func (s *Source) openLayout(ctx context.Context, opt Options) error {
	root := s.Ref.Path
	if _, err := os.Stat(filepath.Join(root, "oci-layout")); err != nil {
		return &Error{Op: "open", Object: root, Err: detail(ErrNotLayout, "not an OCI layout: it has no file oci-layout")}
	}
	raw, err := os.ReadFile(filepath.Join(root, "index.json"))
	if err != nil {
		return pathError("open", root, err)
	}
	st := &dirStore{root: root}
	s.closer = append(s.closer, st)
	return s.openIndexJSON(ctx, st, raw, opt)
}

func (s *Source) openLayoutArchive(ctx context.Context, ix *tarIndex, opt Options) error {
	raw, err := ix.document("index.json")
	if err != nil {
		return err
	}
	return s.openIndexJSON(ctx, &tarStore{ix}, raw, opt)
}

// openIndexJSON opens the image that the reference names in a layout's
// index.json, or the only one.
func (s *Source) openIndexJSON(ctx context.Context, st blobStore, raw []byte, opt Options) error {
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return &Error{Op: "open", Object: st.name(), Err: detail(ErrNotLayout, "index.json: %s", err)}
	}
	var found []v1.Descriptor
	var list []string
	for i, d := range index.Manifests {
		names := layoutNames(d)
		if s.Ref.Name == "" || entryMatches(d, names, s.Ref.Name, i) {
			found = append(found, d)
		}
		if len(names) > 0 {
			list = append(list, names[0])
		} else {
			list = append(list, d.Digest.String())
		}
	}
	if len(found) == 1 {
		if err := s.openDescriptor(ctx, st, found[0], opt); err != nil {
			return err
		}
		s.name(layoutNames(found[0]))
		return nil
	}
	if platforms(found) {
		return s.openUnnamedIndex(ctx, st, raw, found, opt)
	}
	return notChosen(st.name(), s.Ref, list)
}

// name gives the images those of an entry's names that name a repository: a
// mere tag, as skopeo and umoci write it, isn't a name outside its layout.
func (s *Source) name(names []string) {
	var whole []string
	for _, n := range names {
		if strings.ContainsAny(n, "/:") {
			whole = append(whole, n)
		}
	}
	for _, im := range s.Images {
		im.Names = tagNames(whole)
	}
}

// layoutNames are the names that an entry of index.json gives its image.
func layoutNames(d v1.Descriptor) []string {
	var names []string
	for _, key := range []string{containerdNameAnnotation, refNameAnnotation} {
		if n := d.Annotations[key]; n != "" && !(len(names) > 0 && strings.HasSuffix(names[0], ":"+n)) && !(len(names) > 0 && names[0] == n) {
			names = append(names, n)
		}
	}
	return names
}

// entryMatches tells whether name means the i-th entry: by one of its names, by
// digest, or by place.
func entryMatches(d v1.Descriptor, names []string, name string, i int) bool {
	if name == d.Annotations[refNameAnnotation] || hasName(names, name) || name == fmt.Sprintf("@%d", i) {
		return true
	}
	hex := strings.TrimPrefix(name, "sha256:")
	return len(hex) >= 6 && strings.HasPrefix(d.Digest.Hex, hex)
}

// platforms tells whether entries are one image for several platforms: layouts
// of older tools list it so, without an index of its own.
func platforms(entries []v1.Descriptor) bool {
	seen := map[string]bool{}
	for _, d := range entries {
		if d.Platform == nil || d.Annotations[refNameAnnotation] != entries[0].Annotations[refNameAnnotation] {
			return false
		}
		p := d.Platform.String()
		if seen[p] && p != "unknown/unknown" {
			return false
		}
		seen[p] = true
	}
	return len(entries) > 1
}

func (s *Source) openUnnamedIndex(ctx context.Context, st blobStore, raw []byte, found []v1.Descriptor, opt Options) error {
	o := &opener{store: st, warn: opt.warn}
	if opt.Platform != "" {
		p, err := ParsePlatform(opt.Platform)
		if err != nil {
			return err
		}
		o.want = &p
	}
	names := layoutNames(found[0])
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, d := range found {
		for _, key := range []string{containerdNameAnnotation, refNameAnnotation} {
			delete(d.Annotations, key)
		}
		index.Manifests = append(index.Manifests, d)
	}
	made, err := json.Marshal(index)
	if err != nil {
		return err
	}
	info, err := o.index(ctx, v1.Descriptor{MediaType: types.OCIImageIndex}, made, 0)
	if err != nil {
		return err
	}
	if err := s.take(o, indexEntry{index: info}, opt); err != nil {
		return err
	}
	s.name(names)
	return nil
}

// dirStore is a layout directory.
type dirStore struct {
	root  string
	files []*lazyFile
}

func (s *dirStore) name() string { return s.root }

func (s *dirStore) path(d v1.Hash) string {
	return filepath.Join(s.root, "blobs", d.Algorithm, d.Hex)
}

func (s *dirStore) missing(d v1.Descriptor, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s %s isn't in the layout", kindOf(d.MediaType), d.Digest)
	}
	return &Error{Op: "read", Object: s.root, Err: err}
}

func (s *dirStore) manifest(_ context.Context, d v1.Descriptor) ([]byte, error) {
	info, err := os.Stat(s.path(d.Digest))
	if err != nil {
		return nil, s.missing(d, err)
	}
	if info.Size() > largestDocument {
		return nil, &Error{Op: "read", Object: s.root, Err: fmt.Errorf("%s %s is too large: %d bytes", kindOf(d.MediaType), d.Digest, info.Size())}
	}
	b, err := os.ReadFile(s.path(d.Digest))
	if err != nil {
		return nil, s.missing(d, err)
	}
	return b, nil
}

func (s *dirStore) open(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	f, err := os.Open(s.path(d.Digest))
	if err != nil {
		return nil, s.missing(d, err)
	}
	return f, nil
}

func (s *dirStore) file(d v1.Descriptor) (sizedReaderAt, error) {
	info, err := os.Stat(s.path(d.Digest))
	if err != nil {
		return nil, s.missing(d, err)
	}
	l := &lazyFile{path: s.path(d.Digest), size: info.Size()}
	s.files = append(s.files, l)
	return l, nil
}

// lazyFile is a file that is opened when something reads it.
type lazyFile struct {
	path string
	size int64

	mu sync.Mutex
	f  *os.File
}

func (l *lazyFile) Size() int64 { return l.size }

func (l *lazyFile) ReadAt(b []byte, off int64) (int, error) {
	l.mu.Lock()
	if l.f == nil {
		f, err := os.Open(l.path)
		if err != nil {
			l.mu.Unlock()
			return 0, err
		}
		l.f = f
	}
	f := l.f
	l.mu.Unlock()
	return f.ReadAt(b, off)
}

func (s *dirStore) Close() error {
	var errs []error
	for _, l := range s.files {
		if l.f != nil {
			errs = append(errs, l.f.Close())
		}
	}
	s.files = nil
	return errors.Join(errs...)
}

// tarStore is a layout in a tar file.
type tarStore struct{ *tarIndex }

func (s *tarStore) name() string { return s.tarIndex.name }

func (s *tarStore) manifest(_ context.Context, d v1.Descriptor) ([]byte, error) {
	if s.find(blobPath(d.Digest)) == nil {
		return nil, s.missing(d)
	}
	return s.document(blobPath(d.Digest))
}

func (s *tarStore) missing(d v1.Descriptor) error {
	return &Error{Op: "read", Object: s.tarIndex.name, Err: fmt.Errorf("%s %s isn't in the archive", kindOf(d.MediaType), d.Digest)}
}

func (s *tarStore) open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	f, err := s.file(d)
	if err != nil {
		return nil, err
	}
	return section(f)(ctx)
}

func (s *tarStore) file(d v1.Descriptor) (sizedReaderAt, error) {
	f := s.find(blobPath(d.Digest))
	if f == nil {
		return nil, s.missing(d)
	}
	return f, nil
}
