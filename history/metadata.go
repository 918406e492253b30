package history

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// notation says how a builder writes an instruction's arguments.
type notation int

const (
	goPrinted notation = iota // printed from parsed values: unquoted ENV, %q lists, $VAR resolved
	original                  // the Dockerfile's own text: quotes and $VAR as they were
)

// instruction reads the arguments of a keyword.
func (p *reader) instruction(name, rest string, n notation) Instruction {
	in := Instruction{Name: name}
	switch name {
	case "RUN":
		in.Text = "RUN " + strings.TrimSpace(rest)
		return in
	case "ADD", "COPY":
		in.Text = name + " " + shortHashes(strings.TrimSpace(rest))
		return in
	case "ARG":
		p.arg(rest)
		in.Text = "ARG " + strings.TrimSpace(rest)
		if strings.Contains(rest, "=") {
			in.BuildArgs = splitArgs(strings.TrimSpace(rest))
		}
		return in
	case "FROM":
		if f := strings.Fields(rest); len(f) > 0 {
			in.From = f[0]
		}
		in.Text = "FROM " + strings.TrimSpace(rest)
		return in
	}
	set := &Step{Name: name}
	ok := true
	switch name {
	case "ENV":
		set.Pairs = p.pairs(rest, n, p.env)
		ok = len(set.Pairs) > 0
	case "LABEL":
		set.Pairs = p.pairs(rest, n, p.labels)
		ok = len(set.Pairs) > 0
	case "CMD":
		set.Args = p.command(rest, p.img.Config.Cmd, p.cmd)
	case "ENTRYPOINT":
		set.Args = p.command(rest, p.img.Config.Entrypoint, p.entrypoint)
	case "SHELL":
		set.Args = p.list(rest, p.img.Config.Shell, p.configShell)
	case "EXPOSE":
		set.Args = p.ports(rest, n)
	case "VOLUME":
		set.Args = p.volumes(rest, n)
	case "USER", "STOPSIGNAL":
		v := strings.TrimSpace(rest)
		if u, ok := unbracket(v); ok {
			v = u
		}
		set.Args = []string{p.word(v, n)}
	case "WORKDIR":
		set.Args = []string{p.word(strings.TrimSpace(rest), n)}
	case "MAINTAINER":
		v := strings.TrimSpace(rest)
		if u, ok := unbracket(v); ok && v != p.img.Author {
			v = u
		}
		set.Args = []string{v}
	case "ONBUILD":
		set.Args = []string{p.trigger(strings.TrimSpace(rest))}
	case "HEALTHCHECK":
		set.Health, ok = p.health(rest)
	}
	if name == "CMD" || name == "ENTRYPOINT" {
		set.Shell = p.shell.args
	}
	if !ok {
		in.Text = name + " " + strings.TrimSpace(rest)
		return in
	}
	in.Set = set
	in.Text = set.String()
	return in
}

// unbracket takes the brackets off a value that docker 1.x printed as its
// argument list: USER [nova].
func unbracket(v string) (string, bool) {
	if len(v) > 1 && v[0] == '[' && v[len(v)-1] == ']' {
		return v[1 : len(v)-1], true
	}
	return v, false
}

// word is one value: in the Dockerfile's own text it may be quoted and may
// name variables.
func (p *reader) word(v string, n notation) string {
	if n == original {
		return unquote(p.expand(v))
	}
	return v
}

// trigger is an ONBUILD expression, with the config's spaces if it has it.
func (p *reader) trigger(v string) string {
	if t, ok := p.triggers[words(v)]; ok && p.spend(max(len(t)-len(v), 0)) {
		return t
	}
	return v
}

// command reads the argument of CMD or ENTRYPOINT: a list in one of its
// notations, or the shell form.
func (p *reader) command(rest string, config []string, printed string) []string {
	v := strings.TrimSpace(rest)
	if a, ok := strings.CutPrefix(v, "&{"); ok { // docker 1.8 printed a pointer to its list type
		v = strings.TrimSpace(strings.TrimSuffix(a, "}"))
	}
	if strings.HasPrefix(v, "[") && strings.HasSuffix(v, "]") {
		return p.list(v, config, printed)
	}
	if v == "" || v == "<nil>" || v == "null" {
		return nil
	}
	const header = 16 // bytes of a string's own
	if !p.spend(header * len(p.shell.args)) {
		return []string{v}
	}
	return append(slices.Clone(p.shell.args), v)
}

