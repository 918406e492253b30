package history

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestLayersGoToTheEntriesThatMadeThem(t *testing.T) {
	for _, c := range []struct {
		name   string
		lines  string // a line each, "-" before those flagged empty
		layers int
		want   string // layer by entry
		doubt  string
	}{
		{"flags that fit", "RUN a|-ENV A=b|WORKDIR /x|-CMD x", 2, "0 -1 1 -1", ""},
		{"metadata without flags", "RUN a|ENV A=b|CMD x|RUN b", 2, "0 -1 -1 1", "claims 4 layers, the image has 2: assigned by instruction"},
		{"WORKDIR without a layer", "RUN a|ENV A=b|WORKDIR /x", 1, "0 -1 -1", "assigned by instruction"},
		{"WORKDIR with one", "RUN a|ENV A=b|WORKDIR /x", 2, "0 -1 1", "assigned by instruction"},
		{"all flagged", "-RUN a|-ENV A=b|-COPY a b", 2, "0 -1 1", "claims 0 layers, the image has 2: assigned by instruction"},
		{"all flagged, with an unknown line", "-something|-CMD x", 1, "0 -1", "assigned by instruction"},
		{"too many", "RUN a|RUN b|RUN c", 2, "-1 -1 -1", "which instruction made which layer is unknown"},
		{"too few", "RUN a", 2, "-1", "is unknown"},
		{"no history", "", 2, "", "no history for its 2 layers"},
		{"nothing at all", "", 0, "", ""},
	} {
		img := &Image{}
		for i := range c.layers {
			img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, digest.FromString(fmt.Sprint(i)))
		}
		for _, l := range strings.Split(c.lines, "|") {
			if l != "" {
				img.History = append(img.History, ocispec.History{CreatedBy: strings.TrimPrefix(l, "-"), EmptyLayer: strings.HasPrefix(l, "-")})
			}
		}
		ins := Parse(img)
		var got []string
		for _, in := range ins {
			got = append(got, fmt.Sprint(in.Layer))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
		if doubt := LayerDoubt(img, ins); !strings.Contains(doubt, c.doubt) || c.doubt == "" && doubt != "" {
			t.Errorf("%s: doubt %q", c.name, doubt)
		}
	}
}
