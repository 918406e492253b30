package oci_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
)

// artefact is a manifest of one layer that is no file system.
func artefact(config, layer types.MediaType) []byte {
	d := v1.Descriptor{MediaType: config, Digest: imagetest.Digest([]byte("{}")), Size: 2}
	raw, err := json.Marshal(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: d, Layers: []v1.Descriptor{{MediaType: layer, Digest: d.Digest, Size: 2}}})
	imagetest.Must(err)
	return raw
}

func named(e imagetest.Entry, name string) imagetest.Entry {
	e.Platform, e.Annotations = "", map[string]string{"org.opencontainers.image.ref.name": name}
	return e
}

// What lies beside an image without being one isn't a reason to ask which is
// meant.
func TestArtefactsAreNotAChoice(t *testing.T) {
	app := named(imagetest.EntryOf(imagetest.AMD), "app")
	other := named(imagetest.EntryOf(imagetest.ARM), "other")
	signature := named(imagetest.Entry{Kind: types.OCIManifestSchema1, Doc: artefact(types.OCIConfigJSON, "application/vnd.dev.cosign.simplesigning.v1+json")}, "sha256-1.sig")
	provenance := imagetest.Entry{Kind: types.OCIManifestSchema1, Doc: artefact(types.OCIConfigJSON, "application/vnd.in-toto+json")}
	sbom := imagetest.Entry{Kind: types.OCIManifestSchema1, Doc: artefact("application/vnd.oci.empty.v1+json", "text/spdx+json")}
	attestation, _ := imagetest.Attestation(imagetest.AMD)
	attestation.Platform = ""
	blobs := [][]byte{[]byte("{}"), signature.Doc, provenance.Doc, sbom.Doc, attestation.Doc}
	for _, im := range []imagetest.Raw{imagetest.AMD, imagetest.ARM} {
		blobs = append(blobs, im.Manifest(false), im.Config())
		for i := range im.Layers {
			blobs = append(blobs, im.Blob(i))
		}
	}
	for name, c := range map[string]struct {
		entries []imagetest.Entry
		ref     string
		warned  []string // a part of each warning
		says    string   // of an error
	}{
		"an image and its signature":     {[]imagetest.Entry{app, signature}, "", []string{"left out sha256-1.sig: layer 1 is application/vnd.dev.cosign.simplesigning.v1+json, no file system"}, ""},
		"all kinds of artefacts":         {[]imagetest.Entry{provenance, sbom, app, attestation, signature}, "", []string{"layer 1 is application/vnd.in-toto+json", "application/vnd.oci.empty.v1+json", "an attestation-manifest", "sha256-1.sig"}, ""},
		"an image that is named":         {[]imagetest.Entry{app, signature}, ":app", nil, ""},
		"an artefact that is named":      {[]imagetest.Entry{app, signature}, ":sha256-1.sig", []string{"left out"}, "layer 1 is application/vnd.dev.cosign.simplesigning.v1+json, no file system"},
		"nothing but artefacts":          {[]imagetest.Entry{provenance, sbom}, "", nil, "it holds 2 images"},
		"two images and a signature":     {[]imagetest.Entry{app, signature, other}, "", []string{"sha256-1.sig"}, "it holds 2 images: app, other"},
		"one image that is listed twice": {[]imagetest.Entry{app, app}, "", nil, ""},
		"two, one of them twice":         {[]imagetest.Entry{app, app, other}, "", nil, "it holds 2 images: app, other"},
	} {
		t.Run(name, func(t *testing.T) {
			files := imagetest.LayoutFiles(imagetest.Index(c.entries...), blobs...)
			for _, ref := range []string{"oci:" + files.Dir(t), "oci-archive:" + imagetest.Write(t, "x.tar", files.Tar())} {
				warned := &imagetest.Warnings{}
				src, err := imagetest.OpenErr(t, ref+c.ref, image.Options{Warn: warned.Add})
				switch {
				case c.says != "":
					if err == nil || !strings.Contains(err.Error(), c.says) {
						t.Errorf("error is %v", err)
					}
				case err != nil:
					t.Error(err)
				case src.ID != imagetest.Digest(app.Doc).String():
					t.Errorf("it opens %s", src.ID)
				}
				if len(warned.Lines) != len(c.warned) {
					t.Fatalf("warnings %q", warned.Lines)
				}
				for i, part := range c.warned {
					if !strings.Contains(warned.Lines[i], part) {
						t.Errorf("warning %q doesn't say %q", warned.Lines[i], part)
					}
				}
			}
		})
	}
}

