package history

import (
	"regexp"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Parse reads an image's history. The result has one Instruction per history
// entry, in the same order. Entries that no known builder prints are kept as they
// are, with an empty Dialect. Layers are assigned by empty_layer. Where that
// doesn't fit rootfs.diff_ids, they are assigned by instruction, or none is (see
// LayerDoubt).
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

// reader is what Parse knows while it walks the history upwards.
type reader struct {
	img   *Image
	shell prefix            // the SHELL in force
	vars  map[string]string // ENV and ARG so far, for dialects that keep `$VAR`
	room  int               // what readings may still add to the lines; see spend

	// The config, as lines are compared with it.
	env, labels           known
	volumeWords           int               // the most words of a volume's path
	triggers              map[string]string // ONBUILD by its words
	cmd, entrypoint, test string            // each list's words with a blank between
	configShell           string
}

// known is what the config has of ENV or LABEL.
type known struct {
	values map[string]string
	words  int // the most words of a name that doesn't look like one; 0 without any
}

// mostWords bounds the words of a name or a path that is recognised by the
// config's having it: beyond that, nobody has written it on purpose.
const mostWords = 16

// maxRoom is how many bytes the reading of a history may add to its lines: the
// values of variables, the ports of ranges, the shell before commands. Lines
// such as A=$B$B and B=$A$A would grow without end. Past this size lines are
// read as they are. That costs no correctness: the config's values count.
const maxRoom = 16 << 20

// spend takes n bytes of what readings may add, if they are left.
func (p *reader) spend(n int) bool {
	if n > p.room {
		return false
	}
	p.room -= n
	return true
}

// prefix is a command line's beginning.
type prefix struct {
	args []string
	text string // the words, each with a blank behind
}

func newPrefix(args ...string) prefix { return prefix{args, strings.Join(args, " ") + " "} }

var (
	unixShell    = newPrefix("/bin/sh", "-c")
	windowsShell = newPrefix("cmd", "/S", "/C")
)

func newReader(img *Image) *reader {
	c := img.Config
	p := &reader{
		img: img, shell: defaultShell(img), vars: map[string]string{}, room: maxRoom,
		env: known{values: make(map[string]string, len(c.Env))}, labels: known{values: c.Labels},
		triggers: make(map[string]string, len(c.OnBuild)),
		cmd:      strings.Join(c.Cmd, " "), entrypoint: strings.Join(c.Entrypoint, " "), configShell: strings.Join(c.Shell, " "),
	}
	for _, e := range c.Env {
		k, v, _ := strings.Cut(e, "=")
		p.env.values[k] = v
		p.env.words = max(p.env.words, oddWords(k))
	}
	for k := range c.Labels {
		p.labels.words = max(p.labels.words, oddWords(k))
	}
	for v := range c.Volumes {
		p.volumeWords = max(p.volumeWords, oddWords(v))
	}
	for _, t := range slices.Backward(c.OnBuild) {
		p.triggers[words(t)] = t
	}
	if c.Healthcheck != nil {
		p.test = strings.Join(c.Healthcheck.Test, " ")
	}
	return p
}

// oddWords is the number of words, up to mostWords, of a name with blanks or
// quotes in it; 0 for any other.
func oddWords(name string) int {
	if !strings.ContainsAny(name, " \t\n\"'") {
		return 0
	}
	return min(strings.Count(name, " ")+1, mostWords)
}

// words is a text with one blank between its words.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

// defaultShell is the shell of a Dockerfile without SHELL, per platform
// (BuildKit: frontend/dockerfile/dockerfile2llb/defaultshell.go).
func defaultShell(img *Image) prefix {
	if isWindows(img) {
		return windowsShell
	}
	return unixShell
}

func isWindows(img *Image) bool { return img != nil && strings.EqualFold(img.OS, "windows") }

func (p *reader) read(e ocispec.History) Instruction {
	for _, d := range dialects {
		var in Instruction
		var ok bool
		if d.says != nil {
			in.Text, ok = d.says(e)
		} else {
			in, ok = d.reads(p, e)
		}
		if ok {
			in.Dialect = d.name
			if in.Text = strings.TrimRight(in.Text, " \n"); in.Text == "" {
				in.Text = e.CreatedBy
			}
			if in.Text == "" {
				in.Text = noRecord
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
	return Instruction{Text: noRecord}
}

// noRecord is the text of an entry that says nothing.
const noRecord = "(no record)"

// note updates what later entries depend on.
func (p *reader) note(s *Step) {
	switch s.Name {
	case "SHELL":
		if len(s.Args) > 0 {
			p.shell = newPrefix(s.Args...)
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
