package history

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Base is the image that another was built on, and where it ends in that
// image's layers and history.
type Base struct {
	// Name is what FROM names: an image reference, or "scratch"; "" for a
	// base without a name.
	Name     string
	Layers   int    // the lowest layers that are the base's
	Entries  int    // the first history entries that are the base's
	Evidence string // how it was found, as one phrase for the plan
	Kind     string // a Candidate's, or "comment", "guess", "none"
	Image    *Image // the base's own config document; nil when it can't be read
	ID       string // a Candidate's; "" = not known
}

// Candidate is an image that could be the base.
type Candidate struct {
	Name  string   // the reference to show and to write into FROM
	Names []string // all its names, where the source knows several
	Kind  string   // where it comes from: a key of kindRank
	By    string   // what says that it is the base, as the start of a phrase; "" = what its kind usually is
	Image *Image   // its config document; nil when it can't be read
	ID    string   // the digest by which its place knows it: a manifest's, or an image ID; "" = not known
}

// Annotations of an image manifest that name its base (OCI image spec,
// annotations.md).
const (
	annotationBaseName   = "org.opencontainers.image.base.name"
	annotationBaseDigest = "org.opencontainers.image.base.digest"
)

// FindBase decides where the base of img ends. want is "auto", "scratch", a
// number of layers, or the name of a candidate with Kind "user"; "" is
// "auto". The user's word is checked, and an error says where it doesn't fit.
// Otherwise the strongest evidence decides: an image whose layers are the
// image's lowest, that the engine's parent chain, an annotation or the provenance
// names, or that lies near; a builder's `FROM name` comment; an annotation whose
// image can't be read; and at last the shape of the history, whose result is
// called a guess.
func FindBase(img *Image, ins []Instruction, want string, candidates []Candidate, annotations map[string]string) (Base, error) {
	switch want {
	case "", "auto":
		return autoBase(img, ins, candidates, annotations), nil
	case "scratch":
		return Base{Name: "scratch", Kind: "user", Evidence: "as asked for"}, nil
	}
	have := len(img.RootFS.DiffIDs)
	if n, err := strconv.Atoi(want); err == nil && !hasCandidate(candidates, want) {
		if n < 0 || n > have {
			return Base{}, fmt.Errorf("base %s: the image has %d layers", want, have)
		}
		return numberedBase(img, ins, n, candidates), nil
	}
	for _, c := range candidates {
		if c.Kind != "user" {
			continue
		}
		if c.Image == nil {
			return Base{}, fmt.Errorf("base %s: its config can't be read", c.Name)
		}
		if err := isPrefix(img, c.Image); err != nil {
			return Base{}, fmt.Errorf("base %s: %w", c.Name, err)
		}
		b := fromCandidate(img, ins, c)
		b.Evidence = "as asked for, with the same " + Count(b.Layers, "lowest layer")
		return b, nil
	}
	return Base{}, fmt.Errorf("base %s: %w", want, errNoSuchBase)
}

var errNoSuchBase = errors.New("no such image")

func hasCandidate(candidates []Candidate, name string) bool {
	return slices.ContainsFunc(candidates, func(c Candidate) bool { return c.Kind == "user" && (c.Name == name || slices.Contains(c.Names, name)) })
}

// numberedBase is a base that the user gave as a number of layers. It has a name
// if a candidate has just these layers.
func numberedBase(img *Image, ins []Instruction, n int, candidates []Candidate) Base {
	b := Base{Layers: n, Entries: entriesFor(ins, n), Kind: "user", Evidence: "the lowest " + Count(n, "layer") + ", as asked for"}
	if n == 0 {
		b.Name, b.Entries = "scratch", 0
		return b
	}
	if g, ok := guessBase(img, ins); ok && g.Layers == n {
		b.Entries = g.Entries
	}
	if c, ok := bestLocal(img, candidates, func(k int) bool { return k == n }); ok {
		l := fromCandidate(img, ins, c)
		b.Name, b.Entries, b.Image, b.ID = l.Name, l.Entries, l.Image, l.ID
	}
	return b
}

