package archive_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/imagetest"
)

const mark = "docker-flatten: 2 layers above 1 of it"

// read is the image of an archive, read once.
func read(t *testing.T) *image.Image {
	im := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Three)), image.Options{}).Images[0]
	imagetest.ReadAll(t, im)
	return im
}

// result is what a run makes of it.
func result(im *image.Image) image.NewImage {
	return imagetest.Marked(imagetest.Flat(im, 1, imagetest.Merged12), mark)
}

// archiveOf is an archive as a run with that result writes it.
func archiveOf(t *testing.T, transport string, n image.NewImage, names ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.tar")
	imagetest.Store(t, transport+":"+path, &image.Source{}, []image.NewImage{n}, names, image.Compression{})
	b, err := os.ReadFile(path)
	imagetest.Must(err)
	return b
}

// Whatever stands where an archive goes is only replaced if it is an earlier
// result of the name, or by force.
func TestNothingThatExistsIsLost(t *testing.T) {
	im := read(t)
	other := result(im)
	other.Write, other.Size, other.Keep = nil, 0, 2
	for _, transport := range []string{"docker-archive", "oci-archive"} {
		for name, c := range map[string]struct {
			file    []byte
			names   []string // of the new result
			refused string   // "" = it is replaced
		}{
			"an earlier result":                {archiveOf(t, transport, other, "demo:flat"), []string{"demo:flat"}, ""},
			"one that has a name more":         {archiveOf(t, transport, other, "demo:flat", "demo:2"), []string{"demo:flat"}, ""},
			"one without a name":               {archiveOf(t, transport, other), nil, ""},
			"one without, for one with a name": {archiveOf(t, transport, other), []string{"demo:flat"}, "holds a result without a name"},
			"one of another name":              {archiveOf(t, transport, other, "other:1"), []string{"demo:flat"}, "holds the result "},
			"one, for one without a name":      {archiveOf(t, transport, other, "other:1"), nil, "holds the result "},
			"an image of the name":             {archiveOf(t, transport, imagetest.Unchanged(im), "demo:flat"), []string{"demo:flat"}, "isn't an earlier result"},
			"a text":                           {[]byte("my thesis"), []string{"demo:flat"}, "not an image archive"},
			"nothing":                          {[]byte{}, []string{"demo:flat"}, "it is empty"},
			"a tar of something else":          {imagetest.Members{"a", []byte("b")}.Tar(), []string{"demo:flat"}, "isn't an earlier result"},
			"several images":                   {imagetest.DockerArchive(imagetest.Three, imagetest.CompressedThree), []string{"demo:1"}, "isn't an earlier result"},
			"an archive that is cut off":       {archiveOf(t, transport, other, "demo:flat")[:3000], []string{"demo:flat"}, "truncated"},
		} {
			t.Run(transport+" onto "+name, func(t *testing.T) {
				dir := t.TempDir()
				path, link := filepath.Join(dir, "x.tar"), filepath.Join(dir, "link.tar")
				imagetest.Must(os.Symlink("x.tar", link))
				for _, to := range []string{path, link} {
					imagetest.Must(os.WriteFile(path, c.file, 0o644))
					images := []image.NewImage{result(im)}
					_, err := imagetest.StoreErr(t, transport+":"+to, &image.Source{}, images, c.names, image.Options{})
					now, readErr := os.ReadFile(path)
					imagetest.Must(readErr)
					if c.refused == "" {
						if err != nil || bytes.Equal(now, c.file) {
							t.Errorf("it isn't replaced: %v", err)
						}
						continue
					}
					var e *image.Error
					if !errors.As(err, &e) || !strings.Contains(err.Error(), c.refused) || !strings.Contains(e.Hint, "--force") || strings.Contains(err.Error(), "\n") {
						t.Errorf("error is %v", err)
					}
					if !bytes.Equal(now, c.file) {
						t.Error("the file is another one")
					}
					if _, err := imagetest.StoreErr(t, transport+":"+to, &image.Source{}, images, c.names, image.Options{Force: true}); err != nil {
						t.Errorf("by force: %v", err)
					}
					if now, err = os.ReadFile(path); err != nil || !bytes.Equal(now, archiveOf(t, transport, images[0], c.names...)) {
						t.Errorf("by force it is another archive: %v", err)
					}
				}
				if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
					t.Errorf("left behind: %v, %v", left, err)
				}
			})
		}
	}
}

