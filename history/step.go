package history

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// String is the step as a person would write it, on one line where its values
// have no newlines of their own. It is for reading: see Dockerfile for what a
// builder reads.
func (s Step) String() string {
	switch s.Name {
	case "ENV", "LABEL":
		words := make([]string, len(s.Pairs))
		for i, kv := range s.Pairs {
			words[i] = readable(kv.Key) + "=" + readable(kv.Value)
		}
		return s.Name + " " + strings.Join(words, " ")
	case "CMD", "ENTRYPOINT":
		if n := len(s.Shell); n > 0 && len(s.Args) == n+1 && slices.Equal(s.Args[:n], s.Shell) && bareCommand(s.Args[n]) {
			return s.Name + " " + s.Args[n]
		}
		return s.Name + " " + jsonList(s.Args)
	case "EXPOSE":
		return "EXPOSE " + strings.Join(readablePorts(s.Args), " ")
	case "SHELL", "VOLUME":
		return s.Name + " " + jsonList(s.Args)
	case "HEALTHCHECK":
		return "HEALTHCHECK " + healthText(s.Health)
	}
	return strings.TrimRight(s.Name+" "+strings.Join(s.Args, " "), " ")
}

// bareCommand tells whether a shell form can stand as it is.
func bareCommand(c string) bool {
	return c != "" && !strings.HasPrefix(c, "[") && strings.TrimSpace(c) == c && !strings.HasSuffix(c, `\`)
}

func readable(v string) string {
	if v == "" || strings.ContainsAny(v, " \t\n\"'\\") {
		return strconv.Quote(v)
	}
	return v
}

func jsonList(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if e.Encode(a) != nil { // a string always encodes
			return strings.Join(args, " ")
		}
		words[i] = strings.TrimSuffix(b.String(), "\n")
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// duration leaves out the zero units that Duration.String adds: 1m, not 1m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func healthText(h *Healthcheck) string {
	if h == nil {
		return ""
	}
	if len(h.Test) > 0 && h.Test[0] == "NONE" {
		return "NONE"
	}
	var words []string
	if h.Interval != 0 {
		words = append(words, "--interval="+duration(h.Interval))
	}
	if h.Timeout != 0 {
		words = append(words, "--timeout="+duration(h.Timeout))
	}
	if h.StartPeriod != 0 {
		words = append(words, "--start-period="+duration(h.StartPeriod))
	}
	if h.StartInterval != 0 {
		words = append(words, "--start-interval="+duration(h.StartInterval))
	}
	if h.Retries != 0 {
		words = append(words, "--retries="+strconv.Itoa(h.Retries))
	}
	switch {
	case len(h.Test) == 2 && h.Test[0] == "CMD-SHELL":
		words = append(words, "CMD "+h.Test[1])
	case len(h.Test) > 0 && h.Test[0] == "CMD":
		words = append(words, "CMD "+jsonList(h.Test[1:]))
	default:
		words = append(words, jsonList(h.Test))
	}
	return strings.Join(words, " ")
}
