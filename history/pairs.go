package history

import (
	"regexp"
	"slices"
	"strings"
)

// env reads the arguments of ENV.
func (p *reader) env(rest string, n notation) []Pair {
	have := make(map[string]string, len(p.img.Config.Env))
	for _, e := range p.img.Config.Env {
		k, v, _ := strings.Cut(e, "=")
		have[k] = v
	}
	return p.pairs(rest, n, have)
}

// labels reads the arguments of LABEL.
func (p *reader) labels(rest string, n notation) []Pair {
	return p.pairs(rest, n, p.img.Config.Labels)
}

// pairs splits `A=b c D=e f`. The builders print values without their quotes,
// so that a border between two pairs can't be told from a value that holds
// ` D=`; the reading that agrees best with the config wins.
func (p *reader) pairs(rest string, n notation, have map[string]string) []Pair {
	plain := splitPairs(rest, have)
	if n != original {
		return plain
	}
	quoted, ok := p.quotedPairs(rest, have)
	if !ok || agreement(plain, have) > agreement(quoted, have) {
		return plain
	}
	return quoted
}

func agreement(pairs []Pair, have map[string]string) int {
	n := 0
	for _, kv := range pairs {
		if v, ok := have[kv.Key]; ok && v == kv.Value {
			n++
		} else if !ok {
			n--
		}
	}
	return n
}

var pairStart = regexp.MustCompile(`[ \t\n]+"?[^\s="']+"?=`)

// maxBorders bounds the search for a reading, which is quadratic.
const maxBorders = 400

// splitPairs finds, among all ways to cut the line before a ` key=`, the one
// that scores best: pairs that the config holds as they are, then keys that
// the config knows (an unknown one can't have been removed again, so that it
// is rather part of a value).
func splitPairs(s string, have map[string]string) []Pair {
	s = strings.TrimPrefix(s, " ")
	starts := borders(s, have)
	ends := make([]int, 0, len(starts))
	for _, start := range starts[1:] {
		ends = append(ends, start-1) // one blank stands between two pairs
	}
	ends = append(ends, len(s))
	n := len(starts)

	const no = -1 << 30
	best := make([]int, n+1) // best[i]: score of the pairs from starts[i] on
	next := make([]int, n)
	for i := n - 1; i >= 0; i-- {
		best[i] = no
		for j := i + 1; j <= n; j++ {
			key, value, ok := strings.Cut(s[starts[i]:ends[j-1]], "=")
			if !ok && i > 0 {
				continue
			}
			score := pairScore(cleanKey(key), value, have) + best[j]
			if score > best[i] {
				best[i], next[i] = score, j
			}
		}
	}
	var out []Pair
	for i := 0; i < n; i = next[i] {
		key, value, ok := strings.Cut(s[starts[i]:ends[next[i]-1]], "=")
		if !ok { // `ENV key value`, the notation of the Dockerfile's first days
			key, value, ok = strings.Cut(s, " ")
			if !ok || key == "" {
				return nil
			}
			return []Pair{{cleanKey(key), strings.TrimSpace(value)}}
		}
		out = append(out, Pair{cleanKey(key), value})
	}
	return out
}

