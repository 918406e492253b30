package history

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// expressible says why no Dockerfile can give a step's values, as a phrase; ""
// if one can. The limits are those of BuildKit's instructions package
// (frontend/dockerfile/instructions) and of what builders do with the values;
// package templates knows those of the text's syntax.
func expressible(s Step) string {
	switch s.Name {
	case "MAINTAINER", "WORKDIR", "USER", "VOLUME":
		if slices.Contains(s.Args, "") {
			return s.Name + " can't be empty"
		}
	case "ONBUILD":
		word, _, _ := strings.Cut(s.arg(), " ")
		switch strings.ToUpper(word) {
		case "", "ONBUILD", "FROM", "MAINTAINER":
			return "ONBUILD takes no such trigger"
		}
	case "EXPOSE":
		for _, a := range s.Args {
			if e := expandPorts(a); len(e) != 1 || e[0] != a || !portKey.MatchString(a) {
				return "EXPOSE takes no such port"
			}
		}
	case "ENV", "LABEL":
		for _, kv := range s.Pairs {
			if kv.Key == "" {
				return s.Name + " can't have an empty name"
			}
			if s.Name == "ENV" && strings.Contains(kv.Key, "=") {
				return "ENV can't have = in a name"
			}
		}
	case "STOPSIGNAL":
		if !isSignal(s.arg()) {
			return "STOPSIGNAL takes known signals only"
		}
	case "HEALTHCHECK":
		return healthLimit(s.Health)
	}
	return ""
}

var portKey = regexp.MustCompile(`^\d+/(tcp|udp|sctp)$`)

func healthLimit(h *Healthcheck) string {
	if h == nil || len(h.Test) == 0 {
		return "HEALTHCHECK can't be without a command"
	}
	for _, d := range []time.Duration{h.Interval, h.Timeout, h.StartPeriod, h.StartInterval} {
		if d != 0 && d < time.Millisecond {
			return "HEALTHCHECK takes no time under 1ms"
		}
	}
	if h.Retries < 0 {
		return "HEALTHCHECK takes no negative --retries"
	}
	switch h.Test[0] {
	case "NONE":
		if !equalHealth(h, &Healthcheck{Test: []string{"NONE"}}) {
			return "HEALTHCHECK NONE takes no options"
		}
		return ""
	case "CMD":
		if len(h.Test) < 2 {
			return "HEALTHCHECK CMD can't be empty"
		}
		return ""
	case "CMD-SHELL":
		if len(h.Test) != 2 {
			return "HEALTHCHECK CMD in shell form is one string"
		}
		return ""
	}
	return "HEALTHCHECK knows CMD, CMD-SHELL and NONE only"
}

// isSignal follows moby/sys/signal, ParseSignal: a positive number or a Linux
// signal's name with or without SIG.
func isSignal(s string) bool {
	if n, err := strconv.Atoi(s); err == nil {
		return n > 0
	}
	return signalName.MatchString(strings.TrimPrefix(strings.ToUpper(s), "SIG"))
}

var signalName = regexp.MustCompile(`^(ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ|` +
	`RTMIN|RTMIN\+([1-9]|1[0-5])|RTMAX|RTMAX-([1-9]|1[0-4]))$`)
