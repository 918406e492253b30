package registry_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/place"
	"docker-flatten/rebuild/imagetest"
)

// digest is what a tag means, "" if it isn't there.
func digest(t *testing.T, tag string) string {
	t.Helper()
	ref, err := name.ParseReference(tag)
	imagetest.Must(err)
	d, err := remote.Head(ref)
	if err != nil {
		return ""
	}
	return d.Digest.String()
}

// A result is pushed under every name, also in other repositories of the
// registry; a name of another registry is refused before any work.
func TestEveryNameIsPushed(t *testing.T) {
	host := imagetest.Registry(t)
	src := imagetest.Open(t, "oci:"+imagetest.PlatformsLayout().Dir(t), image.Options{})
	names := []string{host + "/flat:second", host + "/other/repo:1", host + "/flat:1"}
	stored := imagetest.Store(t, "docker://"+host+"/flat:1", src, imagetest.FlatAll(t, src), names, image.Compression{})
	for _, tag := range names {
		if d := digest(t, tag); d == "" || !strings.HasSuffix(stored.ID, d) {
			t.Errorf("%s is %s, not %s", tag, d, stored.ID)
		}
		ref, err := name.ParseReference(tag)
		imagetest.Must(err)
		index, err := remote.Index(ref)
		imagetest.Must(err)
		if err := validate.Index(index, validate.Fast); err != nil {
			t.Errorf("%s isn't whole: %v", tag, err)
		}
	}
	for _, n := range []string{"demo:1", "registry.example.com/flat:1"} {
		_, err := place.Prepare(t.Context(), imagetest.Ref(t, "docker://"+host+"/flat:1"), []string{n}, image.Options{})
		var e *image.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), n+" isn't a name in this registry") || !strings.Contains(e.Hint, host+"/flat:TAG") {
			t.Errorf("%s: %v", n, err)
		}
	}
}

// Before a result is named none of its tags is there.
func TestTagsComeLast(t *testing.T) {
	host := imagetest.Registry(t)
	im := imagetest.Open(t, "oci:"+imagetest.LayoutOf(imagetest.CompressedThree, false, "").Dir(t), image.Options{}).Images[0]
	imagetest.ReadAll(t, im)
	p, err := place.Prepare(t.Context(), imagetest.Ref(t, "docker://"+host+"/flat:1"), []string{host + "/flat:2"}, image.Options{})
	imagetest.Must(err)
	stored, err := p.Store(t.Context(), image.Wanted{Images: []image.NewImage{imagetest.Flat(im, 1, imagetest.Merged12)}})
	imagetest.Must(err)
	if digest(t, host+"/flat:1")+digest(t, host+"/flat:2") != "" || digest(t, stored.ID) == "" {
		t.Error("a tag is there before the naming, or the manifest isn't")
	}
	imagetest.Must(stored.Name(t.Context()))
	if digest(t, host+"/flat:1") == "" || digest(t, host+"/flat:1") != digest(t, host+"/flat:2") {
		t.Error("a tag is missing")
	}
}

// An earlier result that one of the tags means gets the others, and no blob is
// pushed for that.
func TestFoundInARegistryGetsAllTags(t *testing.T) {
	count := &requests{}
	host := imagetest.Registry(t, mounting, count.wrap)
	images := func(src *image.Source) []image.NewImage {
		list := imagetest.FlatAll(t, src)
		for i, n := range list {
			list[i] = imagetest.Marked(n, "docker-flatten: it")
		}
		return list
	}
	for kind, dir := range map[string]string{"index": imagetest.PlatformsLayout().Dir(t), "image": imagetest.LayoutOf(imagetest.CompressedThree, false, "").Dir(t)} {
		src := imagetest.Open(t, "oci:"+dir, image.Options{})
		first := imagetest.Store(t, "docker://"+host+"/"+kind+":1", src, images(src), nil, image.Compression{})
		names := []string{host + "/" + kind + ":2", host + "/" + kind + ":1", host + "/copy/" + kind + ":3"}
		p, err := place.Prepare(t.Context(), imagetest.Ref(t, "docker://"+names[0]), names[1:], image.Options{})
		imagetest.Must(err)
		if !slices.Equal(p.Names(), names) {
			t.Errorf("names are %q", p.Names())
		}
		count.take()
		found, err := p.Existing(t.Context(), image.Wanted{Images: images(src), Index: src.Index})
		if err != nil || found == nil {
			t.Fatalf("%s: %v, %v", kind, found, err)
		}
		imagetest.Must(found.Stored.Name(t.Context()))
		imagetest.Must(found.Stored.Discard())
		imagetest.Must(found.Source.Close())
		for _, tag := range names {
			if d := digest(t, tag); d == "" || !strings.HasSuffix(first.ID, d) {
				t.Errorf("%s is %q, not %s", tag, d, first.ID)
			}
		}
		if c := count.take(); c["PATCH blob"] != 0 {
			t.Errorf("%s: requests: %v", kind, c)
		}
		other := images(src)
		other[0].Keep = 0
		if found, err := p.Existing(t.Context(), image.Wanted{Images: other, Index: src.Index}); err != nil || found != nil {
			t.Errorf("%s: another one is found: %v, %v", kind, found, err)
		}
	}
}

// A registry that has the base needn't be given it.
func TestBaseInTheSameRegistryIsNotRead(t *testing.T) {
	host, elsewhere := imagetest.Registry(t), imagetest.Registry(t)
	src := imagetest.Open(t, "oci:"+imagetest.LayoutOf(imagetest.CompressedThree, false, "").Dir(t), image.Options{})
	imagetest.ReadAll(t, src.Images[0])
	for _, h := range []string{host, elsewhere} {
		imagetest.Store(t, "docker://"+h+"/in:1", src, []image.NewImage{imagetest.Unchanged(src.Images[0])}, nil, image.Compression{})
	}
	p, err := place.Prepare(t.Context(), imagetest.Ref(t, "docker://"+host+"/flat:1"), nil, image.Options{})
	imagetest.Must(err)
	for from, want := range map[string]bool{"docker://" + host + "/in:1": false, "docker://" + elsewhere + "/in:1": true, "oci:" + src.Ref.Path: true} {
		im := imagetest.Open(t, from, image.Options{}).Images[0]
		if reads, err := p.ReadsBase(t.Context(), im, 1); err != nil || reads != want {
			t.Errorf("from %s it is read: %v, %v", from, reads, err)
		}
		if reads, err := p.ReadsBase(t.Context(), im, 0); err != nil || reads {
			t.Errorf("from %s what isn't kept is read: %v, %v", from, reads, err)
		}
	}
}

// Where push is allowed to one repository but not to another that a name is in,
// that is found out before any work.
func TestEveryRepositoryMustTakeAPush(t *testing.T) {
	host := imagetest.Registry(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodPost && strings.Contains(q.URL.Path, "/closed/") {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			h.ServeHTTP(w, q)
		})
	})
	if _, err := place.Prepare(t.Context(), imagetest.Ref(t, "docker://"+host+"/open:1"), []string{host + "/closed/a:1"}, image.Options{}); !errors.Is(err, image.ErrUnauthorized) {
		t.Errorf("error is %v", err)
	}
}
