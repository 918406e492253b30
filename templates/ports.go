package templates

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"docker-flatten/history"
)

// portRange is a run of ports of one protocol.
type portRange struct {
	first, last int
	proto       string
}

func (p portRange) String() string {
	s := strconv.Itoa(p.first)
	if p.last != p.first {
		s += "-" + strconv.Itoa(p.last)
	}
	if p.proto != "tcp" {
		s += "/" + p.proto
	}
	return s
}

// expose writes EXPOSE: sorted by number, without /tcp, three or more
// neighbours as a range.
func expose(s history.Step) (string, error) {
	if len(s.Args) == 0 {
		return "", refusal("EXPOSE needs at least one port")
	}
	var ports []portRange
	for _, a := range s.Args {
		p, ok := parsePort(a)
		if !ok {
			return "", refusal(fmt.Sprintf("EXPOSE can't set %q: it isn't a port number and tcp, udp or sctp", a))
		}
		ports = append(ports, p)
	}
	sort.SliceStable(ports, func(i, j int) bool {
		a, b := ports[i], ports[j]
		if a.first != b.first {
			return a.first < b.first
		}
		if a.last != b.last {
			return a.last < b.last
		}
		return rank(a.proto) < rank(b.proto)
	})
	var words []string
	done := make([]bool, len(ports))
	for i, p := range ports {
		if done[i] {
			continue
		}
		run := []int{i}
		end := p.last
		for j := i + 1; j < len(ports) && ports[j].first <= end+1; j++ {
			q := ports[j]
			if q.proto == p.proto && !done[j] && q.first == end+1 && q.last == q.first {
				run = append(run, j)
				end = q.last
			}
		}
		if p.first == p.last && len(run) >= 3 {
			for _, j := range run {
				done[j] = true
			}
			p.last = end
		}
		words = append(words, p.String())
	}
	return arrange(s.Name, words, "", false)
}

func rank(proto string) int { return strings.Index("tcp udp sctp", proto) }

// parsePort reads a port or a range of ports as the builders would write it
// into the config; anything they would change on the way is refused.
func parsePort(s string) (portRange, bool) {
	numbers, proto, found := strings.Cut(s, "/")
	if !found {
		proto = "tcp"
	}
	if proto != "tcp" && proto != "udp" && proto != "sctp" {
		return portRange{}, false
	}
	from, to, isRange := strings.Cut(numbers, "-")
	if !isRange {
		to = from
	}
	first, ok := parseNumber(from)
	last, ok2 := parseNumber(to)
	if !ok || !ok2 || last < first || isRange && first == last {
		return portRange{}, false
	}
	return portRange{first, last, proto}, true
}

func parseNumber(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 65535 || strconv.Itoa(n) != s {
		return 0, false
	}
	return n, true
}
