package examples

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dockerbuild "github.com/docker/docker/api/types/build"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"docker-flatten/rebuild/imagetest"
)

// TestRecovery builds the Dockerfiles in recovery/ with both builders, recovers
// them from their images, and counts which instructions are back. With -update
// the README gets the table.
func TestRecovery(t *testing.T) {
	cli := imagetest.Engine(t)
	version, err := cli.ServerVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shell := goBuild(t, ".", version.Arch, "./recovery/base")
	buildRecovery(t, cli, "base", "recovery/base:1", false, map[string][]byte{"sh": shell})
	baseHistory := len(historyOf(t, savedImage(t, cli, "recovery/base:1")))
	files, err := filepath.Glob("recovery/*/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	scores := map[string]*recoveryScore{}
	built := 0
	for _, file := range files {
		dir := filepath.Base(filepath.Dir(file))
		if dir == "base" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var changed map[string][]byte // files of the context
		if dir == "heredocs" {
			changed = map[string][]byte{"Dockerfile": append([]byte("# syntax="+frontend(t, cli, version.Arch)+"\n"), text...)}
		}
		for _, buildkit := range []bool{false, true} {
			kind := map[bool]string{false: "classic builder", true: "BuildKit"}[buildkit]
			if !buildkit && bytes.HasPrefix(text, []byte("# BuildKit alone")) {
				continue
			}
			t.Run(dir+", "+kind, func(t *testing.T) {
				below := baseHistory // entries of the history that are the base's
				var triggers []string
				if triggering, err := os.ReadFile(filepath.Join("recovery", dir, "base", "Dockerfile")); err == nil {
					base := "recovery/" + dir + "-base:1"
					buildRecovery(t, cli, dir+"/base", base, false, nil)
					below = len(historyOf(t, savedImage(t, cli, base)))
					for _, m := range regexp.MustCompile(`(?m)^ONBUILD (.*)$`).FindAllStringSubmatch(string(triggering), -1) {
						triggers = append(triggers, m[1])
					}
				}
				tag := "recovery/" + dir + ":" + strings.ToLower(strings.Fields(kind)[0])
				buildRecovery(t, cli, dir, tag, buildkit, changed)
				im := savedImage(t, cli, tag)
				want, err := readDockerfile(string(text), triggers)
				if err != nil {
					t.Fatal(err)
				}
				if want[0].text == "FROM scratch" {
					below = 0
				}
				if err := im.attach(want, below); err != nil {
					t.Fatal(err)
				}
				out := filepath.Join(t.TempDir(), "recovered")
				cmd := exec.Command(binary, "-q", "--dockerfile", "original", "--context", out, tag)
				if host := os.Getenv("DOCKER_FLATTEN_ENGINE"); host != "default" {
					cmd.Env = append(os.Environ(), "DOCKER_HOST="+host)
				}
				if message, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, message)
				}
				recovered, err := os.ReadFile(filepath.Join(out, "Dockerfile"))
				if err != nil {
					t.Fatal(err)
				}
				have, err := readDockerfile(string(recovered), nil)
				if err != nil {
					t.Fatalf("%v\n%s", err, recovered)
				}
				if have, err = withFiles(have, out); err != nil {
					t.Fatal(err)
				}
				for _, line := range countRecovered(scores, kind, want, have, true) {
					t.Log(line)
				}
				countRecovered(scores, kind, want, plainReading(historyOf(t, im)), false)
				t.Logf("\n%s", recovered)
			})
		}
		built++
	}
	if t.Failed() {
		return
	}
	release := regexp.MustCompile(`^\d+\.\d+`).FindString(version.Version)
	table := fmt.Sprintf("%d Dockerfiles, each builder of engine %s:\n\n%s\n", built, release, recoveryTable(scores))
	head, old, tail := readTable(t)
	switch {
	case old == table:
	case *update:
		if err := os.WriteFile("recovery/README.md", []byte(head+tableStart+table+tableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	case !strings.Contains(old, " of engine "+release+":"):
		t.Skipf("the README has the table of another engine; this one's is\n%s", table)
	default:
		t.Errorf("recovery/README.md has\n%snot\n%s", old, table)
	}
}

const tableStart, tableEnd = "<!-- table: TestRecovery writes it -->\n", "<!-- end of table -->\n"

// readTable is the README's text before, in and after the place for the table.
func readTable(t *testing.T) (head, table, tail string) {
	t.Helper()
	text, err := os.ReadFile("recovery/README.md")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), tableStart)
	table, tail, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatal("recovery/README.md has no place for the table")
	}
	return head, table, tail
}