func autoBase(img *Image, ins []Instruction, candidates []Candidate, annotations map[string]string) Base {
	have := len(img.RootFS.DiffIDs)
	proper := func(n int) bool { return n > 0 && n < have }
	c, ok := bestLocal(img, candidates, proper)
	if !ok {
		c, ok = bestLocal(img, settingsAbove(img, ins, candidates), func(n int) bool { return n > 0 })
	}
	if ok {
		b := fromCandidate(img, ins, c)
		b.Evidence = fmt.Sprintf(evidenceOf[c.Kind], Count(b.Layers, "layer"))
		if c.By != "" {
			b.Evidence = fmt.Sprintf("%s, with the same %s", c.By, Count(b.Layers, "layer"))
		}
		return b
	}
	b, noted := commentBase(ins)
	if !noted || b.Layers == have {
		b, noted = Base{}, false
	}
	g, guessed := guessBase(img, ins)
	if name := annotatedName(annotations); name != "" && (noted || guessed) && !refuted(img, candidates) {
		if !noted {
			b = g
			b.Evidence = "guessed from the history: " + g.Evidence
		}
		b.Name, b.Kind = name, "annotation"
		b.Evidence = fmt.Sprintf("the manifest's annotation names it; %s as %s", Count(b.Layers, "layer"), b.Evidence)
		return b
	}
	switch {
	case noted:
		return b
	case guessed:
		g.Kind, g.Evidence = "guess", "guessed from the history: "+g.Evidence
		return g
	}
	return Base{Name: "scratch", Kind: "none", Evidence: "nothing tells where a base ends"}
}

// refuted tells whether the image that an annotation pins by its digest is
// known, and isn't the base: then the annotation is of another build, as one is
// that was copied or inherited.
func refuted(img *Image, candidates []Candidate) bool {
	return slices.ContainsFunc(candidates, func(c Candidate) bool {
		return c.Kind == "annotation" && c.Image != nil && strings.Contains(c.Name, "@") && isPrefix(img, c.Image) != nil
	})
}

// settingsAbove returns the candidates on which img may have been built without
// adding a layer. They have all its layers and its history up to the last layer,
// but not all the settings that follow.
func settingsAbove(img *Image, ins []Instruction, candidates []Candidate) []Candidate {
	have := len(img.RootFS.DiffIDs)
	var out []Candidate
	for _, c := range candidates {
		if c.Image == nil || len(c.Image.RootFS.DiffIDs) != have {
			continue
		}
		if n := sharedEntries(img, c.Image); n > 0 && n < len(img.History) && n >= entriesFor(ins, have) {
			out = append(out, c)
		}
	}
	return out
}

// annotatedName is the base that a manifest's annotations name, with the digest
// that the builder saw.
func annotatedName(a map[string]string) string {
	name, digest := a[annotationBaseName], a[annotationBaseDigest]
	if name == "" || digest == "" || strings.Contains(name, "@") {
		return name
	}
	return name + "@" + digest
}

// isPrefix returns an error if base's layers aren't img's lowest. It says where
// they differ.
func isPrefix(img, base *Image) error {
	have, b := img.RootFS.DiffIDs, base.RootFS.DiffIDs
	for k := range b {
		if k >= len(have) {
			return fmt.Errorf("not a base of the image: it has %d layers, the image %d", len(b), len(have))
		}
		if have[k] != b[k] {
			return fmt.Errorf("not a base of the image: layer %d is %s, the image has %s", k+1, b[k], have[k])
		}
	}
	return nil
}

