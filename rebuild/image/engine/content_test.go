package engine_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/imagetest"
)

// putBlobs puts blobs where containerd has them.
func putBlobs(dir string, blobs ...[]byte) {
	for _, b := range blobs {
		imagetest.Must(os.WriteFile(filepath.Join(dir, imagetest.Digest(b).Hex), b, 0o600))
	}
}

// storedOf are the blobs of an image as they are stored: its layers, config and
// manifest, which comes last.
func storedOf(im imagetest.Raw) (blobs [][]byte) {
	for i := range im.Layers {
		blobs = append(blobs, im.Blob(i))
	}
	return append(blobs, im.Config(), im.Manifest(false))
}

// In the engine's own content store an image needs no docker save, whether the
// engine knows it by its manifest or by an index that lists images nobody pulled.
func TestContentStoreIsReadInPlace(t *testing.T) {
	manifest := gz.Manifest(false)
	elsewhere := imagetest.Raw{Platform: "linux/arm64", Layers: [][]byte{imagetest.Tar("elsewhere")}}
	other := imagetest.Raw{Platform: "linux/s390x", Layers: gz.Layers, Stored: gz.Stored}
	index := imagetest.Index(imagetest.EntryOf(elsewhere), imagetest.EntryOf(other), imagetest.EntryOf(gz))
	outer := imagetest.Index(imagetest.Entry{Kind: types.OCIImageIndex, Doc: index})
	for name, root := range map[string][]byte{"a manifest": manifest, "an index": index, "an index in an index": outer} {
		t.Run(name, func(t *testing.T) {
			e, opt, dir := newLocalEngine(t)
			putBlobs(dir, append(append(storedOf(gz), storedOf(other)...), index, outer)...)
			id := imagetest.Digest(root).String()
			e.add(gz, id, nil)
			src := imagetest.Open(t, "demo:1", opt)
			im := src.Images[0]
			if !bytes.Equal(im.Config, gz.Config()) || im.Manifest == nil || !bytes.Equal(im.Manifest.Raw, manifest) || src.ID != id {
				t.Errorf("%s has the manifest %+v and the config %s", src.ID, im.Manifest, im.Config)
			}
			for range 2 {
				imagetest.SameLayers(t, imagetest.ReadAll(t, im), gz.Layers)
			}
			if len(e.saves) != 0 {
				t.Errorf("%d saves", len(e.saves))
			}
		})
	}
}

// What the content store lacks, or has changed, comes by docker save.
func TestDamagedContentStoreIsNotBelieved(t *testing.T) {
	blobs := storedOf(gz)
	names := []string{"layer 0", "layer 1", "layer 2", "config", "manifest"}
	for i, what := range names {
		for _, how := range []string{"missing", "changed", "cut", "a directory", "a link to nothing"} {
			t.Run(what+" "+how, func(t *testing.T) {
				e, opt, dir := newLocalEngine(t)
				putBlobs(dir, blobs...)
				file := filepath.Join(dir, imagetest.Digest(blobs[i]).Hex)
				imagetest.Must(os.Remove(file))
				switch how {
				case "changed":
					b := bytes.Clone(blobs[i])
					b[len(b)/2] ^= 1
					imagetest.Must(os.WriteFile(file, b, 0o600))
				case "cut":
					imagetest.Must(os.WriteFile(file, blobs[i][:len(blobs[i])/2], 0o600))
				case "a directory":
					imagetest.Must(os.Mkdir(file, 0o755))
				case "a link to nothing":
					if err := os.Symlink("nothing", file); err != nil {
						t.Skip(err)
					}
				}
				e.add(gz, imagetest.Digest(gz.Manifest(false)).String(), savedBlobs(gz))
				layers, im, err := imagetest.ReadLayers(imagetest.Open(t, "demo:1", opt).Images[0], nil)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.EqualFunc(layers, gz.Layers, bytes.HasSuffix) { // one may have been visited before the damage showed
					t.Error("the layers are others")
				}
				if !bytes.Equal(im.Config, gz.Config()) {
					t.Errorf("config is %s", im.Config)
				}
				if len(e.saves) != 1 {
					t.Errorf("%d saves", len(e.saves))
				}
			})
		}
	}
}

