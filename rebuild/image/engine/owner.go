package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/filters"
	dockerimage "github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"docker-flatten/rebuild/image"
)

// Owner is a run that makes things in an engine which nobody needs after it. They
// have its ID in their names or labels. A file that the run keeps locked tells
// that it is alive, to those who can see that file.
type Owner struct {
	Run  string // the time of its start in seconds since 1970, and something random
	file *os.File
	left bool
}

// NewOwner returns a new owner. Its file is in dir, "" for os.TempDir(), and has
// the engine's address in it. Where there can't be one, the leftovers of a run
// that is killed stay for a day.
func NewOwner(dir string, cli *client.Client) *Owner {
	o := &Owner{Run: fmt.Sprintf("%d-%s", time.Now().Unix(), strings.ToLower(rand.Text()))}
	f, err := os.OpenFile(lockPath(dir, o.Run), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return o
	}
	o.file = f
	if _, err := f.WriteString(cli.DaemonHost()); err != nil || !tryLock(f) {
		o.Release()
	}
	return o
}

// Leave says that something of the run may have stayed in the engine. Its file stays,
// too, and tells the next run that this one is dead.
func (o *Owner) Leave() { o.left = true }

// Release says that the run is at its end, and has left nothing but what Leave told.
func (o *Owner) Release() {
	if o.file == nil {
		return
	}
	if !o.left {
		_ = os.Remove(o.file.Name()) // where that fails the next run does it
	}
	_ = o.file.Close()
	o.file = nil
}

// passingName is the name that an image has from its loading until it has its
// own names.
func (o *Owner) passingName() string { return passingNames + o.Run }

const passingNames = "docker-flatten/run:"

// RunLabel is the label of what the classic builder makes on the way. Its value
// is an owner's run, a dot and a number.
const RunLabel = "docker-flatten.run"

var (
	// podman puts localhost/ before a name that names no registry
	ownName  = regexp.MustCompile(`^(?:localhost/)?docker-flatten/(?:run:|base:[0-9a-f]+-)([0-9]+-[a-z2-7]{26})$`)
	ownLabel = regexp.MustCompile(`^([0-9]+-[a-z2-7]{26})\.[0-9]+$`)
	ownFile  = regexp.MustCompile(`^docker-flatten-([0-9]+-[a-z2-7]{26})\.lock$`)
)

// runIn is the run that pattern finds in s, "" for none.
func runIn(pattern *regexp.Regexp, s string) string {
	if m := pattern.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

func lockPath(dir, run string) string {
	if dir == "" {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "docker-flatten-"+run+".lock")
}

// unseen is how old a run must be whose file can't be seen, as it runs on another
// machine, before it is taken for dead.
const unseen = 24 * time.Hour

// isDead tells whether a run has ended without clearing up after itself.
func isDead(dir, run string) bool {
	f, err := os.Open(lockPath(dir, run))
	if err == nil {
		defer f.Close()
		if locks {
			return tryLock(f)
		}
	}
	seconds, _, _ := strings.Cut(run, "-")
	started, err := strconv.ParseInt(seconds, 10, 64)
	return err == nil && time.Since(time.Unix(started, 0)) > unseen
}

// ClearAway removes from the engine what dead runs left there: what the classic
// builder made on the way, bases that were loaded for a build, and images that
// hadn't got their names. It never touches what has a name that somebody gave
// it, or what a live run uses. What can't be removed now waits for the next
// run. last says that this run is at its end: then dead runs' files go, too.
func ClearAway(ctx context.Context, cli *client.Client, opt image.Options, last bool) {
	dead := map[string]bool{}
	isDead := func(run string) bool {
		if run == "" {
			return false
		}
		is, known := dead[run]
		if !known {
			is = isDead(opt.TempDir, run)
			dead[run] = is
		}
		return is
	}
	failed := map[string]bool{}
	list, err := cli.ImageList(ctx, dockerimage.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", RunLabel))})
	if err != nil {
		return
	}
	for range list { // an image goes after its children: in every round at least one does, or nothing does any more
		removed := false
		for i, im := range list {
			if im.ID == "" || len(image.TagNames(im.RepoTags)) > 0 || !isDead(runIn(ownLabel, im.Labels[RunLabel])) {
				continue
			}
			_, err := cli.ImageRemove(ctx, im.ID, dockerimage.RemoveOptions{PruneChildren: true})
			if err == nil || isNotFound(err) {
				list[i].ID, removed = "", true
			}
		}
		if !removed {
			break
		}
	}
	for _, im := range list {
		if im.ID != "" && len(image.TagNames(im.RepoTags)) == 0 {
			failed[runIn(ownLabel, im.Labels[RunLabel])] = true
		}
	}
	named := filters.NewArgs(filters.Arg("reference", "docker-flatten/run"), filters.Arg("reference", "docker-flatten/base"))
	if list, err = cli.ImageList(ctx, dockerimage.ListOptions{Filters: named}); err != nil {
		return
	}
	for _, im := range list {
		for _, name := range im.RepoTags {
			if run := runIn(ownName, name); isDead(run) {
				// the image stays where it has another name
				_, err := cli.ImageRemove(ctx, name, dockerimage.RemoveOptions{PruneChildren: true})
				failed[run] = failed[run] || err != nil && !isNotFound(err)
			}
		}
	}
	if last {
		clearFiles(opt.TempDir, cli.DaemonHost(), failed)
	}
}

// clearFiles removes the files of dead runs that have left nothing in the engine
// at host, or are so old that they tell nothing any more.
func clearFiles(dir, host string, failed map[string]bool) {
	files, err := filepath.Glob(lockPath(dir, "*"))
	if err != nil {
		return
	}
	for _, name := range files {
		run := runIn(ownFile, filepath.Base(name))
		if run == "" || failed[run] || !isDead(dir, run) {
			continue
		}
		if at, err := os.ReadFile(name); err == nil && string(at) == host {
			_ = os.Remove(name)
		}
	}
}
