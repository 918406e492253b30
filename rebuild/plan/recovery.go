package plan

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"docker-flatten/history"
	"docker-flatten/rebuild/layer"
	"docker-flatten/templates"
)

// Recovery is the Dockerfile that made an image, as far as its history and its
// layers tell: every instruction in its place, the files of each COPY and ADD
// beside it. Nothing proves it: what RUN does depends on where it runs.
type Recovery struct {
	Dockerfile []byte
	Dir        string // where its context lies beside those of other platforms; "" = nothing lies beside it
	Copies     []Copy
	NeedsBase  bool   // nobody else has the base that FROM names: it comes along as BaseFile
	From       string // what FROM names

	config *Config
}

// Copy is a directory of the context: what a layer brings that has one owner.
type Copy struct {
	Dir      string // in the context
	Layer    int
	UID, GID uint32
	Below    string // the directory of the image that Dir stands for, without slashes around it
}

// LayerFacts are what a recovery needs to know of one layer: what it does to the
// layers below, and what it brings.
type LayerFacts struct {
	Added, Changed layer.Count
	Deleted        []layer.Deletion
	Groups         []Group
}

// Group is what a layer brings that has one owner.
type Group struct {
	UID, GID uint32
	Below    string // the directory that all of it is in
	Paths    int
}

// Facts finds out about a layer, which is merged alone over those below it.
func Facts(tree *layer.Merged) LayerFacts {
	f := LayerFacts{Deleted: tree.Deletions()}
	f.Added, f.Changed = tree.Changes()
	at := map[[2]uint32]int{}
	for b := range tree.Brought() {
		owner, dir := [2]uint32{b.UID, b.GID}, path.Dir(b.Path)
		if dir == "." {
			dir = ""
		}
		i, ok := at[owner]
		if !ok {
			i = len(f.Groups)
			at[owner] = i
			f.Groups = append(f.Groups, Group{UID: b.UID, GID: b.GID, Below: dir})
		}
		f.Groups[i].Below = commonDir(f.Groups[i].Below, dir)
		f.Groups[i].Paths++
	}
	return f
}

// commonDir is the deepest directory that both are, or lie in.
func commonDir(a, b string) string {
	for a != "" && b != a && !strings.HasPrefix(b, a+"/") {
		if a = path.Dir(a); a == "." {
			a = ""
		}
	}
	return a
}

// BaseDocument is the config document of the base that comes along, of the
// layers of the given diff IDs.
func (r *Recovery) BaseDocument(diffIDs []v1.Hash) ([]byte, error) {
	return r.config.baseDocument(r.config.Replay.Base, diffIDs)
}