// The same image gives the same result, in place or by save, as a registry has it
// or loaded uncompressed; its base isn't sent, and an earlier result is found.
func TestResultIsTheSameInPlaceAndSaved(t *testing.T) {
	for name, c := range map[string]struct {
		im       imagetest.Raw
		saved    []byte
		manifest []byte
	}{
		"compressed":          {gz, savedBlobs(gz), gz.Manifest(false)},
		"loaded uncompressed": {imagetest.Three, savedLoaded(imagetest.Three), loadedManifest(imagetest.Three)},
	} {
		t.Run(name, func(t *testing.T) {
			id := imagetest.Digest(c.manifest).String()
			saving, opt := newFakeEngine(t, engine.Containerd)
			saving.add(c.im, id, c.saved)
			marked := func(n *image.NewImage) { *n = imagetest.Marked(*n, mark) }
			bySave, err := toFakeEngine(t, opt, "demo:1", marked)
			imagetest.Must(err)

			local, opt, dir := newLocalEngine(t)
			putBlobs(dir, append(storedOf(c.im), c.manifest)...)
			local.add(c.im, id, nil)
			inPlace, err := toFakeEngine(t, opt, "demo:1", marked)
			imagetest.Must(err)
			if inPlace.ID != bySave.ID || fmt.Sprint(inPlace.Images) != fmt.Sprint(bySave.Images) {
				t.Errorf("in place it is %+v, by save %+v", inPlace, bySave)
			}
			if len(local.saves) != 0 || len(saving.saves) != 1 {
				t.Errorf("saved %d times and %d times", len(local.saves), len(saving.saves))
			}
			passing := regexp.MustCompile(`layer-[A-Z2-7]+\.tar`) // the name of a layer on its way is random
			names := func(loads []imagetest.Members) string {
				return passing.ReplaceAllString(fmt.Sprint(loads), "layer.tar")
			}
			if names(local.loads) != names(saving.loads) || len(local.loads) != 1 {
				t.Errorf("loaded %v, and %v", local.loads, saving.loads)
			}

			// the engine has the result's blobs in its store, too
			for _, b := range local.sentBlobs {
				putBlobs(dir, b)
			}
			im := imagetest.Open(t, "demo:1", opt).Images[0]
			n := imagetest.Marked(imagetest.Flat(im, 1, imagetest.Merged12), mark)
			found, err := prepare(t, opt, "demo:flat").Existing(t.Context(), image.Wanted{Images: []image.NewImage{n}})
			if err != nil || found == nil || found.Stored.ID != inPlace.ID {
				t.Fatalf("the earlier result is %v, %v", found, err)
			}
			imagetest.SameLayers(t, imagetest.ReadAll(t, found.Source.Images[0]), [][]byte{imagetest.Base, imagetest.Merged12})
			imagetest.Must(found.Source.Close())
			if len(local.saves) != 0 {
				t.Errorf("%d saves to find it", len(local.saves))
			}
		})
	}
}

// A base is left out of what comes from elsewhere, and isn't even read, where the
// engine's store has its very blobs as an image's.
func TestBaseInContentStoreIsLeftOut(t *testing.T) {
	plain := imagetest.Raw{Names: []string{"base:1"}, Layers: imagetest.Three.Layers[:1]}
	compressed := plain
	compressed.Stored = gz.Stored[:1]
	above := imagetest.Raw{Names: []string{"base:1"}, Layers: gz.Layers[:2], Stored: gz.Stored[:2]}
	for name, c := range map[string]struct {
		base imagetest.Raw
		has  bool
	}{
		"the same blob":            {compressed, true},
		"with another layer above": {above, true},
		"stored in another way":    {plain, false},
		"an image of other layers": {imagetest.Raw{Layers: gz.Layers[1:], Stored: gz.Stored[1:]}, false},
	} {
		t.Run(name, func(t *testing.T) {
			e, opt, dir := newLocalEngine(t)
			putBlobs(dir, storedOf(c.base)...)
			e.add(c.base, imagetest.Digest(c.base.Manifest(false)).String(), nil)
			src := imagetest.Open(t, "oci:"+imagetest.LayoutOf(gz, false, "").Dir(t), image.Options{})
			p := prepare(t, opt, "demo:flat")
			if reads, err := p.ReadsBase(t.Context(), src.Images[0], 1); err != nil || reads == c.has {
				t.Errorf("the base is read: %v, %v", reads, err)
			}
			imagetest.ReadAll(t, src.Images[0])
			_, err := imagetest.StoreIn(t.Context(), p, []image.NewImage{imagetest.Flat(src.Images[0], 1, imagetest.Merged12)}, nil)
			imagetest.Must(err)
			sent := slices.ContainsFunc(e.loads[0], func(name any) bool { return name == image.BlobPath(imagetest.Digest(gz.Stored[0])) })
			if sent == c.has || len(e.loads) != 1 {
				t.Errorf("the base is sent: %v, in %d loads", sent, len(e.loads))
			}
		})
	}
}