// What can't ever be an earlier result is refused before any work.
func TestWhatWouldBeLostIsRefusedAtOnce(t *testing.T) {
	path := imagetest.Write(t, "thesis.tar", []byte("my thesis"))
	for _, transport := range []string{"docker-archive:", "oci-archive:", ""} {
		if _, err := place.Prepare(t.Context(), imagetest.Ref(t, transport+path), []string{"demo:1"}, image.Options{}); err == nil {
			t.Errorf("%s: it is taken", transport)
		}
	}
}

// A file that another program writes while we work isn't lost, either.
func TestFileWrittenMeanwhileIsKept(t *testing.T) {
	im := read(t)
	for name, c := range map[string]struct {
		before, after []byte
		kept          bool
	}{
		"where none was":            {nil, []byte("my thesis"), true},
		"over an earlier result":    {archiveOf(t, "docker-archive", result(im), "demo:1"), []byte("my thesis"), true},
		"and is a result, too":      {nil, archiveOf(t, "docker-archive", result(im), "demo:1"), false},
		"and is one of another run": {nil, archiveOf(t, "docker-archive", result(im), "demo:2"), true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x.tar")
			if c.before != nil {
				imagetest.Must(os.WriteFile(path, c.before, 0o644))
			}
			p, err := place.Prepare(t.Context(), imagetest.Ref(t, path), []string{"demo:1"}, image.Options{})
			imagetest.Must(err)
			changed := result(im)
			changed.Keep = 2
			stored, err := p.Store(t.Context(), image.Wanted{Images: []image.NewImage{changed}})
			imagetest.Must(err)
			imagetest.Must(os.WriteFile(path, c.after, 0o644))
			err = stored.Name(t.Context())
			imagetest.Must(stored.Discard())
			now, readErr := os.ReadFile(path)
			imagetest.Must(readErr)
			if (err != nil) != c.kept || bytes.Equal(now, c.after) != c.kept {
				t.Errorf("kept: %v, error %v", bytes.Equal(now, c.after), err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestLinkThatLeadsNowhereIsWrittenThrough(t *testing.T) {
	dir := t.TempDir()
	imagetest.Must(os.MkdirAll(filepath.Join(dir, "real", "deep"), 0o755))
	for link, to := range map[string]string{"link.tar": "real/x.tar", "dir": "real/deep", "real/deep/up.tar": "../y.tar"} {
		imagetest.Must(os.Symlink(to, filepath.Join(dir, link)))
	}
	for out, file := range map[string]string{"link.tar": "real/x.tar", "dir/up.tar": "real/y.tar"} {
		if _, err := imagetest.StoreErr(t, filepath.Join(dir, out), &image.Source{}, []image.NewImage{result(read(t))}, nil, image.Options{}); err != nil {
			t.Errorf("%s: %v", out, err)
		}
		if info, err := os.Lstat(filepath.Join(dir, file)); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: there is no file %s: %v", out, file, err)
		}
		if info, err := os.Lstat(filepath.Join(dir, out)); err != nil || info.Mode().Type() != os.ModeSymlink {
			t.Errorf("%s: the link is gone: %v", out, err)
		}
	}
	imagetest.Must(os.Symlink("loop.tar", filepath.Join(dir, "loop.tar")))
	if _, err := place.Prepare(t.Context(), imagetest.Ref(t, filepath.Join(dir, "loop.tar")), nil, image.Options{}); err == nil {
		t.Error("a link to itself is taken")
	}
}

// An archive is compressed as its name says, its new layer then not a second
// time, unless the base is or the user asks.
func TestArchiveIsCompressedAsItIsCalled(t *testing.T) {
	plain := read(t)
	gzipped := imagetest.Open(t, imagetest.Write(t, "in.tar", imagetest.DockerArchive(imagetest.Raw{
		Layers: imagetest.Three.Layers, Stored: [][]byte{imagetest.Gzip(imagetest.Base), imagetest.Gzip(imagetest.Upper), imagetest.Gzip(imagetest.Third)},
	})), image.Options{}).Images[0]
	imagetest.ReadAll(t, gzipped)
	for _, c := range []struct {
		ext, magic string
		from       *image.Image
		keep       int
		kind       string // that the user asks for
		want       string // of the new layer
	}{
		{"tar", "", plain, 1, image.Uncompressed, image.Uncompressed},
		{"tar.gz", "\x1f\x8b", plain, 1, "", image.Uncompressed},
		{"tar.gz", "\x1f\x8b", plain, 0, "", image.Uncompressed},
		{"tar.gz", "\x1f\x8b", plain, 1, image.Gzip, image.Gzip},
		{"tar.gz", "\x1f\x8b", gzipped, 1, "", image.Gzip},
		{"tar.gz", "\x1f\x8b", gzipped, 0, "", image.Uncompressed},
		{"tgz", "\x1f\x8b", plain, 1, "", image.Uncompressed},
		{"TAR.GZ", "\x1f\x8b", plain, 1, "", image.Uncompressed},
		{"tar.zst", "\x28\xb5\x2f\xfd", plain, 1, "", image.Uncompressed},
		{"tzst", "\x28\xb5\x2f\xfd", plain, 1, "", image.Uncompressed},
		{"tar.xz", "\xfd7zXZ", plain, 1, "", image.Uncompressed},
		{"txz", "\xfd7zXZ", plain, 1, "", image.Uncompressed},
		{"tar.bz2", "BZh", plain, 1, "", image.Uncompressed},
		{"tbz2", "BZh", plain, 1, "", image.Uncompressed},
	} {
		for _, transport := range []string{"docker-archive:", "oci-archive:"} {
			var first []byte
			for range 2 {
				path := filepath.Join(t.TempDir(), "out."+c.ext)
				imagetest.Store(t, transport+path, &image.Source{}, []image.NewImage{imagetest.Flat(c.from, c.keep, imagetest.Merged12)}, []string{"demo:1"}, image.Compression{Kind: c.kind})
				b, err := os.ReadFile(path)
				imagetest.Must(err)
				if c.magic == "" && !bytes.Equal(b[257:262], []byte("ustar")) || !bytes.HasPrefix(b, []byte(c.magic)) {
					t.Errorf("%s begins with %q", c.ext, b[:6])
				}
				if first != nil && !bytes.Equal(b, first) {
					t.Errorf("%s%s: the same image gives other bytes", transport, c.ext)
				}
				first = b
				back := imagetest.Open(t, transport+path, image.Options{}).Images[0]
				imagetest.SameLayers(t, imagetest.ReadAll(t, back)[c.keep:], [][]byte{imagetest.Merged12})
				if got := (image.NewImage{From: back, Keep: c.keep + 1}).Base()[c.keep].Kind(); got != c.want {
					t.Errorf("%s%s: the new layer is stored as %s, not %s", transport, c.ext, got, c.want)
				}
			}
		}
	}
}

// An earlier result is found if it is what would be stored, to the letter, and
// has the very names.
func TestEarlierArchiveIsFound(t *testing.T) {
	im := read(t)
	n := result(im)
	changed := n
	changed.Config = func(diffIDs []v1.Hash) ([]byte, error) {
		raw, err := n.Config(diffIDs)
		return bytes.Replace(raw, []byte("A=1"), []byte("A=2"), 1), err
	}
	fewer := n
	fewer.Keep = 0
	for _, transport := range []string{"docker-archive:", "oci-archive:"} {
		path := filepath.Join(t.TempDir(), "x.tar")
		first := imagetest.Store(t, transport+path, &image.Source{}, []image.NewImage{n}, []string{"demo:1", "demo:2"}, image.Compression{})
		for name, c := range map[string]struct {
			image image.NewImage
			names []string
			opt   image.Options
			found bool
		}{
			"the same":                  {n, []string{"demo:1", "demo:2"}, image.Options{}, true},
			"the same, by force":        {n, []string{"demo:1", "demo:2"}, image.Options{Force: true}, true},
			"fewer names":               {n, []string{"demo:1"}, image.Options{}, false},
			"more names":                {n, []string{"demo:1", "demo:2", "demo:3"}, image.Options{}, false},
			"another config":            {changed, []string{"demo:1", "demo:2"}, image.Options{}, false},
			"another base":              {fewer, []string{"demo:1", "demo:2"}, image.Options{}, false},
			"a compression":             {n, []string{"demo:1", "demo:2"}, image.Options{Compression: image.Compression{Kind: image.Zstandard}}, false},
			"a level that nobody knows": {n, []string{"demo:1", "demo:2"}, image.Options{Compression: image.Compression{Kind: image.Gzip, Level: 1}}, false},
		} {
			c.opt.TempDir = t.TempDir()
			p, err := place.Prepare(t.Context(), imagetest.Ref(t, transport+path), c.names, c.opt)
			imagetest.Must(err)
			found, err := p.Existing(t.Context(), image.Wanted{Images: []image.NewImage{c.image}})
			if err != nil || (found != nil) != c.found {
				t.Errorf("%s%s: found %v, %v", transport, name, found, err)
			}
			if found == nil {
				continue
			}
			imagetest.SameLayers(t, imagetest.ReadAll(t, found.Source.Images[0]), [][]byte{imagetest.Base, imagetest.Merged12})
			got, want := found.Stored.Images[0], first.Images[0]
			if found.Stored.ID != first.ID || got.ConfigDigest != want.ConfigDigest || got.DiffID != want.DiffID || got.Compressed != want.Compressed || got.Layer.Size != want.Layer.Size {
				t.Errorf("%s%s: it is %+v, was stored as %+v", transport, name, got, want)
			}
			imagetest.Must(found.Stored.Name(t.Context()))
			imagetest.Must(found.Stored.Discard())
			imagetest.Must(found.Source.Close())
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s%s: %v", transport, name, err)
			}
		}
	}
}

// An image that this program didn't mark, since there was nothing to flatten, is
// found all the same, and nothing else takes its place.
func TestUnmarkedImageIsOnlyFound(t *testing.T) {
	im := read(t)
	for _, transport := range []string{"docker-archive:", "oci-archive:"} {
		path := filepath.Join(t.TempDir(), "x.tar")
		imagetest.Store(t, transport+path, &image.Source{}, []image.NewImage{imagetest.Unchanged(im)}, []string{"demo:1"}, image.Compression{})
		p, err := place.Prepare(t.Context(), imagetest.Ref(t, transport+path), []string{"demo:1"}, image.Options{})
		imagetest.Must(err)
		found, err := p.Existing(t.Context(), image.Wanted{Images: []image.NewImage{imagetest.Unchanged(im)}})
		if err != nil || found == nil {
			t.Fatalf("%s: %v, %v", transport, found, err)
		}
		imagetest.Must(found.Source.Close())
		if found, err := p.Existing(t.Context(), image.Wanted{Images: []image.NewImage{result(im)}}); err == nil || found != nil {
			t.Errorf("%s: another one is found: %v, %v", transport, found, err)
		}
		if _, err := p.Store(t.Context(), image.Wanted{Images: []image.NewImage{result(im)}}); err == nil {
			t.Errorf("%s: it is replaced", transport)
		}
	}
}

// Stdout gets the archive when the result is named, and nothing before or
// instead.
func TestStdoutIsWrittenAtTheNaming(t *testing.T) {
	im := read(t)
	for _, ref := range []string{"docker-archive:-", "oci-archive:-"} {
		var out bytes.Buffer
		temp := t.TempDir()
		p, err := place.Prepare(t.Context(), imagetest.Ref(t, ref), []string{"demo:1"}, image.Options{Stdout: &out, TempDir: temp})
		imagetest.Must(err)
		for _, named := range []bool{false, true} {
			if found, err := p.Existing(t.Context(), image.Wanted{Images: []image.NewImage{result(im)}}); found != nil || err != nil {
				t.Errorf("%s: found %v, %v", ref, found, err)
			}
			stored, err := p.Store(t.Context(), image.Wanted{Images: []image.NewImage{result(im)}})
			imagetest.Must(err)
			if out.Len() != 0 {
				t.Errorf("%s: %d bytes before the naming", ref, out.Len())
			}
			if named {
				imagetest.Must(stored.Name(t.Context()))
			}
			imagetest.Must(stored.Discard())
		}
		back := imagetest.Open(t, imagetest.Write(t, "x.tar", out.Bytes()), image.Options{}).Images[0]
		imagetest.SameLayers(t, imagetest.ReadAll(t, back), [][]byte{imagetest.Base, imagetest.Merged12})
		if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
			t.Errorf("%s: left behind %v, %v", ref, left, err)
		}
	}
}