// bomb is indexes wide and deep around one that lists inner.
func bomb(wide, deep int, inner ...imagetest.Entry) (root []byte, blobs [][]byte) {
	root = imagetest.Index(inner...)
	for range deep {
		blobs = append(blobs, root)
		var entries []imagetest.Entry
		for range wide {
			entries = append(entries, imagetest.Entry{Kind: types.OCIImageIndex, Doc: root})
		}
		root = imagetest.Index(entries...)
	}
	return root, blobs
}

// What indexes list is followed once, and not without limit.
func TestNestedIndexesEnd(t *testing.T) {
	app := imagetest.EntryOf(imagetest.AMD)
	own := [][]byte{app.Doc, imagetest.AMD.Config()}
	for i := range imagetest.AMD.Layers {
		own = append(own, imagetest.AMD.Blob(i))
	}
	var many []imagetest.Entry
	var docs [][]byte
	for i := range 4200 {
		ix := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"%s","manifests":[],"n":%d}`, types.OCIImageIndex, i)
		many, docs = append(many, imagetest.Entry{Kind: types.OCIImageIndex, Doc: ix}), append(docs, ix)
	}
	config := imagetest.Digest(imagetest.AMD.Config()).Hex + ".json"
	var layers []string
	for _, l := range imagetest.AMD.Layers {
		layers = append(layers, image.BlobPath(imagetest.Digest(l)))
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": config, "Layers": layers}})
	imagetest.Must(err)
	own = append(own, imagetest.AMD.Layers...)
	wide, wideBlobs := bomb(10, 7, app)
	none, noneBlobs := bomb(10, 8)
	deep, deepBlobs := bomb(10, 12, app)
	for name, c := range map[string]struct {
		index []byte
		blobs [][]byte
		says  string // of a layout's error, "" = the image is opened
		saved string // of a docker-archive's
	}{
		"ten wide, eight deep":     {wide, wideBlobs, "", ""},
		"the same without images":  {none, noneBlobs, "holds no image", ""},
		"twelve deep":              {deep, deepBlobs, "more than 8 indexes within each other", "more than 8 indexes within each other"},
		"thousands in one":         {imagetest.Index(many...), docs, "list more than 4096 manifests", "list more than 4096 manifests"},
		"the image a thousandfold": {imagetest.Index(repeat(app, 1000)...), nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			blobs := append(append([][]byte{c.index}, c.blobs...), own...)
			layout := imagetest.LayoutFiles(imagetest.Index(imagetest.Entry{Kind: types.OCIImageIndex, Doc: c.index}), blobs...)
			saved := append(append(imagetest.Members{}, layout...), config, imagetest.AMD.Config(), "manifest.json", manifest)
			for ref, says := range map[string]string{"oci:" + layout.Dir(t): c.says, imagetest.Write(t, "x.tar", saved.Tar()): c.saved} {
				src, err := imagetest.OpenErr(t, ref, image.Options{})
				switch {
				case says == "" && err != nil, says != "" && (err == nil || !strings.Contains(err.Error(), says)):
					t.Errorf("%s: error is %v", ref, err)
				case err == nil && len(src.Images) != 1:
					t.Errorf("%s: %d images", ref, len(src.Images))
				}
			}
		})
	}
}

func repeat(e imagetest.Entry, n int) (list []imagetest.Entry) {
	for range n {
		list = append(list, e)
	}
	return list
}

// An error line names a few of many images.
func TestErrorNamesFewOfManyImages(t *testing.T) {
	var entries []imagetest.Entry
	for i := range 3000 {
		entries = append(entries, named(imagetest.Entry{Kind: types.OCIManifestSchema1, Doc: fmt.Append(nil, i)}, strings.Repeat("x", 5000)+fmt.Sprint(i)))
	}
	for _, name := range []string{"", ":y"} {
		_, err := imagetest.OpenErr(t, "oci:"+imagetest.LayoutFiles(imagetest.Index(entries...)).Dir(t)+name, image.Options{})
		var e *image.Error
		if !errors.As(err, &e) || len(err.Error()+e.Hint) > 4000 || !strings.Contains(err.Error()+e.Hint, "and 2992 more") {
			t.Errorf("%.9999s", fmt.Sprint(err))
		}
	}
}