// borders are the places where a pair may start: the beginning, what looks
// like a key behind a blank, and the config's keys that don't look like one.
func borders(s string, have map[string]string) []int {
	at := []int{0}
	for off := 0; len(at) < maxBorders; {
		m := pairStart.FindStringIndex(s[off:])
		if m == nil {
			break
		}
		key := off + m[0]
		for key < off+m[1] && isBlank(s[key]) {
			key++
		}
		at = append(at, key)
		off = key
	}
	for key := range have {
		if !strings.ContainsAny(key, " \t\n\"'") {
			continue
		}
		for off := 0; len(at) < maxBorders; {
			i := strings.Index(s[off:], " "+key+"=")
			if i < 0 {
				break
			}
			off += i + 1
			at = append(at, off)
		}
	}
	slices.Sort(at)
	return slices.Compact(at)
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' }

// cleanKey takes the quotes off a key; the builders' own labels have them.
func cleanKey(k string) string {
	if len(k) > 1 && k[0] == '"' && k[len(k)-1] == '"' {
		return k[1 : len(k)-1]
	}
	return k
}

var plausibleKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./-]*$`)

func pairScore(key, value string, have map[string]string) int {
	v, known := have[key]
	switch {
	case known && v == value:
		return 1000
	case known:
		return 10
	case len(have) == 0 && plausibleKey.MatchString(key):
		return 1 // nothing to compare with: what looks like a key is one
	}
	return -5
}

// quotedPairs reads pairs in the Dockerfile's own text, where values may be
// quoted and blanks escaped.
func (p *reader) quotedPairs(rest string, have map[string]string) ([]Pair, bool) {
	words, ok := splitWords(rest)
	if !ok || len(words) == 0 {
		return nil, false
	}
	if !strings.Contains(words[0], "=") { // ENV key value
		key, value, ok := strings.Cut(strings.TrimSpace(rest), " ")
		if !ok {
			return nil, false
		}
		key = unquote(key)
		return []Pair{{key, p.resolve(strings.TrimSpace(value), have[key])}}, true
	}
	var out []Pair
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, false
		}
		key = unquote(key)
		out = append(out, Pair{key, p.resolve(value, have[key])})
	}
	return out, true
}

// resolve is a value without its quotes and variables. A variable that
// nothing here sets may be the base's: if the config's value fits, it is the
// one; else the variable is empty.
func (p *reader) resolve(v, config string) string {
	const unknown = "\x00" // in no environment
	parts := strings.Split(unquote(p.expandOr(v, func(string) string { return unknown })), unknown)
	if fits(config, parts) {
		return config
	}
	return strings.Join(parts, "")
}

// fits tells whether s is the parts, in order, with anything between them.
func fits(s string, parts []string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return s == first
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, rest, ok := strings.Cut(s, part)
		if !ok {
			return false
		}
		s = rest
	}
	return true
}

// splitWords splits at blanks outside quotes, keeping the quotes.
func splitWords(s string) ([]string, bool) {
	var out []string
	var quote byte
	start := -1
	for i := 0; i < len(s); i++ {
		c := s[i]
		if quote == 0 && isBlank(c) {
			if start >= 0 {
				out = append(out, s[start:i])
				start = -1
			}
			continue
		}
		if start < 0 {
			start = i
		}
		switch {
		case c == '\\' && quote != '\'':
			i++
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		}
	}
	if start >= 0 {
		out = append(out, s[start:])
	}
	return out, quote == 0
}

// unquote removes shell quotes and escapes from one word.
func unquote(s string) string {
	if !strings.ContainsAny(s, `"'\`) {
		return s
	}
	var b strings.Builder
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote && quote != 0:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			if quote == '"' && !strings.ContainsRune(`"$\`, rune(s[i])) {
				b.WriteByte('\\')
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

var variable = regexp.MustCompile(`^(?:\$\{([A-Za-z_][A-Za-z0-9_]*)(?::([-+])([^{}]*))?\}|\$([A-Za-z_][A-Za-z0-9_]*))`)

// expand replaces the variables that ENV and ARG have set so far, outside of
// single quotes; what isn't known stays.
func (p *reader) expand(s string) string {
	return p.expandOr(s, func(name string) string { return name })
}

// expandOr is expand with another text for what isn't known.
func (p *reader) expandOr(s string, unknown func(string) string) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var b strings.Builder
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(s):
			b.WriteByte(c)
			i++
			b.WriteByte(s[i])
			continue
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		case c == '$' && quote != '\'':
			if m := variable.FindStringSubmatch(s[i:]); m != nil {
				if v, ok := p.value(m); ok {
					b.WriteString(v)
				} else {
					b.WriteString(unknown(m[0]))
				}
				i += len(m[0]) - 1
				continue
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// value is what a match of variable stands for, if that is known.
func (p *reader) value(m []string) (string, bool) {
	v, known := p.vars[m[1]+m[4]]
	switch {
	case m[2] == "-" && v == "":
		return m[3], true
	case m[2] == "+" && v != "":
		return m[3], true
	case m[2] == "+":
		return "", true
	}
	return v, known
}

// arg notes the build arguments that ARG declares with a value.
func (p *reader) arg(rest string) {
	words, ok := splitWords(rest)
	if !ok {
		return
	}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok {
			if _, set := p.vars[k]; !set {
				p.vars[k] = unquote(p.expand(v))
			}
		}
	}
}
