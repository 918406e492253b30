package history

import (
	"regexp"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Parse reads an image's history. The result has one Instruction per history
// entry, in the same order; entries that no known builder prints are kept as
// they are, with an empty Dialect. Layers are assigned by empty_layer; where
// its count doesn't fit rootfs.diff_ids they are repaired, or withdrawn from
// every entry (see LayerDoubt).
//
// Some notations lose information: `ENV A=b C=d` may be one variable or two,
// `SHELL [sh -c a b]` has lost its tokens' borders. Such a line is read so
// that it agrees with the image's config, if any reading does.
func Parse(img *Image) []Instruction {
	p := newReader(img)
	out := make([]Instruction, len(img.History))
	for i, e := range img.History {
		in := p.read(e)
		in.Entry, in.Layer = i, -1
		if in.From == "" {
			in.From = fromComment(e.Comment)
		}
		if in.Set != nil {
			in.Set.Entry = i
			p.note(in.Set)
		}
		out[i] = in
	}
	settleDialects(img.History, out)
	assignLayers(img, out)
	return out
}

// A dialect recognises the entries of one builder.
type dialect struct {
	name string
	read func(*reader, ocispec.History) (Instruction, bool)
}

// dialects in the order in which they are asked; the first that recognises
// an entry has it. Those with an unmistakable mark come first.
var dialects = []dialect{
	{"docker-flatten", readOwn},
	{"crane", readCrane},
	{"squash", readSquash},
	{"buildkit", readBuildKit},
	{"umoci", readUmoci},
	{"buildpacks", readBuildpacks},
	{"ko", readKo},
	{"apko", readApko},
	{"jib", readJib},
	{"nix", readNix},
	{"bazel", readBazel},
	{"kiwi", readKiwi},
	{"regclient", readRegclient},
	{"windows", readWindowsBase},
	{"busybox", readBusyBox},
	{"debuerreotype", readDebuerreotype},
	{"import", readImport},
	{"buildah", readBuildah},
	{"kaniko", readKaniko},
	{"classic", readClassic},
	{"dockerfile", readPlain},
	{"commit", readCommit},
}

// reader is what Parse knows while it walks the history upwards.
type reader struct {
	img   *Image
	shell []string          // the SHELL in force
	vars  map[string]string // ENV and ARG so far, for dialects that keep `$VAR`
}

func newReader(img *Image) *reader {
	return &reader{img: img, shell: defaultShell(img), vars: map[string]string{}}
}

// defaultShell is the shell of a Dockerfile without SHELL, per platform
// (BuildKit: frontend/dockerfile/dockerfile2llb/defaultshell.go).
func defaultShell(img *Image) []string {
	if img != nil && strings.EqualFold(img.OS, "windows") {
		return []string{"cmd", "/S", "/C"}
	}
	return []string{"/bin/sh", "-c"}
}

func (p *reader) read(e ocispec.History) Instruction {
	for _, d := range dialects {
		in, ok := d.read(p, e)
		if ok {
			in.Dialect = d.name
			if in.Text = strings.TrimRight(in.Text, " \n"); in.Text == "" {
				in.Text = e.CreatedBy
			}
			if in.Text == "" {
				in.Text = "(no record)"
			}
			return in
		}
	}
	switch {
	case e.CreatedBy != "":
		return Instruction{Text: e.CreatedBy}
	case e.Comment != "":
		return Instruction{Text: e.Comment}
	}
	return Instruction{Text: "(no record)"}
}

// note updates what later entries depend on.
func (p *reader) note(s *Step) {
	switch s.Name {
	case "SHELL":
		if len(s.Args) > 0 {
			p.shell = s.Args
		}
	case "ENV":
		for _, kv := range s.Pairs {
			p.vars[kv.Key] = kv.Value
		}
	}
}

// keywords are the Dockerfile's instructions; true for those that can own a
// layer. WORKDIR can: it makes the directory.
var keywords = map[string]bool{
	"ADD": true, "COPY": true, "RUN": true, "WORKDIR": true,
	"ARG": false, "CMD": false, "ENTRYPOINT": false, "ENV": false, "EXPOSE": false, "FROM": false, "HEALTHCHECK": false,
	"LABEL": false, "MAINTAINER": false, "ONBUILD": false, "SHELL": false, "STOPSIGNAL": false, "USER": false, "VOLUME": false,
}

// cutKeyword splits `ENV a=b` into ENV and a=b. The keyword must be in upper
// case, as every builder prints it.
func cutKeyword(line string) (name, rest string, ok bool) {
	i := strings.IndexAny(line, " \t\n")
	if i < 0 {
		i = len(line)
	}
	name = line[:i]
	if _, ok := keywords[name]; !ok {
		return "", "", false
	}
	if i < len(line) {
		rest = line[i+1:]
	}
	return name, rest, true
}

// fromComment is the image that a comment `FROM name` names
// (buildah: imagebuildah/stage_executor.go, commit: "FROM " + base).
func fromComment(comment string) string {
	name, ok := strings.CutPrefix(comment, "FROM ")
	if !ok {
		return ""
	}
	name = strings.TrimSpace(name)
	if strings.ContainsAny(name, " \t\n") || name == "..." {
		return ""
	}
	return name
}

// settleDialects gives an entry that more than one builder could have printed
// to the builder of the entries below it: buildah marks only the first entry
// of a stage with its comment.
func settleDialects(h []ocispec.History, ins []Instruction) {
	buildah := false
	for i := range ins {
		switch ins[i].Dialect {
		case "buildah":
			buildah = true
		case "classic":
			if buildah && h[i].Comment == "" {
				ins[i].Dialect = "buildah"
			}
		case "buildkit", "kaniko":
			buildah = false
		}
	}
}

var hashes = regexp.MustCompile(`\b(file|dir|multi|git|https?):\s?([0-9a-f]{12})[0-9a-f]{20,}`)

// shortHashes cuts the content hashes of COPY and ADD to 12 digits.
func shortHashes(s string) string {
	return hashes.ReplaceAllString(s, "$1:$2")
}
