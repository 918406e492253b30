package engine_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/rebuild/image/engine"
	"docker-flatten/rebuild/imagetest"
)

// What a dead run left goes; what a live one uses, and what people made, stays.
func TestLeftoversOfDeadRunsAreClearedAway(t *testing.T) {
	e, opt := newFakeEngine(t, engine.Graphdriver)
	cli, err := opt.Client()
	imagetest.Must(err)
	alive, killed := engine.NewOwner(opt.TempDir, cli), engine.NewOwner(t.TempDir(), cli)
	t.Cleanup(alive.Release)
	t.Cleanup(killed.Release)
	// A killed run's file is still there, and nobody holds it.
	file := filepath.Join(opt.TempDir, "docker-flatten-"+killed.Run+".lock")
	imagetest.Must(os.WriteFile(file, []byte(cli.DaemonHost()), 0o600))
	elsewhere := filepath.Join(opt.TempDir, "docker-flatten-"+strings.Repeat("2", 10)+"-"+strings.Repeat("a", 26)+".lock")
	imagetest.Must(os.WriteFile(elsewhere, []byte("tcp://another.example"), 0o600))
	began := time.Now()
	const random = "-abcdefghijklmnopqrstuvwxyz"
	foreign := func(age time.Duration) string { // a run on another machine
		return strconv.FormatInt(began.Add(-age).Unix(), 10) + random
	}

	cases := map[string]struct {
		names  []string
		labels map[string]string
		kept   bool
		left   []string // names afterwards
	}{
		"a dead run's result":                      {names: []string{"docker-flatten/run:" + killed.Run}},
		"a dead run's result that has its names":   {names: []string{"docker-flatten/run:" + killed.Run, "app:1"}, kept: true, left: []string{"app:1"}},
		"a dead run's base":                        {names: []string{"docker-flatten/base:0123456789ab-" + killed.Run}},
		"a dead build's step":                      {labels: map[string]string{engine.RunLabel: killed.Run + ".1"}},
		"a dead build's step that somebody named":  {names: []string{"mine:1"}, labels: map[string]string{engine.RunLabel: killed.Run + ".2"}, kept: true, left: []string{"mine:1"}},
		"a live run's result":                      {names: []string{"docker-flatten/run:" + alive.Run}, kept: true, left: []string{"docker-flatten/run:" + alive.Run}},
		"a live run's base":                        {names: []string{"docker-flatten/base:0123456789ab-" + alive.Run}, kept: true, left: []string{"docker-flatten/base:0123456789ab-" + alive.Run}},
		"a live build's step":                      {labels: map[string]string{engine.RunLabel: alive.Run + ".1"}, kept: true},
		"another machine's result":                 {names: []string{"docker-flatten/run:" + foreign(23*time.Hour)}, kept: true, left: []string{"docker-flatten/run:" + foreign(23*time.Hour)}},
		"another machine's result of days ago":     {names: []string{"docker-flatten/run:" + foreign(25*time.Hour)}},
		"a written context's base":                 {names: []string{"docker-flatten/base:0123456789ab"}, kept: true, left: []string{"docker-flatten/base:0123456789ab"}},
		"a dead run's result in podman":            {names: []string{"localhost/docker-flatten/run:" + killed.Run}},
		"an image of that name that somebody made": {names: []string{"docker-flatten/run:1"}, kept: true, left: []string{"docker-flatten/run:1"}},
		"a label that somebody made":               {labels: map[string]string{engine.RunLabel: "yes"}, kept: true},
		"a dangling image":                         {kept: true},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		e.images["sha256:"+name] = newImage(c.names, c.labels)
	}
	engine.ClearAway(t.Context(), cli, opt, false)
	if _, err := os.Stat(file); err != nil {
		t.Error("the dead run's file went while its engine may still be at work for it")
	}
	engine.ClearAway(t.Context(), cli, opt, true)
	for name, c := range cases {
		im := e.images["sha256:"+name]
		if (im != nil) != c.kept {
			t.Errorf("%s: kept: %v", name, im != nil)
		} else if im != nil && !slices.Equal(im.names, c.left) {
			t.Errorf("%s: has the names %q", name, im.names)
		}
	}
	left, err := filepath.Glob(filepath.Join(opt.TempDir, "*"))
	imagetest.Must(err)
	if want := []string{filepath.Join(opt.TempDir, "docker-flatten-"+alive.Run+".lock"), elsewhere}; !slices.Equal(left, want) {
		t.Errorf("files left: %q, want %q", left, want)
	}
}

func newImage(names []string, labels map[string]string) *fakeImage {
	return &fakeImage{names: slices.Clone(names), labels: labels, diffIDs: []v1.Hash{}}
}
