package version

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

var hash = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// checkedOut is the commit that the git checkout with this source is at; "" =
// there is none, or -trimpath left its directory out of the binary.
func checkedOut() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return ""
	}
	return head(filepath.Join(filepath.Dir(file), "..", ".."))
}

// head is the commit that HEAD means in the checkout at root (gitrepository-layout).
// Git isn't run for it: it isn't everywhere, and may run what a directory's own
// configuration says.
func head(root string) string {
	git := filepath.Join(root, ".git")
	if link, ok := strings.CutPrefix(line(git), "gitdir: "); ok { // a worktree
		git = link
	}
	common := git
	if dir := line(filepath.Join(git, "commondir")); dir != "" {
		common = filepath.Join(git, dir)
	}
	commit := line(filepath.Join(git, "HEAD"))
	if ref, ok := strings.CutPrefix(commit, "ref: "); ok {
		if !filepath.IsLocal(ref) {
			return ""
		}
		if commit = line(filepath.Join(common, ref)); commit == "" {
			commit = packed(filepath.Join(common, "packed-refs"), ref)
		}
	}
	if !hash.MatchString(commit) {
		return ""
	}
	return commit
}

// line is a file that has one line, without its end; "" = it can't be read.
func line(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// packed is the commit of a ref that git has moved into its file of all refs.
func packed(name, ref string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(b)) {
		if commit, found := strings.CutSuffix(strings.TrimSpace(l), " "+ref); found {
			return commit
		}
	}
	return ""
}
