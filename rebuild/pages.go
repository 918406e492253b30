package rebuild

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"docker-flatten/rebuild/attestation"
	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/temp"
	"docker-flatten/templates"
)

// pages are the --report files, and that of --attest, on their way: each is
// written beside its place, and renamed once the image has its names.
type pages struct {
	files []pageFile
}

type pageFile struct {
	name   string // as the user gave it
	target string // the file that name leads to
	isNew  bool   // nothing is there yet
	op     string // for errors: what is done with it
	staged *temp.File
	write  writePage
}

// writePage writes one of the pages about a run, its report or its statement.
type writePage func(w io.Writer, report *templates.Report, statement []byte) error

func writeHTML(w io.Writer, report *templates.Report, _ []byte) error {
	return templates.WriteHTML(w, report)
}

func writeSVG(w io.Writer, report *templates.Report, _ []byte) error {
	return templates.WriteSVG(w, report)
}

func writeStatement(w io.Writer, _ *templates.Report, statement []byte) error {
	_, err := w.Write(statement)
	return err
}

// preparePages says what is wrong with the places for pages before any work is
// done. A page about the same source, and a statement about the same result, may
// take the place of an earlier one.
func (o *Options) preparePages(source string, to image.Place) (*pages, error) {
	p := &pages{}
	add := func(op, name, kind string, ours func(head []byte) bool, write writePage) error {
		f, err := preparePage(op, name, o.Force, kind, ours, write)
		if err == nil {
			p.files = append(p.files, f)
		}
		return err
	}
	for _, name := range o.Reports {
		write := writeHTML
		if strings.HasSuffix(name, ".svg") {
			write = writeSVG
		}
		err := add("write report", name, "page of this image", func(head []byte) bool {
			return templates.IsPage(head[:min(len(head), templates.PageHead)], source)
		}, write)
		if err != nil {
			return nil, errors.Join(err, p.discard())
		}
	}
	if o.AttestFile != "" {
		result := resultName(to)
		err := add("write attestation", o.AttestFile, "statement about "+result, func(head []byte) bool {
			return attestation.IsOf(head, result)
		}, writeStatement)
		if err != nil {
			return nil, errors.Join(err, p.discard())
		}
	}
	return p, nil
}

// preparePage stages one file. It takes the place of one that is ours, an earlier
// one of its kind, by its first bytes.
func preparePage(op, name string, force bool, kind string, ours func(head []byte) bool, write writePage) (pageFile, error) {
	fail := func(err error, hint string) (pageFile, error) {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return pageFile{}, &image.Error{Op: op, Object: name, Err: err, Hint: hint}
	}
	target, isNew := name, true
	if _, err := os.Lstat(name); err == nil {
		head, err := headOf(name) // what no name leads to, /dev/stdout may
		if errors.Is(err, os.ErrNotExist) {
			return fail(errors.New("a symbolic link to nothing"), "name a new file")
		}
		if err == nil {
			target, err = filepath.EvalSymlinks(name)
		}
		if err != nil {
			return fail(err, "")
		}
		isNew = false
		if !ours(head) && !force {
			return fail(image.Detail(image.ErrExists, "the file exists, and isn't an earlier %s", kind), "--force replaces it")
		}
	}
	temp.SweepBeside(target)
	staged, err := temp.Beside(target)
	if err != nil {
		return pageFile{}, image.PathError(op, name, err)
	}
	return pageFile{name: name, target: target, isNew: isNew, op: op, staged: staged, write: write}, nil
}

// mostOfHead is how many bytes of a file tell what it is; a statement is read
// whole.
const mostOfHead = largestStatement

// headOf is the beginning of a regular file.
func headOf(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, mostOfHead))
}

// write writes the pages where they are staged.
func (p *pages) write(report *templates.Report, statement []byte) error {
	for _, f := range p.files {
		w := bufio.NewWriter(f.staged) // a template writes every word by itself
		if err := errors.Join(f.write(w, report, statement), w.Flush(), f.staged.Sync()); err != nil {
			return fmt.Errorf("%s %s: %w", f.op, f.name, err)
		}
	}
	return nil
}

// publish renames the pages: all of them, or if one fails, none but those that have
// taken the place of an earlier one.
func (p *pages) publish() error {
	var made []string
	for len(p.files) > 0 {
		f := p.files[0]
		err := f.staged.Place(f.target)
		if err == nil {
			p.files = p.files[1:]
			if f.isNew {
				made = append(made, f.target)
			}
			err = temp.SyncDir(filepath.Dir(f.target))
		}
		if err != nil {
			for _, name := range made {
				err = errors.Join(err, os.Remove(name))
			}
			return fmt.Errorf("%s: %w", f.op, err)
		}
	}
	return nil
}

// discard removes the pages that weren't published.
func (p *pages) discard() error {
	var errs []error
	for _, f := range p.files {
		errs = append(errs, f.staged.Discard())
	}
	p.files = nil
	return errors.Join(errs...)
}