// list reads ["a","b"] (JSON), ["a" "b"] (%q) and [a b] (%v). The last has lost
// where its words end. If the config's list is printed the same, it is taken;
// otherwise the words are guessed.
func (p *reader) list(v string, config []string, printed string) []string {
	v = strings.TrimSpace(v)
	if args, ok := quotedList(v); ok {
		return args
	}
	v = strings.TrimSuffix(strings.TrimPrefix(v, "["), "]")
	if v == "" {
		return nil
	}
	if len(config) > 0 && printed == v {
		return slices.Clone(config)
	}
	for _, s := range []prefix{p.shell, unixShell, windowsShell} {
		if script, ok := strings.CutPrefix(v, s.text); ok {
			return append(slices.Clone(s.args), script)
		}
	}
	for _, s := range []string{"powershell -Command ", "powershell -NoProfile -Command ", "pwsh -Command "} {
		if script, ok := strings.CutPrefix(v, s); ok {
			return append(strings.Fields(s), script)
		}
	}
	return strings.Fields(v)
}

// quotedList reads a JSON array of strings, or Go's %q of a string slice.
func quotedList(v string) ([]string, bool) {
	if !strings.HasPrefix(v, "[") || !strings.HasSuffix(v, "]") {
		return nil, false
	}
	var js []string
	if json.Unmarshal([]byte(v), &js) == nil {
		return js, true
	}
	var out []string
	rest := strings.TrimSpace(v[1 : len(v)-1])
	for rest != "" {
		q, err := strconv.QuotedPrefix(rest)
		if err != nil || q[0] == '\'' {
			return nil, false
		}
		s, err := strconv.Unquote(q)
		if err != nil {
			return nil, false
		}
		out = append(out, s)
		rest = strings.TrimLeft(rest[len(q):], " ,")
	}
	return out, true
}

// volumes reads [/a /b], ["/a"] and /a /b. A path with spaces is recognised
// because the config has it.
func (p *reader) volumes(rest string, n notation) []string {
	v := strings.TrimSpace(rest)
	l, ok := quotedList(v)
	if !ok && n == original {
		l, ok = splitWords(v)
	}
	if ok {
		for i := range l {
			l[i] = p.word(l[i], n)
		}
		return l
	}
	if m, ok := mapKeys(v); ok {
		return m
	}
	if strings.HasPrefix(v, "[") && strings.HasSuffix(v, "]") {
		v = v[1 : len(v)-1]
	}
	var out []string
	for v != "" {
		path, rest, _ := strings.Cut(v, " ")
		// The longest run of words that is one of the config's paths.
		end := len(path)
		for n := 2; n <= p.volumeWords && end < len(v); n++ {
			end += 1 + wordEnd(v[end+1:])
			if _, ok := p.img.Config.Volumes[v[:end]]; ok {
				path, rest = v[:end], v[min(end+1, len(v)):]
			}
		}
		if path != "" {
			out = append(out, path)
		}
		v = rest
	}
	return out
}

// wordEnd is the length of the word that s begins with.
func wordEnd(s string) int {
	if i := strings.IndexByte(s, ' '); i >= 0 {
		return i
	}
	return len(s)
}

// mapKeys reads Go's print of a set: map[80/tcp:{} 443/tcp:{}].
func mapKeys(v string) ([]string, bool) {
	v, ok := strings.CutPrefix(v, "map[")
	if !ok {
		return nil, false
	}
	v = strings.ReplaceAll(strings.TrimSuffix(v, "]"), "struct {}", "")
	var out []string
	for _, f := range strings.Fields(v) {
		if k, ok := strings.CutSuffix(f, ":{}"); ok {
			out = append(out, k)
		}
	}
	return out, true
}

// ports reads 80 443/tcp, [80/tcp], map[80/tcp:{}] and ranges; the result has
// the config's form, number/protocol, without duplicates.
func (p *reader) ports(rest string, n notation) []string {
	v := strings.TrimSpace(rest)
	if n == original {
		v = p.expand(v)
	}
	words, ok := mapKeys(v)
	if !ok {
		if l, ok := quotedList(v); ok {
			words = l
		} else {
			words = strings.Fields(strings.TrimSuffix(strings.TrimPrefix(v, "["), "]"))
		}
	}
	var out []string
	seen := map[string]bool{}
	for _, w := range words {
		for _, port := range p.expandPorts(unquote(w)) {
			if !seen[port] {
				seen[port] = true
				out = append(out, port)
			}
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
