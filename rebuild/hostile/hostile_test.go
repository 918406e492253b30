//go:build linux

package hostile

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// hostileCase is one input and what must come out.
type hostileCase struct {
	name string
	why  string
	// What is built: one of
	image  *image       // as a docker-archive
	build  func() image // the same, for what is too big to lie around
	layout files        // a directory
	tar    []byte       // a file
	make   func(p *place) string

	args  []string // options beside -q, -o and the input; nil = --base 1 for two layers or more
	keeps string   // a text that the result's config has, to the letter
	ref   string   // which image of the input: the input's path and this are the argument
	want  want
	slow  bool // left out by -short
	loud  bool // without -q: everything for people is printed

	time   time.Duration
	memory int64
}

// want is what must come out.
type want struct {
	code  int    // exactly; -1 = 0 or 1
	says  string // a regular expression for the line of error
	shows *image // what the result must show; nil = nobody can say
}

// fails is exit 1 with a line that matches.
func fails(says string) want { return want{code: 1, says: says} }

// misused is exit 2 with a line that matches.
func misused(says string) want { return want{code: 2, says: says} }

// exceeds is exit 4 with a line that matches.
func exceeds(says string) want { return want{code: 4, says: says} }

// becomes is success: the result shows what the image shows.
func becomes(im image) want { return want{code: 0, shows: &im} }

// survives is success or an error of one line, in bounded time and memory.
func survives(im *image) want { return want{code: -1, shows: im} }

// of is a case of an image that must be flattened right.
func good(name, why string, im image) hostileCase {
	return hostileCase{name: name, why: why, image: &im, want: becomes(im)}
}

// bad is a case of an image that must be refused.
func bad(name, why, says string, im image) hostileCase {
	return hostileCase{name: name, why: why, image: &im, want: fails(says)}
}

// either is a case of an image that may be refused, but if it isn't, must be
// flattened right.
func either(name, why string, im image) hostileCase {
	return hostileCase{name: name, why: why, image: &im, want: survives(&im)}
}

func badTar(name, why, says string, b []byte) hostileCase {
	return hostileCase{name: name, why: why, tar: b, want: fails(says)}
}

func badLayout(name, why, says string, f files) hostileCase {
	return hostileCase{name: name, why: why, layout: f, want: fails(says)}
}

// hostileCases is all tables.
var hostileCases = sync.OnceValue(func() map[string][]hostileCase {
	return map[string][]hostileCase{
		"tar":      tarCases(),
		"overlay":  overlayCases(),
		"bomb":     bombCases(),
		"archive":  archiveCases(),
		"layout":   layoutCases(),
		"damage":   damageCases(),
		"config":   configCases(),
		"history":  historyCases(),
		"gate":     gateCases(),
		"document": documentCases(),
		"saved":    savedCases(),
		"layer":    layerCases(),
		"place":    placeCases(),
		"terminal": terminalCases(),
		"line":     lineCases(),
	}
})

func TestHostile(t *testing.T) {
	groups := hostileCases()
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		for _, c := range groups[group] {
			t.Run(group+"/"+c.name, func(t *testing.T) {
				if c.slow && testing.Short() {
					t.Skip("slow: left out by -short")
				}
				t.Parallel()
				c.run(t)
			})
		}
	}
}

func (c hostileCase) run(t *testing.T) {
	working <- struct{}{} // building the input is work, too
	p := newPlace(t)
	var input string
	base := "1"
	if c.build != nil {
		im := c.build()
		c.image = &im
		streamed := slices.ContainsFunc(im.layers, func(l layer) bool { return l.diffID != "" })
		if c.want.shows == nil && c.want.code <= 0 && !streamed {
			c.want.shows = &im
		}
	}
	switch {
	case c.image != nil:
		input = p.file("image.tar", archive(*c.image).tar())
		if len(c.image.layers) < 2 {
			base = "scratch"
		}
	case c.layout != nil:
		input = c.layout.dir(p, "layout")
		base = "auto"
	case c.tar != nil:
		input = p.file("image.tar", c.tar)
		base = "auto"
	case c.make != nil:
		input = c.make(p)
		base = "auto"
	}
	<-working
	args := c.args
	if args == nil {
		args = []string{"--base", base}
	}
	if input != "" {
		if !slices.Contains(args, "--dry-run") && !slices.Contains(args, "-o") && !slices.Contains(args, "--context") {
			args = append([]string{"-o", "out/image.tar"}, args...)
		}
		args = append(slices.Clone(args), input+c.ref)
	}
	before := p.listing()
	run := command{args: args, limit: c.time, memory: c.memory, gated: c.want.code == 4}
	if !c.loud {
		run.args = append([]string{"-q"}, args...)
	}
	r := p.run(run)
	checkRun(t, r, run)
	if t.Failed() {
		return
	}
	misuse := input == "" && c.want.code == -1 && r.code == 2 // the line alone is at fault
	if c.want.code >= 0 && r.code != c.want.code || r.code > 1 && c.want.code != r.code && !misuse {
		t.Errorf("exit code %d, want %d: %s", r.code, c.want.code, short(r.stderr))
		return
	}
	if r.code == 0 {
		maps.DeleteFunc(before, func(name, _ string) bool { return name == "out" })
		checkUnchanged(t, before, p.listing("out"))
		if slices.Contains(args, "--dry-run") && !slices.Contains(args, "--json") {
			if forged := forgedIn(r.stdout); forged != "" {
				t.Errorf("a forged instruction in the Dockerfile: %s", short(forged))
			}
		}
		if c.want.shows == nil && c.keeps == "" || !slices.Contains(args, "out/image.tar") {
			return
		}
		got, err := readFiles(p.path("out/image.tar"))
		if err != nil {
			t.Error(err)
			return
		}
		im, err := readImage(got, "")
		if err != nil {
			t.Errorf("the result: %v", err)
			return
		}
		if !strings.Contains(string(im.document), c.keeps) {
			t.Errorf("the config has lost %s: %s", short(c.keeps), short(string(im.document)))
		}
		if c.want.shows != nil {
			sameImage(t, *c.want.shows, im)
		}
		return
	}
	checkUnchanged(t, before, p.listing())
	line, _, _ := strings.Cut(r.stderr, "\n")
	if says := c.want.says; says != "" && !regexp.MustCompile(says).MatchString(line) {
		t.Errorf("the error doesn't match %q: %s", says, short(line))
	}
	if os.Getenv("HOSTILE_SHOW") != "" {
		t.Logf("%v %d MiB: %s", r.took.Round(time.Millisecond), r.peak>>20, short(strings.TrimSpace(r.stderr)))
	}
}
