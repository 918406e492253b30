// Package nodaemon holds the images of the no-daemon example, and the code that
// made them.
package nodaemon

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"docker-flatten/rebuild/imagetest"
)

var update = flag.Bool("update", false, "write the archives again")

// TestImagesAreWhatThisCodeMakes keeps the archives and the code that explains
// them together.
func TestImagesAreWhatThisCodeMakes(t *testing.T) {
	for name, want := range map[string][]byte{
		"app.tar":     imagetest.Archive(image("amd64")),
		"app.oci.tar": layout(t, "app:1", image("amd64"), image("arm64")),
	} {
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what this code makes: go test ./examples/no-daemon -update", name)
		}
	}
}

// image is a small application on a base of one layer, as BuildKit makes it.
func image(architecture string) imagetest.Image {
	step := func(by string, files ...imagetest.File) imagetest.Step {
		return imagetest.Step{By: by, Comment: "buildkit.dockerfile.v0", Files: files}
	}
	return imagetest.Image{
		Names:   []string{"app:1"},
		Created: time.Date(2025, 7, 15, 11, 0, 0, 0, time.UTC),
		Fields:  map[string]any{"architecture": architecture},
		Config: map[string]any{
			"Entrypoint": []string{"/app/server"},
			"Env":        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "MODE=production"},
			"User":       "1000",
		},
		Steps: []imagetest.Step{
			{By: "# debian.sh --arch '" + architecture + "' out/ 'trixie' '@1752537600'", Comment: "debuerreotype 0.15", Files: []imagetest.File{
				{Name: "bin/"}, {Name: "bin/rm", Mode: 0o755, Body: "rm for " + architecture + "\n"},
				{Name: "etc/"}, {Name: "etc/debian_version", Body: "13.0\n"}, {Name: "var/"}, {Name: "var/cache/"},
			}},
			step("ENV MODE=production"),
			step("RUN /bin/sh -c install-packages # buildkit", imagetest.File{Name: "var/cache/packages", Body: string(make([]byte, 2000))},
				imagetest.File{Name: "etc/app.conf", Body: "mode = default\n"}),
			step("COPY server /app/server # buildkit", imagetest.File{Name: "app/"},
				imagetest.File{Name: "app/server", Mode: 0o755, Body: "a program for " + architecture + "\n"}),
			step("RUN /bin/sh -c rm /var/cache/packages && echo mode = $MODE > /etc/app.conf # buildkit",
				imagetest.File{Name: "var/cache/.wh.packages"}, imagetest.File{Name: "etc/app.conf", Body: "mode = production\n"}),
			step("USER 1000"),
			step(`ENTRYPOINT ["/app/server"]`),
		},
	}
}

// layout is an OCI archive that holds one index with the images as its
// platforms.
func layout(t *testing.T, ref string, images ...imagetest.Image) []byte {
	t.Helper()
	const (
		indexType    = "application/vnd.oci.image.index.v1+json"
		manifestType = "application/vnd.oci.image.manifest.v1+json"
		configType   = "application/vnd.oci.image.config.v1+json"
		layerType    = "application/vnd.oci.image.layer.v1.tar"
	)
	type descriptor map[string]any
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(name string, body []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), ModTime: time.Unix(0, 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	written := map[string]bool{}
	blob := func(mediaType string, body []byte) descriptor {
		sum := fmt.Sprintf("%x", sha256.Sum256(body))
		if !written[sum] {
			written[sum] = true
			put("blobs/sha256/"+sum, body)
		}
		return descriptor{"mediaType": mediaType, "digest": "sha256:" + sum, "size": len(body)}
	}
	encode := func(v any) []byte {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	var manifests []descriptor
	for _, im := range images {
		document, tars := im.Document()
		layers := []descriptor{}
		for _, l := range tars {
			layers = append(layers, blob(layerType, l))
		}
		d := blob(manifestType, encode(map[string]any{
			"schemaVersion": 2, "mediaType": manifestType, "config": blob(configType, document), "layers": layers,
		}))
		d["platform"] = map[string]any{"os": "linux", "architecture": im.Fields["architecture"]}
		manifests = append(manifests, d)
	}
	index := blob(indexType, encode(map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": manifests}))
	index["annotations"] = map[string]any{"org.opencontainers.image.ref.name": ref}
	put("index.json", encode(map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": []descriptor{index}}))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
