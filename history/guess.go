package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// guessBase reads where the base ends from the shape of the history alone. A
// guess that is too high leaves layers unmerged; one that is too low only loses
// sharing. So it goes by the usual signs of a finished image only:
//
//   - CMD with layers above it: a Dockerfile ends in its CMD, and a child image
//     is built on that some other day (or the CMD is a shell, as only a
//     distribution's is);
//   - MAINTAINER, or the label maintainer, with layers below it: it follows FROM;
//   - another builder's entries: one build is one builder's;
//   - layers without any record below a builder's entries: a builder records
//     what it makes;
//   - dates that part two builds (see parted);
//   - the last lines of a well-known image that has no CMD (see knownEnd);
//   - a root file system as the lowest layer, with a RUN above it that needs
//     one: ADD of an archive to /, docker import, a distribution's own tool.
//
// The highest of these that leaves a layer above it is the boundary.
func guessBase(img *Image, ins []Instruction) (Base, bool) {
	root := entryOf(ins, 0)
	top := len(img.RootFS.DiffIDs) - 1
	if root < 0 || top < 1 {
		return Base{}, false
	}
	b := Base{}
	below, next := layersBelow(ins), nextLayers(ins)
	take := func(entries int, why string) {
		if n := below[entries]; n <= top && (n > b.Layers || n == b.Layers && n > 0 && entries > b.Entries) {
			b = Base{Layers: n, Entries: entries, Evidence: why}
		}
	}
	recorded := slices.IndexFunc(ins, func(in Instruction) bool { return in.Text != noRecord })
	distribution := 0 // the end of the lowest image, where it is a distribution's
	if end, why := rootEnd(img, ins, root); end > 0 {
		take(end, why)
		distribution = end
	}
	for i := root + 1; i < len(ins); i++ {
		switch in := ins[i]; {
		case in.Name == "CMD" && in.Layer < 0 && (bareShell(in) || !sameHour(img, i, next[i+1])):
			take(i+1, fmt.Sprintf("layers follow %s", brief(in)))
			if bareShell(in) && distribution == root+1 {
				distribution = i + 1
			}
		case startsDockerfile(in) && in.Layer < 0 && !sameHour(img, i-1, next[i]):
			take(i, fmt.Sprintf("a Dockerfile starts with %s", brief(in)))
		case otherBuild(ins, i):
			take(i, fmt.Sprintf("%s goes on where %s ends", builderOf(in), builderBelow(ins, i)))
		case builders[in.Dialect] && i == recorded:
			take(i, fmt.Sprintf("%s below have no record", Count(below[i], "layer")))
		}
		if why := parted(img, ins, i); why != "" {
			take(i, why)
		}
		if end, what := knownEnd(ins, i); end > 0 && !sameHour(img, end-1, next[end]) {
			take(end, fmt.Sprintf("%s ends with %s", what, brief(ins[lastLayer(ins[:end])])))
		}
	}
	if end := buildpackEnd(ins, distribution); end > 0 && !sameHour(img, end-1, next[end]) {
		take(end, fmt.Sprintf("buildpack-deps ends with %s", brief(ins[end-1])))
	}
	return b, b.Layers > 0
}

// startsDockerfile tells whether an instruction is one that usually follows
// FROM: MAINTAINER, or the label that took its place.
func startsDockerfile(in Instruction) bool {
	if in.Set == nil {
		return false
	}
	return in.Set.Name == "MAINTAINER" || in.Set.Name == "LABEL" && in.Set.Pairs[0].Key == "maintainer"
}

// lastLayer is the index of the last entry that made a layer, 0 without one.
func lastLayer(ins []Instruction) int {
	for i := len(ins) - 1; i > 0; i-- {
		if ins[i].Layer >= 0 {
			return i
		}
	}
	return 0
}

// nextLayers is, for each entry and the end, the next entry with a layer, from
// the entry itself on; len(ins) where there is none.
func nextLayers(ins []Instruction) []int {
	next := make([]int, len(ins)+1)
	next[len(ins)] = len(ins)
	for i := len(ins) - 1; i >= 0; i-- {
		if next[i] = next[i+1]; ins[i].Layer >= 0 {
			next[i] = i
		}
	}
	return next
}

// sameHour tells whether the layer of entry j, the first above entry i, was made
// within an hour of entry i. One build may have made both then, and a sign
// between them means nothing. Equal times don't count: a builder may have set
// them to a fixed date.
func sameHour(img *Image, i, j int) bool {
	if j == len(img.History) {
		return false
	}
	a, b := img.History[i].Created, img.History[j].Created
	return a != nil && b != nil && !a.Equal(*b) && b.Sub(*a).Abs() < time.Hour
}

