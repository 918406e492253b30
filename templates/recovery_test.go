package templates

import (
	"strings"
	"testing"
)

// TestRecovery has the head say what is true of the steps below it, and no more.
func TestRecovery(t *testing.T) {
	value := `a "b"`
	steps := []RecoveryStep{
		{Arg: &ArgStep{Name: "COMMIT"}}, {Arg: &ArgStep{Name: "V", Value: &value}},
		{Copy: &CopyStep{Flags: []string{"--chown=1:2"}, From: "01-COPY-app/", To: "/srv/with blank/"}, Comments: []string{"was: COPY . /srv"}},
		{Text: "USER app"},
	}
	run := append(steps[:len(steps):len(steps)], RecoveryStep{Text: "RUN make", Comments: []string{"It added 1 path."}})
	const again, others, beside = "# Every RUN runs again", "# The files of COPY", "# --context DIR writes them"
	for name, c := range map[string]struct {
		recovery  Recovery
		has, lack []string
	}{
		"dry run":   {Recovery{Steps: run}, []string{again, others, beside, "\n\n# It added 1 path.\nRUN make\n"}, []string{"# To build"}},
		"written":   {Recovery{Steps: run, Written: true}, []string{again, others}, []string{beside}},
		"no RUN":    {Recovery{Steps: steps}, []string{others, beside}, []string{again}},
		"neither":   {Recovery{Steps: steps[3:]}, []string{"FROM debian:12\nUSER app\n", "# Base: debian:12, 2 layers (as asked for)\n"}, []string{again, others, beside}},
		"arguments": {Recovery{Steps: steps}, []string{"FROM debian:12\nARG COMMIT\nARG V='a \"b\"'\n"}, nil},
		// Builders take the quotes off after they have taken the list apart.
		"a name's blank": {Recovery{Steps: steps}, []string{"# was: COPY . /srv\nCOPY --chown=1:2 [\"01-COPY-app/\", \"\\\"/srv/with blank/\\\"\"]\nUSER app\n"}, nil},
		"one of several": {Recovery{Steps: steps, Platform: "linux/arm/v7", Dir: "linux-arm-v7"}, []string{"# To build: docker build --platform linux/arm/v7 linux-arm-v7\n"}, nil},
	} {
		c.recovery.Image, c.recovery.From, c.recovery.Base = "app", "debian:12", Base{Name: "debian:12", Layers: 2, Evidence: "as asked for"}
		text, err := c.recovery.Render()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, want := range c.has {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: %q isn't in\n%s", name, want, text)
			}
		}
		for _, unwanted := range c.lack {
			if strings.Contains(string(text), unwanted) {
				t.Errorf("%s: %q is in\n%s", name, unwanted, text)
			}
		}
	}
	for _, bad := range []string{"", "A B", "A\nRUN evil", "é"} {
		if text, err := (Recovery{From: "scratch", Steps: []RecoveryStep{{Arg: &ArgStep{Name: bad}}}}).Render(); err == nil {
			t.Errorf("ARG %q:\n%s", bad, text)
		}
	}
}
