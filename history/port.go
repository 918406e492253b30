package history

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"
)

// portRange is a run of ports of one protocol.
type portRange struct {
	first, last int
	proto       string
}

// String writes tcp without its name.
func (r portRange) String() string {
	s := strconv.Itoa(r.first)
	if r.last != r.first {
		s += "-" + strconv.Itoa(r.last)
	}
	if r.proto != "tcp" {
		s += "/" + r.proto
	}
	return s
}

// parsePort reads a port as the config has it, such as 80/tcp. Anything that
// builders would write into the config in another way is none.
func parsePort(key string) (portRange, bool) {
	proto, number := nat.SplitProtoPort(key)
	first, last, err := nat.ParsePortRange(number)
	if err != nil || first != last {
		return portRange{}, false
	}
	m, err := nat.ParsePortSpec(key)
	if err != nil || len(m) != 1 || string(m[0].Port) != key {
		return portRange{}, false
	}
	return portRange{int(first), int(last), proto}, true
}

// expandPorts turns 80, 80/tcp and 8000-8002/udp into the keys that builders
// store. What is no port comes back as it is, and so does a range for which
// there is no room.
func (p *reader) expandPorts(spec string) []string {
	spec = strings.TrimSuffix(spec, ":")             // docker 0.x: EXPOSE 80:
	spec = spec[strings.LastIndexByte(spec, ':')+1:] // its public:private; only the private port is the image's
	_, numbers := nat.SplitProtoPort(spec)
	first, last, err := nat.ParsePortRange(numbers)
	const size = 32 // bytes of a key, about
	if err != nil || !p.spend(size*int(last-first)) {
		return []string{spec}
	}
	ports, err := nat.ParsePortSpec(spec)
	if err != nil {
		return []string{spec}
	}
	out := make([]string, len(ports))
	for i, m := range ports {
		out[i] = string(m.Port)
	}
	return out
}

// runs makes one range of three or more neighbours in the list; a pair reads
// better as such.
func runs(ports []portRange) []portRange {
	var out []portRange
	for len(ports) > 0 {
		n := 1
		for n < len(ports) && ports[n].proto == ports[0].proto && ports[n].first == ports[n-1].last+1 {
			n++
		}
		if n < 3 {
			out = append(out, ports[:n]...)
		} else {
			out = append(out, portRange{ports[0].first, ports[n-1].last, ports[0].proto})
		}
		ports = ports[n:]
	}
	return out
}

// readablePorts writes ports in their order, with ranges.
func readablePorts(args []string) []string {
	var out []string
	for i := 0; i < len(args); {
		var ports []portRange
		for ; i < len(args); i++ {
			r, ok := parsePort(args[i])
			if !ok {
				break
			}
			ports = append(ports, r)
		}
		for _, r := range runs(ports) {
			out = append(out, r.String())
		}
		if i < len(args) {
			out = append(out, args[i])
			i++
		}
	}
	return out
}

var errPort = errors.New("takes no such port")

// expose writes EXPOSE, sorted by number.
func expose(s Step) (string, error) {
	if len(s.Args) == 0 {
		return "", errEmpty
	}
	var ports []portRange
	for _, a := range s.Args {
		r, ok := parsePort(a)
		if !ok {
			return "", errPort
		}
		ports = append(ports, r)
	}
	slices.SortFunc(ports, func(a, b portRange) int { return cmp.Or(protoRank(a)-protoRank(b), a.first-b.first) })
	ports = runs(slices.Compact(ports))
	slices.SortFunc(ports, func(a, b portRange) int { return cmp.Or(a.first-b.first, protoRank(a)-protoRank(b)) })
	words := make([]string, len(ports))
	for i, r := range ports {
		words[i] = r.String()
	}
	return arrange(s.Name, words, false)
}

func protoRank(r portRange) int { return strings.Index("tcp udp sctp", r.proto) }