// TestRecoveryTable holds the table's sums, and what the top README quotes of
// them, against its rows.
func TestRecoveryTable(t *testing.T) {
	_, table, _ := readTable(t)
	const columns = 10
	var kinds, builders, all [columns]int
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(cells) != columns+1 || strings.Contains(line, "history alone") {
			continue
		}
		var row [columns]int
		for i := range row {
			if _, err := fmt.Sscan(cells[i+1], &row[i]); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
		if row[0] != row[1]+row[2]+row[3]+row[4] || row[0] != row[6]+row[7]+row[8] {
			t.Errorf("the row doesn't add up: %s", line)
		}
		sum := &kinds
		switch cells[0] {
		case "classic builder", "BuildKit":
			sum = &builders
		case "all":
			all = row
			continue
		}
		for i := range row {
			sum[i] += row[i]
		}
	}
	// The plain reading's other additions are of kinds that no Dockerfile has.
	kinds[9], builders[9] = all[9], all[9]
	if all[0] == 0 || kinds != all || builders != all {
		t.Errorf("kinds add up to %v, builders to %v, and the last row says %v", kinds, builders, all)
	}
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	quote := fmt.Sprintf("Of %d instructions %d are right, %d equivalent, %d lost and %d wrong; of the history alone %d, %d lost and %d wrong.",
		all[0], all[1], all[2], all[3], all[4], all[6], all[7], all[8])
	if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), quote) {
		t.Errorf("README.md doesn't say: %s", quote)
	}
}

// goBuild is a program for the engine's system, built in a module's directory.
func goBuild(t *testing.T, dir, arch, pkg string) []byte {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, pkg)
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frontend gives the engine BuildKit's reader of Dockerfiles, in the version that
// this module has, and returns its image: the engine's own may be older than
// here-documents. It has a module of its own, since nothing else here needs what
// it is made of.
func frontend(t *testing.T, cli *client.Client, arch string) (tag string) {
	t.Helper()
	const pkg = "github.com/moby/buildkit/frontend/dockerfile/cmd/dockerfile-frontend"
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/moby/buildkit").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, args := range [][]string{{"mod", "init", "frontend"}, {"get", pkg + "@" + strings.TrimSpace(string(version))}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v: %s", args[0], err, out)
		}
	}
	tag = "recovery/frontend:1"
	buildRecovery(t, cli, "heredocs", tag, false, map[string][]byte{
		"Dockerfile": []byte("FROM scratch\nCOPY frontend /frontend\nLABEL moby.buildkit.frontend.network.none=true\nENTRYPOINT [\"/frontend\"]\n"),
		"frontend":   goBuild(t, dir, arch, pkg),
	})
	t.Cleanup(func() { cli.ImageRemove(context.Background(), tag, dockerimage.RemoveOptions{Force: true}) })
	return tag
}

// buildRecovery has the engine build a folder below recovery/, with some files
// changed or added.
func buildRecovery(t *testing.T, cli *client.Client, dir, tag string, buildkit bool, changed map[string][]byte) {
	t.Helper()
	var body bytes.Buffer
	w := tar.NewWriter(&body)
	add := func(name string, mode int64, content []byte) error {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))})
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	}
	root := filepath.Join("recovery", filepath.FromSlash(dir))
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if _, ok := changed[name]; ok {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return add(filepath.ToSlash(name), 0o644, b)
	})
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		mode := int64(0o755)
		if name == "Dockerfile" {
			mode = 0o644
		}
		err = errors.Join(err, add(name, mode, changed[name]))
	}
	packed, err2 := packedRoot()
	if err = errors.Join(err, err2, add("rootfs.tar.gz", 0o644, packed), w.Close()); err != nil {
		t.Fatal(err)
	}
	opt := dockerbuild.ImageBuildOptions{Version: dockerbuild.BuilderV1, Tags: []string{tag}, Remove: true, ForceRemove: true, NetworkMode: "none"}
	var sent io.Reader = &body
	if buildkit {
		opt.Version = dockerbuild.BuilderBuildKit
		if changed["Dockerfile"] != nil { // a context that is sent is read once; this frontend reads it again
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(body.Bytes()) }))
			defer server.Close()
			sent, opt.RemoteContext = nil, server.URL+"/context.tar"
		}
	}
	response, err := cli.ImageBuild(t.Context(), sent, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for d := json.NewDecoder(response.Body); ; {
		var m struct{ Error string }
		if err := d.Decode(&m); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if m.Error != "" {
			t.Fatalf("build %s: %s", dir, m.Error)
		}
	}
}

