package rebuild

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"docker-flatten/rebuild/image"
	"docker-flatten/rebuild/image/temp"
	"docker-flatten/templates"
)

// pages are the --report files on their way: each is written beside its place,
// and renamed once the image has its names.
type pages struct {
	files []pageFile
}

type pageFile struct {
	name   string // as the user gave it
	target string // the file that name leads to
	staged *temp.File
}

// preparePages says what is wrong with the places for pages before any work is
// done. A page about the same source may take the place of an earlier one.
func preparePages(names []string, source string, force bool) (*pages, error) {
	p := &pages{}
	for _, name := range names {
		f, err := preparePage(name, source, force)
		if err != nil {
			return nil, errors.Join(err, p.discard())
		}
		p.files = append(p.files, f)
	}
	return p, nil
}

func preparePage(name, source string, force bool) (pageFile, error) {
	fail := func(err error, hint string) (pageFile, error) {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return pageFile{}, &image.Error{Op: "write report", Object: name, Err: err, Hint: hint}
	}
	target := name
	if _, err := os.Lstat(name); err == nil {
		if target, err = filepath.EvalSymlinks(name); err != nil {
			return fail(errors.New("a symbolic link to nothing"), "name a new file")
		}
		ours, err := isPage(target, source)
		if err != nil {
			return fail(err, "")
		}
		if !ours && !force {
			return fail(errors.New("the file exists, and isn't an earlier page of this image"), "--force replaces it")
		}
	}
	temp.SweepBeside(target)
	staged, err := temp.Beside(target)
	if err != nil {
		return fail(err, "")
	}
	return pageFile{name: name, target: target, staged: staged}, nil
}

// isPage tells whether a file is a page about the source.
func isPage(name, source string) (bool, error) {
	info, err := os.Stat(name)
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, errors.New("not a regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, templates.PageHead))
	return templates.IsPage(head, source), err
}

// write writes the pages where they are staged.
func (p *pages) write(report *templates.Report) error {
	for _, f := range p.files {
		write := templates.WriteHTML
		if strings.HasSuffix(f.name, ".svg") {
			write = templates.WriteSVG
		}
		if err := errors.Join(write(f.staged, report), f.staged.Sync()); err != nil {
			return fmt.Errorf("write report %s: %w", f.name, err)
		}
	}
	return nil
}

// publish renames the pages.
func (p *pages) publish() error {
	for len(p.files) > 0 {
		f := p.files[0]
		if err := f.staged.Publish(f.target); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
		p.files = p.files[1:]
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
