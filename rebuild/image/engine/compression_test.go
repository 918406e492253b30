package engine_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/imagetest"
)

// A new layer for containerd's store is stored as the source stores its own, unless
// the user says otherwise. Uncompressed it is sent first, and kept in no file.
func TestContainerdStoreGetsALayerAsTheSourceHasThem(t *testing.T) {
	for name, c := range map[string]struct {
		im    imagetest.Raw
		asked image.Compression
		kind  string
	}{
		"compressed":                           {gz, image.Compression{}, image.Gzip},
		"uncompressed":                         {imagetest.Three, image.Compression{}, image.Uncompressed},
		"compressed, and asked for none":       {gz, image.Compression{Kind: image.Uncompressed}, image.Uncompressed},
		"uncompressed, and asked for compress": {imagetest.Three, image.Compression{Kind: image.Zstandard}, image.Zstandard},
	} {
		t.Run(name, func(t *testing.T) {
			e, opt := newFakeEngine(t, engine.Containerd)
			opt.Compression = c.asked
			src := imagetest.Open(t, "oci:"+imagetest.LayoutOf(c.im, false, "").Dir(t), image.Options{})
			imagetest.ReadAll(t, src.Images[0])
			left := -1
			n := imagetest.Flat(src.Images[0], 1, imagetest.Merged12)
			e.sent = func() {
				files, err := os.ReadDir(opt.TempDir)
				imagetest.Must(err)
				left = len(slices.DeleteFunc(files, func(f os.DirEntry) bool { return strings.HasSuffix(f.Name(), ".lock") }))
			}
			stored, err := imagetest.StoreIn(t.Context(), prepare(t, opt, "demo:flat"), []image.NewImage{n}, nil)
			if err != nil {
				t.Fatal(err)
			}
			digest := stored.Images[0].Layer.Digest
			at := slices.IndexFunc(e.sentBlobs, func(b []byte) bool { return imagetest.Digest(b) == digest })
			if at < 0 {
				t.Fatalf("the layer's digest is given as %s, and none of that is sent", digest)
			}
			sent := e.sentBlobs[at]
			if kind := image.KindOf(sent[:min(len(sent), image.HeadSize)]); kind != c.kind {
				t.Errorf("the layer is sent as %s", kind)
			}
			first := e.loads[0][0].(string)
			if streamed := strings.HasPrefix(first, "layer-"); streamed != (c.kind == image.Uncompressed) {
				t.Errorf("%s comes first", first)
			}
			if c.kind == image.Uncompressed && left != 0 {
				t.Errorf("%d temporary files", left)
			}
		})
	}
}
