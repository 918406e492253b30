package history

import (
	"regexp"
	"strconv"
	"strings"
)

// KnownSignal tells whether STOPSIGNAL takes a signal: a number that isn't
// zero, or the name of a signal of Linux, with or without SIG. Builders ask
// moby/sys/signal, ParseSignal. That can't be asked here: it knows the signals
// of the system that this program runs on, and the builder's is Linux.
func KnownSignal(s string) bool {
	if n, err := strconv.Atoi(s); err == nil {
		return n != 0
	}
	return signalName.MatchString(strings.TrimPrefix(strings.ToUpper(s), "SIG"))
}

var signalName = regexp.MustCompile(`^(ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ|` +
	`RTMIN|RTMIN\+([1-9]|1[0-5])|RTMAX|RTMAX-([1-9]|1[0-4]))$`)
