package history

import (
	"math"
	"regexp"
	"slices"
	"strings"
)

// pairs splits `A=b c D=e f`. The builders print values without their quotes,
// so that a border between two pairs can't be told from a value that holds
// ` D=`; the reading that agrees best with the config wins.
func (p *reader) pairs(rest string, n notation, have known) []Pair {
	plain := splitPairs(rest, have)
	if n != original {
		return plain
	}
	quoted, ok := p.quotedPairs(rest, have.values)
	if !ok || agreement(plain, have.values) > agreement(quoted, have.values) {
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

// splitPairs finds, among all ways to cut the line before a ` key=`, the one
// that scores best: pairs that the config holds as they are, then keys that
// the config knows (an unknown one can't have been removed again, so that it
// is rather part of a value).
func splitPairs(s string, have known) []Pair {
	s = strings.TrimPrefix(s, " ")
	starts := borders(s, have)
	n := len(starts)
	end := func(j int) int { // of a pair before the j-th border
		if j == n {
			return len(s)
		}
		return starts[j] - 1 // one blank stands between two pairs
	}

	best := make([]int, n+1) // best[i]: score of the pairs from starts[i] on
	next := make([]int, n)   // the border where the first of them ends
	top := make([]int, n+1)  // top[i]: the first border from i on with the highest score
	top[n] = n
	for i := n - 1; i >= 0; i-- {
		best[i] = math.MinInt / 2
		take := func(j, score int) {
			if score += best[j]; score > best[i] || score == best[i] && j < next[i] {
				best[i], next[i] = score, j
			}
		}
		equals := len(s)
		if k := strings.IndexByte(s[starts[i]:], '='); k >= 0 {
			equals = starts[i] + k
		}
		// A piece without = is a key alone, and can only be the first.
		j := i + 1
		for ; j <= n && end(j) <= equals; j++ {
			if i == 0 {
				key := cleanKey(s[:end(j)])
				v, ok := have.values[key]
				take(j, pairScore(key, ok, ok && v == "", have))
			}
		}
		if j <= n {
			key := cleanKey(s[starts[i]:equals])
			v, ok := have.values[key]
			// Wherever the value ends, its score is the same, but for the value
			// that the config has.
			take(top[j], pairScore(key, ok, false, have))
			if stop := equals + 1 + len(v); ok && stop <= len(s) && s[equals+1:stop] == v {
				k, found := slices.BinarySearch(starts, stop+1)
				if stop == len(s) {
					k, found = n, true
				}
				if found && k >= j {
					take(k, pairScore(key, true, true, have))
				}
			}
		}
		top[i] = top[i+1]
		if best[i] >= best[top[i]] {
			top[i] = i
		}
	}
	var out []Pair
	for i := 0; i < n; i = next[i] {
		key, value, ok := strings.Cut(s[starts[i]:end(next[i])], "=")
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
func borders(s string, have known) []int {
	at := []int{0}
	for _, m := range pairStart.FindAllStringIndex(s, -1) {
		key := m[0]
		for isBlank(s[key]) {
			key++
		}
		at = append(at, key)
	}
	if have.words == 0 {
		return at
	}
	for start := 0; ; {
		piece, _, ok := strings.Cut(s[start:], "=")
		if !ok {
			break
		}
		for n, blank := 0, len(piece); n < have.words; n++ {
			if blank = strings.LastIndexByte(piece[:blank], ' '); blank < 0 {
				break
			}
			key := piece[blank+1:]
			if _, ok := have.values[key]; ok && oddWords(key) > 0 {
				at = append(at, start+blank+1)
			}
		}
		start += len(piece) + 1
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

// pairScore is how well a pair of that key fits the config, which knows the
// key, and has the pair's value.
func pairScore(key string, knows, same bool, have known) int {
	switch {
	case same:
		return 1000
	case knows:
		return 10
	case len(have.values) == 0 && plausibleKey.MatchString(key):
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
	if (len(parts) == 1 || p.spend(len(config))) && fits(config, parts) {
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
				if v, ok := p.value(m); ok && p.spend(len(v)) {
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
