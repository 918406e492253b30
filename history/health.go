package history

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// health reads the argument of HEALTHCHECK in every notation that builders
// have printed: Go's %q of a pointer to the struct, with the fields that the
// struct had at the time
//
//	&{["CMD-SHELL" "curl -f http://localhost"] "1m0s" "10s" '\x00'}                interval, timeout, retries
//	&{["CMD-SHELL" "curl -f http://localhost"] "1m0s" "10s" "0s" '\x00'}           … start period, retries
//	{["CMD" "true"] "1m0s" "10s" "0s" "0s" '\n'}                                   … start interval, retries
//
// (moby builder/dockerfile/dispatchers.go, BuildKit up to 0.23), %+v
//
//	{Test:[CMD-SHELL curl] Interval:1s Timeout:10s StartPeriod:3s StartInterval:100ms Retries:5}
//
// (BuildKit since then: omitted fields are zero) and the Dockerfile's own text.
func (p *reader) health(rest string) (*Healthcheck, bool) {
	v := strings.TrimSpace(rest)
	if v == "NONE" {
		return &Healthcheck{Test: []string{"NONE"}}, true
	}
	body, ok := strings.CutPrefix(strings.TrimPrefix(v, "&"), "{")
	if !ok {
		return p.writtenHealth(v)
	}
	body = strings.TrimSuffix(body, "}")
	if strings.HasPrefix(body, "Test:") {
		return p.namedHealth(body)
	}
	end := listEnd(body)
	if end < 0 {
		return nil, false
	}
	test, ok := quotedList(body[:end])
	if !ok {
		return nil, false
	}
	var fields []string
	for f := strings.TrimSpace(body[end:]); f != ""; f = strings.TrimSpace(f) {
		q, err := strconv.QuotedPrefix(f)
		if err != nil {
			return nil, false
		}
		s, err := strconv.Unquote(q)
		if err != nil {
			return nil, false
		}
		fields = append(fields, s)
		f = f[len(q):]
	}
	h := &Healthcheck{Test: test}
	var to []*time.Duration
	switch len(fields) {
	case 3:
		to = []*time.Duration{&h.Interval, &h.Timeout}
	case 4:
		to = []*time.Duration{&h.Interval, &h.Timeout, &h.StartPeriod}
	case 5:
		to = []*time.Duration{&h.Interval, &h.Timeout, &h.StartPeriod, &h.StartInterval}
	default:
		return nil, false
	}
	for i, d := range to {
		v, err := time.ParseDuration(fields[i])
		if err != nil {
			return nil, false
		}
		*d = v
	}
	// The number of retries was printed as a character.
	for _, r := range fields[len(fields)-1] {
		h.Retries = int(r)
		break
	}
	if c := p.img.Config.Healthcheck; c != nil && h.Retries == 0xFFFD {
		h.Retries = c.Retries // beyond Unicode: unprintable
	}
	return h, true
}

// listEnd is the index after the ] that closes a %q list at the start of s.
func listEnd(s string) int {
	if !strings.HasPrefix(s, "[") {
		return -1
	}
	for i := 1; i < len(s); {
		switch s[i] {
		case ']':
			return i + 1
		case '"', '`':
			q, err := strconv.QuotedPrefix(s[i:])
			if err != nil {
				return -1
			}
			i += len(q)
		default:
			i++
		}
	}
	return -1
}

var healthField = regexp.MustCompile(`^ (Interval|Timeout|StartPeriod|StartInterval|Retries):(\S*)`)

func (p *reader) namedHealth(body string) (*Healthcheck, bool) {
	i := strings.LastIndex(body, "] Interval:")
	if i < 0 {
		return nil, false
	}
	h := &Healthcheck{}
	for rest := body[i+1:]; rest != ""; {
		m := healthField.FindStringSubmatch(rest)
		if m == nil {
			return nil, false
		}
		rest = rest[len(m[0]):]
		if m[1] == "Retries" {
			n, err := strconv.Atoi(m[2])
			if err != nil {
				return nil, false
			}
			h.Retries = n
			continue
		}
		d, err := time.ParseDuration(m[2])
		if err != nil {
			return nil, false
		}
		switch m[1] {
		case "Interval":
			h.Interval = d
		case "Timeout":
			h.Timeout = d
		case "StartPeriod":
			h.StartPeriod = d
		case "StartInterval":
			h.StartInterval = d
		}
	}
	test := strings.TrimPrefix(body[:i], "Test:[")
	switch c := p.img.Config.Healthcheck; {
	case c != nil && p.test == test:
		h.Test = append([]string(nil), c.Test...)
	case strings.HasPrefix(test, "CMD-SHELL "):
		h.Test = []string{"CMD-SHELL", strings.TrimPrefix(test, "CMD-SHELL ")}
	default:
		h.Test = strings.Fields(test)
	}
	return h, true
}

// writtenHealth reads `--interval=5m --retries=3 CMD curl -f localhost`.
func (p *reader) writtenHealth(v string) (*Healthcheck, bool) {
	h := &Healthcheck{}
	for strings.HasPrefix(v, "--") {
		flag, rest, _ := strings.Cut(v, " ")
		v = strings.TrimSpace(rest)
		name, value, ok := strings.Cut(flag[2:], "=")
		if !ok {
			return nil, false
		}
		value = p.expand(value)
		if name == "retries" {
			n, err := strconv.Atoi(value)
			if err != nil {
				return nil, false
			}
			h.Retries = n
			continue
		}
		d, err := time.ParseDuration(value)
		if err != nil {
			return nil, false
		}
		switch name {
		case "interval":
			h.Interval = d
		case "timeout":
			h.Timeout = d
		case "start-period":
			h.StartPeriod = d
		case "start-interval":
			h.StartInterval = d
		default:
			return nil, false
		}
	}
	command, ok := strings.CutPrefix(v, "CMD")
	if !ok || command == "" || !isBlank(command[0]) {
		if strings.EqualFold(strings.TrimSpace(v), "none") {
			return &Healthcheck{Test: []string{"NONE"}}, true
		}
		return nil, false
	}
	command = strings.TrimSpace(command)
	if args, ok := quotedList(command); ok {
		h.Test = append([]string{"CMD"}, args...)
	} else {
		h.Test = []string{"CMD-SHELL", command}
	}
	return h, true
}