// bestLocal picks the best of the candidates whose layers are the image's lowest
// and whose number of layers is acceptable.
func bestLocal(img *Image, candidates []Candidate, accept func(int) bool) (Candidate, bool) {
	var best Candidate
	found := false
	for _, c := range candidates {
		if c.Image == nil || !samePlatform(img, c.Image) || !accept(len(c.Image.RootFS.DiffIDs)) || isPrefix(img, c.Image) != nil {
			continue
		}
		c.Name = bestName(c)
		if c.Name == "" && (c.Kind == "local" || c.Kind == "parent") { // nothing but its ID finds it
			continue
		}
		if !found || better(img, c, best) {
			best, found = c, true
		}
	}
	return best, found
}

// better tells whether a is a better base than b. In this order it prefers
//
//   - a candidate whose whole history is the beginning of the image's: a
//     builder's cache gives the same layers to images that aren't built on each
//     other;
//   - more layers;
//   - more of the image's history: images of the same layers may differ in their
//     settings alone;
//   - the stronger kind;
//   - the simpler name.
func better(img *Image, a, b Candidate) bool {
	if x, y := ancestor(img, a), ancestor(img, b); x != y {
		return x
	}
	if n, m := len(a.Image.RootFS.DiffIDs), len(b.Image.RootFS.DiffIDs); n != m {
		return n > m
	}
	if n, m := sharedEntries(img, a.Image), sharedEntries(img, b.Image); n != m {
		return n > m
	}
	if n, m := kindRank[a.Kind], kindRank[b.Kind]; n != m {
		return n < m
	}
	return simplerName(a.Name, b.Name)
}

// ancestor tells whether the image says that it was built on c.
func ancestor(img *Image, c Candidate) bool {
	return c.Kind != "local" && c.Kind != "sibling" || sharedEntries(img, c.Image) > 0
}

// kindRank are the kinds of candidates, the strongest evidence first: the user
// names it; the engine built the image on it; an annotation names it; the
// provenance does, among other things that the build used; it lies beside the
// image in the same layout or archive; it is in the same engine.
var kindRank = map[string]int{"user": 0, "parent": 1, "annotation": 2, "provenance": 3, "sibling": 4, "local": 5}

// evidenceOf is what a kind of candidates is evidence for, by its layers.
var evidenceOf = map[string]string{
	"parent":     "the engine's parent image, with the same %s",
	"annotation": "the manifest's annotation names it, with the same %s",
	"provenance": "the image's provenance names it, with the same %s",
	"sibling":    "an image beside it with the same %s",
	"local":      "local image with the same %s",
}

func samePlatform(a, b *Image) bool {
	same := func(x, y string) bool { return x == "" || y == "" || strings.EqualFold(x, y) }
	return same(a.OS, b.OS) && same(a.Architecture, b.Architecture) && same(a.Variant, b.Variant)
}

// bestName is the simplest of a candidate's proper names.
func bestName(c Candidate) string {
	best := ""
	for _, n := range append([]string{c.Name}, c.Names...) {
		if n == "" || strings.Contains(n, "<none>") || bareID(n) {
			continue
		}
		if best == "" || simplerName(n, best) {
			best = n
		}
	}
	return best
}

// bareID tells whether a name is an image ID, which BuildKit's FROM doesn't take.
func bareID(n string) bool {
	n, prefixed := strings.CutPrefix(n, "sha256:")
	return (prefixed || len(n) == 64) && strings.Trim(n, "0123456789abcdef") == ""
}

