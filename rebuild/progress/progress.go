// Package progress shows how far a job is, on a terminal or line by line.
package progress

// Stages a job goes through, in order; a Display shows one bar or line each.
const (
	Saving    = "saving" // by an engine, what can't be read yet as it passes
	Reading   = "reading"
	Merging   = "merging"
	Writing   = "writing"
	Storing   = "storing" // into a file or a layout
	Loading   = "loading" // into an engine
	Pushing   = "pushing" // to a registry
	Verifying = "verifying"
	Comparing = "comparing" // two images
)

// Display is told what the job does. Its methods may be called from several
// goroutines.
type Display interface {
	// Start begins a stage of total bytes, 0 when that isn't known before.
	// What is the object: an image's name, a platform, a destination.
	Start(stage, what string, total int64) Bar
	// Note prints one line for the user without disturbing the bars.
	Note(line string)
	// Close ends the display and leaves the terminal clean; it may be called twice.
	Close()
}

// Bar is one running stage.
type Bar interface {
	Add(n int64)    // n more bytes done
	Done(err error) // the stage ended: nil for success
}