// packedRoot is the archive that one of the Dockerfiles adds.
func packedRoot() ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	err := errors.Join(
		w.WriteHeader(&tar.Header{Name: "share/", Typeflag: tar.TypeDir, Mode: 0o755}),
		w.WriteHeader(&tar.Header{Name: "share/owned", Typeflag: tar.TypeReg, Mode: 0o600, Uid: 7, Gid: 8}),
		w.WriteHeader(&tar.Header{Name: "share/link", Typeflag: tar.TypeSymlink, Linkname: "owned", Mode: 0o777}),
		w.Close(), z.Close())
	return b.Bytes(), err
}

// savedRecovery is an image as docker save writes it.
type savedRecovery struct{ v1.Image }

func savedImage(t *testing.T, cli *client.Client, tag string) savedRecovery {
	t.Helper()
	r, err := cli.ImageSave(t.Context(), []string{tag})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	im, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }, &ref)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cli.ImageRemove(context.Background(), tag, dockerimage.RemoveOptions{Force: true, PruneChildren: true})
	})
	return savedRecovery{im}
}

func historyOf(t *testing.T, im savedRecovery) []v1.History {
	t.Helper()
	c, err := im.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return c.History
}

var copies = regexp.MustCompile(`^(?:/bin/sh -c #\(nop\)\s+)?(?:COPY|ADD)\s`)

// attach gives each COPY and ADD the files of the layer that it made. The base's
// history has from entries.
func (im savedRecovery) attach(want []recoveredInstruction, from int) error {
	c, err := im.ConfigFile()
	if err != nil {
		return err
	}
	layers, err := im.Layers()
	if err != nil {
		return err
	}
	next, layer := 0, 0
	for i, h := range c.History {
		if h.EmptyLayer {
			continue
		}
		layer++
		if i < from || !copies.MatchString(h.CreatedBy) {
			continue
		}
		for next < len(want) && !want[next].bringsFiles() {
			next++
		}
		if next == len(want) {
			return fmt.Errorf("the history has more than the Dockerfile: %s", h.CreatedBy)
		}
		r, err := layers[layer-1].Uncompressed()
		if err != nil {
			return err
		}
		want[next].files = map[string]string{}
		for tr := tar.NewReader(r); ; {
			h, err := tr.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			if h.Typeflag == tar.TypeDir {
				continue
			}
			b, err := io.ReadAll(tr)
			if err != nil {
				return err
			}
			want[next].files["/"+strings.TrimPrefix(path.Clean(h.Name), "/")] = fileFact(h.FileInfo().Mode(), h.Uid, h.Gid, h.Linkname, b)
		}
		r.Close()
		next++
	}
	return nil
}

func fileFact(mode fs.FileMode, uid, gid int, link string, content []byte) string {
	if link != "" {
		mode = fs.ModeSymlink
	}
	return fmt.Sprintf("%v %d:%d %q %q", mode, uid, gid, link, content)
}

var numbered = regexp.MustCompile(`^COPY (?:--chown=(\d+):(\d+) )?\[?"?(\d\d-[^/]*)/"?,? (.*?)"?\]?$`)

