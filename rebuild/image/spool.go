package image

import (
	"errors"
	"os"
	"sync"

	"docker-flatten/rebuild/image/temp"
)

// Spools makes the temporary files of one source or one store. Where the system
// allows it a file is unlinked as soon as it is open, so that nothing stays
// behind however the program ends; elsewhere Close removes it.
type Spools struct {
	Dir string // "" = os.TempDir()

	mu    sync.Mutex
	open  map[*os.File]*temp.File // nil once it is unlinked
	swept bool
	ended bool
}

// spoolKind is in the names of temporary files.
const spoolKind = "spool"

// Create returns a new, empty file, open for reading and writing.
func (s *Spools) Create() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := s.Dir
	if dir == "" {
		dir = os.TempDir()
	}
	if !s.swept {
		s.swept = true
		temp.Sweep(dir, spoolKind)
	}
	if s.ended {
		return nil, os.ErrClosed
	}
	t, err := temp.Create(dir, spoolKind)
	if err != nil {
		err = PathError("make a temporary file in", dir, err)
		var failed *Error
		if s.Dir == "" && errors.As(err, &failed) {
			failed.Hint = "TMPDIR names the directory for temporary files"
		}
		return nil, err
	}
	f := t.File
	if os.Remove(f.Name()) == nil {
		t = nil
	}
	if s.open == nil {
		s.open = map[*os.File]*temp.File{}
	}
	s.open[f] = t
	return f, nil
}

// Drop gives back the space of a file that Create made.
func (s *Spools) Drop(f *os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.open[f]
	if !ok {
		return nil
	}
	delete(s.open, f)
	return drop(f, t)
}

// Close gives back the space of every file.
func (s *Spools) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	var errs []error
	for f, t := range s.open {
		errs = append(errs, drop(f, t))
	}
	s.open = nil
	return errors.Join(errs...)
}

func drop(f *os.File, t *temp.File) error {
	if t != nil {
		return t.Discard()
	}
	return f.Close()
}
