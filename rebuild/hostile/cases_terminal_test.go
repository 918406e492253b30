//go:build linux

package hostile

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// terminalCases are texts from outside that want to act on a terminal: in
// errors, hints, warnings, notes, the summary, the plan, JSON. What is printed is
// checked by checkRun.
func terminalCases() []hostileCase {
	// evil is a title, a bell, a cleared screen, a C1 control, a NUL and a
	// direction.
	const evil = "a\x1b]0;owned\x07\x1b[2J\u009b31m\u202eb\u2066c"
	f := archive(plain())
	config := hex(plain().document()) + ".json"
	low, up := hex(plain().layers[0].raw)+"/layer.tar", hex(plain().layers[1].raw)+"/layer.tar"
	saved := func(kv ...any) []byte {
		return f.set("manifest.json", encode([]object{with(object{"Config": config, "RepoTags": []string{"app:1"}, "Layers": []string{low, up}}, kv...)})).tar()
	}
	two := func(names ...string) []byte {
		a := with(object{"Config": config, "Layers": []string{low, up}}, "RepoTags", names)
		return f.set("manifest.json", encode([]object{a, a})).tar()
	}
	im := plain()
	m := im.manifest()
	d := descriptor(ociManifest, encode(m))
	l := layout(im)
	named := func(name string) object {
		return with(d, "annotations", object{"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name})
	}
	layer1 := func(kv ...any) files {
		list := m["layers"].([]object)
		return manifestLayout(im, with(m, "layers", []object{list[0], with(list[1], kv...)}))
	}
	fields := func(kv ...any) image { im := plain(); im.fields = with(object{}, kv...); return im }
	conf := func(kv ...any) image { im := plain(); im.config = with(object{}, kv...); return im }
	var cases []hostileCase
	// said runs a case quietly, with everything that is for people, as a plan,
	// and as JSON.
	said := func(c hostileCase, w want) {
		c.want = w
		cases = append(cases, c)
		quiet := c.args
		for name, args := range map[string][]string{"-plain": {"--progress", "plain"}, "-plan": {"--progress", "plain", "--dry-run", "--json"}} {
			c := c
			c.loud, c.args, c.name = true, append(append([]string{}, args...), quiet...), c.name+name
			cases = append(cases, c)
		}
	}
	tar := func(name, why string, b []byte) hostileCase { return hostileCase{name: name, why: why, tar: b} }
	dir := func(name, why string, f files) hostileCase { return hostileCase{name: name, why: why, layout: f} }
	of1 := func(name, why string, im image) hostileCase { return hostileCase{name: name, why: why, image: &im} }

	said(tar("config-name", "a name in manifest.json that isn't there", saved("Config", evil)), fails(``))
	said(tar("layer-name", "a layer's name", saved("Layers", []string{low, evil})), fails(``))
	said(tar("tag", "a name of the image", saved("RepoTags", []string{evil, "app:" + evil})), survives(nil))
	said(tar("tags-of-two", "names that the error lists, and the hint", two(evil+":1", "x")), survives(nil))
	said(tar("manifest-rubbish", "a manifest.json that a library quotes", f.set("manifest.json", []byte(evil)).tar()), fails(``))
	said(tar("manifest-type", "a value that a library quotes", f.set("manifest.json", []byte(`[{"Config":{"`+evil+`":1}}]`)).tar()), fails(``))
	said(tar("member", "a member's name", append(files{{name: evil, body: []byte("x")}}, f...).tar()), survives(nil))
	said(tar("member-only", "an archive of nothing else", files{{name: evil, body: []byte("x")}}.tar()), fails(``))
	said(tar("legacy-id", "the ID of an old archive", legacy(2).set("repositories", []byte(`{"app":{"1":"i\u001b[31m"}}`)).tar()), fails(``))
	said(tar("legacy-parent", "a parent's", legacy(2).set("i0/json", encode(object{"parent": evil})).tar()), fails(``))
	said(tar("legacy-tags", "names of an old archive", legacy(2).set("repositories", encode(object{evil: object{"1": "i0", evil: "i1"}})).tar()), fails(``))
	said(tar("legacy-rubbish", "a repositories that a library quotes", legacy(2).set("repositories", []byte(evil)).tar()), fails(``))
	said(dir("layout-names", "names of a layout", l.index(named(evil), with(named("b"), "digest", digest([]byte("b"))))), fails(`images`))
	said(dir("layout-name", "the only one", l.index(named(evil))), survives(nil))
	said(dir("media-type", "a media type that isn't an image's", func() files {
		doc := encode(with(m, "mediaType", evil))
		return l.blob(doc).index(descriptor(evil, doc))
	}()), survives(nil))
	said(dir("config-media-type", "a config's", manifestLayout(im, with(m, "config", with(m["config"].(object), "mediaType", evil)))), survives(nil))
	said(dir("layer-media-type", "a layer's", layer1("mediaType", evil)), survives(nil))
	said(dir("digest", "a digest", l.index(with(d, "digest", evil))), fails(``))
	said(dir("digest-hex", "the second half of one", l.index(with(d, "digest", "sha256:"+evil))), fails(``))
	said(dir("digest-hex-full", "of the right length", l.index(with(d, "digest", "sha256:"+(evil + long("0", 64))[:64]))), fails(``))
	said(dir("layer-digest", "a layer's digest", layer1("digest", "sha256:"+evil)), fails(``))
	said(dir("index-rubbish", "an index.json that a library quotes", l.set("index.json", []byte(`{"manifests":`+evil))), fails(``))
	platform := func(os, arch string) files {
		doc := encode(indexOf(with(d, "platform", object{"os": os, "architecture": arch, "variant": evil, "os.version": evil})))
		return l.blob(doc).index(descriptor(ociIndex, doc))
	}
	said(dir("platform", "a platform in an index", platform("linux", "am"+evil)), survives(nil))
	c := dir("platform-hint", "platforms that the hint lists", platform(evil, evil))
	c.args = []string{"--platform", "linux/arm64"}
	said(c, fails(``))
	said(dir("reference-type", "what kind of attestation an index lists", func() files {
		doc := encode(indexOf(d, with(d, "annotations", object{"vnd.docker.reference.type": evil, "vnd.docker.reference.digest": "sha256:" + evil})))
		return l.blob(doc).index(descriptor(ociIndex, doc))
	}()), survives(nil))
	said(dir("annotations", "annotations", manifestLayout(im, with(m, "annotations", object{evil: evil, "org.opencontainers.image.base.name": evil, "org.opencontainers.image.base.digest": evil}))), survives(nil))
	said(of1("os", "the config's system", fields("os", evil)), survives(nil))
	said(of1("architecture", "its architecture", fields("architecture", evil, "variant", evil)), survives(nil))
	said(of1("created", "its time", fields("created", evil)), survives(nil))
	said(of1("author", "its author", fields("author", evil)), survives(nil))
	said(of1("diffid", "a diff ID", image{layers: plain().layers, diffIDs: []string{"sha256:" + evil, evil}}), fails(``))
	said(of1("env", "a variable that a Dockerfile can't set", conf("Env", []string{evil + "=" + evil, "A " + evil})), survives(nil))
	said(of1("label", "a label", conf("Labels", object{evil: evil})), survives(nil))
	said(of1("cmd", "a command", conf("Cmd", []string{evil}, "Entrypoint", []string{evil}, "Shell", []string{evil})), survives(nil))
	said(of1("port", "a port that is none", conf("ExposedPorts", object{evil: object{}})), survives(nil))
	said(of1("volume", "a volume", conf("Volumes", object{evil: object{}})), survives(nil))
	said(of1("user", "a user, a directory, a signal", conf("User", evil, "WorkingDir", "/"+evil, "StopSignal", evil)), survives(nil))
	said(of1("healthcheck", "a test", conf("Healthcheck", object{"Test": []string{evil, evil}})), survives(nil))
	said(of1("onbuild", "a trigger", conf("OnBuild", []string{evil, "RUN " + evil})), survives(nil))
	said(of1("onbuild-nul", "one with a NUL, which a parser reports by itself", conf("OnBuild", []string{"RUN a\x00b", "\x00"}, "Env", []string{"A=\x00"}, "Labels", object{"a\x00": "\x00"})), survives(nil))
	said(of1("unknown", "a field that nobody knows", conf(evil, evil)), survives(nil))
	said(of1("history", "a step", image{layers: plain().layers, history: []object{{"created_by": evil, "author": evil, "comment": evil}, {"created_by": "/bin/sh -c #(nop) ENV " + evil + "=" + evil}}}), survives(nil))
	said(of1("history-from", "a base that buildah noted", image{layers: plain().layers, history: []object{{"created_by": "x", "comment": "FROM " + evil}, {"created_by": "y", "comment": "FROM " + evil}}}), survives(nil))
	said(of1("path", "a path that the summary or a difference names", app("etc/"+evil+"=x", "etc/"+strings.ReplaceAll(evil, "\x1b", "\n")+"=y")), survives(nil))
	said(of1("path-error", "a path in an error", app(evil+"=1", evil+"/x=2")), fails(``))
	said(of1("link-error", "a target in one", app("a => "+evil)), fails(``))
	said(of1("loop-error", "a loop in one", app(evil+" -> "+evil, evil+"/f=x")), fails(``))
	said(of1("whiteout-error", "a whiteout in one", app(evil+"/.wh.")), fails(``))
	said(of1("c1-bytes", "a bare byte that old terminals act on", app("etc/\x9b31m\x9d0;x\x9c=x", "\x9b=1", "\x9b/x=2")), fails(``))
	said(of1("xattr-name", "an xattr that ADD would lose", app(entry{name: "a", kind: '0', xattrs: map[string]string{"user." + evil: evil}, time: 1})), survives(nil))
	said(of1("uname", "a user's name in a header", app(entry{name: "a", kind: '0', uname: evil, time: 1})), survives(nil))

	// What the user names may come from a script, too.
	argument := func(name, why string, w want, args ...string) {
		cases = append(cases, hostileCase{name: name, why: why, want: w, args: args})
	}
	argument("arg-path", "the name of a file", fails(``), "./in/"+evil+".tar")
	argument("arg-engine", "the name of an image", misused(``), evil)
	argument("arg-registry", "of a registry", misused(``), "docker://"+evil)
	argument("arg-transport", "a transport", misused(``), evil+":x")
	argument("arg-option", "an option", misused(``), "--"+strings.ReplaceAll(evil, "=", ""), "x")
	argument("arg-tag", "a tag", misused(``), "-t", evil, "x.tar")
	argument("arg-base", "a base", want{code: 2}, "--base", evil, "x.tar")
	argument("arg-platform", "a platform", misused(``), "--platform", evil, "x.tar")
	argument("arg-compression", "a compression", misused(``), "--compression", evil, "x.tar")
	argument("arg-report", "a report", misused(``), "--report", evil, "x.tar")
	argument("arg-output", "an output", survives(nil), "-o", "out/"+evil+"/x.tar", "x.tar")
	argument("arg-two", "two images", misused(``), evil, evil)
	cases = append(cases,
		hostileCase{name: "file-name", why: "a directory of such a name", want: survives(nil), loud: true, make: func(p *place) string {
			must(os.MkdirAll(p.path("in/"+evil), 0o755))
			return p.file(evil+"/image.tar", archive(plain()).tar())
		}},
		hostileCase{name: "file-name-fifo", why: "in an error", want: fails(``), loud: true, make: func(p *place) string {
			dir := layout(plain()).dir(p, evil)
			must(os.Remove(dir + "/index.json"))
			must(unix.Mkfifo(dir+"/index.json", 0o644))
			return "oci:" + dir
		}},
	)
	return cases
}

// lineCases are slips of the command line. None needs an input.
func lineCases() []hostileCase {
	var cases []hostileCase
	line := func(name, why string, w want, args ...string) {
		cases = append(cases, hostileCase{name: name, why: why, want: w, args: args})
	}
	line("empty-image", "an empty argument", misused(`(?i)empty`), "")
	line("spaces", "spaces", misused(``), "   ")
	line("two-images", "two images", misused(`(?i)one image`), "a", "b")
	line("dashes", "an option after two dashes is an image", misused(``), "--", "--help")
	line("unknown-option", "an option that isn't", misused(``), "--flatten", "a")
	line("unknown-short", "a short one", misused(``), "-z", "a")
	line("option-without-value", "a value is missing", misused(``), "a", "-o")
	line("option-empty", "an empty output", misused(``), "-o", "", "a.tar")
	line("tag-empty", "an empty tag", misused(``), "-t", "", "a.tar")
	line("tag-upper", "upper case", misused(``), "-t", "App", "a.tar")
	line("tag-digest", "a digest", misused(``), "-t", "a@sha256:"+long("a", 64), "a.tar")
	line("tag-long", "a name that is too long", misused(``), "-t", long("a", 300), "a.tar")
	line("tag-newline", "a newline", misused(``), "-t", "a\nb", "a.tar")
	line("tag-64-hex", "a name that is an ID", misused(``), "-t", long("a", 64), "a.tar")
	line("base-negative", "fewer layers than none", survives(nil), "--base", "-1", "a.tar")
	line("platform-half", "half a platform", misused(`(?i)platform`), "--platform", "linux", "a.tar")
	line("platform-empty", "an empty one", survives(nil), "--platform", "", "a.tar")
	line("platform-long", "too many parts", misused(`(?i)platform`), "--platform", "a/b/c/d/e", "a.tar")
	line("compression-unknown", "a compression that isn't", misused(``), "--compression", "lzma", "a.tar")
	line("compression-level", "a level that isn't", misused(``), "--compression", "gzip:99", "a.tar")
	line("compression-level-negative", "a negative one", misused(``), "--compression", "gzip:-5", "a.tar")
	line("compression-level-text", "none", misused(``), "--compression", "zstd:max", "a.tar")
	line("compression-level-huge", "one that is no number", misused(``), "--compression", "zstd:99999999999999999999", "a.tar")
	line("builder-unknown", "a builder that isn't", misused(``), "--builder", "kaniko", "a.tar")
	line("verify-unknown", "a verification that isn't", misused(``), "--verify", "maybe", "a.tar")
	line("progress-unknown", "a progress that isn't", misused(``), "--progress", "dots", "a.tar")
	line("report-unknown", "a page of another kind", misused(``), "--report", "r.pdf", "a.tar")
	line("report-empty", "no name", misused(``), "--report", "", "a.tar")
	line("completion-unknown", "a shell that isn't", misused(``), "--completion", "tcsh")
	line("json-and-stdout", "two products on stdout", misused(``), "--json", "-o", "-", "a.tar")
	line("stdout-twice", "the same", misused(``), "--context", "-", "-o", "-", "a.tar")
	line("dry-run-stdout", "and nothing to write", misused(``), "--dry-run", "-o", "-", "a.tar")
	line("layout-stdout", "a directory on stdout", misused(``), "-o", "oci:-", "a.tar")
	line("layout-stdin", "a directory on stdin", misused(``), "oci:-")
	line("path-missing", "a transport without a path", misused(``), "docker-archive:")
	line("path-missing-oci", "a layout without one", misused(``), "oci:")
	line("registry-missing", "a registry without a name", misused(``), "docker://")
	line("registry-upper", "upper case", misused(``), "docker://UPPER")
	line("registry-port", "a port that isn't", survives(nil), "docker://127.0.0.1:99999999/a")
	line("registry-refused", "a registry that isn't there", fails(`(?i)reach|refused|connect`), "-o", "out.tar", "docker://127.0.0.1:1/a:1")
	line("registry-alone", "nowhere to put the result", misused(`comes from a registry`), "docker://127.0.0.1:1/a:1")
	line("engine-missing", "no engine", fails(`(?i)engine`), "app:1")
	line("output-no-directory", "a directory that isn't there", fails(``), "-o", "out/no/such/x.tar", "a.tar")
	line("input-nul", "a name that is a directory", fails(``), "./in")
	line("long-argument", "five thousand letters", survives(nil), "./"+long("a", 5000)+".tar")
	line("long-name", "for an image", misused(``), long("a", 2000))
	return cases
}