// simplerName prefers a tag to a digest, a named version to `latest`, a
// shorter name, and at last the alphabet.
func simplerName(a, b string) bool {
	if x, y := strings.Contains(a, "@"), strings.Contains(b, "@"); x != y {
		return !x
	}
	if x, y := strings.HasSuffix(a, ":latest"), strings.HasSuffix(b, ":latest"); x != y {
		return !x
	}
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

func fromCandidate(img *Image, ins []Instruction, c Candidate) Base {
	n := len(c.Image.RootFS.DiffIDs)
	name := c.Name
	if b := bestName(c); b != "" && c.Kind != "user" {
		name = b
	}
	return Base{Name: name, Layers: n, Entries: entriesOf(img, ins, c.Image), Kind: c.Kind, Image: c.Image, ID: c.ID}
}

// entriesOf is how many of img's history entries are base's. If base's history
// is the beginning of img's, it is that. Otherwise it is the entries up to base's
// last layer, and the metadata after it that says what base's config has: an
// engine may know base's history without its flags, or not at all.
func entriesOf(img *Image, ins []Instruction, base *Image) int {
	n := entriesFor(ins, len(base.RootFS.DiffIDs))
	if same := sharedEntries(img, base); same > 0 && same >= n {
		return same
	}
	says := saying(base)
	for i := n; n > 0 && i < len(ins) && ins[i].Layer < 0; i++ {
		if ins[i].Set != nil && !says(*ins[i].Set) {
			break
		}
		if ins[i].Set != nil {
			n = i + 1
		}
	}
	return n
}

// sharedEntries is the length of base's history if it stands at the start of
// img's, else 0. Only the commands are compared: an engine doesn't tell which
// entries of a local image made layers.
func sharedEntries(img, base *Image) int {
	h, b := img.History, base.History
	if len(b) > len(h) {
		return 0
	}
	for i := range b {
		if h[i].CreatedBy != b[i].CreatedBy {
			return 0
		}
	}
	return len(b)
}

// saying returns a function that tells whether a step sets nothing that img's
// config doesn't have. That ENTRYPOINT resets CMD doesn't count.
func saying(img *Image) func(Step) bool {
	c := img.Config
	at, triggers := positions(c.Env), set(c.OnBuild)
	return func(s Step) bool {
		switch s.Name {
		case "ENV":
			return !slices.ContainsFunc(s.Pairs, func(kv Pair) bool {
				i, ok := at[kv.Key]
				return !ok || c.Env[i] != kv.Key+"="+kv.Value
			})
		case "LABEL":
			return !slices.ContainsFunc(s.Pairs, func(kv Pair) bool {
				v, ok := c.Labels[kv.Key]
				return !ok || v != kv.Value
			})
		case "EXPOSE":
			return hasAll(c.ExposedPorts, s.Args)
		case "VOLUME":
			return hasAll(c.Volumes, s.Args)
		case "USER":
			return c.User == s.arg()
		case "WORKDIR":
			return c.WorkingDir == workdir(c.WorkingDir, s.arg(), isWindows(img))
		case "STOPSIGNAL":
			return c.StopSignal == s.arg()
		case "MAINTAINER":
			return img.Author == s.arg()
		case "CMD":
			return slices.Equal(c.Cmd, s.Args)
		case "ENTRYPOINT":
			return slices.Equal(c.Entrypoint, s.Args)
		case "SHELL":
			return slices.Equal(c.Shell, s.Args)
		case "HEALTHCHECK":
			return equalHealth(c.Healthcheck, s.Health)
		}
		return triggers[s.arg()]
	}
}

func hasAll[V any](m map[string]V, keys []string) bool {
	return !slices.ContainsFunc(keys, func(k string) bool { _, ok := m[k]; return !ok })
}

// entriesFor is the number of entries up to and with the one that made the
// n-th layer.
func entriesFor(ins []Instruction, n int) int {
	if n == 0 {
		return 0
	}
	for i, in := range ins {
		if in.Layer == n-1 {
			return i + 1
		}
	}
	return 0
}

// commentBase is the base that buildah and podman name in the comment of the
// first entry above it. Each build names its own, so the last one is the image's.
// With --layers, the further entries name the step before them by its ID.
func commentBase(ins []Instruction) (Base, bool) {
	below := layersBelow(ins)
	for i := len(ins) - 1; i >= 0; i-- {
		name, layers := ins[i].From, below[i]
		if name == "" || shortID.MatchString(name) || (layers == 0) != (name == "scratch") {
			continue
		}
		return Base{Name: name, Layers: layers, Entries: i, Kind: "comment",
			Evidence: fmt.Sprintf("the history says FROM %s above %s", name, Count(layers, "layer"))}, true
	}
	return Base{}, false
}

var shortID = regexp.MustCompile(`^(sha256:)?[0-9a-f]{12,64}$`)

// layersBelow is, for each entry and the end, the number of layers that the
// entries before it own.
func layersBelow(ins []Instruction) []int {
	below := make([]int, len(ins)+1)
	for i, in := range ins {
		below[i+1] = max(below[i], in.Layer+1)
	}
	return below
}

// Config is the base's config: the document itself where it is known, and an
// empty one for scratch. Otherwise it is what the base's history entries say, as
// far as the image's config still has it.
func (b Base) Config(img *Image, ins []Instruction) *Image {
	if b.Image != nil {
		return b.Image
	}
	out := &Image{}
	out.Platform = img.Platform
	if b.Entries == 0 || b.Entries > len(ins) {
		return out
	}
	var steps, above []Step
	for _, in := range ins {
		switch {
		case in.Set == nil:
		case in.Entry < b.Entries:
			steps = append(steps, *in.Set)
		default:
			above = append(above, *in.Set)
		}
	}
	sets := func(names ...string) bool {
		return slices.ContainsFunc(above, func(s Step) bool { return slices.Contains(names, s.Name) })
	}
	out = apply(out, steps)
	c, w := &out.Config, img.Config
	c.Env = baseEnv(c.Env, w.Env, above)
	dropMissing(c.Labels, w.Labels)
	dropMissing(c.ExposedPorts, w.ExposedPorts)
	dropMissing(c.Volumes, w.Volumes)
	if w.User == "" {
		c.User = ""
	}
	if w.WorkingDir == "" {
		c.WorkingDir = ""
	}
	if w.StopSignal == "" {
		c.StopSignal = ""
	}
	if len(w.Shell) == 0 {
		c.Shell = nil
	}
	if emptyHealth(w.Healthcheck) {
		c.Healthcheck = nil
	}
	if len(w.Entrypoint) == 0 && !sets("ENTRYPOINT") {
		c.Entrypoint = nil
	}
	if len(w.Cmd) == 0 && !sets("CMD", "ENTRYPOINT") {
		c.Cmd = nil
	}
	if img.Author == "" {
		out.Author = ""
	}
	return out
}

// DefaultPath is the PATH that both builders give to a Linux image without
// one (moby and BuildKit, DefaultPathEnvUnix).
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// baseEnv is the part of the image's variables, want, that the base must have
// had. ENV adds at the end, so these are all up to the last one that the base's
// lines set. env is what those lines give; above are the steps above the base.
func baseEnv(env, want []string, above []Step) []string {
	at := positions(env)
	setAbove := map[string]bool{}
	for _, s := range above {
		for _, kv := range s.Pairs {
			setAbove[kv.Key] = setAbove[kv.Key] || s.Name == "ENV"
		}
	}
	n := 0
	for i, e := range want {
		if _, ok := at[envKey(e)]; ok {
			n = i + 1
		}
	}
	if n == 0 && len(want) > 0 && envKey(want[0]) == "PATH" {
		n = 1 // first of all: the base's builder put it there
	}
	out := make([]string, 0, n)
	for _, e := range want[:n] {
		key := envKey(e)
		switch i, ok := at[key]; {
		case ok:
			e = env[i]
		case !setAbove[key]:
		case key == "PATH":
			e = "PATH=" + DefaultPath
		default:
			e = key + "=" // set again above: the value here doesn't matter
		}
		out = append(out, e)
	}
	return out
}

func dropMissing[V, W any](m map[string]V, want map[string]W) {
	for k := range m {
		if _, ok := want[k]; !ok {
			delete(m, k)
		}
	}
}
