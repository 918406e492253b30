package templates

import (
	"fmt"
	"regexp"
	"strings"

	"docker-flatten/history"
)

// Recovery is what a recovered Dockerfile says. Every text in it may come from
// an image that isn't trusted.
type Recovery struct {
	Image    string // as the user named it
	ID       string
	Platform string // os/arch[/variant]; ""
	Dir      string // the directory of the context, where each of several platforms has one; ""
	Base     Base
	From     string // what FROM names
	Notes    []string
	Steps    []RecoveryStep
}

// RecoveryStep is one instruction, with what there is to say of it.
type RecoveryStep struct {
	Text     string        // a RUN, or the text of history.Step.Dockerfile
	Arg      *history.Pair // or a build argument
	Copy     *CopyStep     // or a COPY
	Comments []string
}

// CopyStep is a COPY of one directory of the context.
type CopyStep struct {
	Flags    []string
	From, To string
}

// Render returns the Dockerfile's text. An error says which value can't be
// written.
func (r Recovery) Render() ([]byte, error) {
	if !fromName.MatchString(r.From) {
		return nil, fmt.Errorf("write FROM instruction: %q is no image name", r.From)
	}
	var b strings.Builder
	say := func(format string, a ...any) { b.WriteString(commentf(format, a...)) }
	say("Recovered from %s by docker-flatten.", r.Image)
	if r.ID != "" {
		say("Image: %s", r.ID)
	}
	if r.Platform != "" {
		say("Platform: %s", r.Platform)
	}
	if r.Dir != "" {
		say("To build: docker build%s %s", option("--platform", forShell(r.Platform)), r.Dir)
		say("Each platform has a Dockerfile and files of its own, in a directory of the context: this is %s.", r.Dir)
	}
	say("This is a recovery, not a proof: every RUN runs again, and may do something else than it did.")
	say("What each of them did to the image is said above it. The files of COPY and ADD are the image's own.")
	if r.Base.Archive != "" {
		say("The base is in %s. Before building: docker load -i %s", r.Base.Archive, r.Base.Archive)
	}
	for _, n := range r.Notes {
		say("%s", n)
	}
	b.WriteString("\nFROM " + r.From + "\n")
	for _, s := range r.Steps {
		if len(s.Comments) > 0 {
			b.WriteString("\n")
		}
		for _, c := range s.Comments {
			say("%s", c)
		}
		text, err := s.instruction()
		if err != nil {
			return nil, err
		}
		if text != "" {
			b.WriteString(text + "\n")
		}
	}
	return []byte(b.String()), nil
}

var argName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// instruction is the step's text, "" where there is but a comment.
func (s RecoveryStep) instruction() (string, error) {
	switch {
	case s.Copy != nil:
		keyword := strings.Join(append([]string{"COPY"}, s.Copy.Flags...), " ")
		to, err := history.Word(s.Copy.To)
		if err != nil {
			return "", fmt.Errorf("write COPY instruction: %q: %w", s.Copy.To, err)
		}
		if to == s.Copy.To {
			return keyword + " " + s.Copy.From + " " + to, nil
		}
		return history.ExecForm(keyword, []string{s.Copy.From, to}, nil) // words may have blanks there
	case s.Arg != nil:
		value, err := history.Word(s.Arg.Value)
		if err != nil || !argName.MatchString(s.Arg.Key) {
			return "", fmt.Errorf("write ARG instruction: %q can't be written", s.Arg.Key)
		}
		return "ARG " + s.Arg.Key + "=" + value, nil
	}
	return s.Text, nil
}