// withFiles makes one of the COPYs that stand for one, and gives it the files
// that come with the recovery in dir.
func withFiles(have []recoveredInstruction, dir string) ([]recoveredInstruction, error) {
	var out []recoveredInstruction
	last := ""
	for _, in := range have {
		m := numbered.FindStringSubmatch(in.text)
		if m == nil {
			out = append(out, in)
			continue
		}
		number := m[3][:2]
		if number != last {
			in.files = map[string]string{}
			out = append(out, in)
			last = number
		}
		var uid, gid int
		fmt.Sscan(m[1]+" "+m[2], &uid, &gid)
		root := filepath.Join(dir, m[3])
		err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			link, _ := os.Readlink(p)
			var content []byte
			if link == "" {
				if content, err = os.ReadFile(p); err != nil {
					return err
				}
			}
			rel, err := filepath.Rel(root, p)
			out[len(out)-1].files[path.Join(strings.Trim(m[4], `"`), filepath.ToSlash(rel))] = fileFact(info.Mode(), uid, gid, link, content)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// plainReading is what the history alone gives: each line without the builders'
// notation, no base, no files.
func plainReading(history []v1.History) []recoveredInstruction {
	var out []recoveredInstruction
	for _, h := range history {
		line := strings.TrimSuffix(h.CreatedBy, " # buildkit")
		if rest, ok := strings.CutPrefix(line, "/bin/sh -c #(nop)"); ok {
			line = strings.TrimSpace(rest)
		} else if rest, ok := strings.CutPrefix(line, "/bin/sh -c "); ok {
			line = "RUN " + rest
		} else if rest, ok := strings.CutPrefix(line, "RUN /bin/sh -c "); ok {
			line = "RUN " + rest
		}
		ins, err := readDockerfile("FROM scratch\n"+line+"\n", nil)
		if err != nil || len(ins) != 2 {
			keyword, _, _ := strings.Cut(line, " ")
			ins = []recoveredInstruction{{}, {kind: keyword, text: line}}
		}
		out = append(out, ins[1])
	}
	return out
}

// recoveryScore counts for one kind of instruction, or one builder.
type recoveryScore struct {
	all                             int
	right, equivalent, lost, wrong  int
	added                           int
	plainRight, plainLost, plainBad int // right and equivalent; lost; wrong
	plainAdded                      int
}

// countRecovered pairs what was written with what is back, counts, and returns a
// line for each that isn't as it was.
func countRecovered(scores map[string]*recoveryScore, builder string, want, have []recoveredInstruction, recovered bool) (lines []string) {
	score := func(name string) *recoveryScore {
		if scores[name] == nil {
			scores[name] = &recoveryScore{}
		}
		return scores[name]
	}
	pairs := pairInstructions(want, have)
	paired := map[int]bool{}
	for i, w := range want {
		fate := "lost"
		if j := pairs[i]; j >= 0 {
			paired[j] = true
			fate = w.against(have[j])
			if fate != "right" {
				lines = append(lines, fmt.Sprintf("%s: %s\n  is %s", fate, w.text, have[j].text))
			}
		} else {
			lines = append(lines, "lost: "+w.text)
		}
		for _, s := range []*recoveryScore{score(w.kind), score(builder), score("all")} {
			switch {
			case recovered && fate == "right":
				s.right++
			case recovered && fate == "equivalent":
				s.equivalent++
			case recovered && fate == "lost":
				s.lost++
			case recovered:
				s.wrong++
			case fate == "right", fate == "equivalent":
				s.plainRight++
			case fate == "lost":
				s.plainLost++
			default:
				s.plainBad++
			}
			if recovered {
				s.all++
			}
		}
	}
	for j, h := range have {
		if paired[j] {
			continue
		}
		lines = append(lines, "added: "+h.text)
		for _, s := range []*recoveryScore{score(h.kind), score(builder), score("all")} {
			if recovered {
				s.added++
			} else {
				s.plainAdded++
			}
		}
	}
	return lines
}

// pairInstructions says for each instruction which of those that are back it is,
// -1 for none: for each kind the pairing in order that makes most of them right.
func pairInstructions(want, have []recoveredInstruction) []int {
	pairs := make([]int, len(want))
	for i := range pairs {
		pairs[i] = -1
	}
	done := map[string]bool{"ADD": true} // it goes with COPY
	for _, in := range append([]recoveredInstruction{{kind: "COPY"}}, want...) {
		if done[in.kind] {
			continue
		}
		done[in.kind] = true
		var ours, theirs []int
		for i, w := range want {
			if w.sameKind(in) {
				ours = append(ours, i)
			}
		}
		for j, h := range have {
			if h.sameKind(in) {
				theirs = append(theirs, j)
			}
		}
		for k, l := range pairInOrder(len(ours), len(theirs), func(k, l int) int { return worth[want[ours[k]].against(have[theirs[l]])] }) {
			if l >= 0 {
				pairs[ours[k]] = theirs[l]
			}
		}
	}
	return pairs
}

// worth makes two that are equivalent better than one that is right.
var worth = map[string]int{"right": 8, "equivalent": 7, "lost": 2, "wrong": 1}

// pairInOrder pairs numbers below n with numbers below m, both rising, such that
// the values of the pairs, which are above 0, sum up to the most.
func pairInOrder(n, m int, value func(i, j int) int) []int {
	best := make([][]int, n+1)
	for i := range best {
		best[i] = make([]int, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			best[i][j] = max(best[i+1][j], best[i][j+1], value(i, j)+best[i+1][j+1])
		}
	}
	pairs := make([]int, n)
	j := 0
	for i := range n {
		for j < m && best[i][j] == best[i][j+1] {
			j++
		}
		pairs[i] = -1
		if j < m && best[i][j] != best[i+1][j] {
			pairs[i] = j
			j++
		}
	}
	return pairs
}

// recoveryTable is the table of the README.
func recoveryTable(scores map[string]*recoveryScore) string {
	var b strings.Builder
	b.WriteString("| | in all | right | equivalent | lost | wrong | added | history alone: right | lost | wrong | added |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	names := slices.Sorted(maps.Keys(scores))
	rank := func(s string) int { return slices.Index([]string{"classic builder", "BuildKit", "all"}, s) }
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	for _, name := range names {
		s := scores[name]
		if s.all == 0 && s.added == 0 {
			continue // what the plain reading takes for an instruction
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d |\n", name, s.all, s.right, s.equivalent, s.lost, s.wrong, s.added, s.plainRight, s.plainLost, s.plainBad, s.plainAdded)
	}
	return b.String()
}
