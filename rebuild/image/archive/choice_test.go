package archive_test

import (
	"fmt"
	"strings"
	"testing"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/imagetest"
)

// An archive's entries of one config and the same layers are one image, and what
// BuildKit says about an image is none.
func TestEntriesThatAreNoChoice(t *testing.T) {
	unknown := []byte(`{"os":"unknown","architecture":"unknown","rootfs":{"type":"layers","diff_ids":[]}}`)
	files := imagetest.Members{"c.json", imagetest.Three.Config(), "a", imagetest.Base, "b", imagetest.Upper, "c", imagetest.Third, "u.json", unknown}
	entry := func(config, tags, layers string) string {
		return fmt.Sprintf(`{"Config":"%s","RepoTags":[%s],"Layers":[%s]}`, config, tags, layers)
	}
	const abc = `"a","b","c"`
	app, again, two, att := entry("c.json", `"app:1"`, abc), entry("c.json", `"app:2"`, abc), entry("c.json", `"b:1"`, `"a"`), entry("u.json", ``, ``)
	for name, c := range map[string]struct {
		entries []string
		ref     string
		names   string // of the image, "" = an error
		says    string
	}{
		"the same twice":              {[]string{app, app}, "", "app:1 app:1", ""},
		"one under two names":         {[]string{app, again}, "", "app:1 app:2", ""},
		"one of two names, by the 2.": {[]string{app, again, two}, ":app:2", "app:1 app:2", ""},
		"an attestation beside it":    {[]string{att, app}, "", "app:1", "left out @0"},
		"one by its place":            {[]string{att, app}, ":@1", "app:1", ""},
		"two":                         {[]string{app, again, two}, "", "", "it holds 2 images: app:1, b:1"},
	} {
		t.Run(name, func(t *testing.T) {
			tar := append(append(imagetest.Members{}, files...), "manifest.json", []byte("["+strings.Join(c.entries, ",")+"]")).Tar()
			warned := &imagetest.Warnings{}
			src, err := imagetest.OpenErr(t, "docker-archive:"+imagetest.Write(t, "x.tar", tar)+c.ref, image.Options{Warn: warned.Add})
			switch {
			case c.names == "":
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("error is %v", err)
				}
			case err != nil:
				t.Error(err)
			case strings.Join(src.Images[0].Names, " ") != c.names:
				t.Errorf("it is called %q", src.Images[0].Names)
			default:
				if said := strings.Join(warned.Lines, "\n"); !strings.Contains(said, c.says) || c.says == "" && said != "" {
					t.Errorf("warnings %q", said)
				}
			}
		})
	}
}

// Engines go by a config's contents, whatever its file is called.
func TestConfigMayHaveAnyName(t *testing.T) {
	for _, config := range []string{"config", strings.Repeat("ab", 32) + ".json"} {
		tar := imagetest.Members{config, imagetest.Three.Config(), "a", imagetest.Base, "b", imagetest.Upper, "c", imagetest.Third, "manifest.json", fmt.Appendf(nil, `[{"Config":"%s","Layers":["a","b","c"]}]`, config)}.Tar()
		warned := &imagetest.Warnings{}
		src := imagetest.Open(t, imagetest.Write(t, "x.tar", tar), image.Options{Warn: warned.Add})
		if src.ID != imagetest.Digest(imagetest.Three.Config()).String() || len(warned.Lines) != map[bool]int{true: 1}[len(config) > 60] {
			t.Errorf("%s: it is %s, warnings %q", config, src.ID, warned.Lines)
		}
	}
}
