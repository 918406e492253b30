package history

import (
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layered is an image with the named layers, each made by a RUN, and its
// entries' lines if given: a line that starts with a blank has no layer.
func layered(layers string, lines ...string) *Image {
	img := &Image{}
	img.OS, img.Architecture = "linux", "amd64"
	for _, l := range strings.Fields(layers) {
		img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, digest.FromString(l))
		if lines == nil {
			img.History = append(img.History, ocispec.History{CreatedBy: "/bin/sh -c make " + l})
		}
	}
	for _, l := range lines {
		h := ocispec.History{CreatedBy: strings.TrimPrefix(l, " "), EmptyLayer: strings.HasPrefix(l, " ")}
		if bare, ok := strings.CutSuffix(h.CreatedBy, " # buildkit"); ok {
			h.CreatedBy, h.Comment = bare, "buildkit.dockerfile.v0"
		}
		img.History = append(img.History, h)
	}
	return img
}

func TestBaseIsTheStrongestEvidence(t *testing.T) {
	img := layered("a b c d")
	local := func(name, layers string) Candidate {
		return Candidate{Name: name, Kind: "local", Image: layered(layers)}
	}
	arm := local("arm:1", "a b c")
	arm.Image.Architecture = "arm64"
	for _, c := range []struct {
		name        string
		candidates  []Candidate
		annotations map[string]string
		want        Base // its Name, Layers and Kind
	}{
		{"the longest proper prefix", []Candidate{local("one:1", "a"), local("three:1", "a b c"), local("two:1", "a b")}, nil, Base{Name: "three:1", Layers: 3, Kind: "local"}},
		{"the image's own other tags don't count", []Candidate{local("self:1", "a b c d"), local("one:1", "a")}, nil, Base{Name: "one:1", Layers: 1, Kind: "local"}},
		{"nor do children and strangers", []Candidate{local("child:1", "a b c d e"), local("other:1", "a x")}, nil, Base{Name: "scratch", Kind: "none"}},
		{"nor another platform", []Candidate{arm, local("one:1", "a")}, nil, Base{Name: "one:1", Layers: 1, Kind: "local"}},
		{"nor images without a name", []Candidate{local("<none>:<none>", "a b"), local("sha256:"+hash, "a b c"), local("one:1", "a")}, nil, Base{Name: "one:1", Layers: 1, Kind: "local"}},
		{"an unnamed parent doesn't count", []Candidate{{Kind: "parent", Image: layered("a b c")}, local("one:1", "a")}, nil, Base{Name: "one:1", Layers: 1, Kind: "local"}},
		{"a named parent before a local image", []Candidate{local("a:1", "a b"), {Name: "longer-name:1", Kind: "parent", Image: layered("a b")}}, nil, Base{Name: "longer-name:1", Layers: 2, Kind: "parent"}},
		{"a version before latest, a short name before a long", []Candidate{local("x:latest", "a"), local("y:1.2.3", "a"), local("y:1", "a")}, nil, Base{Name: "y:1", Layers: 1, Kind: "local"}},
		{"a tag before a digest", []Candidate{{Name: "x@sha256:" + hash, Names: []string{"x@sha256:" + hash, "long/name:latest"}, Kind: "local", Image: layered("a")}}, nil, Base{Name: "long/name:latest", Layers: 1, Kind: "local"}},
		{"an annotation whose image is known", []Candidate{{Name: "noted:1", Kind: "annotation", Image: layered("a b")}}, map[string]string{annotationBaseName: "noted:1"}, Base{Name: "noted:1", Layers: 2, Kind: "annotation"}},
		{"an annotated image before a sibling", []Candidate{{Name: "a:1", Kind: "sibling", Image: layered("a b")}, {Name: "noted:long", Kind: "annotation", Image: layered("a b")}}, nil, Base{Name: "noted:long", Layers: 2, Kind: "annotation"}},
		{"what the provenance names before a sibling", []Candidate{{Name: "a:1", Kind: "sibling", Image: layered("a b")}, {Name: "material:1", Kind: "provenance", Image: layered("a b")}}, nil, Base{Name: "material:1", Layers: 2, Kind: "provenance"}},
		{"a sibling without a name", []Candidate{{Kind: "sibling", Image: layered("a b")}}, nil, Base{Layers: 2, Kind: "sibling"}},
		{"a base of the base isn't all", []Candidate{{Name: "root:1", Kind: "provenance", Image: layered("a")}, {Name: "mid:1", Kind: "sibling", Image: layered("a b")}}, nil, Base{Name: "mid:1", Layers: 2, Kind: "sibling"}},
		{"an annotated image that doesn't fit", []Candidate{{Name: "noted:1", Kind: "annotation", Image: layered("x")}}, map[string]string{annotationBaseName: "noted:1"}, Base{Name: "scratch", Kind: "none"}},
	} {
		got, err := FindBase(img, Parse(img), "auto", c.candidates, c.annotations)
		if err != nil || got.Name != c.want.Name || got.Layers != c.want.Layers || got.Kind != c.want.Kind || got.Evidence == "" {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

// TestSiblingsAreNoBase: the builder's cache gives images that begin with the
// same instructions the same layers, and one may have all of the other's.
func TestSiblingsAreNoBase(t *testing.T) {
	rootfs, run, more := "ADD rootfs.tar / # buildkit", "RUN make # buildkit", "RUN more # buildkit"
	img := layered("a b c", rootfs, run, more)
	base := Candidate{Name: "base:1", Kind: "local", Image: layered("a", rootfs)}
	sibling := Candidate{Name: "sibling:1", Kind: "local", Image: layered("a b", rootfs, run, " USER u # buildkit")}
	for want, candidates := range map[string][]Candidate{"base:1": {sibling, base}, "sibling:1": {sibling}} {
		if got, err := FindBase(img, Parse(img), "auto", candidates, nil); err != nil || got.Name != want {
			t.Errorf("%+v, %v; want %s", got, err, want)
		}
	}
}

// TestBaseMayHaveAllTheLayers: an image that only sets something has no layer of
// its own; what it was built on isn't to be merged away for that.
func TestBaseMayHaveAllTheLayers(t *testing.T) {
	rootfs, run, env, cmd := "ADD rootfs.tar / # buildkit", "RUN make # buildkit", " ENV A=1 # buildkit", ` CMD ["a"] # buildkit`
	img := layered("a b", rootfs, run, env, cmd)
	candidate := func(name, layers string, lines ...string) Candidate {
		return Candidate{Name: name, Kind: "local", Image: layered(layers, lines...)}
	}
	for _, c := range []struct {
		name       string
		candidates []Candidate
		want       string
		layers     int
	}{
		{"its history goes on", []Candidate{candidate("set:1", "a b", rootfs, run), candidate("more:1", "a b", rootfs, run, env)}, "more:1", 2},
		{"a base with fewer layers comes first", []Candidate{candidate("set:1", "a b", rootfs, run, env), candidate("below:1", "a", rootfs)}, "below:1", 1},
		{"not the same history", []Candidate{candidate("copy:1", "a b", rootfs, run, env, cmd)}, "", 1},
		{"not a history without the layers", []Candidate{candidate("short:1", "a b", rootfs)}, "", 1},
		{"not another history", []Candidate{candidate("other:1", "a b", rootfs, "RUN other # buildkit")}, "", 1},
		{"not without a history", []Candidate{candidate("none:1", "a b", []string{}...)}, "", 1},
	} {
		got, err := FindBase(img, Parse(img), "auto", c.candidates, nil)
		if err != nil || got.Name != c.want || got.Layers != c.layers {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestAnnotationNamesWhatTheHistoryBounds(t *testing.T) {
	img := layered("a b", "/bin/sh -c #(nop) ADD file:"+hash+" in / ", ` /bin/sh -c #(nop)  CMD ["bash"]`, "/bin/sh -c make")
	got, _ := FindBase(img, Parse(img), "auto", nil, map[string]string{annotationBaseName: "docker.io/library/debian:12", annotationBaseDigest: "sha256:" + hash})
	if got.Name != "docker.io/library/debian:12@sha256:"+hash || got.Layers != 1 || got.Entries != 2 || got.Kind != "annotation" {
		t.Errorf("%+v", got)
	}
}

// TestAnnotationIsRefuted: the guess doesn't get the name of an image that is
// known to be another.
func TestAnnotationIsRefuted(t *testing.T) {
	img := layered("a b", "/bin/sh -c #(nop) ADD file:"+hash+" in / ", ` /bin/sh -c #(nop)  CMD ["bash"]`, "/bin/sh -c make")
	noted := map[string]string{annotationBaseName: "noted:1", annotationBaseDigest: "sha256:" + hash}
	other := Candidate{Name: "noted:1@sha256:" + hash, Kind: "annotation", Image: layered("x")}
	moved := Candidate{Name: "noted:1", Kind: "annotation", Image: layered("x")} // by now the tag means another
	for want, c := range map[string]Candidate{"": other, "noted:1@sha256:" + hash: moved} {
		if got, _ := FindBase(img, Parse(img), "auto", []Candidate{c}, noted); got.Name != want || got.Layers != 1 {
			t.Errorf("%s: %+v", c.Name, got)
		}
	}
}

func TestUsersBaseIsChecked(t *testing.T) {
	img := layered("a b c")
	user := func(layers string) []Candidate {
		return []Candidate{{Name: "mine:1", Kind: "user", Image: layered(layers)}}
	}
	for _, c := range []struct {
		want       string
		candidates []Candidate
		layers     int
		err        string
	}{
		{"scratch", nil, 0, ""},
		{"0", nil, 0, ""},
		{"2", nil, 2, ""},
		{"3", nil, 3, ""},
		{"4", nil, 0, "base 4: the image has 3 layers"},
		{"-1", nil, 0, "base -1: the image has 3 layers"},
		{"mine:1", user("a b"), 2, ""},
		{"mine:1", user("a b c"), 3, ""},
		{"mine:1", user("a x"), 0, "base mine:1: not a base of the image: layer 2 is " + digest.FromString("x").String() + ", the image has " + digest.FromString("b").String()},
		{"mine:1", user("a b c d"), 0, "base mine:1: not a base of the image: it has 4 layers, the image 3"},
		{"mine:1", nil, 0, "base mine:1: no such image"},
	} {
		got, err := FindBase(img, Parse(img), c.want, c.candidates, nil)
		switch {
		case c.err != "":
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: error %v, want %s", c.want, err, c.err)
			}
		case err != nil || got.Layers != c.layers || got.Entries != c.layers || got.Kind != "user":
			t.Errorf("%s: %+v, %v", c.want, got, err)
		}
	}
	got, _ := FindBase(img, Parse(img), "2", []Candidate{{Name: "known:1", Kind: "local", Image: layered("a b")}}, nil)
	if got.Name != "known:1" || got.Image == nil {
		t.Errorf("2 layers that have a name: %+v", got)
	}
}

// The base's metadata goes with it: its own history tells how much.
func TestBaseEndsWhereItsHistoryEnds(t *testing.T) {
	base := layered("a", "/bin/sh -c make a", ` /bin/sh -c #(nop)  ENV A=1`, ` /bin/sh -c #(nop)  CMD ["a"]`)
	img := layered("a b", "/bin/sh -c make a", ` /bin/sh -c #(nop)  ENV A=1`, ` /bin/sh -c #(nop)  CMD ["a"]`, ` /bin/sh -c #(nop)  ENV B=1`, "/bin/sh -c make b")
	got, _ := FindBase(img, Parse(img), "auto", []Candidate{{Name: "base:1", Kind: "local", Image: base}}, nil)
	if got.Entries != 3 {
		t.Errorf("%+v", got)
	}
	base.History = nil // an engine that doesn't tell
	base.Config.Env = []string{"A=1"}
	base.Config.Cmd = []string{"a"}
	if got, _ = FindBase(img, Parse(img), "auto", []Candidate{{Name: "base:1", Kind: "local", Image: base}}, nil); got.Entries != 3 {
		t.Errorf("%+v", got)
	}
	base.Config = Config{} // another base, with the same layers
	if got, _ = FindBase(img, Parse(img), "auto", []Candidate{{Name: "base:1", Kind: "local", Image: base}}, nil); got.Entries != 1 {
		t.Errorf("%+v", got)
	}
}

func TestCommentNamesTheBase(t *testing.T) {
	img := layered("a b c d", "BusyBox 1.37.0 (glibc), Debian 12", "/bin/sh -c #(nop) COPY file:x in / ", ` /bin/sh -c #(nop) ENV A=1`, "/bin/sh -c make", "/bin/sh -c make more")
	img.History[1].Comment = "FROM docker.io/library/busybox:1"
	img.History[2].Comment = "FROM localhost/middle:1"
	img.History[4].Comment = "FROM 97ad0fd6a1a3"
	got, _ := FindBase(img, Parse(img), "auto", nil, nil)
	if got.Name != "localhost/middle:1" || got.Layers != 2 || got.Entries != 2 || got.Kind != "comment" {
		t.Errorf("%+v", got)
	}
}

func TestGuesses(t *testing.T) {
	const rootfs = "/bin/sh -c #(nop) ADD file:" + hash + " in / "
	const cmd = ` /bin/sh -c #(nop)  CMD ["bash"]`
	for _, c := range []struct {
		name            string
		layers          string
		lines           []string
		wantLayers, end int // 0: no guess
	}{
		{"a root file system up to its CMD", "a b", []string{rootfs, cmd, "/bin/sh -c make"}, 1, 2},
		{"a root file system without CMD", "a b c", []string{rootfs, "/bin/sh -c make", "/bin/sh -c make", ` /bin/sh -c #(nop)  CMD ["app"]`}, 1, 1},
		{"several layers before the CMD", "a b c d", []string{rootfs, "/bin/sh -c x", "/bin/sh -c y", cmd, "/bin/sh -c make"}, 3, 4},
		{"the highest CMD that has layers above", "a b c", []string{rootfs, cmd, "/bin/sh -c python", ` /bin/sh -c #(nop)  CMD ["python"]`, "/bin/sh -c app", ` /bin/sh -c #(nop)  CMD ["app"]`}, 2, 4},
		{"a MAINTAINER above layers", "a b c", []string{rootfs, "/bin/sh -c jdk", ` /bin/sh -c #(nop)  MAINTAINER x`, "/bin/sh -c app"}, 2, 2},
		{"another builder's entries", "a b c", []string{rootfs, "/bin/sh -c jdk", "RUN /bin/sh -c app # buildkit"}, 2, 2},
		{"Jib's own layers", "a b c", []string{"jib-base", "jib-base", "jib-maven-plugin:3.4"}, 2, 2},
		{"BuildKit's archive of a root file system", "a b", []string{"ADD alpine-minirootfs.tar.gz / # buildkit", "RUN /bin/sh -c app # buildkit"}, 1, 1},
		{"a distribution's own image", "a b", []string{rootfs, "/bin/sh -c x", cmd}, 0, 0},
		{"a program on a root file system without CMD", "a b c", []string{rootfs, "/bin/sh -c x", "/bin/sh -c #(nop) COPY file:" + hash + " in /app ", cmd}, 1, 1},
		{"a program from scratch", "a b", []string{"/bin/sh -c #(nop) COPY file:" + hash + " in /app ", "/bin/sh -c #(nop) COPY file:" + hash + " in /etc/app ", ` /bin/sh -c #(nop)  CMD ["/app"]`}, 0, 0},
		{"files added to / without anything run", "a b", []string{rootfs, rootfs, ` /bin/sh -c #(nop)  CMD ["/app"]`}, 0, 0},
		{"one layer", "a", []string{rootfs, cmd}, 0, 0},
		{"no history", "a b c", []string{}, 0, 0},
	} {
		img := layered(c.layers, c.lines...)
		for i, l := range c.lines {
			if l == "jib-base" {
				img.History[i].CreatedBy, img.History[i].Comment = "", "auto-generated by Jib"
			}
		}
		got, err := FindBase(img, Parse(img), "auto", nil, nil)
		kind := "guess"
		if c.wantLayers == 0 {
			kind = "none"
		}
		if err != nil || got.Layers != c.wantLayers || got.Entries != c.end || got.Kind != kind {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		if kind == "guess" && !strings.HasPrefix(got.Evidence, "guessed from the history: ") {
			t.Errorf("%s: evidence %q", c.name, got.Evidence)
		}
	}
}

// Metadata that comes days after the root file system isn't the base's.
func TestPauseEndsTheRootFileSystem(t *testing.T) {
	img := layered("a b", "/bin/sh -c #(nop) ADD file:"+hash+" in / ", ` /bin/sh -c #(nop)  ENV A=1`, "/bin/sh -c make")
	day := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	later := day.AddDate(0, 0, 9)
	img.History[0].Created, img.History[1].Created = &day, &later
	got, _ := FindBase(img, Parse(img), "auto", nil, nil)
	if got.Layers != 1 || got.Entries != 1 {
		t.Errorf("%+v", got)
	}
}

// A CMD in the middle of one build ends nothing.
func TestLayersOfTheSameHourAreOneBuilds(t *testing.T) {
	img := layered("a b c", "/bin/sh -c #(nop) ADD file:"+hash+" in / ", "/bin/sh -c make", ` /bin/sh -c #(nop)  CMD ["app"]`, "/bin/sh -c make more")
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range img.History {
		at := start.Add(time.Duration(i) * time.Minute)
		img.History[i].Created = &at
	}
	if got, _ := FindBase(img, Parse(img), "auto", nil, nil); got.Layers != 1 {
		t.Errorf("%+v", got)
	}
	next := start.AddDate(0, 0, 1)
	img.History[3].Created = &next
	if got, _ := FindBase(img, Parse(img), "auto", nil, nil); got.Layers != 2 {
		t.Errorf("%+v", got)
	}
}

// A base whose config isn't known is taken to set what its lines set and the
// image still has; nothing is made up.
func TestConfigOfAnUnknownBase(t *testing.T) {
	img := layered("a b", "/bin/sh -c #(nop) ADD file:"+hash+" in / ", ` /bin/sh -c #(nop)  ENV A=1 GONE=x`, ` /bin/sh -c #(nop)  VOLUME [/v /gone]`, ` /bin/sh -c #(nop)  USER app`,
		` /bin/sh -c #(nop)  ONBUILD RUN make`, ` /bin/sh -c #(nop)  CMD ["bash"]`, "/bin/sh -c make", ` /bin/sh -c #(nop)  ENTRYPOINT ["e"]`)
	img.Config.Env = []string{"PATH=" + DefaultPath, "UNRECORDED=1", "A=1"}
	img.Config.Volumes = map[string]struct{}{"/v": {}}
	img.Config.Entrypoint = []string{"e"}
	ins := Parse(img)
	got := Base{Layers: 1, Entries: 6}.Config(img, ins)
	want := &Image{}
	want.Config.Env = img.Config.Env
	want.Config.Volumes = map[string]struct{}{"/v": {}}
	want.Config.Cmd = []string{"bash"}
	want.Config.OnBuild = []string{"RUN make"} // it would fire
	if d := Diff(want, got); len(d) > 0 {
		t.Errorf("%q", d)
	}
}
