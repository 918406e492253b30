package rebuild

import (
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"docker-flatten/rebuild/attestation"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/maker"
	"docker-flatten/rebuild/version"
)

// canAttest says why no statement can be kept beside a result, nil if it can.
func canAttest(to image.Place) error {
	switch to.Ref().Transport {
	case image.Registry, image.Layout, image.LayoutArchive:
		return nil
	}
	return &image.Error{Op: "attest", Object: to.Ref().String(), Err: errors.New("only registries and OCI layouts keep attestations"),
		Hint: "--attest=FILE writes it to a file"}
}

// attests tells whether a statement is made. It says what this run has verified,
// so that nothing is taken from an earlier one unseen.
func (o *Options) attests() bool { return o.Attest || o.AttestFile != "" }

// attestor makes the statement that a place keeps beside a result; nil = none is
// asked for.
func (o *Options) attestor(src *image.Source, to image.Place, orders []maker.Order) func(v1.Hash, []image.StoredImage) ([]byte, error) {
	if !o.Attest {
		return nil
	}
	return func(root v1.Hash, images []image.StoredImage) ([]byte, error) {
		return o.statement(src, to, orders, root, images)
	}
}

// statement is the in-toto statement about a result. Images are those of orders,
// in their order.
func (o *Options) statement(src *image.Source, to image.Place, orders []maker.Order, root v1.Hash, images []image.StoredImage) ([]byte, error) {
	f := attestation.Flattening{
		Name: resultName(to), Root: root, Version: version.Number(), Commit: version.Commit(),
		Verify: o.Verify.String(), Options: o.parameters(src.Ref),
	}
	for i, order := range orders {
		p, stored := order.Plan, images[i]
		im := attestation.Image{
			Digest: stored.Manifest, Platform: order.Image.Platform.String(), Source: digestOf(order.Image),
			DiffIDs: stored.DiffIDs, KeptLayers: p.Base.Layers,
			Base: attestation.Base{Name: p.Base.Name, Digest: digestOfBase(order), Evidence: p.Base.Evidence},
		}
		if im.Digest == (v1.Hash{}) {
			im.Digest = stored.ConfigDigest
		}
		f.Images = append(f.Images, im)
	}
	f.Source = attestation.Image{Name: src.Ref.Name, Digest: f.Images[0].Source, Platform: f.Images[0].Platform}
	if src.Index != nil {
		f.Source.Digest, f.Source.Platform = src.Index.Descriptor.Digest, ""
	}
	return attestation.Statement(f)
}

// resultName is the first name of the result; "" = it has none.
func resultName(to image.Place) string {
	if names := to.Names(); len(names) > 0 {
		return names[0]
	}
	return ""
}

// statementOf is the statement about a stored result for a file; nil = none is
// asked for.
func (o *Options) statementOf(src *image.Source, to image.Place, orders []maker.Order, result *image.Stored) ([]byte, error) {
	if o.AttestFile == "" {
		return nil, nil
	}
	digest := result.ID[strings.LastIndex(result.ID, "@")+1:]
	root, err := v1.NewHash(digest)
	if err != nil {
		return nil, fmt.Errorf("make attestation: %q is no digest", digest)
	}
	return o.statement(src, to, orders, root, result.Images)
}

// digestOf is the digest by which an image is known best: its manifest's, else
// its config document's.
func digestOf(im *image.Image) v1.Hash {
	if im.Manifest != nil {
		return im.Manifest.Descriptor.Digest
	}
	return image.DigestOf(im.Config)
}

// digestIn is the digest by which the place of an image knows it: a docker-archive
// may have a manifest of its own making.
func digestIn(ref image.Ref, im *image.Image) string {
	if ref.Transport == image.Archive {
		return image.DigestOf(im.Config).String()
	}
	return digestOf(im).String()
}

// digestOfBase is the digest by which registries know the base, or else its own
// place; "" = not known.
func digestOfBase(o maker.Order) string {
	if d := o.Plan.Annotations[ocispec.AnnotationBaseImageDigest]; d != "" {
		return d
	}
	if o.Plan.Base.Kind == "annotation" && o.Image.Manifest != nil {
		if d := o.Image.Manifest.Annotations[ocispec.AnnotationBaseImageDigest]; d != "" {
			return d
		}
	}
	return o.Plan.Base.ID
}

// parameters are the options that the result depends on, and where the source
// was. A path says nothing to those who get the statement.
func (o *Options) parameters(source image.Ref) map[string]any {
	from := source.String()
	if source.Path != "" {
		from = source.Transport
	}
	p := map[string]any{"source": from, "base": o.Base.String(), "builder": o.Builder.String()}
	if o.Platform != "" {
		p["platform"] = o.Platform
	}
	if c := o.Compression.String(); c != "" {
		p["compression"] = c
	}
	if o.Offline {
		p["offline"] = true
	}
	if o.SourceDate != nil {
		p["sourceDateEpoch"] = o.SourceDate.Unix()
	}
	return p
}