// bareShell tells whether a CMD starts just a shell.
func bareShell(in Instruction) bool {
	return in.Set != nil && len(in.Set.Args) == 1 && loneShell.MatchString(in.Set.Args[0])
}

// entryOf is the index of the entry that made a layer, -1 if none is known.
func entryOf(ins []Instruction, layer int) int {
	for i, in := range ins {
		if in.Layer == layer {
			return i
		}
	}
	return -1
}

// brief is the first line of an instruction, shortened.
func brief(in Instruction) string {
	s, _, _ := strings.Cut(in.Text, "\n")
	if r := []rune(s); len(r) > 60 {
		s = string(r[:57]) + "..."
	}
	return s
}

// rootEnd is where a distribution's root file system ends, if it is the lowest
// layer. Its metadata belongs to it, up to a pause of a day.
func rootEnd(img *Image, ins []Instruction, root int) (int, string) {
	if !rootfsEntry(ins[root]) || !needsRootfs(ins[root+1:]) || distributionItself(img, ins, root) {
		return 0, ""
	}
	end := root + 1
	for end < len(ins) && ins[end].Layer < 0 && ins[end].Dialect == ins[root].Dialect && ins[end].Set != nil &&
		!paused(img.History[end-1].Created, img.History[end].Created) {
		end++
		if ins[end-1].Name == "CMD" {
			return end, fmt.Sprintf("root file system %s, up to %s", brief(ins[root]), brief(ins[end-1]))
		}
	}
	// Without a CMD nothing tells whose the metadata is.
	return root + 1, fmt.Sprintf("root file system %s", brief(ins[root]))
}

// distributionItself tells whether the whole image is a distribution's own: its
// root file system is put right by RUNs alone, before it ends in a shell.
func distributionItself(img *Image, ins []Instruction, root int) bool {
	last := len(ins) - 1
	if last < root+2 || ins[last].Name != "CMD" || !bareShell(ins[last]) {
		return false
	}
	for i := root + 1; i < last; i++ {
		if ins[i].Name != "RUN" || paused(img.History[i-1].Created, img.History[i].Created) {
			return false
		}
	}
	return true
}

// pause is how far apart two builds are at least; a build of its own rarely
// takes longer.
const pause = 24 * time.Hour

func paused(a, b *time.Time) bool {
	return a != nil && b != nil && b.Sub(*a) > pause
}

// rootfsEntry tells whether an entry unpacks a whole root file system.
func rootfsEntry(in Instruction) bool {
	switch in.Dialect {
	case "debuerreotype", "busybox", "import", "kiwi", "windows", "apko":
		return true
	}
	if in.Name != "ADD" && in.Name != "COPY" {
		return false
	}
	f := strings.Fields(in.Text)
	if len(f) < 3 || f[len(f)-1] != "/" {
		return false
	}
	src := f[len(f)-2]
	if src == "in" { // the classic builder shows a hash in place of the source
		return in.Name == "ADD" && !strings.HasPrefix(f[1], "multi:")
	}
	return in.Name == "ADD" && archiveName(src) || src == "/"
}

func archiveName(s string) bool {
	for _, ext := range []string{".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst", ".txz"} {
		if strings.HasSuffix(s, ext) {
			return true
		}
	}
	return false
}

// needsRootfs tells whether an entry runs something, which needs programs.
func needsRootfs(ins []Instruction) bool {
	for _, in := range ins {
		if in.Name == "RUN" || in.Dialect == "commit" {
			return true
		}
	}
	return false
}

// builders are the dialects of builders that work on top of a base; the
// others make bases, or change a finished image.
var builders = map[string]bool{"classic": true, "buildkit": true, "buildah": true, "kaniko": true, "jib": true, "ko": true, "buildpacks": true, "docker-flatten": true}

// otherBuild tells whether entry i is the first of another builder than the
// entries below. Windows bases have a notation of their own, behind which any
// entry is a build's.
func otherBuild(ins []Instruction, i int) bool {
	if i > 0 && ins[i-1].Dialect == "windows" {
		return ins[i].Dialect != "windows"
	}
	if !builders[ins[i].Dialect] {
		return false
	}
	if i > 0 && ins[i].Dialect == "jib" && ins[i].Text != jibBase && ins[i-1].Text == jibBase {
		return true
	}
	below := builderBelow(ins, i)
	return below != "" && below != ins[i].Dialect
}

// builderOf is an entry's builder, by name if that is known.
func builderOf(in Instruction) string {
	if builders[in.Dialect] {
		return in.Dialect
	}
	return "a build"
}

// builderBelow is the dialect of the nearest recognised entry below i.
func builderBelow(ins []Instruction, i int) string {
	for i--; i >= 0; i-- {
		switch d := ins[i].Dialect; d {
		case "", "dockerfile", "commit", "squash", "umoci", "crane", "regclient":
		default:
			return d
		}
	}
	return ""
}
