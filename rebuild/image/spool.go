package image

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// Spools makes the temporary files of one source or one store. Where the system
// allows it a file is unlinked as soon as it is open, so that nothing stays
// behind however the program ends; elsewhere Close removes it.
type Spools struct {
	Dir string // "" = os.TempDir()

	mu    sync.Mutex
	open  map[*os.File]string // and the name to remove, "" once unlinked
	ended bool
}

// Create returns a new, empty file, open for reading and writing.
func (s *Spools) Create() (*os.File, error) {
	f, err := os.CreateTemp(s.Dir, "docker-flatten-*")
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	name := f.Name()
	if os.Remove(name) == nil {
		name = ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, errors.Join(os.ErrClosed, closeAndRemove(f, name))
	}
	if s.open == nil {
		s.open = map[*os.File]string{}
	}
	s.open[f] = name
	return f, nil
}

// Drop gives back the space of a file that Create made.
func (s *Spools) Drop(f *os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, ok := s.open[f]
	if !ok {
		return nil
	}
	delete(s.open, f)
	return closeAndRemove(f, name)
}

// Close gives back the space of every file.
func (s *Spools) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	var errs []error
	for f, name := range s.open {
		errs = append(errs, closeAndRemove(f, name))
	}
	s.open = nil
	return errors.Join(errs...)
}

func closeAndRemove(f *os.File, name string) error {
	err := f.Close()
	if name != "" {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}
