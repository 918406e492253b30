package history

import (
	"testing"

	"github.com/moby/sys/signal"
)

// On Linux the builders' own package knows the builders' signals.
func TestKnownSignalsAreTheBuilders(t *testing.T) {
	names := []string{"", "0", "1", "-1", "64", "65", "9x", "+9", "SIG", "sigterm", "SigTerm", "SIGSIGTERM", "TERM ", "x", "EMT", "UNUSED", "RTMIN+0", "RTMIN+16", "RTMIN+01", "RTMIN-1", "RTMAX-0", "RTMAX-15", "RTMAX+1"}
	for name := range signal.SignalMap {
		names = append(names, name, "SIG"+name)
	}
	for _, s := range names {
		if _, err := signal.ParseSignal(s); (err == nil) != KnownSignal(s) {
			t.Errorf("%q: the builders say %v", s, err)
		}
	}
}
