package layer

import (
	"context"
	"fmt"
	"sync/atomic"
)

// The limits. What costs memory or time is bounded by the bytes of the tars, plus
// an allowance that no small image reaches; honest images stay several times
// below every one of them.
const (
	// maxPath is the longest path below the root that Linux opens: PATH_MAX counts
	// the leading slash and a NUL.
	maxPath = 4096 - 2
	// maxTarget is the longest target of a symbolic link (PATH_MAX and its NUL).
	maxTarget = 4096 - 1
	// maxComponent is the longest name in a directory (NAME_MAX).
	maxComponent = 255
	// maxLinks is how many symbolic links a path may lead through (MAXSYMLINKS).
	maxLinks = 40
	// maxName bounds a name as the tar has it, before it is cleaned.
	maxName = 1<<16 - 1

	// maxEntries is how many entries an image may have.
	maxEntries = 10_000_000
	// An index keeps names, link targets, PAX records and owner names.
	freeText  = 192 << 20
	textShare = 16 // one byte of text for so many of the tars
	// Sparse files are read, and written, with their holes.
	freeHoles  = 16 << 30
	holeFactor = 16 // so many bytes of sparse files for one of the tars

	// A path takes about so much memory in a tree, beside its last component.
	pathCost  = 128
	freePaths = 64 << 20 // bytes of paths, plus one for each of the tars
	// A step is a component to look up, a path to pass by, or a byte of the PAX
	// records that a hard link adds to its inode's.
	freeSteps = 16 << 20 // plus one for each byte of the tars
)

// Budget bounds what reading the layers of one image may keep and expand. It
// grows with the bytes that are read. Several readers may share one.
type Budget struct {
	read, entries, text, holes atomic.Int64
}

// entry charges an entry with the text that is kept of it.
func (b *Budget) entry(text int) error {
	if b.entries.Add(1) > maxEntries {
		return fmt.Errorf("more than %d entries in an image: %w", maxEntries, ErrLimit)
	}
	if kept, most := b.text.Add(int64(text)), freeText+b.read.Load()/textShare; kept > most {
		return fmt.Errorf("names and PAX records of more than %d MiB: %w", most>>20, ErrLimit)
	}
	return nil
}

// sparse charges a sparse file of the given size.
func (b *Budget) sparse(size int64) error {
	most := freeHoles + min(b.read.Load(), maxBody/holeFactor-freeHoles)*holeFactor
	if size > most || b.holes.Add(size) > most {
		return fmt.Errorf("sparse files of more than %d GiB: %w", most>>30, ErrLimit)
	}
	return nil
}

// effort bounds what one model of an image's tree costs: the memory of its paths
// and the steps it takes. Whoever walks adds to steps and memory; check is asked
// once an entry.
type effort struct {
	ctx    context.Context
	bytes  int64 // of the tars
	steps  int64
	memory int64
	asked  uint8
}

func newEffort(ctx context.Context, layers []*Index) effort {
	e := effort{ctx: ctx}
	for _, x := range layers {
		e.bytes += x.length
	}
	return e
}

// check fails if the limits are exceeded or the context is done.
func (e *effort) check() error {
	if e.asked++; e.asked == 0 && e.ctx.Err() != nil {
		return e.ctx.Err()
	}
	if e.memory > freePaths+e.bytes {
		return fmt.Errorf("paths of more than %d MiB: %w", (freePaths+e.bytes)>>20, ErrLimit)
	}
	if e.steps > freeSteps+e.bytes {
		return fmt.Errorf("paths that take more than %d million steps: %w", (freeSteps+e.bytes)>>20, ErrLimit)
	}
	return nil
}

// checkPath checks a cleaned path against what a kernel holds. A whiteout counts
// without its prefix, since what has to be held is the name that it hides.
func checkPath(name string) error {
	if len(name) <= maxComponent {
		return nil
	}
	dir, base := splitName(name)
	if base == opaqueMarker {
		name = dir
	} else if kind, hidden := whiteoutName(base); kind == nameWhiteout {
		name = name[:len(name)-len(base)] + hidden
	}
	if len(name) > maxPath {
		return fmt.Errorf("path of %d bytes, %d are possible: %w", len(name), maxPath, ErrLimit)
	}
	for start, i := 0, 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '/' {
			if i-start > maxComponent {
				return fmt.Errorf("name of %d bytes, %d are possible: %w", i-start, maxComponent, ErrLimit)
			}
			start = i + 1
		}
	}
	return nil
}
