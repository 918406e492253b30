package plan

import (
	"fmt"
	"strings"
	"time"

	"docker-flatten/history"
	"docker-flatten/rebuild/layer"
	"docker-flatten/templates"
)

// describeBase tells what the base is, as far as its name doesn't. base is its
// config.
func (c *Config) describeBase(tree *layer.Merged, base *history.Image) templates.Base {
	b := templates.Base{Name: c.Base.Name, Layers: c.Base.Layers, Evidence: c.Base.Evidence}
	if b.Layers > 0 && b.Name != "" {
		return b
	}
	system := tree.System()
	release := parseRelease(system.Release)
	if b.Layers == 0 {
		// Its size, date and variables stand elsewhere.
		b.System = sentence(release.name(), packages(system))
		return b
	}
	var size int64
	for _, u := range tree.Usage()[:b.Layers] {
		size += u.Bytes
	}
	built := ""
	if at := c.lastCreated(c.Base.Entries); !at.IsZero() {
		built = "built " + at.Format(time.DateOnly)
	}
	name := release.name()
	if name == "" {
		name = "an unknown system"
	}
	b.System = sentence(name, packages(system), templates.Size(size), built)
	for _, v := range base.Config.Env {
		if v != "PATH="+history.DefaultPath {
			b.Env = append(b.Env, v)
		}
	}
	if b.Layers == 1 {
		// The slim variants tell dpkg to leave out documentation (debuerreotype,
		// debuerreotype-slimify).
		b.Like = release.publicImage(size, system.Packages, tree.BaseHas("etc/dpkg/dpkg.cfg.d/docker"))
	}
	return b
}

func packages(s layer.System) string {
	if s.Packages == 0 {
		return ""
	}
	return history.Count(s.Packages, "package")
}

// sentence joins the parts that there are.
func sentence(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, ", ")
}

// lastCreated is the time of the last of the first entries of the history that
// has one. Builds for reproduction set it to 0: that is none.
func (c *Config) lastCreated(entries int) time.Time {
	for i := min(entries, len(c.config.History)) - 1; i >= 0; i-- {
		if at := c.config.History[i].Created; at != nil && at.Unix() > 0 {
			return at.UTC()
		}
	}
	return time.Time{}
}

// release is what an os-release file sets.
type release map[string]string

// parseRelease reads an os-release file (os-release(5)): assignments as a shell
// takes them.
func parseRelease(text string) release {
	r := release{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(name, "#") {
			r[name] = unquote(value)
		}
	}
	return r
}

// unquote takes a shell's quotes and backslashes off a word.
func unquote(s string) string {
	quote := byte(0)
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		quote, s = s[0], s[1:n-1]
	}
	if quote == '\'' || !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// name is the system's name and version as a person says them; "" where the file
// doesn't tell.
func (r release) name() string {
	name, version := r["NAME"], r["VERSION"]
	if version == "" {
		version = r["VERSION_ID"]
	}
	switch {
	case name == "":
		name = r["PRETTY_NAME"]
	case version != "":
		name += " " + version
	case r["PRETTY_NAME"] != "":
		name = r["PRETTY_NAME"]
	}
	return strings.Replace(name, " GNU/Linux", "", 1)
}

// publicImage is a public base image: the tags that its versions have, and what
// its only layer holds.
type publicImage struct {
	id               string // ID in os-release
	repository       string
	parts            int   // how many parts of VERSION_ID the tag has; 0 is all
	least, most      int64 // bytes of its files, in MB
	fewest, greatest int   // packages; 0 where they can't be counted
}

// publicImages are told apart by sizes that their releases of many years have.
var publicImages = []publicImage{
	{"debian", "debian", 1, 40, 160, 60, 140},
	{"ubuntu", "ubuntu", 0, 50, 250, 75, 220},
	{"alpine", "alpine", 2, 3, 12, 11, 22},
	{"fedora", "fedora", 1, 100, 400, 0, 0},
	{"amzn", "amazonlinux", 0, 90, 300, 0, 0},
	{"centos", "centos", 1, 150, 300, 0, 0},
	{"almalinux", "almalinux", 0, 100, 300, 0, 0},
	{"rocky", "rockylinux", 0, 100, 300, 0, 0},
	{"ol", "oraclelinux", 1, 80, 300, 0, 0},
	{"photon", "photon", 0, 15, 60, 0, 0},
	{"opensuse-leap", "opensuse/leap", 0, 70, 180, 0, 0},
}

// publicImage is the public image that a base of one layer most likely is; "" if
// none is likely. What is known only from the files can't be sure: somebody may
// have made the same system with the same tools.
// slim tells of Debian that it is without documentation.
func (r release) publicImage(size int64, packages int, slim bool) string {
	version := r["VERSION_ID"]
	for _, p := range publicImages {
		if p.id != r["ID"] || size < p.least*1e6 || size > p.most*1e6 ||
			p.greatest > 0 && (packages < p.fewest || packages > p.greatest) {
			continue
		}
		if !isVersion(version) {
			return ""
		}
		parts := strings.Split(version, ".")
		if p.parts > 0 && len(parts) > p.parts {
			parts = parts[:p.parts]
		}
		name := fmt.Sprintf("%s:%s", p.repository, strings.Join(parts, "."))
		if p.id == "debian" && slim {
			name += "-slim"
		}
		return name
	}
	return ""
}

// isVersion tells whether s is numbers with dots between them.
func isVersion(s string) bool {
	for _, part := range strings.Split(s, ".") {
		if part == "" || len(part) > 8 || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}