// Recover plans the recoveries of images, of one or of several platforms. facts
// are those of each one's layers above the base, lowest first. written says that
// the files are written beside the Dockerfiles.
func Recover(plans []*Plan, facts [][]LayerFacts, written bool) ([]*Recovery, error) {
	names := stageNames(plans)
	if len(plans) == 1 {
		names[0] = ""
	}
	var out []*Recovery
	for i, p := range plans {
		r, err := p.recovery(facts[i], names[i], written)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// recovery plans that of one image, whose context is in dir.
func (p *Plan) recovery(facts []LayerFacts, dir string, written bool) (*Recovery, error) {
	from, err := p.from(p.Replay)
	if err != nil {
		return nil, err
	}
	b := &recovering{config: p.Config, facts: facts, args: map[string]string{}}
	for i := p.Base.Entries; i < len(p.instructions); i++ {
		if err := b.instruction(p.instructions[i]); err != nil {
			return nil, err
		}
	}
	b.unexplained(len(p.Source.DiffIDs))
	b.corrections()
	d := templates.Recovery{
		Image: p.Source.Ref.String(), ID: p.digest, Platform: BuildPlatform(p.Source.Platform), Dir: dir, From: from, Steps: b.steps,
		Base: p.page.Base, Written: written, Notes: b.notes,
	}
	needsBase := p.needsBase(p.Replay)
	switch {
	case needsBase && written:
		d.Base.Archive = BaseFile
	case needsBase:
		d.Notes = append(d.Notes, "FROM names the base by its content; --context DIR writes it beside this file.")
	}
	for _, s := range p.Replay.Inexpressible {
		d.Notes = append(d.Notes, "Not expressible in a Dockerfile: "+s)
	}
	if len(p.Replay.Cleared) > 0 {
		d.Notes = append(d.Notes, "No Dockerfile can undo what the base sets, so FROM names the base without: "+strings.Join(p.Replay.Cleared, ", "))
	}
	text, err := d.Render()
	if err != nil {
		return nil, fmt.Errorf("recover dockerfile: %w", err)
	}
	return &Recovery{Dockerfile: text, Dir: dir, Copies: b.copies, NeedsBase: needsBase, From: from, config: p.Config}, nil
}

// recovering is a recovery on its way.
type recovering struct {
	config *Config
	facts  []LayerFacts
	steps  []templates.RecoveryStep
	copies []Copy
	notes  []string
	args   map[string]string // the build arguments so far
	next   int               // the lowest layer above the base that no instruction has brought yet, from 0
}

func (b *recovering) add(text string, comments ...string) {
	b.steps = append(b.steps, templates.RecoveryStep{Text: text, Comments: comments})
}

// instruction adds one entry of the history.
func (b *recovering) instruction(in history.Instruction) error {
	l := in.Layer - b.config.Base.Layers
	for ; l > b.next; b.next++ {
		b.files("a layer that the history doesn't explain", b.next)
	}
	for _, arg := range in.BuildArgs {
		name, value, _ := strings.Cut(arg, "=")
		if have, ok := b.args[name]; !ok || have != value {
			b.args[name] = value
			b.steps = append(b.steps, templates.RecoveryStep{Arg: &templates.ArgStep{Name: name, Value: &value}})
		}
	}
	switch {
	case in.Set != nil:
		text, err := in.Set.Dockerfile()
		if err != nil {
			b.add("", "not expressible: "+in.Text)
		} else {
			b.add(text)
		}
	case in.Name == "ARG":
		// those with a value are there already
		if names := strings.Fields(in.Text)[1:]; allNames(names) {
			for _, name := range names {
				if _, ok := b.args[name]; !ok {
					b.args[name] = ""
					b.steps = append(b.steps, templates.RecoveryStep{Arg: &templates.ArgStep{Name: name}})
				}
			}
		}
	case in.Name == "RUN" && isScript(in):
		b.add(hereDocument(in), b.effect(l)...)
	case in.Name == "RUN" && runsAgain(in):
		b.add(strings.Join(templates.Layout(in.Text), "\n"), b.effect(l)...)
	case l >= 0:
		b.files(in.Text, l)
	case in.Name != "FROM":
		b.add("", in.Text)
	}
	if l >= b.next {
		b.next = l + 1
	}
	return nil
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// allNames tells whether an ARG gives none of its words a value.
func allNames(words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !plainName.MatchString(w) })
}

// lostBody is the notation of builders for a here-document, whose lines the
// history doesn't have.
var lostBody = regexp.MustCompile(`<<-?\s*['"]?[A-Za-z_]`)

// runsAgain tells whether a RUN's text is all that it takes to run it.
func runsAgain(in history.Instruction) bool {
	line := command(in)
	return line != "" && !strings.ContainsAny(line, "\x00\r\n") && !lostBody.MatchString(line)
}

// isScript tells whether a RUN was given a here-document whose lines BuildKit has
// recorded: it joins the lines of anything else.
func isScript(in history.Instruction) bool {
	script := command(in)
	return in.Dialect == "buildkit" && strings.Contains(script, "\n") && !strings.ContainsAny(script, "\x00\r") && !strings.HasPrefix(script, "#!")
}

// hereDocument is a script as a RUN has it. No line of it is the word that ends it.
func hereDocument(in history.Instruction) string {
	lines := strings.Split(command(in), "\n")
	end := "EOF"
	for i := 2; slices.Contains(lines, end); i++ {
		end = fmt.Sprintf("EOF%d", i)
	}
	return "RUN <<" + end + "\n" + strings.Join(lines, "\n") + "\n" + end
}

// command is what a RUN runs.
func command(in history.Instruction) string {
	return strings.TrimSpace(strings.TrimPrefix(in.Text, "RUN"))
}

// effect says what a layer did, as the check of a rebuild.
func (b *recovering) effect(l int) []string {
	if l < 0 || l >= len(b.facts) {
		return nil
	}
	f := b.facts[l]
	var did []string
	for _, part := range []struct {
		what string
		layer.Count
	}{{"added", f.Added}, {"changed", f.Changed}} {
		if part.Paths > 0 {
			did = append(did, part.what+" "+amount(part.Paths, part.Bytes))
		}
	}
	if n := len(f.Deleted); n > 0 {
		var bytes int64
		var names []string
		for _, d := range f.Deleted {
			bytes += d.Bytes
			if len(names) < 3 {
				names = append(names, "/"+d.Path)
			}
		}
		if n > len(names) {
			names = append(names, fmt.Sprintf("and %d more", n-len(names)))
		}
		did = append(did, fmt.Sprintf("deleted %s: %s", amount(n, bytes), strings.Join(names, ", ")))
	}
	if len(did) == 0 {
		return []string{"It changed nothing."}
	}
	return []string{"It " + strings.Join(did, "; it ") + "."}
}

// amount says how many paths, and of how many bytes if they have any.
func amount(paths int, bytes int64) string {
	text := history.Count(paths, "path")
	if bytes > 0 {
		text += ", " + templates.Size(bytes)
	}
	return text
}

// files adds a COPY of what a layer brings, a directory for each owner.
func (b *recovering) files(made string, l int) {
	if l >= len(b.facts) {
		return
	}
	comments := []string{"was: " + made}
	f := b.facts[l]
	if len(f.Deleted) > 0 {
		comments = append(append(comments, b.effect(l)...), "Nothing here deletes that again.")
	}
	if len(f.Groups) == 0 {
		b.add("", comments...)
		return
	}
	number := len(b.dirs()) + 1
	name := fmt.Sprintf("%02d-%s", number, label(made))
	for _, g := range f.Groups {
		c := Copy{Dir: name, Layer: b.config.Base.Layers + l, UID: g.UID, GID: g.GID, Below: g.Below}
		words := []string{}
		if g.UID != 0 || g.GID != 0 {
			words = append(words, fmt.Sprintf("--chown=%d:%d", g.UID, g.GID))
		}
		if len(f.Groups) > 1 {
			c.Dir = fmt.Sprintf("%s.%d-%d", name, g.UID, g.GID)
		}
		to := "/"
		if g.Below != "" {
			to += g.Below + "/"
		}
		b.copies = append(b.copies, c)
		b.steps = append(b.steps, templates.RecoveryStep{Copy: &templates.CopyStep{Flags: words, From: c.Dir + "/", To: to}, Comments: comments})
		comments = nil
	}
}

// dirs are the layers that have directories already.
func (b *recovering) dirs() map[int]bool {
	layers := map[int]bool{}
	for _, c := range b.copies {
		layers[c.Layer] = true
	}
	return layers
}

var notInLabels = regexp.MustCompile(`[^A-Za-z0-9._]+`)

// label makes a readable part of a directory's name of an instruction: COPY-app
// of "COPY file:abc in /srv/app".
func label(made string) string {
	words := strings.Fields(made)
	if len(words) == 0 {
		return "layer"
	}
	name := notInLabels.ReplaceAllString(words[0], "")
	if last := notInLabels.ReplaceAllString(path.Base(words[len(words)-1]), "-"); len(words) > 1 {
		name += "-" + strings.Trim(last, "-.")
	}
	name = strings.Trim(name, "-.")
	if name == "" {
		return "layer"
	}
	return name[:min(len(name), 40)]
}

// unexplained adds the layers above the last that the history explains.
func (b *recovering) unexplained(layers int) {
	for ; b.next < layers-b.config.Base.Layers; b.next++ {
		b.files("a layer that the history doesn't explain", b.next)
	}
}

// corrections adds what the history doesn't say, or says otherwise than the
// config.
func (b *recovering) corrections() {
	for _, s := range slices.Concat(b.config.Replay.Before, b.config.Replay.After) {
		if s.Why == "" {
			continue
		}
		if text, err := s.Dockerfile(); err == nil {
			b.add(text, s.Why)
		}
	}
}
