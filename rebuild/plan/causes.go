package plan

import (
	"fmt"
	"regexp"
	"strings"

	"docker-flatten/rebuild/layer"
	"docker-flatten/templates"
)

// whys are the reasons for waste as a report names them.
var whys = map[layer.Why]string{
	layer.WhyChanged: "changed", layer.WhyOwner: "owner", layer.WhyMode: "mode", layer.WhyXattrs: "xattrs",
	layer.WhyTimes: "times", layer.WhyAgain: "again", layer.WhyDeleted: "deleted", layer.WhyMoved: "moved",
}

// caches are directories that programs fill on their way and images don't need.
// What they hold for nothing is told as one, with the remedy. A name without a
// slash in front may stand anywhere in a path.
var caches = []struct{ dir, remedy string }{
	{"/var/lib/apt/lists", "end the RUN that fills it with rm -rf /var/lib/apt/lists/*, or give it RUN --mount=type=cache,target=/var/lib/apt"},
	{"/var/cache/apt", "RUN --mount=type=cache,target=/var/cache/apt, or apt-get clean in the same RUN"},
	{"/var/cache/apk", "apk add --no-cache"},
	{"/var/cache/dnf", "dnf clean all in the same RUN, or RUN --mount=type=cache,target=/var/cache/dnf"},
	{"/var/cache/yum", "yum clean all in the same RUN, or RUN --mount=type=cache,target=/var/cache/yum"},
	{"/var/lib/dpkg", "install packages in one RUN: each RUN writes dpkg's database anew"},
	{"/var/lib/rpm", "install packages in one RUN: each RUN writes rpm's database anew"},
	{"node_modules", "install in a build stage, and COPY --from it what the image needs"},
	{".cache/pip", "pip install --no-cache-dir, or RUN --mount=type=cache,target=/root/.cache/pip"},
	{".cache/go-build", "RUN --mount=type=cache,target=/root/.cache/go-build, or build in a stage of its own"},
	{"go/pkg/mod", "RUN --mount=type=cache,target=/go/pkg/mod, or build in a stage of its own"},
	{".cache/yarn", "yarn cache clean in the same RUN, or RUN --mount=type=cache"},
	{".npm", "npm cache clean --force in the same RUN, or RUN --mount=type=cache,target=/root/.npm"},
	{".m2", "RUN --mount=type=cache,target=/root/.m2, or build in a stage of its own"},
	{".gradle", "RUN --mount=type=cache,target=/root/.gradle, or build in a stage of its own"},
	{".cargo/registry", "RUN --mount=type=cache,target=/usr/local/cargo/registry, or build in a stage of its own"},
	{".git", "name .git in .dockerignore"},
	{"__pycache__", "set PYTHONDONTWRITEBYTECODE=1 while building"},
	{".cache", "RUN --mount=type=cache, or delete it in the RUN that fills it"},
	{"/tmp", "RUN --mount=type=tmpfs,target=/tmp, or delete in the RUN that makes the files"},
	{"/var/tmp", "RUN --mount=type=tmpfs,target=/var/tmp, or delete in the RUN that makes the files"},
}

// cacheRoot is the directory of a known cache that a directory is, or is in; ""
// for another directory. Paths have no slash in front.
func cacheRoot(dir string) string {
	root, _ := cacheOf(dir)
	return root
}

func cacheOf(dir string) (root, remedy string) {
	whole := "/" + dir + "/"
	for _, c := range caches {
		if strings.HasPrefix(c.dir, "/") {
			if strings.HasPrefix(whole, c.dir+"/") {
				return c.dir[1:], c.remedy
			}
			continue
		}
		if i := strings.Index(whole, "/"+c.dir+"/"); i >= 0 {
			return whole[1 : i+1+len(c.dir)], c.remedy
		}
	}
	return "", ""
}

// causes words an account's causes.
func (c *Config) causes(found []layer.Cause) []templates.Cause {
	var out []templates.Cause
	for _, f := range found {
		cause := templates.Cause{
			Why: whys[f.Why], InBase: f.InBase, Low: f.Low, High: f.High, By: f.By,
			Dir: "/" + f.Dir, Path: "/" + f.Path, Copies: f.Copies, Files: f.Paths, Bytes: f.Bytes,
		}
		by := ""
		if f.By >= 0 {
			by = c.madeBy[f.By]
		}
		// Who builds on a base can't change how it was made.
		if !f.InBase || f.By >= c.Base.Layers {
			cause.Remedy = remedy(cause, c.madeBy[f.Low], by)
		}
		out = append(out, cause)
	}
	return out
}

var (
	chown = regexp.MustCompile(`\bchown\s+(?:-\S+\s+)*([\w.$\{\}-]+(?::[\w.$\{\}-]*)?)\s`)
	chmod = regexp.MustCompile(`\bchmod\s+(?:-\S+\s+)*([0-7]{3,4})\s`)
)

// remedy is what the Dockerfile's author could do about waste, "" where no rule
// knows. holds and by are the instructions that made the layer with the waste,
// and the one above.
func remedy(cause templates.Cause, holds, by string) string {
	copied := isCopy(holds)
	option := func(name, value string, in *regexp.Regexp) string {
		if m := in.FindStringSubmatch(by + " "); m != nil {
			value = m[1]
		}
		return fmt.Sprintf("%s --%s=%s", keyword(holds), name, value)
	}
	switch cause.Why {
	case "owner":
		if copied {
			return option("chown", "OWNER", chown)
		}
		return "set the owner in the RUN that makes the files"
	case "mode":
		if copied {
			return option("chmod", "MODE", chmod)
		}
		return "set the mode in the RUN that makes the files"
	case "times":
		if isCopy(by) {
			return "copy once"
		}
		return "leave the times alone, or set them in the instruction that brings the files"
	case "xattrs":
		return "set xattrs (setcap, …) in the RUN that makes the files"
	case "again":
		return "bring the files once"
	case "moved":
		if copied {
			return keyword(holds) + " straight to the right place"
		}
		return "move in the RUN that makes the files"
	}
	if cause.InBase {
		return "" // it isn't the base's author who reads this
	}
	if _, r := cacheOf(strings.Trim(cause.Dir, "/")); r != "" {
		return r
	}
	switch {
	case cause.Why == "deleted" && copied:
		return "name it in .dockerignore, or RUN --mount=type=bind what only the build needs"
	case cause.Why == "deleted":
		return "delete in the RUN that brings the files, or build in a stage of its own"
	}
	return ""
}

func keyword(instruction string) string {
	word, _, _ := strings.Cut(instruction, " ")
	return word
}

func isCopy(instruction string) bool {
	return strings.HasPrefix(instruction, "COPY ") || strings.HasPrefix(instruction, "ADD ")
}
