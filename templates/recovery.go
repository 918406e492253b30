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
	Written  bool   // its files are written beside it
	From     string // what FROM names
	Notes    []string
	Steps    []RecoveryStep
}

// RecoveryStep is one instruction, with what there is to say of it.
type RecoveryStep struct {
	Text     string    // a RUN, or the text of history.Step.Dockerfile
	Arg      *ArgStep  // or a build argument
	Copy     *CopyStep // or a COPY
	Comments []string
}

// ArgStep is an ARG.
type ArgStep struct {
	Name  string
	Value *string // nil = it has none unless the builder is told one
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
	if err := dockerfileTemplate.ExecuteTemplate(&b, "base", r); err != nil {
		return nil, fmt.Errorf("write dockerfile: %w", err)
	}
	runs, copies := false, false
	for _, s := range r.Steps {
		runs, copies = runs || strings.HasPrefix(s.Text, "RUN"), copies || s.Copy != nil
	}
	if say("This is a recovery, not a proof."); runs {
		say("Every RUN runs again, and may do something else than it did: what it did is said above it.")
	}
	if copies {
		say("The files of COPY are the image's own, those of ADD too.")
	}
	if copies && !r.Written {
		say("--context DIR writes them beside this file.")
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
		if !argName.MatchString(s.Arg.Name) {
			return "", fmt.Errorf("write ARG instruction: %q can't be written", s.Arg.Name)
		}
		if s.Arg.Value == nil {
			return "ARG " + s.Arg.Name, nil
		}
		value, err := history.Word(*s.Arg.Value)
		if err != nil {
			return "", fmt.Errorf("write ARG instruction: the value of %q can't be written", s.Arg.Name)
		}
		return "ARG " + s.Arg.Name + "=" + value, nil
	}
	return s.Text, nil
}
