// Package room weighs what a job takes of file systems against what they have
// free, so that a job that can't end well isn't begun.
package room

import (
	"errors"
	"os"
	"path/filepath"
)

// Need is what one part of a job takes in one directory.
type Need struct {
	Dir   string // where; "" = the directory for temporary files. It needn't be there yet
	What  string // "temporary files", "the archive"
	Bytes int64  // about
	Least int64  // surely no fewer, on a file system that doesn't compress
}

// ErrShort is that a file system has less free than is needed.
var ErrShort = errors.New("too little space")

// Shortage is a file system that has too little room.
type Shortage struct {
	Need
	Free int64
	Sure bool // it has fewer bytes than Least, so that there is no use in beginning
}

// Shortages lists the file systems that don't have the bytes that all needs
// together take in them, each with the need that takes most there. One whose
// space can't be found out, or has no limit, is in no list: a quota isn't seen.
func Shortages(needs []Need) []Shortage { return shortages(needs, measure) }

// space is what a file system has free for this process.
type space struct {
	id         string // tells file systems apart
	free       int64
	compresses bool // what is written may take less than its length
}

func shortages(needs []Need, measure func(dir string) (space, bool)) []Shortage {
	type total struct {
		space
		most         Need
		bytes, least int64
	}
	var systems []*total
	byID := map[string]*total{}
	for _, n := range needs {
		n.Dir = existing(n.Path())
		s, ok := measure(n.Dir)
		if !ok || n.Bytes <= 0 {
			continue
		}
		t := byID[s.id]
		if t == nil {
			t = &total{space: s}
			byID[s.id], systems = t, append(systems, t)
		}
		if n.Bytes > t.most.Bytes {
			t.most = n
		}
		t.bytes, t.least = t.bytes+n.Bytes, t.least+n.Least
	}
	var short []Shortage
	for _, t := range systems {
		if max(t.bytes, t.least) <= t.free {
			continue
		}
		n := t.most
		n.Bytes, n.Least = max(t.bytes, t.least), t.least
		short = append(short, Shortage{Need: n, Free: t.free, Sure: t.least > t.free && !t.compresses})
	}
	return short
}

// existing is dir, or what of it is there.
func existing(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	for {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return dir
		}
		dir = parent
	}
}

// Path is the directory that a need is for, as people look for it.
func (n Need) Path() string {
	if n.Dir == "" {
		return os.TempDir()
	}
	return n.Dir
}
